//! Packets made and verified byte by byte.

use braid_packet::ip::{ICMPV4, ICMPV6, TCP, UDP};
use braid_packet::{Ip, Transport};
use std::net::{IpAddr, SocketAddr};

pub(super) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

/// Complement sum the slow way: word by word with end-around carry.
fn slow_sum(parts: &[&[u8]]) -> u16 {
    let mut all = parts.concat();
    if all.len() % 2 == 1 {
        all.push(0);
    }
    all.chunks(2).fold(0_u16, |sum, word| {
        let (sum, carry) = sum.overflowing_add(u16::from_be_bytes([word[0], word[1]]));
        sum + u16::from(carry)
    })
}

fn pseudo(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Vec<u8> {
    if source.is_ipv4() && protocol == ICMPV4 {
        return Vec::new();
    }
    let tail = [&(length as u32).to_be_bytes()[..], &[0, 0, 0, protocol]].concat();
    [octets(source), octets(destination), tail].concat()
}

fn checksum_at(protocol: u8) -> Option<usize> {
    match protocol {
        TCP => Some(16),
        UDP => Some(6),
        ICMPV4 | ICMPV6 => Some(2),
        _ => None,
    }
}

fn header(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Vec<u8> {
    let length = length as u16;
    if source.is_ipv6() {
        let mut out = vec![0x60, 0, 0, 0, (length >> 8) as u8, length as u8, protocol, 64];
        out.extend(octets(source));
        out.extend(octets(destination));
        return out;
    }
    let total = (length + 20).to_be_bytes();
    let mut out = vec![0x45, 0, total[0], total[1], 0x12, 0x34, 0x40, 0, 64, protocol, 0, 0];
    out.extend(octets(source));
    out.extend(octets(destination));
    fix_header(&mut out);
    out
}

fn fix_header(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let sum = !slow_sum(&[&packet[..20]]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

pub(super) fn raw(source: IpAddr, destination: IpAddr, protocol: u8, mut body: Vec<u8>) -> Vec<u8> {
    if let Some(at) = checksum_at(protocol) {
        body[at..at + 2].fill(0);
        let pseudo = pseudo(source, destination, protocol, body.len());
        let mut sum = !slow_sum(&[&pseudo, &body]);
        if protocol == UDP && sum == 0 {
            sum = 0xffff;
        }
        body[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    [header(source, destination, protocol, body.len()), body].concat()
}

pub(super) fn udp(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut body = [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat();
    body.extend((payload.len() as u16 + 8).to_be_bytes());
    body.extend([0, 0]);
    body.extend(payload);
    raw(source.ip(), destination.ip(), UDP, body)
}

#[derive(Clone, Copy, Default)]
pub(super) struct Segment<'a> {
    pub(super) flags: u8,
    pub(super) sequence: u32,
    pub(super) acknowledgement: u32,
    pub(super) window: u16,
    pub(super) options: &'a [u8],
    pub(super) payload: &'a [u8],
}

pub(super) fn tcp(source: SocketAddr, destination: SocketAddr, segment: &Segment<'_>) -> Vec<u8> {
    let mut body = [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat();
    body.extend(segment.sequence.to_be_bytes());
    body.extend(segment.acknowledgement.to_be_bytes());
    body.extend([((20 + segment.options.len()) as u8 / 4) << 4, segment.flags]);
    body.extend(segment.window.to_be_bytes());
    body.extend([0, 0, 0, 0]);
    body.extend(segment.options);
    body.extend(segment.payload);
    raw(source.ip(), destination.ip(), TCP, body)
}

pub(super) fn icmp(source: IpAddr, destination: IpAddr, kind: u8, code: u8, rest: [u8; 4], data: &[u8]) -> Vec<u8> {
    let protocol = if source.is_ipv6() { ICMPV6 } else { ICMPV4 };
    let body = [&[kind, code, 0, 0], &rest[..], data].concat();
    raw(source, destination, protocol, body)
}

pub(super) fn echo(source: IpAddr, destination: IpAddr, reply: bool, id: u16, data: &[u8]) -> Vec<u8> {
    let kind = match (source.is_ipv6(), reply) {
        (false, false) => 8,
        (false, true) => 0,
        (true, false) => 128,
        (true, true) => 129,
    };
    let [a, b] = id.to_be_bytes();
    icmp(source, destination, kind, 0, [a, b, 0, 1], data)
}

/// Fragments of `size` payload bytes (a multiple of 8), in order.
pub(super) fn fragment(packet: &[u8], size: usize, id: u16) -> Vec<Vec<u8>> {
    let v6 = packet[0] >> 4 == 6;
    let (header, body) = packet.split_at(if v6 { 40 } else { 20 });
    let count = body.len().div_ceil(size);
    let piece = |(n, piece): (usize, &[u8])| {
        let place = ((n * size) as u16, n + 1 < count);
        let mut out = header.to_vec();
        if v6 {
            let length = (piece.len() + 8) as u16;
            out[4..6].copy_from_slice(&length.to_be_bytes());
            out.extend([out[6], 0]);
            out[6] = 44;
            out.extend((place.0 | u16::from(place.1)).to_be_bytes());
            out.extend([0xab, 0xcd]);
            out.extend(id.to_be_bytes());
        } else {
            out[2..4].copy_from_slice(&((piece.len() + 20) as u16).to_be_bytes());
            out[4..6].copy_from_slice(&id.to_be_bytes());
            out[6..8].copy_from_slice(&((place.0 / 8) | u16::from(place.1) << 13).to_be_bytes());
            fix_header(&mut out);
        }
        out.extend(piece);
        out
    };
    body.chunks(size).enumerate().map(piece).collect()
}

/// The datagram that the fragments are of; panics unless they are complete and of one datagram.
pub(super) fn reassemble(fragments: &[Vec<u8>]) -> Vec<u8> {
    let mut parsed: Vec<(Ip, &Vec<u8>)> = fragments.iter().map(|f| (Ip::parse(f).unwrap(), f)).collect();
    parsed.sort_by_key(|(ip, _)| ip.fragment.offset);
    let (first, head) = parsed[0];
    let mut body = Vec::new();
    for (ip, bytes) in &parsed {
        assert_eq!((ip.source, ip.destination, ip.fragment.id), (first.source, first.destination, first.fragment.id));
        assert_eq!(ip.fragment.offset, body.len());
        if !ip.v6 {
            assert_eq!(slow_sum(&[&bytes[..20]]), 0xffff);
        }
        body.extend(&bytes[ip.header_len..ip.total_len]);
    }
    assert!(!parsed.last().unwrap().0.fragment.more);
    let protocol = if first.v6 { head[40] } else { first.protocol };
    [header(first.source, first.destination, protocol, body.len()), body].concat()
}

/// Turns the transport checksum into the partial one that offload leaves.
pub(super) fn make_partial(packet: &mut [u8]) {
    let ip = Ip::parse(packet).unwrap();
    let pseudo = pseudo(ip.source, ip.destination, ip.protocol, ip.transport_len());
    let at = ip.header_len + checksum_at(ip.protocol).unwrap();
    packet[at..at + 2].copy_from_slice(&slow_sum(&[&pseudo]).to_be_bytes());
}

/// Panics unless every checksum of the packet is right, also those of a packet quoted in an ICMP error.
pub(super) fn verify(packet: &[u8]) {
    let ip = Ip::parse(packet).unwrap();
    if !ip.v6 {
        assert_eq!(slow_sum(&[&packet[..ip.header_len]]), 0xffff, "IPv4 header checksum");
    }
    if ip.is_fragment() {
        return;
    }
    verify_transport(&ip, &packet[ip.header_len..ip.total_len]);
    if matches!(ip.transport, Transport::Icmp(icmp) if icmp.is_error()) {
        let quote = &packet[ip.header_len + 8..ip.total_len];
        let quoted = Ip::parse_quoted(quote).unwrap();
        if !ip.v6 {
            assert_eq!(slow_sum(&[&quote[..quoted.header_len]]), 0xffff, "quoted IPv4 header checksum");
        }
        if quoted.total_len == quote.len() {
            verify_transport(&quoted, &quote[quoted.header_len..]);
        }
    }
}

fn verify_transport(ip: &Ip, body: &[u8]) {
    if matches!(ip.transport, Transport::Udp { no_checksum: true, .. }) || checksum_at(ip.protocol).is_none() {
        return;
    }
    let pseudo = pseudo(ip.source, ip.destination, ip.protocol, body.len());
    assert_eq!(slow_sum(&[&pseudo, body]), 0xffff, "transport checksum of {ip:?}");
}

/// Source and destination; the ports are 0 without ports, the identifier for echo.
pub(super) fn ends(packet: &[u8]) -> (SocketAddr, SocketAddr) {
    let ip = Ip::parse(packet).unwrap();
    let (a, b) = ports(&ip);
    (SocketAddr::new(ip.source, a), SocketAddr::new(ip.destination, b))
}

pub(super) fn quoted_ends(packet: &[u8]) -> (SocketAddr, SocketAddr) {
    let ip = Ip::parse(packet).unwrap();
    let quoted = Ip::parse_quoted(&packet[ip.header_len + 8..]).unwrap();
    let (a, b) = ports(&quoted);
    (SocketAddr::new(quoted.source, a), SocketAddr::new(quoted.destination, b))
}

fn ports(ip: &Ip) -> (u16, u16) {
    match ip.transport {
        Transport::Icmp(icmp) => (icmp.id, icmp.id),
        _ => ip.ports().unwrap_or((0, 0)),
    }
}
