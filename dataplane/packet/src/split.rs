//! Fragmentation as an IPv4 router does it (RFC 791, 3.2).

use crate::ip::IPV4_HEADER;
use crate::{checksum, Ip};

const NOP: u8 = 1;
const COPIED: u8 = 0x80;
const MORE: u16 = 0x2000;
const MOST_HEADER: usize = 60;

/// Calls `each` with every fragment of an IPv4 packet, none longer than `mtu`, in order. False, and nothing is called, if it
/// must not be fragmented (IPv6, DF), or `mtu` has no room for a header and 8 bytes. Transport checksums must be complete.
pub fn fragment(packet: &[u8], mtu: usize, scratch: &mut Vec<u8>, mut each: impl FnMut(&[u8])) -> bool {
    let Ok(ip) = Ip::parse(packet) else { return false };
    let room = mtu.saturating_sub(ip.header_len) & !7;
    let Some((header, body)) = packet.get(..ip.total_len).and_then(|whole| whole.split_at_checked(ip.header_len))
    else {
        return false;
    };
    if ip.v6 || ip.dont_fragment || room == 0 {
        return false;
    }
    let mut later = [0; MOST_HEADER];
    let later = &mut later[..ip.header_len];
    later.copy_from_slice(header);
    drop_options(&mut later[IPV4_HEADER..]);
    let count = body.len().div_ceil(room);
    for (i, piece) in body.chunks(room).enumerate() {
        scratch.clear();
        scratch.extend_from_slice(if i == 0 { header } else { later });
        scratch.extend_from_slice(piece);
        let total = (ip.header_len + piece.len()) as u16;
        let more = if i + 1 < count || ip.fragment.more { MORE } else { 0 };
        let place = more | ((ip.fragment.offset + i * room) / 8) as u16;
        scratch[2..4].copy_from_slice(&total.to_be_bytes());
        scratch[6..8].copy_from_slice(&place.to_be_bytes());
        scratch[10..12].fill(0);
        let complete = !checksum::sum(&scratch[..ip.header_len], 0);
        scratch[10..12].copy_from_slice(&complete.to_be_bytes());
        each(scratch);
    }
    true
}

/// Overwrites the options that only the first fragment has. Their lengths are true: the packet was parsed.
fn drop_options(mut options: &mut [u8]) {
    while let Some(&kind) = options.first() {
        let length = match kind {
            0 => return,
            NOP => 1,
            _ => options.get(1).map_or(1, |&length| usize::from(length)).clamp(1, options.len()),
        };
        let (option, rest) = options.split_at_mut(length);
        if kind & COPIED == 0 {
            option.fill(NOP);
        }
        options = rest;
    }
}

#[cfg(test)]
mod tests;
