use super::*;
use crate::checksum;
use proptest::prelude::*;

pub(crate) const V4: ([u8; 4], [u8; 4]) = ([10, 0, 0, 1], [10, 0, 0, 2]);

/// A packet around `body`, which starts with the transport header and has its checksum at `checksum_at`.
pub(crate) fn packet(v6: bool, protocol: u8, checksum_at: usize, mut body: Vec<u8>) -> Vec<u8> {
    let mut from = [0xfd; 16];
    let mut to = [0xfc; 16];
    from[15] = 1;
    to[15] = 2;
    let mut out = Vec::new();
    let (from, to): (IpAddr, IpAddr) = if v6 { (from.into(), to.into()) } else { (V4.0.into(), V4.1.into()) };
    crate::icmp::write_ip(&mut out, from, to, protocol, body.len()).unwrap();
    let (source, destination) = if v6 { (8..24, 24..40) } else { (12..16, 16..20) };
    let pseudo = match (protocol, v6) {
        (ICMPV4, false) => 0,
        _ => checksum::pseudo_header(&out[source], &out[destination], protocol, body.len()),
    };
    let complete = !checksum::sum(&body, pseudo);
    body[checksum_at..checksum_at + 2].copy_from_slice(&complete.to_be_bytes());
    out.extend_from_slice(&body);
    out
}

pub(crate) fn tcp_packet(v6: bool, flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut body = vec![0x30, 0x39, 0, 80, 1, 2, 3, 4, 0x0a, 0x0b, 0x0c, 0x0d];
    body.extend_from_slice(&[((20 + options.len()) as u8 / 4) << 4, flags, 0x10, 0, 0, 0, 0, 0]);
    body.extend_from_slice(options);
    body.extend_from_slice(payload);
    packet(v6, TCP, 16, body)
}

pub(crate) fn udp_packet(v6: bool, payload: &[u8]) -> Vec<u8> {
    let mut body = vec![0x30, 0x39, 0, 53];
    body.extend_from_slice(&(8 + payload.len() as u16).to_be_bytes());
    body.extend_from_slice(&[0, 0]);
    body.extend_from_slice(payload);
    packet(v6, UDP, 6, body)
}

pub(crate) fn icmp_packet(v6: bool, kind: u8, code: u8, rest: &[u8]) -> Vec<u8> {
    let mut body = vec![kind, code, 0, 0];
    body.extend_from_slice(rest);
    packet(v6, if v6 { ICMPV6 } else { ICMPV4 }, 2, body)
}

fn extended(next: u8, extension: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = udp_packet(true, b"");
    out.truncate(IPV6_HEADER);
    out[6] = next;
    out.extend_from_slice(extension);
    out.extend_from_slice(body);
    let length = (out.len() - IPV6_HEADER) as u16;
    out[4..6].copy_from_slice(&length.to_be_bytes());
    out
}

#[test]
fn fields_of_both_families() {
    for v6 in [false, true] {
        let mut bytes = tcp_packet(v6, Tcp::SYN | Tcp::ACK, &[2, 4, 5, 0xb4], b"abc");
        bytes.extend_from_slice(b"padding");
        let ip = Ip::parse(&bytes).unwrap();
        assert_eq!(ip.total_len, bytes.len() - 7);
        assert_eq!(ip.ports(), Some((12345, 80)));
        assert_eq!(ip.ttl, 64);
        assert!(ip.is_first() && !ip.is_fragment() && ip.dont_fragment);
        let Transport::Tcp(tcp) = ip.transport else { panic!() };
        assert_eq!((tcp.sequence, tcp.acknowledgement), (0x0102_0304, 0x0a0b_0c0d));
        assert_eq!((tcp.header_len, tcp.payload, tcp.window), (24, 3, 4096));
        let echo = icmp_packet(v6, if v6 { 128 } else { 8 }, 0, &[7, 8, 0, 1]);
        let Transport::Icmp(icmp) = Ip::parse(&echo).unwrap().transport else { panic!() };
        assert!(icmp.is_echo_request() && !icmp.is_echo_reply() && !icmp.is_error());
        assert_eq!(icmp.id, 0x0708);
    }
}

#[test]
fn lengths_that_lie() {
    let good = udp_packet(false, b"payload");
    let with = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        edit(&mut bytes);
        Ip::parse(&bytes).unwrap_err()
    };
    assert_eq!(Ip::parse(&[]), Err(Malformed::Version));
    assert_eq!(with(&|b| b[0] = 0x55), Malformed::Version);
    assert_eq!(with(&|b| b[0] = 0x44), Malformed::HeaderLength);
    assert_eq!(with(&|b| b.truncate(19)), Malformed::HeaderLength);
    assert_eq!(with(&|b| b[3] = 19), Malformed::TotalLength);
    assert_eq!(with(&|b| b[2] = 1), Malformed::TotalLength);
    assert_eq!(with(&|b| b[25] = 7), Malformed::Transport);
    assert_eq!(with(&|b| b[25] = 99), Malformed::Transport);
    let mut tcp = tcp_packet(false, 16, &[], b"");
    tcp[32] = 4 << 4;
    assert_eq!(Ip::parse(&tcp), Err(Malformed::Transport));
    tcp[32] = 15 << 4;
    assert_eq!(Ip::parse(&tcp), Err(Malformed::Transport));
}

#[test]
fn options_of_ipv4() {
    let with = |options: [u8; 4]| {
        let mut bytes = udp_packet(false, b"x");
        bytes[0] = 0x46;
        bytes[3] += 4;
        bytes.splice(20..20, options);
        Ip::parse(&bytes)
    };
    assert_eq!(with([148, 4, 0, 0]).unwrap().ports(), Some((12345, 53)));
    assert_eq!(with([1, 1, 0, 9]).unwrap().header_len, 24);
    assert_eq!(with([7, 0, 0, 0]), Err(Malformed::Options));
    assert_eq!(with([7, 1, 0, 0]), Err(Malformed::Options));
    assert_eq!(with([7, 5, 0, 0]), Err(Malformed::Options));
    assert_eq!(with([1, 1, 1, 7]), Err(Malformed::Options));
    assert_eq!(with([131, 3, 4, 0]), Err(Malformed::SourceRoute));
    assert_eq!(with([1, 137, 3, 4]), Err(Malformed::SourceRoute));
}

#[test]
fn extension_headers() {
    let udp = &udp_packet(true, b"x")[IPV6_HEADER..];
    let chain = extended(0, &[60, 0, 1, 4, 0, 0, 0, 0, 17, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], udp);
    let ip = Ip::parse(&chain).unwrap();
    assert_eq!((ip.header_len, ip.protocol, ip.ports()), (64, 17, Some((12345, 53))));
    let lying = extended(60, &[17, 255, 1, 4, 0, 0, 0, 0], udp);
    assert_eq!(Ip::parse(&lying), Err(Malformed::Options));
    let routed = extended(43, &[17, 0, 0, 1, 0, 0, 0, 0], udp);
    assert_eq!(Ip::parse(&routed), Err(Malformed::SourceRoute));
    let endless = extended(60, &[60, 0, 1, 4, 0, 0, 0, 0].repeat(100), udp);
    assert_eq!(Ip::parse(&endless), Err(Malformed::Options));
    let two_fragments = extended(44, &[44, 0, 0, 0, 0, 0, 0, 9, 17, 0, 0, 0, 0, 0, 0, 9], udp);
    assert_eq!(Ip::parse(&two_fragments), Err(Malformed::Options));
    let atomic = Ip::parse(&extended(44, &[17, 0, 0, 0, 0, 0, 0, 9], udp)).unwrap();
    assert!(!atomic.is_fragment());
    assert_eq!(atomic.ports(), Some((12345, 53)));
    let first = Ip::parse(&extended(44, &[17, 0, 0, 1, 0, 0, 0, 9], udp)).unwrap();
    assert_eq!(first.fragment, Fragment { id: 9, offset: 0, more: true, id_at: Some(44) });
    let later = Ip::parse(&extended(44, &[17, 0, 0, 16, 0, 0, 0, 9], udp)).unwrap();
    assert_eq!((later.fragment.offset, later.transport), (16, Transport::Other));
    assert_eq!(Ip::parse(&extended(50, &[], &[1; 8])).unwrap().protocol, 50);
}

#[test]
fn fragments_that_attack() {
    let place = |mut bytes: Vec<u8>, place: u16| {
        bytes[6..8].copy_from_slice(&place.to_be_bytes());
        Ip::parse(&bytes)
    };
    assert_eq!(place(tcp_packet(false, 16, &[], b""), 1), Err(Malformed::Fragment));
    assert_eq!(place(udp_packet(false, b""), 0x1fff), Err(Malformed::Fragment));
    let mut tiny = tcp_packet(false, 2, &[], b"");
    tiny.truncate(28);
    tiny[3] = 28;
    assert_eq!(place(tiny, 0x2000), Err(Malformed::Fragment));
    assert_eq!(place(udp_packet(false, b""), 0x2001).unwrap().fragment.offset, 8);
}

#[test]
fn quotes_may_be_cut() {
    for v6 in [false, true] {
        let whole = tcp_packet(v6, 16, &[], b"hello");
        let header = Ip::parse(&whole).unwrap().header_len;
        let ip = Ip::parse_quoted(&whole[..header + 8]).unwrap();
        assert_eq!(ip.ports(), Some((12345, 80)));
        assert!(matches!(ip.transport, Transport::Tcp(tcp) if tcp.sequence == 0x0102_0304));
        assert_eq!(Ip::parse_quoted(&whole[..header + 7]), Err(Malformed::Transport));
        assert_eq!(Ip::parse_quoted(&whole[..header - 1]), Err(Malformed::HeaderLength));
    }
}

proptest! {
    #[test]
    fn any_bytes_parse_or_err(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), version in 3..8_u8, fix: bool) {
        if let Some(first) = bytes.first_mut() {
            *first = version << 4 | (*first & 7);
        }
        let length = bytes.len();
        if fix && length >= 6 {
            let (at, value) = if version == 4 { (2, length) } else { (4, length.saturating_sub(40)) };
            bytes[at..at + 2].copy_from_slice(&(value as u16).to_be_bytes());
        }
        if let Ok(ip) = Ip::parse(&bytes) {
            prop_assert!(ip.header_len <= ip.total_len && ip.total_len <= length);
            prop_assert!(Ip::parse_quoted(&bytes).is_ok());
        }
        let _ = Ip::parse_quoted(&bytes);
        let mut out = Vec::new();
        let _ = crate::tcp_reset(&mut out, &bytes);
        crate::clamp_mss(&mut bytes, false, 100);
        crate::finish_checksum(&mut bytes);
    }
}
