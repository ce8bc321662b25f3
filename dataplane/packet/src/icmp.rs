//! ICMP errors about packets that we do not carry (RFC 792, RFC 1812, RFC 4443).
//!
//! Each builder overwrites `out` and gives None, with `out` empty, for packets that must not be answered:
//! no IP, other than first fragments, ICMP errors, sources that are not one host's. None also if `from` is of
//! the other family. Rate limiting is the caller's (`RateLimit`).

use crate::ip::{ICMPV4, ICMPV6, IPV4_HEADER, IPV6_HEADER};
use crate::{checksum, Ip, Malformed, Transport};
use std::net::IpAddr;

/// Whole ICMP packets are no longer than this (RFC 1812 4.3.2.3, RFC 4443 2.4 c).
const LONGEST_V4: usize = 576;
const LONGEST_V6: usize = 1280;
/// Bytes of a packet that an error about it quotes at most.
pub const QUOTED: usize = LONGEST_V6 - IPV6_HEADER - 8;

/// Why a destination is unreachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    Net,
    Host,
    Port,
    Prohibited,
}

impl Unreachable {
    fn code(self, v6: bool) -> u8 {
        match (self, v6) {
            (Unreachable::Net, _) => 0,
            (Unreachable::Host, false) => 1,
            (Unreachable::Host, true) => 3,
            (Unreachable::Port, false) => 3,
            (Unreachable::Port, true) => 4,
            (Unreachable::Prohibited, false) => 13,
            (Unreachable::Prohibited, true) => 1,
        }
    }
}

/// Destination unreachable.
pub fn unreachable(out: &mut Vec<u8>, packet: &[u8], from: IpAddr, why: Unreachable) -> Option<()> {
    let v6 = from.is_ipv6();
    error(out, Ip::parse(packet), packet, from, (if v6 { 1 } else { 3 }, why.code(v6)), 0)
}

/// Fragmentation needed (IPv4, only if the packet forbids fragmentation) or packet too big (IPv6). The beginning of the
/// packet suffices, as much of it as an error quotes.
pub fn too_big(out: &mut Vec<u8>, packet: &[u8], from: IpAddr, mtu: u16) -> Option<()> {
    if from.is_ipv6() {
        return error(out, Ip::parse_quoted(packet), packet, from, (2, 0), u32::from(mtu));
    }
    out.clear();
    let ip = Ip::parse_quoted(packet);
    if !ip.ok()?.dont_fragment {
        return None;
    }
    error(out, ip, packet, from, (3, 4), u32::from(mtu))
}

/// Time to live or hop limit exceeded in transit.
pub fn time_exceeded(out: &mut Vec<u8>, packet: &[u8], from: IpAddr) -> Option<()> {
    error(out, Ip::parse(packet), packet, from, (if from.is_ipv6() { 3 } else { 11 }, 0), 0)
}

fn error(
    out: &mut Vec<u8>,
    ip: Result<Ip, Malformed>,
    packet: &[u8],
    from: IpAddr,
    (kind, code): (u8, u8),
    rest: u32,
) -> Option<()> {
    out.clear();
    let ip = ip.ok()?;
    let about_error = matches!(ip.transport, Transport::Icmp(icmp) if icmp.is_error());
    let redirect = matches!(ip.transport, Transport::Icmp(icmp) if icmp.v6 && icmp.kind == 137);
    if about_error || redirect || !ip.is_first() || !may_answer(&ip) {
        return None;
    }
    let longest = if ip.v6 { LONGEST_V6 - IPV6_HEADER } else { LONGEST_V4 - IPV4_HEADER } - 8;
    let quote = packet.get(..ip.total_len.min(longest).min(packet.len()))?;
    let protocol = if ip.v6 { ICMPV6 } else { ICMPV4 };
    let start = write_ip(out, from, ip.source, protocol, 8 + quote.len())?;
    out.extend_from_slice(&[kind, code, 0, 0]);
    out.extend_from_slice(&rest.to_be_bytes());
    out.extend_from_slice(quote);
    let pseudo = match (from, ip.source) {
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            checksum::pseudo_header(&from.octets(), &to.octets(), protocol, 8 + quote.len())
        }
        _ => 0,
    };
    let complete = !checksum::sum(&out[start..], pseudo);
    out[start + 2..start + 4].copy_from_slice(&complete.to_be_bytes());
    Some(())
}

/// Whether an answer to the source reaches exactly one host, which meant one host (RFC 1122 3.2.2).
pub(crate) fn may_answer(ip: &Ip) -> bool {
    is_one_host(ip.source) && is_one_host(ip.destination)
}

fn is_one_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => {
            let [first, ..] = a.octets();
            first != 0 && first != 127 && first < 224
        }
        IpAddr::V6(a) => !a.is_unspecified() && !a.is_loopback() && !a.is_multicast() && a.to_ipv4_mapped().is_none(),
    }
}

/// Replaces `out` by an IP header for `payload` bytes to come; where they begin. None if the families differ.
pub(crate) fn write_ip(out: &mut Vec<u8>, from: IpAddr, to: IpAddr, protocol: u8, payload: usize) -> Option<usize> {
    const TTL: u8 = 64;
    out.clear();
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total = u16::try_from(IPV4_HEADER + payload).ok()?;
            out.extend_from_slice(&[0x45, 0]);
            out.extend_from_slice(&total.to_be_bytes());
            out.extend_from_slice(&[0, 0, 0x40, 0, TTL, protocol, 0, 0]);
            out.extend_from_slice(&from.octets());
            out.extend_from_slice(&to.octets());
            let header = !checksum::sum(out, 0);
            out[10..12].copy_from_slice(&header.to_be_bytes());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            out.extend_from_slice(&[0x60, 0, 0, 0]);
            out.extend_from_slice(&u16::try_from(payload).ok()?.to_be_bytes());
            out.extend_from_slice(&[protocol, TTL]);
            out.extend_from_slice(&from.octets());
            out.extend_from_slice(&to.octets());
        }
        _ => return None,
    }
    Some(out.len())
}

#[cfg(test)]
mod tests;
