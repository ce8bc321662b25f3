//! Flows whose connections a TCP stack has: without a server at first, untouched, and translated after it.

use super::bytes::{address, ends, tcp, Segment};
use super::world::{client, nat_with, policy, server, vip, EDGE, START};
use crate::{Forward, Nat, Reverse};
use braid_packet::{FlowId, Ip, Tcp, Time};
use std::net::SocketAddr;

fn proxied() -> Nat {
    let mut policy = policy();
    (policy.applications[0].fast, policy.applications[0].proxied) = (true, true);
    nat_with(policy)
}

fn segment(from: SocketAddr, to: SocketAddr, flags: u8) -> Vec<u8> {
    tcp(from, to, &Segment { flags, sequence: 9, acknowledgement: 9, window: 100, ..Segment::default() })
}

fn open(nat: &mut Nat, v6: bool) -> FlowId {
    let mut first = segment(client(v6, 4000), vip(v6, 80), Tcp::ACK);
    assert_eq!(nat.forward(&mut first, false, EDGE, START), Forward::Stranger(0));
    nat.open_fast(&first, EDGE, START).unwrap()
}

fn back(nat: &mut Nat, from: SocketAddr, to: SocketAddr, now: Time) -> Reverse {
    nat.reverse(&mut segment(from, to, Tcp::ACK), false, now)
}

#[test]
fn a_flow_gets_servers_one_after_the_other_and_is_found_by_the_last() {
    for v6 in [false, true] {
        let mut nat = proxied();
        let flow = open(&mut nat, v6);
        assert_eq!((nat.app(flow), nat.server_and_snat(flow)), (Some(0), None));
        let shown = &nat.flows(1, START)[0];
        assert!(shown.snat.ip().is_unspecified() && shown.target.ip().is_unspecified());
        let mut again = segment(client(v6, 4000), vip(v6, 80), Tcp::ACK);
        assert_eq!(nat.forward(&mut again, false, EDGE, START), Forward::Fast(flow));
        assert_eq!(again, segment(client(v6, 4000), vip(v6, 80), Tcp::ACK), "unchanged");
        let first = nat.lease(flow, server(v6, 8080), START).unwrap();
        assert_eq!(first.port(), 4000, "the client's own");
        assert_eq!(back(&mut nat, server(v6, 8080), first, START), Reverse::Normal(flow));
        let second = nat.lease(flow, server(v6, 8080), START).unwrap();
        assert_ne!(first, second);
        assert_eq!(back(&mut nat, server(v6, 8080), first, START), Reverse::Reply, "its server is told");
        assert_eq!(back(&mut nat, server(v6, 8080), second, START), Reverse::Normal(flow));
        assert_eq!(nat.server_and_snat(flow), Some((server(v6, 8080), second)));
        nat.end_flow(flow);
        assert_eq!(back(&mut nat, server(v6, 8080), second, START), Reverse::Reply);
        assert_eq!((nat.len(), nat.lease(flow, server(v6, 8080), START)), (0, None));
        open(&mut nat, v6);
    }
}

#[test]
fn what_cannot_be_a_server_is_refused() {
    let mut nat = proxied();
    let flow = open(&mut nat, false);
    for wrong in ["10.91.1.130:80", "10.93.0.129:80", "127.0.0.1:80", "[fd93::10]:80"] {
        assert_eq!(nat.lease(flow, wrong.parse().unwrap(), START), None, "{wrong}");
    }
}

#[test]
fn packets_of_the_stack_find_their_flow_from_either_side() {
    let mut nat = proxied();
    let flow = open(&mut nat, false);
    let snat = nat.lease(flow, server(false, 80), START).unwrap();
    let found = |nat: &mut Nat, from, to, to_client| {
        let packet = segment(from, to, Tcp::ACK);
        nat.find_from_stack(&Ip::parse(&packet).unwrap(), to_client, START)
    };
    assert_eq!(found(&mut nat, vip(false, 80), client(false, 4000), true), Some(flow));
    assert_eq!(found(&mut nat, vip(false, 80), client(false, 4001), true), None);
    assert_eq!(found(&mut nat, snat, server(false, 80), false), Some(flow));
    assert_eq!(found(&mut nat, snat, server(false, 81), false), None);
    assert!(nat.is_snat(snat.ip()) && !nat.is_snat(address("10.93.0.10")));
}

#[test]
fn the_fast_path_says_how_long_it_may_be_idle_and_when_it_is_over() {
    let mut nat = proxied();
    let flow = open(&mut nat, false);
    nat.set_open(flow, true, false);
    assert_eq!(nat.flows(1, START)[0].state, "established");
    let hour = START.after(3600 * Time::SECOND);
    nat.expire(hour, 100);
    assert!(nat.is_live(flow));
    nat.count_normal(flow, true, 100, hour);
    assert_eq!(nat.bytes(flow), (100, 0));
    nat.set_open(flow, false, true);
    assert_eq!(nat.flows(1, hour)[0].state, "reset");
    let mut syn = segment(client(false, 4000), vip(false, 80), Tcp::SYN);
    assert_eq!(nat.forward(&mut syn, false, EDGE, hour), Forward::Stranger(0), "another one may begin");
    assert!(!nat.is_live(flow));
}

#[test]
fn a_spliced_flow_is_translated() {
    let mut nat = proxied();
    let flow = open(&mut nat, false);
    let snat = nat.lease(flow, server(false, 80), START).unwrap();
    nat.set_normal(flow, false);
    let mut packet = segment(client(false, 4000), vip(false, 80), Tcp::ACK);
    assert!(nat.pass(flow, &mut packet, false, START));
    assert_eq!(ends(&packet), (snat, server(false, 80)));
    let mut packet = segment(server(false, 80), snat, Tcp::ACK);
    let verdict = nat.reverse(&mut packet, false, START);
    assert!(matches!(verdict, Reverse::Pass { fast: Some(found), .. } if found == flow), "{verdict:?}");
    assert_eq!(ends(&packet), (vip(false, 80), client(false, 4000)));
}

#[test]
fn a_transparent_application_keeps_its_clients_addresses() {
    let rules = || {
        let mut policy = policy();
        (policy.applications[0].fast, policy.applications[0].proxied) = (true, true);
        policy.applications[0].transparent = vec![server(false, 80).ip(), server(true, 80).ip()];
        policy
    };
    for v6 in [false, true] {
        let mut nat = nat_with(rules());
        let flow = open(&mut nat, v6);
        let first = nat.lease(flow, server(v6, 8080), START).unwrap();
        assert_eq!(first, client(v6, 4000));
        let second = nat.lease(flow, server(v6, 8080), START).unwrap();
        assert_eq!(
            (second.ip(), second == first),
            (first.ip(), false),
            "another port, as the first one's server knows it"
        );
        assert_eq!(back(&mut nat, server(v6, 8080), first, START), Reverse::Reply, "its server is told");
        assert_eq!(back(&mut nat, server(v6, 8080), second, START), Reverse::Normal(flow));
        let another = if v6 { "[fd93::99]:80" } else { "10.93.0.99:80" };
        assert_eq!(nat.lease(flow, another.parse().unwrap(), START), None, "its answers would not come here");
        nat.set_policy(rules());
        assert_eq!(back(&mut nat, server(v6, 8080), second, START), Reverse::Normal(flow), "a reload");
        let mut policy = rules();
        policy.applications[0].transparent.clear();
        nat.set_policy(policy);
        assert_ne!(back(&mut nat, server(v6, 8080), second, START), Reverse::Normal(flow), "no longer");
    }
}
