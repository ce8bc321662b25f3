use super::bytes::{address, tcp, udp, verify, Segment};
use super::world::{client, nat_with, pass, policy, prefix, udp_flow, vip, EDGE, START};
use crate::{Forward, Nat, Policy, Reason};
use braid_packet::{Tcp, Time};
use std::collections::BTreeSet;
use std::net::SocketAddr;

fn tight() -> Policy {
    Policy { snat: vec![prefix("10.93.0.128/32")], ports: (65_526, 65_535), ..policy() }
}

fn refused(nat: &mut Nat, from: SocketAddr, reason: Reason, now: Time) {
    let mut packet = udp(from, vip(false, 80), b"");
    let before = nat.counters().refused(reason);
    assert_eq!(nat.forward(&mut packet, false, EDGE, now), Forward::Reply);
    verify(nat.reply());
    assert_eq!(nat.counters().refused(reason), before + 1);
}

#[test]
fn ports_run_out_visibly_and_come_back() {
    let mut nat = nat_with(tight());
    let used: BTreeSet<u16> =
        (1..=10).map(|port| udp_flow(&mut nat, client(false, port), vip(false, 80), START).port()).collect();
    assert_eq!(used, (65_526..=65_535).collect());
    refused(&mut nat, client(false, 11), Reason::PortsExhausted, START);
    // Ports count for each destination and protocol.
    udp_flow(&mut nat, client(false, 11), vip(false, 81), START);
    let syn = Segment { flags: Tcp::SYN, ..Segment::default() };
    pass(&mut nat, &tcp(client(false, 11), vip(false, 80), &syn), START);
    // An idle flow gives up its port when it is wanted, swept or not.
    udp_flow(&mut nat, client(false, 11), vip(false, 80), START.after(300 * Time::SECOND));
}

#[test]
fn nats_that_share_their_addresses_never_give_out_one_port_twice() {
    let mut all = BTreeSet::new();
    for (rest, count) in [(0, 2), (1, 2), (2, 3), (3, 3)] {
        let mut nat = nat_with(Policy { share: (rest, 4), ..tight() });
        for port in 1..=count {
            let snat = udp_flow(&mut nat, client(false, port), vip(false, 80), START).port();
            assert_eq!(snat % 4, rest);
            assert!(all.insert(snat), "{snat} twice");
        }
        refused(&mut nat, client(false, 99), Reason::PortsExhausted, START);
    }
    assert_eq!(all, (65_526..=65_535).collect());
    let mut nat = nat_with(Policy { ports: (65_526, 65_526), share: (1, 4), ..tight() });
    refused(&mut nat, client(false, 1), Reason::PortsExhausted, START);
}

#[test]
fn a_greedy_client_does_not_starve_the_others() {
    let mut nat = nat_with(Policy { snat: vec![prefix("10.93.0.128/30")], ..tight() });
    for port in 1..=10 {
        udp_flow(&mut nat, client(false, port), vip(false, 80), START);
    }
    // Its own address is full: whoever shares it gets another one.
    for n in 1..=20 {
        udp_flow(&mut nat, SocketAddr::new(address(&format!("192.0.2.{}", n + 100)), 9), vip(false, 80), START);
    }
}

#[test]
fn no_pool_of_the_family() {
    let mut nat = nat_with(Policy { snat: vec![prefix("fd94::/64")], ..policy() });
    refused(&mut nat, client(false, 1), Reason::PortsExhausted, START);
    udp_flow(&mut nat, client(true, 1), vip(true, 80), START);
}

#[test]
fn the_whole_range_of_a_large_pool_is_used() {
    let mut nat = nat_with(policy());
    let port = |n: u32| {
        let from = SocketAddr::new(address(&format!("2001:db8:{:x}::1", n)), 9);
        (nat.table.len(), from)
    };
    assert_eq!(port(0).0, 0);
    let mut low = u16::MAX;
    let mut high = 0;
    for n in 0..900 {
        let snat = udp_flow(&mut nat, SocketAddr::new(address(&format!("2001:db8:{n:x}::1")), 9), vip(true, 80), START);
        low = low.min(snat.port());
        high = high.max(snat.port());
    }
    assert!((1024..3000).contains(&low) && high > 63_000, "{low}..{high}");
}

#[test]
fn clients_spread_over_the_pool_whatever_the_seed() {
    for seed in 0..4 {
        let mut nat = Nat::new(seed, 1000);
        nat.set_policy(Policy { snat: vec![prefix("fd94::/112")], ..policy() });
        let from = |n: u64| SocketAddr::new(address(&format!("2001:db8:{n:x}::{seed:x}")), 9);
        let used: BTreeSet<_> = (1..=100).map(|n| udp_flow(&mut nat, from(n), vip(true, 80), START).ip()).collect();
        assert!(used.len() > 95, "{} of a pool of 65,536", used.len());
    }
}

#[test]
fn a_full_table_refuses_and_evicts_nobody() {
    let mut nat = Nat::new(7, 16);
    nat.set_policy(policy());
    let from = |n: usize| SocketAddr::new(address(&format!("192.0.2.{}", n + 1)), 4000);
    let snat: Vec<_> = (0..16).map(|n| udp_flow(&mut nat, from(n), vip(false, 80), START)).collect();
    refused(&mut nat, from(16), Reason::TableFull, START);
    for (n, snat) in snat.iter().enumerate() {
        assert_eq!(udp_flow(&mut nat, from(n), vip(false, 80), START), *snat);
    }
    let later = START.after(300 * Time::SECOND);
    udp_flow(&mut nat, from(16), vip(false, 80), later);
}

#[test]
fn a_client_gets_an_eighth_of_a_half_full_table() {
    for v6 in [false, true] {
        let mut nat = Nat::new(7, 80);
        nat.set_policy(policy());
        let other = |n: u16| SocketAddr::new(address(if v6 { "2001:db8:9::1" } else { "192.0.2.9" }), n);
        for port in 1..=41 {
            udp_flow(&mut nat, client(v6, port), vip(v6, 80), START);
        }
        let mut packet = udp(client(v6, 42), vip(v6, 80), b"");
        assert_eq!(nat.forward(&mut packet, false, EDGE, START), Forward::Reply);
        assert_eq!(nat.counters().refused(Reason::ClientShare), 1);
        for port in 1..=10 {
            udp_flow(&mut nat, other(port), vip(v6, 80), START);
        }
        let mut packet = udp(other(11), vip(v6, 80), b"");
        assert_eq!(nat.forward(&mut packet, false, EDGE, START), Forward::Reply);
        assert_eq!(nat.counters().refused(Reason::ClientShare), 2);
    }
}
