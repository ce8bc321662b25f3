//! TCP maximum segment size (RFC 9293 3.7.1, RFC 2923): nobody behind a tunnel needs to find out by loss.

use crate::{checksum, Ip, Tcp, Transport};

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;

/// Lowers the MSS option of a SYN to what fits `mtu` and keeps the checksum right. True if the packet changed.
///
/// Never raises it and never adds one. A `partial` checksum covers no options, so it stays as it is.
pub fn clamp_mss(packet: &mut [u8], partial: bool, mtu: u16) -> bool {
    let Ok(ip) = Ip::parse(packet) else {
        return false;
    };
    let Transport::Tcp(tcp) = ip.transport else {
        return false;
    };
    if !tcp.has(Tcp::SYN) {
        return false;
    }
    let most = mtu.saturating_sub(if ip.v6 { 60 } else { 40 });
    let start = ip.header_len;
    let Some(header) = packet.get_mut(start..start + tcp.header_len) else {
        return false;
    };
    let Some(at) = value_at(header) else {
        return false;
    };
    let Some(&[high, low]) = header.get(at..at + 2) else {
        return false;
    };
    if u16::from_be_bytes([high, low]) <= most {
        return false;
    }
    // Checksums go by 16-bit words: take in the neighbours of an odd option.
    let words = at & !1..(at + 3) & !1;
    let mut old = [0; 4];
    let width = words.len();
    old[..width].copy_from_slice(&header[words.clone()]);
    header[at..at + 2].copy_from_slice(&most.to_be_bytes());
    if !partial {
        let field = u16::from_be_bytes([header[16], header[17]]);
        let updated = checksum::update(field, &old[..width], &header[words]);
        header[16..18].copy_from_slice(&updated.to_be_bytes());
    }
    true
}

/// Offset in the TCP header of the option's value.
fn value_at(header: &[u8]) -> Option<usize> {
    let mut at = 20;
    while at < header.len() {
        match header[at] {
            END => return None,
            NOP => at += 1,
            kind => {
                let length = usize::from(*header.get(at + 1)?);
                if length < 2 || at + length > header.len() {
                    return None;
                }
                if kind == MSS {
                    return (length == 4).then_some(at + 2);
                }
                at += length;
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
