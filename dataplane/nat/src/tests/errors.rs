use super::bytes::{address, echo, ends, icmp, make_partial, quoted_ends, raw, tcp, udp, verify, Segment};
use super::world::{client, nat, nat_with, pass, policy, server, tcp_flow, udp_flow, vip, CLIENT_ISN, EDGE};
use super::world::{OTHER_EDGE, SERVER_ISN, START};
use crate::{Forward, Nat, Reason, Reverse};
use braid_packet::Tcp;
use std::net::{IpAddr, SocketAddr};

fn unreachable(from: IpAddr, to: IpAddr, quote: &[u8]) -> Vec<u8> {
    icmp(from, to, if from.is_ipv6() { 1 } else { 3 }, 1, [0; 4], quote)
}

fn router(v6: bool) -> IpAddr {
    address(if v6 { "fd93::ffff" } else { "10.93.0.254" })
}

fn back(nat: &mut Nat, packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let verdict = nat.reverse(&mut packet, false, START);
    assert_eq!(verdict, Reverse::Pass { edge: EDGE, set: 2, app: 0, fast: None });
    verify(&packet);
    packet
}

fn unmatched(nat: &mut Nat, packet: &[u8], reason: Reason) {
    let mut copy = packet.to_vec();
    assert_eq!(nat.reverse(&mut copy, false, START), Reverse::Drop(reason));
    assert_eq!(copy, packet);
}

#[test]
fn from_the_server_about_each_protocol() {
    for v6 in [false, true] {
        let mut nat = nat();
        let (from, to) = (client(v6, 4000), vip(v6, 80));
        let snat = udp_flow(&mut nat, from, to, START);
        tcp_flow(&mut nat, from, to, START);
        let data =
            Segment { flags: Tcp::ACK, sequence: CLIENT_ISN.wrapping_add(1), payload: b"get", ..Segment::default() };
        pass(&mut nat, &tcp(from, to, &data), START);
        pass(&mut nat, &echo(from.ip(), to.ip(), false, 4000, b""), START);
        pass(&mut nat, &raw(from.ip(), to.ip(), 47, vec![0; 20]), START);
        let target = server(v6, 80);
        for (mut quote, ports) in [
            (udp(snat, target, &[7; 40]), (4000, 80)),
            (tcp(snat, target, &data), (4000, 80)),
            (echo(snat.ip(), target.ip(), false, 4000, b"ping"), (4000, 4000)),
            (raw(snat.ip(), target.ip(), 47, vec![0; 20]), (0, 0)),
        ] {
            let expected = (SocketAddr::new(from.ip(), ports.0), SocketAddr::new(to.ip(), ports.1));
            // Whole, and cut to the 8 bytes that RFC 792 asks for.
            for _ in 0..2 {
                let out = back(&mut nat, &unreachable(target.ip(), snat.ip(), &quote));
                assert_eq!((ends(&out).0.ip(), ends(&out).1.ip()), (to.ip(), from.ip()));
                assert_eq!(quoted_ends(&out), expected);
                quote.truncate(if v6 { 48 } else { 28 });
            }
        }
    }
}

#[test]
fn from_a_router_before_the_server() {
    for v6 in [false, true] {
        let mut policy = policy();
        for named in [false, true] {
            policy.router_v4 = named.then(|| "198.51.100.1".parse().unwrap());
            policy.router_v6 = named.then(|| "2001:db8:1::1".parse().unwrap());
            let mut nat = nat_with(policy.clone());
            let snat = udp_flow(&mut nat, client(v6, 4000), vip(v6, 80), START);
            let quote = udp(snat, server(v6, 80), b"question");
            let out = back(&mut nat, &icmp(router(v6), snat.ip(), if v6 { 3 } else { 11 }, 0, [0; 4], &quote));
            let expected = match (named, v6) {
                (false, _) => vip(v6, 0).ip(),
                (true, false) => address("198.51.100.1"),
                (true, true) => address("2001:db8:1::1"),
            };
            assert_eq!(ends(&out).0.ip(), expected);
            assert_eq!(quoted_ends(&out), (client(v6, 4000), vip(v6, 80)));
        }
    }
}

#[test]
fn from_the_client_about_an_answer() {
    for v6 in [false, true] {
        let mut nat = nat();
        let (from, to) = (client(v6, 4000), vip(v6, 80));
        let snat = udp_flow(&mut nat, from, to, START);
        let hop = if v6 { address("2001:db8::1") } else { address("192.0.2.1") };
        for source in [from.ip(), hop] {
            let mut packet = unreachable(source, to.ip(), &udp(to, from, b"answer"));
            assert_eq!(nat.forward(&mut packet, false, EDGE, START), Forward::Pass);
            verify(&packet);
            assert_eq!((ends(&packet).0.ip(), ends(&packet).1.ip()), (snat.ip(), server(v6, 80).ip()));
            assert_eq!(quoted_ends(&packet), (server(v6, 80), snat));
        }
        let mut packet = unreachable(from.ip(), to.ip(), &udp(to, from, b"answer"));
        assert_eq!(nat.forward(&mut packet, false, OTHER_EDGE, START), Forward::Drop(Reason::WrongEdge));
        let mut packet = unreachable(from.ip(), to.ip(), &udp(to, client(v6, 4001), b"answer"));
        assert_eq!(nat.forward(&mut packet, false, EDGE, START), Forward::Drop(Reason::IcmpUnmatched));
        let mut packet = unreachable(server(v6, 0).ip(), to.ip(), &udp(to, from, b"answer"));
        assert_eq!(nat.forward(&mut packet, false, EDGE, START), Forward::Drop(Reason::BadSource));
    }
}

#[test]
fn partial_errors_of_ipv6() {
    let mut nat = nat();
    let snat = udp_flow(&mut nat, client(true, 4000), vip(true, 80), START);
    let mut packet = unreachable(server(true, 0).ip(), snat.ip(), &udp(snat, server(true, 80), b"question"));
    make_partial(&mut packet);
    assert!(matches!(nat.reverse(&mut packet, true, START), Reverse::Pass { .. }));
    assert!(braid_packet::finish_checksum(&mut packet));
    verify(&packet);
}

#[test]
fn what_quotes_no_flow_or_lies() {
    for v6 in [false, true] {
        let mut nat = nat();
        let snat = udp_flow(&mut nat, client(v6, 4000), vip(v6, 80), START);
        let target = server(v6, 80);
        let quote = udp(snat, target, b"question");
        let mut reject = |packet: &[u8], reason| unmatched(&mut nat, packet, reason);
        let error = |quote: &[u8]| unreachable(target.ip(), snat.ip(), quote);
        reject(&error(&udp(snat, server(v6, 81), b"question")), Reason::IcmpUnmatched);
        reject(&error(&udp(target, snat, b"question")), Reason::IcmpUnmatched);
        reject(&error(&quote[..quote.len() - 16]), Reason::IcmpUnmatched);
        reject(&error(&[]), Reason::IcmpUnmatched);
        reject(&error(&udp(client(v6, 4000), vip(v6, 80), b"question")), Reason::IcmpUnmatched);
        let nested = unreachable(snat.ip(), target.ip(), &udp(target, snat, b"answer"));
        reject(&error(&nested), Reason::IcmpUnmatched);
        let mut damaged = error(&quote);
        *damaged.last_mut().unwrap() ^= 1;
        reject(&damaged, Reason::IcmpChecksum);
        let redirect = icmp(target.ip(), snat.ip(), if v6 { 137 } else { 5 }, 0, [0; 4], &quote);
        reject(&redirect, Reason::IcmpType);
    }
}

#[test]
fn only_segments_under_way_are_quoted() {
    let mut nat = nat();
    let (snat, target) = tcp_flow(&mut nat, client(false, 4000), vip(false, 80), START);
    let sent = CLIENT_ISN.wrapping_add(1);
    let data = Segment { flags: Tcp::ACK, sequence: sent, payload: &[0; 1000], ..Segment::default() };
    pass(&mut nat, &tcp(client(false, 4000), vip(false, 80), &data), START);
    let error = |sequence| {
        let quote = tcp(snat, target, &Segment { sequence, ..data });
        icmp(target.ip(), snat.ip(), 3, 4, [0, 0, 5, 0], &quote[..28])
    };
    for sequence in [sent, sent.wrapping_add(999), sent.wrapping_add(1000)] {
        back(&mut nat, &error(sequence));
    }
    for sequence in [sent.wrapping_sub(1), sent.wrapping_add(1001), sent.wrapping_add(1 << 31), SERVER_ISN + 9000] {
        unmatched(&mut nat, &error(sequence), Reason::IcmpUnmatched);
    }
}

#[test]
fn path_mtu() {
    for v6 in [false, true] {
        let mut nat = nat();
        let snat = udp_flow(&mut nat, client(v6, 4000), vip(v6, 80), START);
        let quote = udp(snat, server(v6, 80), &[0; 100]);
        let (kind, code) = if v6 { (2, 0) } else { (3, 4) };
        let error = |rest| icmp(router(v6), snat.ip(), kind, code, rest, &quote);
        let promised = |nat: &mut Nat, mtu: u16| {
            let [a, b] = mtu.to_be_bytes();
            let out = back(nat, &error([0, 0, a, b]));
            let at = if v6 { 46 } else { 26 };
            u16::from_be_bytes([out[at], out[at + 1]])
        };
        assert_eq!(promised(&mut nat, 1300), 1300);
        assert_eq!(promised(&mut nat, 9000), 1404);
        let too_small = if v6 { 1279 } else { 67_u16 }.to_be_bytes();
        unmatched(&mut nat, &error([0, 0, too_small[0], too_small[1]]), Reason::IcmpUnmatched);
    }
}

#[test]
fn an_error_ends_no_flow() {
    let mut nat = nat();
    let snat = udp_flow(&mut nat, client(false, 4000), vip(false, 80), START);
    back(&mut nat, &unreachable(server(false, 0).ip(), snat.ip(), &udp(snat, server(false, 80), b"")));
    assert_eq!(udp_flow(&mut nat, client(false, 4000), vip(false, 80), START), snat);
    assert_eq!(nat.counters().created, 1);
}
