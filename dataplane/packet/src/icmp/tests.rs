use super::*;
use crate::ip::tests::{icmp_packet, tcp_packet, udp_packet};

fn from(v6: bool) -> IpAddr {
    if v6 {
        "fd00::9".parse().unwrap()
    } else {
        "192.0.2.9".parse().unwrap()
    }
}

fn check(out: &[u8]) -> (Ip, u8, u8, u32) {
    let ip = Ip::parse(out).unwrap();
    assert_eq!(ip.total_len, out.len());
    let body = &out[ip.header_len..];
    let pseudo = if ip.v6 {
        checksum::pseudo_header(&out[8..24], &out[24..40], 58, body.len())
    } else {
        assert_eq!(checksum::sum(&out[..20], 0), 0xffff);
        0
    };
    assert_eq!(checksum::sum(body, pseudo), 0xffff);
    (ip, body[0], body[1], u32::from_be_bytes([body[4], body[5], body[6], body[7]]))
}

#[test]
fn kinds_and_codes() {
    let mut out = vec![9; 3];
    for v6 in [false, true] {
        let packet = udp_packet(v6, b"question");
        let (from, asked) = (from(v6), Ip::parse(&packet).unwrap());
        for (why, v4_code, v6_code) in [
            (Unreachable::Net, 0, 0),
            (Unreachable::Host, 1, 3),
            (Unreachable::Port, 3, 4),
            (Unreachable::Prohibited, 13, 1),
        ] {
            unreachable(&mut out, &packet, from, why).unwrap();
            let (ip, kind, code, _) = check(&out);
            assert_eq!((ip.source, ip.destination), (from, asked.source));
            assert_eq!((kind, code), if v6 { (1, v6_code) } else { (3, v4_code) });
            assert_eq!(out[ip.header_len + 8..], packet);
        }
        too_big(&mut out, &packet, from, 1420).unwrap();
        let (_, kind, code, mtu) = check(&out);
        assert_eq!((kind, code, mtu), if v6 { (2, 0, 1420) } else { (3, 4, 1420) });
        time_exceeded(&mut out, &packet, from).unwrap();
        assert_eq!(check(&out).1, if v6 { 3 } else { 11 });
    }
}

#[test]
fn quotes_no_more_than_allowed() {
    let mut out = Vec::new();
    for (v6, longest) in [(false, 576), (true, 1280)] {
        let packet = tcp_packet(v6, 16, &[], &[7; 60_000]);
        unreachable(&mut out, &packet, from(v6), Unreachable::Host).unwrap();
        check(&out);
        assert_eq!(out.len(), longest);
    }
}

#[test]
fn silent_where_it_must_be() {
    let mut out = Vec::new();
    let mut refused = |packet: &[u8], from: IpAddr| {
        assert_eq!(unreachable(&mut out, packet, from, Unreachable::Host), None);
        assert!(out.is_empty());
    };
    refused(b"", from(false));
    refused(&[0; 40], from(false));
    refused(&udp_packet(true, b""), from(false));
    refused(&icmp_packet(false, 3, 1, &[0; 32]), from(false));
    refused(&icmp_packet(false, 5, 1, &[0; 32]), from(false));
    refused(&icmp_packet(true, 1, 0, &[0; 60]), from(true));
    refused(&icmp_packet(true, 137, 0, &[0; 60]), from(true));
    let mut later = udp_packet(false, b"12345678");
    later[7] = 9;
    refused(&later, from(false));
    for source in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 5], [255, 255, 255, 255]] {
        let mut packet = udp_packet(false, b"");
        packet[12..16].copy_from_slice(&source);
        refused(&packet, from(false));
    }
    for source in ["::", "::1", "ff02::1", "::ffff:10.0.0.1"] {
        let mut packet = udp_packet(true, b"");
        packet[8..24].copy_from_slice(&source.parse::<std::net::Ipv6Addr>().unwrap().octets());
        refused(&packet, from(true));
    }
    let mut broadcast = udp_packet(false, b"");
    broadcast[16..20].fill(255);
    refused(&broadcast, from(false));
}

#[test]
fn an_echo_is_answered_and_df_decides() {
    let mut out = Vec::new();
    let echo = icmp_packet(false, 8, 0, &[0, 1, 0, 1]);
    assert!(unreachable(&mut out, &echo, from(false), Unreachable::Host).is_some());
    let mut packet = udp_packet(false, b"");
    packet[6] = 0;
    assert_eq!(too_big(&mut out, &packet, from(false), 1420), None);
}
