use super::bytes::{address, udp};
use super::world::{client, nat, nat_with, pass, policy, prefix, server, target, tcp_flow, udp_flow, vip};
use super::world::{EDGE, OTHER_EDGE, START};
use crate::{Forward, Policy, Reason, Reverse, Target};
use std::net::SocketAddr;

#[test]
fn flows_survive_a_change_of_targets() {
    let mut nat = nat();
    tcp_flow(&mut nat, client(false, 4000), vip(false, 80), START);
    let before = pass(&mut nat, &udp(client(false, 4000), vip(false, 80), b""), START);
    let mut changed = policy();
    changed.applications[0].targets = vec![target("10.93.0.11")];
    changed.applications[0].set = 1;
    changed.applications[0].vips[0].1 = OTHER_EDGE;
    nat.set_policy(changed);
    let mut packet = udp(client(false, 4000), vip(false, 80), b"");
    assert_eq!(nat.forward(&mut packet, false, EDGE, START), Forward::Drop(Reason::WrongEdge));
    assert_eq!(nat.forward(&mut packet, false, OTHER_EDGE, START), Forward::Pass);
    assert_eq!(super::bytes::ends(&packet), before);
    let mut answer = udp(before.1, before.0, b"");
    let verdict = nat.reverse(&mut answer, false, START);
    assert_eq!(verdict, Reverse::Pass { edge: OTHER_EDGE, set: 1, app: 0, fast: None });
    // A new flow goes to the new target.
    let mut packet = udp(client(false, 4001), vip(false, 80), b"");
    assert_eq!(nat.forward(&mut packet, false, OTHER_EDGE, START), Forward::Pass);
    assert_eq!(super::bytes::ends(&packet).1.ip(), address("10.93.0.11"));
}

#[test]
fn flows_end_with_their_application_vip_or_pool() {
    let without_application = Policy { applications: vec![], ..policy() };
    let mut without_vip = policy();
    without_vip.applications[0].vips.remove(0);
    let mut other_application = policy();
    other_application.applications[0].id = 9;
    let other_pool = Policy { snat: vec![prefix("10.94.0.0/24")], ..policy() };
    for changed in [without_application, without_vip, other_application, other_pool] {
        let mut nat = nat();
        let snat = udp_flow(&mut nat, client(false, 4000), vip(false, 80), START);
        nat.set_policy(changed);
        let mut answer = udp(server(false, 80), snat, b"");
        assert_eq!(nat.reverse(&mut answer, false, START), Reverse::Drop(Reason::NoFlow));
        assert!(nat.is_empty());
    }
}

#[test]
fn targets_that_would_lead_back_are_never_used() {
    let bad = [
        "127.0.0.1",
        "0.0.0.0",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "10.91.1.130",
        "10.91.2.131",
        "10.93.0.129",
        "10.90.0.31",
        "::1",
        "::",
        "::ffff:10.93.0.10",
        "fe80::1",
        "ff02::1",
        "64:ff9b::a5d:a",
        "2002:a5d:a::1",
        "fd00:ec2::254",
        "fd91::130",
        "fd93::1:1",
    ];
    for text in bad {
        let mut policy = policy();
        policy.router_v4 = Some("10.90.0.31".parse().unwrap());
        let v6 = text.contains(':');
        policy.applications[0].targets = vec![target(text)];
        let mut nat = nat_with(policy);
        assert_eq!(nat.counters().targets_refused, 1, "{text}");
        let mut packet = udp(client(v6, 4000), vip(v6, 80), b"");
        assert_eq!(nat.forward(&mut packet, false, EDGE, START), Forward::Reply, "{text}");
        assert_eq!(nat.counters().refused(Reason::NoTarget), 1, "{text}");
    }
}

#[test]
fn the_nodes_own_address_in_the_pool_is_not_taken() {
    let mut policy = Policy { snat: vec![prefix("10.93.0.128/31")], ..policy() };
    policy.router_v4 = Some("10.93.0.128".parse().unwrap());
    let mut nat = nat_with(policy);
    for n in 1..50 {
        let from = SocketAddr::new(address(&format!("192.0.2.{n}")), 4000);
        let snat = udp_flow(&mut nat, from, vip(false, 80), START);
        assert_eq!(snat.ip(), address("10.93.0.129"));
    }
}

#[test]
fn a_server_may_be_the_client_of_another_application() {
    let mut nat = nat();
    let from = SocketAddr::new(address("10.93.0.20"), 4000);
    udp_flow(&mut nat, from, vip(false, 80), START);
    let mut packet = udp(from, SocketAddr::new(address("10.91.1.131"), 53), b"");
    assert_eq!(nat.forward(&mut packet, false, EDGE, START), Forward::Drop(Reason::BadSource));
}

#[test]
fn weights_are_kept() {
    let mut policy = policy();
    policy.applications[0].targets = vec![
        Target { weight: 3, ..target("10.93.0.10") },
        Target { weight: 1, ..target("10.93.0.11") },
        Target { weight: 0, ..target("10.93.0.12") },
    ];
    let mut nat = crate::Nat::new(7, 10_000);
    nat.set_policy(policy);
    let mut heavy = 0;
    for n in 0..4000_u32 {
        let from = SocketAddr::new(address(&format!("100.64.{}.{}", n >> 8, n & 255)), 4000);
        let (_, to) = pass(&mut nat, &udp(from, vip(false, 80), b""), START);
        assert_ne!(to.ip(), address("10.93.0.12"));
        heavy += u32::from(to.ip() == address("10.93.0.10"));
    }
    assert!((2850..3150).contains(&heavy), "{heavy} of 4000, expected 3000");
}
