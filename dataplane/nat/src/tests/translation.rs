use super::bytes::{address, echo, ends, make_partial, raw, tcp, udp, verify, Segment};
use super::world::{client, nat, pass, pass_back, policy, server, tcp_flow, udp_flow, vip, CLIENTS, EDGE};
use super::world::{OTHER_EDGE, SERVERS, START, VIPS};
use crate::{Forward, Reverse};
use braid_packet::{finish_checksum, Ip, Tcp};
use std::net::SocketAddr;

#[test]
fn udp_and_tcp_there_and_back() {
    for v6 in [false, true] {
        let mut nat = nat();
        let pool = policy().snat[usize::from(v6)];
        let snat = udp_flow(&mut nat, client(v6, 4000), vip(v6, 9), START);
        assert!(pool.contains(snat.ip()));
        assert_eq!(snat.port(), 4000);
        let (again, target) = tcp_flow(&mut nat, client(v6, 4000), vip(v6, 9), START);
        assert_eq!((again, target), (snat, server(v6, 9)));
        assert_eq!(nat.len(), 2);
    }
}

#[test]
fn the_verdict_names_edge_set_and_application() {
    let mut nat = nat();
    let to = SocketAddr::new(address("10.91.2.131"), 80);
    let syn = Segment { flags: Tcp::SYN, ..Segment::default() };
    let mut packet = tcp(client(false, 4000), to, &syn);
    assert_eq!(nat.forward(&mut packet, false, OTHER_EDGE, START), Forward::Pass);
    let (snat, target) = ends(&packet);
    assert_eq!(target, SocketAddr::new(address("10.93.0.20"), 8080));
    let flags = Tcp::SYN | Tcp::ACK;
    let mut back = tcp(target, snat, &Segment { flags, acknowledgement: 1, ..Segment::default() });
    let verdict = nat.reverse(&mut back, false, START);
    assert_eq!(verdict, Reverse::Pass { edge: OTHER_EDGE, set: 3, app: 1, fast: None });
    assert_eq!(ends(&back), (to, client(false, 4000)));
    assert_eq!(nat.flows_by_app(), [(1, 1)]);
    let flow = &nat.flows(10, START)[0];
    assert_eq!((flow.client, flow.vip, flow.snat, flow.target), (client(false, 4000), to, snat, target));
    assert_eq!((flow.app, flow.edge, flow.state, flow.protocol), (1, OTHER_EDGE, "syn_received", 6));
    assert_eq!((flow.packets_in, flow.bytes_in, flow.packets_out, flow.bytes_out), (1, 40, 1, 40));
}

#[test]
fn echo_by_identifier() {
    for v6 in [false, true] {
        let mut nat = nat();
        let (from, to) = (client(v6, 0).ip(), vip(v6, 0).ip());
        let (snat, target) = pass(&mut nat, &echo(from, to, false, 4242, b"ping"), START);
        assert_eq!((target.ip(), snat.port()), (server(v6, 0).ip(), 4242));
        let back = echo(target.ip(), snat.ip(), true, snat.port(), b"ping");
        let (source, destination) = pass_back(&mut nat, &back, START);
        assert_eq!((source.ip(), destination), (to, SocketAddr::new(from, 4242)));
        // Identifiers below the range are replaced.
        let (snat, _) = pass(&mut nat, &echo(from, to, false, 3, b"ping"), START);
        assert!(snat.port() >= 1024);
        let back = echo(target.ip(), snat.ip(), true, snat.port(), b"ping");
        assert_eq!(pass_back(&mut nat, &back, START).1, SocketAddr::new(from, 3));
    }
}

#[test]
fn other_protocols_by_address() {
    for v6 in [false, true] {
        let mut nat = nat();
        let (from, to) = (client(v6, 0).ip(), vip(v6, 0).ip());
        let (snat, target) = pass(&mut nat, &raw(from, to, 47, b"gre packet".to_vec()), START);
        let back = raw(target.ip(), snat.ip(), 47, b"gre answer".to_vec());
        assert_eq!(pass_back(&mut nat, &back, START), (vip(v6, 0), client(v6, 0)));
        // A second client gets another address of the pool: nothing else tells the answers apart.
        let second = if v6 { address("2001:db8::8") } else { address("192.0.2.8") };
        let (other, _) = pass(&mut nat, &raw(second, to, 47, b"gre packet".to_vec()), START);
        assert_ne!(other.ip(), snat.ip());
        let back = raw(target.ip(), other.ip(), 47, b"gre answer".to_vec());
        assert_eq!(pass_back(&mut nat, &back, START).1.ip(), second);
    }
}

#[test]
fn udp_without_checksum_stays_without() {
    let mut nat = nat();
    let mut packet = udp(client(false, 4000), vip(false, 9), b"question");
    packet[26..28].fill(0);
    assert_eq!(nat.forward(&mut packet, false, EDGE, START), Forward::Pass);
    assert_eq!(packet[26..28], [0, 0]);
    verify(&packet);
}

#[test]
fn every_udp_checksum_is_right_and_never_zero() {
    let mut nat = nat();
    for word in 0..=u16::MAX {
        let mut packet = udp(client(false, 4000), vip(false, 9), &word.to_be_bytes());
        assert_eq!(nat.forward(&mut packet, false, EDGE, START), Forward::Pass);
        assert_ne!(packet[26..28], [0, 0], "payload {word:#06x}");
        verify(&packet);
    }
}

#[test]
fn partial_checksums_and_super_packets() {
    for v6 in [false, true] {
        let mut nat = nat();
        let (snat, target) = tcp_flow(&mut nat, client(v6, 4000), vip(v6, 80), START);
        let data = [7; 60_000];
        let segment = Segment { flags: Tcp::ACK, window: 9, payload: &data, ..Segment::default() };
        let mut super_packet = tcp(target, snat, &segment);
        make_partial(&mut super_packet);
        assert!(matches!(nat.reverse(&mut super_packet, true, START), Reverse::Pass { .. }));
        assert!(finish_checksum(&mut super_packet));
        verify(&super_packet);
        assert_eq!(ends(&super_packet), (vip(v6, 80), client(v6, 4000)));
        let flow = &nat.flows(1, START)[0];
        assert_eq!((flow.packets_out, flow.bytes_out > 60_000), (2, true));
        for mut packet in [
            udp(client(v6, 4000), vip(v6, 9), b"question"),
            tcp(client(v6, 4000), vip(v6, 80), &Segment { flags: Tcp::ACK, ..Segment::default() }),
        ] {
            make_partial(&mut packet);
            assert_eq!(nat.forward(&mut packet, true, EDGE, START), Forward::Pass);
            assert!(finish_checksum(&mut packet));
            verify(&packet);
        }
    }
}

#[test]
fn padding_options_and_extension_headers_are_carried() {
    let mut nat = nat();
    let mut packet = udp(client(false, 4000), vip(false, 9), b"question");
    packet.extend([0; 18]);
    let before = packet.clone();
    assert_eq!(nat.forward(&mut packet, false, EDGE, START), Forward::Pass);
    assert_eq!(packet[28..], before[28..]);
    let mut extended = udp(client(true, 4000), vip(true, 9), b"question");
    extended.splice(40..40, [17, 0, 1, 4, 0, 0, 0, 0]);
    extended[6] = 60;
    extended[5] += 8;
    assert_eq!(nat.forward(&mut extended, false, EDGE, START), Forward::Pass);
    verify(&extended);
    assert_eq!(ends(&extended).1, server(true, 9));
}

#[test]
fn a_client_keeps_its_snat_address_and_target() {
    let mut policy = policy();
    policy.applications[0].targets = (10..30).map(|n| super::world::target(&format!("10.93.0.{n}"))).collect();
    let mut nat = super::world::nat_with(policy);
    let mut used = std::collections::BTreeSet::new();
    for n in 1..100 {
        let from = |port| SocketAddr::new(address(&format!("192.0.2.{n}")), port);
        let first = pass(&mut nat, &udp(from(2000), vip(false, 9), b""), START);
        for port in 2001..2004 {
            let next = pass(&mut nat, &udp(from(port), vip(false, 9), b""), START);
            assert_eq!((next.0.ip(), next.1.ip()), (first.0.ip(), first.1.ip()));
        }
        used.insert(first.0.ip());
        used.insert(first.1.ip());
    }
    assert!(used.len() > 20, "{} of 4 + 20 addresses used", used.len());
}

#[test]
fn two_clients_with_one_port_get_two() {
    let mut policy = policy();
    policy.snat = vec![super::world::prefix("10.93.0.128/32")];
    let mut nat = super::world::nat_with(policy);
    let first = udp_flow(&mut nat, client(false, 4000), vip(false, 9), START);
    let second = udp_flow(&mut nat, SocketAddr::new(address("192.0.2.8"), 4000), vip(false, 9), START);
    assert_eq!((first.ip(), first.port()), (second.ip(), 4000));
    assert!(second.port() != 4000 && second.port() >= 1024);
    // Another destination port is another mapping: the same source port will do.
    let third = udp_flow(&mut nat, SocketAddr::new(address("192.0.2.8"), 4000), vip(false, 10), START);
    assert_eq!(third.port(), 4000);
}

#[test]
fn nothing_of_the_other_side_is_left_in_a_packet() {
    let mut nat = nat();
    for v6 in [false, true] {
        let inside = [CLIENTS, VIPS].map(|texts| address(texts[usize::from(v6)]));
        let mut packet = udp(client(v6, 4000), vip(v6, 9), b"question");
        assert_eq!(nat.forward(&mut packet, false, EDGE, START), Forward::Pass);
        let ip = Ip::parse(&packet).unwrap();
        assert!(!inside.contains(&ip.source) && !inside.contains(&ip.destination));
        let mut back = udp(ends(&packet).1, ends(&packet).0, b"answer");
        assert!(matches!(nat.reverse(&mut back, false, START), Reverse::Pass { .. }));
        assert_ne!(ends(&back).0.ip(), address(SERVERS[usize::from(v6)]));
    }
}
