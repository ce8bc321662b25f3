use super::bytes::{address, echo, ends, icmp, raw, tcp, udp, verify, Segment};
use super::world::{client, nat, policy, server, udp_flow, vip, EDGE, OTHER_EDGE, START};
use crate::{Forward, Nat, Reason, Reverse};
use braid_packet::{Ip, Tcp, Time, Transport};
use std::net::SocketAddr;

/// Type and code of the ICMP error that a client gets.
fn refused(nat: &mut Nat, packet: &[u8], reason: Reason) -> (u8, u8) {
    let mut copy = packet.to_vec();
    let before = nat.counters().refused(reason);
    assert_eq!(nat.forward(&mut copy, false, EDGE, START), Forward::Reply);
    assert_eq!(copy, packet, "a refused packet was changed");
    assert_eq!(nat.counters().refused(reason), before + 1);
    verify(nat.reply());
    let (asked, answer) = (Ip::parse(packet).unwrap(), Ip::parse(nat.reply()).unwrap());
    assert_eq!((answer.source, answer.destination), (asked.destination, asked.source));
    match answer.transport {
        Transport::Icmp(icmp) => (icmp.kind, icmp.code),
        other => panic!("{other:?}"),
    }
}

fn dropped(nat: &mut Nat, packet: &[u8], edge: u16, reason: Reason) {
    let mut copy = packet.to_vec();
    let flows = nat.len();
    assert_eq!(nat.forward(&mut copy, false, edge, START), Forward::Drop(reason), "{:?}", Ip::parse(packet));
    assert_eq!((copy.as_slice(), nat.len()), (packet, flows));
}

#[test]
fn sources_that_no_client_has() {
    let mut nat = nat();
    let v4 = [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "10.91.1.130",
        "10.91.2.131",
        "10.93.0.10",
        "10.93.0.128",
        "10.93.0.131",
    ];
    let v6 = [
        "::",
        "::1",
        "::ffff:192.0.2.7",
        "::10.0.0.1",
        "fe80::1",
        "ff02::1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::1",
        "fd91::130",
        "fd93::10",
        "fd93::1:3",
    ];
    for text in v4.into_iter().chain(v6) {
        let from = SocketAddr::new(address(text), 4000);
        let v6 = from.is_ipv6();
        let syn = Segment { flags: Tcp::SYN, ..Segment::default() };
        for packet in
            [udp(from, vip(v6, 9), b""), tcp(from, vip(v6, 9), &syn), echo(from.ip(), vip(v6, 0).ip(), false, 1, b"")]
        {
            dropped(&mut nat, &packet, EDGE, Reason::BadSource);
        }
    }
    let both =
        udp(SocketAddr::new(address("::ffff:192.0.2.7"), 4000), SocketAddr::new(address("::ffff:10.91.1.130"), 9), b"");
    udp_flow(&mut nat, client(false, 4000), vip(false, 9), START);
    dropped(&mut nat, &both, EDGE, Reason::BadSource);
}

#[test]
fn an_edge_speaks_for_its_own_vips_only() {
    let mut nat = nat();
    let packet = udp(client(false, 4000), vip(false, 9), b"");
    dropped(&mut nat, &packet, OTHER_EDGE, Reason::WrongEdge);
    udp_flow(&mut nat, client(false, 4000), vip(false, 9), START);
    dropped(&mut nat, &packet, OTHER_EDGE, Reason::WrongEdge);
}

#[test]
fn destinations_and_ports_not_offered() {
    let mut nat = nat();
    for (v6, host, port, prohibited) in [(false, (3, 1), (3, 3), (3, 13)), (true, (1, 3), (1, 4), (1, 1))] {
        let unknown = if v6 { "fd91::99" } else { "10.91.1.99" };
        let packet = udp(client(v6, 4000), SocketAddr::new(address(unknown), 9), b"");
        assert_eq!(refused(&mut nat, &packet, Reason::UnknownVip), host);
        let second = address(if v6 { "fd91::131" } else { "10.91.1.131" });
        let to = |port| SocketAddr::new(second, port);
        let syn = Segment { flags: Tcp::SYN, ..Segment::default() };
        assert_eq!(refused(&mut nat, &udp(client(v6, 4000), to(80), b""), Reason::PortRefused), port);
        assert_eq!(refused(&mut nat, &tcp(client(v6, 4000), to(53), &syn), Reason::PortRefused), port);
        let ping = echo(client(v6, 0).ip(), second, false, 1, b"");
        assert_eq!(refused(&mut nat, &ping, Reason::PortRefused), prohibited);
        let gre = raw(client(v6, 0).ip(), second, 47, vec![0; 8]);
        assert_eq!(refused(&mut nat, &gre, Reason::PortRefused), prohibited);
    }
    assert!(nat.is_empty());
    assert_eq!(nat.counters().replies, 10);
}

#[test]
fn no_target_is_said() {
    let mut policy = policy();
    policy.applications[0].targets[0].healthy = false;
    policy.applications[0].targets[1].weight = 0;
    let mut nat = super::world::nat_with(policy);
    assert_eq!(refused(&mut nat, &udp(client(false, 4000), vip(false, 9), b""), Reason::NoTarget), (3, 1));
    assert_eq!(refused(&mut nat, &udp(client(true, 4000), vip(true, 9), b""), Reason::NoTarget), (1, 3));
}

#[test]
fn mid_stream_tcp_gets_a_reset() {
    let mut nat = nat();
    for flags in [Tcp::ACK, Tcp::FIN | Tcp::ACK, Tcp::SYN | Tcp::ACK, 0, Tcp::SYN | Tcp::FIN] {
        let segment = Segment { flags, sequence: 77, acknowledgement: 99, ..Segment::default() };
        let mut packet = tcp(client(false, 4000), vip(false, 80), &segment);
        assert_eq!(nat.forward(&mut packet, false, EDGE, START), Forward::Reply);
        verify(nat.reply());
        assert_eq!(ends(nat.reply()), (vip(false, 80), client(false, 4000)));
        let Transport::Tcp(tcp) = Ip::parse(nat.reply()).unwrap().transport else { panic!() };
        assert!(tcp.has(Tcp::RST));
    }
    let segment = Segment { flags: Tcp::RST, ..Segment::default() };
    dropped(&mut nat, &tcp(client(false, 4000), vip(false, 80), &segment), EDGE, Reason::NoFlow);
    assert!(nat.is_empty());
}

#[test]
fn servers_without_a_flow() {
    let mut nat = nat();
    let snat = SocketAddr::new(address("10.93.0.129"), 4000);
    let mut reverse = |packet: Vec<u8>| {
        let mut copy = packet.clone();
        let verdict = nat.reverse(&mut copy, false, START);
        assert_eq!(copy, packet);
        (verdict, nat.reply().to_vec())
    };
    let data = Segment { flags: Tcp::ACK, ..Segment::default() };
    let (verdict, reply) = reverse(tcp(server(false, 80), snat, &data));
    assert_eq!(verdict, Reverse::Reply);
    assert_eq!(ends(&reply), (snat, server(false, 80)));
    let no_flow = Reverse::Drop(Reason::NoFlow);
    let elsewhere = SocketAddr::new(address("10.93.0.200"), 4000);
    assert_eq!(reverse(tcp(server(false, 80), elsewhere, &data)).0, no_flow);
    assert_eq!(reverse(udp(server(false, 80), snat, b"")).0, no_flow);
    assert_eq!(reverse(echo(server(false, 0).ip(), snat.ip(), true, 1, b"")).0, no_flow);
    assert_eq!(reverse(raw(server(false, 0).ip(), snat.ip(), 47, vec![0; 4])).0, no_flow);
    let request = echo(server(false, 0).ip(), snat.ip(), false, 1, b"");
    assert_eq!(reverse(request).0, Reverse::Drop(Reason::IcmpType));
}

#[test]
fn a_servers_answer_from_elsewhere_is_no_answer() {
    let mut nat = nat();
    let snat = udp_flow(&mut nat, client(false, 4000), vip(false, 9), START);
    for from in [server(false, 10), SocketAddr::new(address("10.93.0.11"), 9), vip(false, 9), client(false, 9)] {
        let mut packet = udp(from, snat, b"");
        assert_eq!(nat.reverse(&mut packet, false, START), Reverse::Drop(Reason::NoFlow));
    }
}

#[test]
fn icmp_that_is_neither_echo_nor_error() {
    let mut nat = nat();
    for (v6, kinds) in [(false, &[0, 4, 5, 9, 10, 13, 14, 17, 42][..]), (true, &[0, 5, 100, 129, 130, 133, 135, 137])] {
        for &kind in kinds {
            let packet = icmp(client(v6, 0).ip(), vip(v6, 0).ip(), kind, 0, [0; 4], &[0; 64]);
            dropped(&mut nat, &packet, EDGE, Reason::IcmpType);
        }
    }
}

#[test]
fn answers_are_limited() {
    let mut nat = nat();
    let to = SocketAddr::new(address("10.91.1.131"), 9);
    let mut replies = 0;
    for port in 1..=10_000 {
        let mut packet = udp(client(false, port), to, b"");
        replies += u64::from(nat.forward(&mut packet, false, EDGE, START) == Forward::Reply);
    }
    assert!((100..1000).contains(&replies), "{replies}");
    assert_eq!(nat.counters().replies, replies);
    assert_eq!(nat.counters().replies_suppressed, 10_000 - replies);
    let mut packet = udp(client(false, 1), to, b"");
    assert_eq!(nat.forward(&mut packet, false, EDGE, START.after(Time::SECOND)), Forward::Reply);
}

#[test]
fn labels_are_unique() {
    let labels: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|r| r.as_str()).collect();
    assert_eq!(labels.len(), Reason::ALL.len());
    assert!(Reason::ALL.iter().enumerate().all(|(n, reason)| *reason as usize == n));
}
