use super::{Fragment, Ip, Malformed, Transport, IPV6_HEADER};
use std::net::{IpAddr, Ipv6Addr};

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
const HIP: u8 = 139;
const SHIM6: u8 = 140;

/// More extension headers than any sender has a use for.
const MOST_HEADERS: usize = 8;

/// The IPv6 header and its extension headers (RFC 8200, RFC 7045). ESP and AH count as transport:
/// nothing behind them can be rewritten.
pub(super) fn parse_v6(packet: &[u8], cut: bool) -> Result<Ip, Malformed> {
    let b: &[u8; IPV6_HEADER] = packet.first_chunk().ok_or(Malformed::HeaderLength)?;
    let total_len = IPV6_HEADER + usize::from(u16::from_be_bytes([b[4], b[5]]));
    if total_len > packet.len() && !cut {
        return Err(Malformed::TotalLength);
    }
    let bytes = packet.get(..total_len.min(packet.len())).ok_or(Malformed::TotalLength)?;
    let mut protocol = b[6];
    let mut at = IPV6_HEADER;
    let mut fragment = Fragment::default();
    for _ in 0..=MOST_HEADERS {
        let length = match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION | HIP | SHIM6 => {
                let header: &[u8; 8] = first_of(bytes, at)?;
                if protocol == ROUTING && header[3] != 0 {
                    return Err(Malformed::SourceRoute);
                }
                if protocol == HOP_BY_HOP && at != IPV6_HEADER {
                    return Err(Malformed::Options);
                }
                8 + usize::from(header[1]) * 8
            }
            FRAGMENT if fragment.id_at.is_none() => {
                let header: &[u8; 8] = first_of(bytes, at)?;
                let place = u16::from_be_bytes([header[2], header[3]]);
                fragment = Fragment {
                    id: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
                    offset: usize::from(place & 0xfff8),
                    more: place & 1 != 0,
                    id_at: Some(at + 4),
                };
                8
            }
            FRAGMENT => return Err(Malformed::Options),
            _ => return Ok(done(b, at, total_len, protocol, fragment)),
        };
        protocol = bytes[at];
        at += length;
        if at > bytes.len() {
            return Err(Malformed::Options);
        }
        if fragment.offset != 0 {
            return Ok(done(b, at, total_len, protocol, fragment));
        }
    }
    Err(Malformed::Options)
}

fn first_of(bytes: &[u8], at: usize) -> Result<&[u8; 8], Malformed> {
    bytes.get(at..).and_then(|b| b.first_chunk()).ok_or(Malformed::Options)
}

fn done(b: &[u8; IPV6_HEADER], at: usize, total_len: usize, protocol: u8, fragment: Fragment) -> Ip {
    Ip {
        v6: true,
        header_len: at,
        total_len,
        protocol,
        source: address(b, 8),
        destination: address(b, 24),
        ttl: b[7],
        dont_fragment: true,
        fragment,
        transport: Transport::Other,
    }
}

fn address(b: &[u8; IPV6_HEADER], at: usize) -> IpAddr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&b[at..at + 16]);
    IpAddr::V6(Ipv6Addr::from(octets))
}
