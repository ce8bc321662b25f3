//! A connection through the fast path of a whole Braid in memory.

use crate::tcp;

use braid_core::{Command, Desired, PeriodKey};
use braid_packet::{Tcp, Time};
use braid_testbed::*;
use std::net::SocketAddr;
use std::sync::Arc;
use tcp::*;

const SERVER: &str = "10.93.0.10:80";
const CLIENT_ISN: u32 = 0xffff_fffe;
const SERVER_ISN: u32 = 4_000_000;

fn fast() -> Braid {
    fast_with(Braid::up(), 1)
}

fn fast_with(braid: Braid, shards: u8) -> Braid {
    set_up(braid, shards, false)
}

/// The edge answers SYNs.
fn at_edge(mut braid: Braid) -> Braid {
    let at = |n: u16| format!(r#"{{"node": {n}, "addresses": ["{}"]}}"#, address(n));
    let desired = format!(
        r#"{{"neighbours": [{}, {}],
            "path_sets": [{{"peer": {GATEWAY}, "set": 2, "paths": [{{"id": 0, "route": [21, {GATEWAY}]}}, {{"id": 1, "route": [22, {GATEWAY}]}}]}}],
            "edge": {{"applications": [{{"app": 0, "vips": ["{VIP}"], "ports": [["any", 0, 65535]], "set": 2,
                "gateways": [{GATEWAY}], "cookies": true}}]}}}}"#,
        at(RELAYS[0]),
        at(RELAYS[1])
    );
    braid.command(EDGE, Command::Configure(Box::new(Desired::parse(&desired).unwrap())));
    braid.command(EDGE, keys([GATEWAY].into()));
    set_up(braid, 1, true)
}

fn keys(gateways: Arc<[u16]>) -> Command {
    let keys = [4, 5].map(|period| PeriodKey { period, key: [period as u8; 16] }).into();
    Command::SynKeys { current: 5, keys, gateways }
}

fn set_up(mut braid: Braid, shards: u8, cookies_at_edge: bool) -> Braid {
    for shard in 0..usize::from(shards) {
        braid.command_to(GATEWAY, shard, gateway_is("fast-path", shards, cookies_at_edge));
        braid.command_to(GATEWAY, shard, keys([].into()));
    }
    braid
}

fn gateway_is(mode: &str, shards: u8, cookies_at_edge: bool) -> Command {
    let at = |n: u16| format!(r#"{{"node": {n}, "addresses": ["{}"]}}"#, address(n));
    let desired = format!(
        r#"{{"neighbours": [{}, {}], "shards": {{"{EDGE}": {shards}, "21": {shards}, "22": {shards}}},
            "path_sets": [{{"peer": {EDGE}, "set": 2, "paths": [{{"id": 0, "route": [21, {EDGE}]}}, {{"id": 1, "route": [22, {EDGE}]}}]}}],
            "gateway": {{"applications": [{{"app": 0, "vips": [{{"address": "{VIP}", "edge": {EDGE}}}],
                "ports": [["any", 0, 65535]], "set": 2, "mode": "{mode}", "cookies_at_edge": {cookies_at_edge},
                "targets": [{{"address": "10.93.0.10", "port": null, "weight": 1, "healthy": true}}]}}], "snat": ["10.93.0.128/30"]}}}}"#,
        at(RELAYS[0]),
        at(RELAYS[1])
    );
    Command::Configure(Box::new(Desired::parse(&desired).unwrap()))
}

fn client() -> SocketAddr {
    "10.91.1.10:4000".parse().unwrap()
}

fn vip() -> SocketAddr {
    SocketAddr::new(VIP.parse().unwrap(), 80)
}

/// A server is asked twice at once.
fn twice(mut packets: Vec<Vec<u8>>) -> Vec<u8> {
    let again = packets.pop();
    assert_eq!(packets.last(), again.as_ref());
    only(packets)
}

/// Up to the client's request, which comes before the server has answered. The cookie, our SYN's source.
fn ask(braid: &mut Braid) -> (u32, SocketAddr) {
    braid.client(&segment(client(), vip(), Tcp::SYN, (CLIENT_ISN, 0), &[]));
    braid.settle();
    let (from, to, answer) = read(&only(braid.taken(EDGE)));
    assert_eq!((from, to, answer.flags, answer.window), (vip(), client(), Tcp::SYN | Tcp::ACK, 14_600));
    assert!(braid.taken(GATEWAY).is_empty(), "no server hears of a SYN");
    assert_eq!(braid.snapshot(GATEWAY)["nat"]["flows"], 0, "and nobody remembers it");
    let (first, cookie) = (CLIENT_ISN.wrapping_add(1), answer.sequence);
    braid.client(&segment(client(), vip(), Tcp::ACK, (first, cookie.wrapping_add(1)), &[]));
    braid.client(&segment(client(), vip(), Tcp::ACK, (first, cookie.wrapping_add(1)), b"request"));
    braid.settle();
    let (snat, server, syn) = read(&twice(braid.taken(GATEWAY)));
    assert_eq!((server, syn.flags, syn.sequence), (SERVER.parse().unwrap(), Tcp::SYN, CLIENT_ISN));
    (cookie, snat)
}

#[test]
fn a_request_and_its_answer_and_both_ends() {
    let mut braid = fast();
    let (cookie, snat) = ask(&mut braid);
    let server = SERVER.parse().unwrap();
    let first = CLIENT_ISN.wrapping_add(1);
    assert_eq!(mode(&mut braid), "cookie");
    braid.server(&segment(server, snat, Tcp::SYN | Tcp::ACK, (SERVER_ISN, first), &[]));
    braid.settle();
    let arrived = braid.taken(GATEWAY);
    assert_eq!(arrived.len(), 2);
    let (_, _, acknowledgement) = read(&arrived[0]);
    assert_eq!((acknowledgement.flags, acknowledgement.acknowledgement), (Tcp::ACK, SERVER_ISN + 1));
    let (from, to, request) = read(&arrived[1]);
    assert_eq!((from, to, request.sequence, request.acknowledgement), (snat, server, first, SERVER_ISN + 1));
    assert!(arrived[1].ends_with(b"request"));
    let behind = first.wrapping_add(7);
    braid.server(&segment(server, snat, Tcp::ACK | Tcp::FIN, (SERVER_ISN + 1, behind), b"answer"));
    braid.settle();
    let answer = only(braid.taken(EDGE));
    let (from, to, tcp) = read(&answer);
    assert_eq!((from, to, tcp.sequence, tcp.acknowledgement), (vip(), client(), cookie.wrapping_add(1), behind));
    assert!(answer.ends_with(b"answer"));
    assert_eq!(mode(&mut braid), "fast");
    braid.client(&segment(client(), vip(), Tcp::ACK | Tcp::FIN, (behind, cookie.wrapping_add(8)), &[]));
    braid.settle();
    let (_, _, end) = read(&only(braid.taken(GATEWAY)));
    assert_eq!((end.flags, end.acknowledgement), (Tcp::ACK | Tcp::FIN, SERVER_ISN + 8));
    assert!(braid.taken(EDGE).is_empty());
    assert_eq!(braid.snapshot(GATEWAY)["fast_path"]["established"], 1);
    // The ports may be used again at once.
    ask(&mut braid);
}

fn mode(braid: &mut Braid) -> String {
    let asked = braid.ask_flows(GATEWAY, 10);
    braid.advance(10 * Time::MILLISECOND);
    let flows = asked.try_recv().unwrap();
    assert_eq!(flows.len(), 1);
    braid_core::flow_as_json(&flows[0])["mode"].as_str().unwrap().to_owned()
}

#[test]
fn a_server_that_refuses_or_never_answers_ends_in_a_reset_for_the_client() {
    for silent in [true, false] {
        let mut braid = fast();
        let (cookie, snat) = ask(&mut braid);
        if silent {
            braid.advance(8 * Time::SECOND);
            assert_eq!(braid.taken(GATEWAY).len(), 3, "asked again");
        } else {
            let refusal = (0, CLIENT_ISN.wrapping_add(1));
            braid.server(&segment(SERVER.parse().unwrap(), snat, Tcp::RST | Tcp::ACK, refusal, &[]));
            braid.settle();
        }
        let (_, _, reset) = read(&only(braid.taken(EDGE)));
        assert_eq!((reset.flags, reset.sequence), (Tcp::RST | Tcp::ACK, cookie.wrapping_add(1)));
        let snapshot = braid.snapshot(GATEWAY);
        assert_eq!((&snapshot["nat"]["flows"], &snapshot["fast_path"]["sessions"]), (&0.into(), &0.into()));
        assert_eq!(braid.drops(GATEWAY, if silent { "fast_server_silent" } else { "fast_server_refused" }), 1);
    }
}

#[test]
fn what_a_restarted_gateway_does_not_know_is_reset_on_both_sides() {
    let mut braid = fast();
    let stale = segment(client(), vip(), Tcp::ACK, (1_000_000, 2_000_000), b"old");
    braid.client(&stale);
    braid.settle();
    let (_, _, reset) = read(&only(braid.taken(EDGE)));
    assert_eq!((reset.flags, reset.sequence), (Tcp::RST, 2_000_000));
    let snat = "10.93.0.128:4000".parse().unwrap();
    braid.server(&segment(SERVER.parse().unwrap(), snat, Tcp::ACK, (5, 6), b"old"));
    let (_, _, reset) = read(&only(braid.taken(GATEWAY)));
    assert_eq!((reset.flags, reset.sequence), (Tcp::RST, 6));
}

#[test]
fn a_client_that_only_receives_hears_of_a_gateway_that_started_again_before_anybody_missed_it() {
    let mut braid = fast();
    let (cookie, snat) = ask(&mut braid);
    let server = SERVER.parse().unwrap();
    let next = CLIENT_ISN.wrapping_add(8);
    braid.server(&segment(server, snat, Tcp::SYN | Tcp::ACK, (SERVER_ISN, CLIENT_ISN.wrapping_add(1)), &[]));
    braid.server(&segment(server, snat, Tcp::ACK, (SERVER_ISN + 1, next), b"the first part"));
    braid.settle();
    assert!(only(braid.taken(EDGE)).ends_with(b"the first part"));
    braid.advance(200 * Time::MILLISECOND);
    braid.boot(GATEWAY);
    let mut braid = fast_with(braid, 1);
    RELAYS.iter().for_each(|&relay| braid.initiate(GATEWAY, relay, true));
    braid.settle();
    braid.initiate(GATEWAY, EDGE, false);
    braid.advance(300 * Time::MILLISECOND);
    let (from, to, question) = read(&only(braid.taken(EDGE)));
    assert_eq!((from, to, question.flags, question.sequence), (vip(), client(), Tcp::ACK, cookie));
    let received = cookie.wrapping_add(15);
    braid.client(&segment(client(), vip(), Tcp::ACK, (next, received), &[]));
    braid.settle();
    let (_, _, reset) = read(&only(braid.taken(EDGE)));
    assert_eq!((reset.flags, reset.sequence), (Tcp::RST, received), "what the client expects next");
    braid.server(&segment(server, snat, Tcp::ACK, (SERVER_ISN + 15, next), b"more"));
    let (_, _, reset) = read(&only(braid.taken(GATEWAY)));
    assert_eq!((reset.flags, reset.sequence), (Tcp::RST, next));
    braid.advance(5 * Time::SECOND);
    assert!(braid.taken(EDGE).is_empty(), "and is asked no more");
}

#[test]
fn an_edge_answers_syns_and_nothing_of_them_enters_the_overlay() {
    let mut braid = at_edge(Braid::up());
    braid.settle();
    braid.recorded.clear();
    for port in 1000..3000 {
        let from = SocketAddr::new(client().ip(), port);
        braid.client(&segment(from, vip(), Tcp::SYN, (u32::from(port), 0), &[]));
        let (_, to, answer) = read(&only(braid.taken(EDGE)));
        assert_eq!((to, answer.flags), (from, Tcp::SYN | Tcp::ACK));
    }
    assert!(braid.recorded.is_empty());
    assert_eq!(braid.snapshot(EDGE)["fast_path"]["cookies_sent"], 2000);
    let (cookie, snat) = ask(&mut braid);
    assert!(braid.taken(EDGE).is_empty(), "what the gateway says of it is for the edge");
    let next = CLIENT_ISN.wrapping_add(8);
    braid.server(&segment(
        SERVER.parse().unwrap(),
        snat,
        Tcp::SYN | Tcp::ACK,
        (SERVER_ISN, CLIENT_ISN.wrapping_add(1)),
        &[],
    ));
    braid.server(&segment(SERVER.parse().unwrap(), snat, Tcp::ACK, (SERVER_ISN + 1, next), b"answer"));
    braid.settle();
    let answer = only(braid.taken(EDGE));
    assert!(answer.ends_with(b"answer"));
    assert_eq!(read(&answer).2.sequence, cookie.wrapping_add(1));
    // The edge knows of it: its client hears of a gateway that forgot.
    braid.advance(200 * Time::MILLISECOND);
    braid.boot(GATEWAY);
    let mut braid = set_up(braid, 1, true);
    RELAYS.iter().for_each(|&relay| braid.initiate(GATEWAY, relay, true));
    braid.settle();
    braid.initiate(GATEWAY, EDGE, false);
    braid.advance(300 * Time::MILLISECOND);
    let (_, to, question) = read(&only(braid.taken(EDGE)));
    assert_eq!((to, question.flags, question.sequence), (client(), Tcp::ACK, cookie));
}

#[test]
fn a_reload_in_the_middle_changes_new_connections_only() {
    for mode in ["fast-path", "nat"] {
        let mut braid = fast();
        let (cookie, snat) = ask(&mut braid);
        let server = SERVER.parse().unwrap();
        let first = CLIENT_ISN.wrapping_add(1);
        braid.command(GATEWAY, gateway_is(mode, 1, false));
        braid.server(&segment(server, snat, Tcp::SYN | Tcp::ACK, (SERVER_ISN, first), &[]));
        braid.settle();
        assert!(braid.taken(GATEWAY)[1].ends_with(b"request"), "what was held");
        braid.command(GATEWAY, gateway_is(mode, 1, false));
        let behind = first.wrapping_add(7);
        braid.server(&segment(server, snat, Tcp::ACK, (SERVER_ISN + 1, behind), b"answer"));
        braid.client(&segment(client(), vip(), Tcp::ACK, (behind, cookie.wrapping_add(7)), b"more"));
        braid.settle();
        assert_eq!(read(&only(braid.taken(EDGE))).2.sequence, cookie.wrapping_add(1));
        assert_eq!(read(&only(braid.taken(GATEWAY))).2.acknowledgement, SERVER_ISN + 7);
        let other = SocketAddr::new(client().ip(), 4001);
        braid.client(&segment(other, vip(), Tcp::SYN, (5, 0), &[]));
        braid.settle();
        assert_eq!((braid.taken(EDGE).len(), braid.taken(GATEWAY).len()), if mode == "nat" { (0, 1) } else { (1, 0) });
    }
}

#[test]
fn a_client_that_begins_again_with_the_same_ports_gets_a_new_connection() {
    for established in [false, true] {
        let mut braid = at_edge(Braid::up());
        let (_, snat) = ask(&mut braid);
        if established {
            let first = CLIENT_ISN.wrapping_add(1);
            braid.server(&segment(SERVER.parse().unwrap(), snat, Tcp::SYN | Tcp::ACK, (SERVER_ISN, first), &[]));
            braid.settle();
            braid.taken(GATEWAY);
        }
        let isn = 1_000_000_000;
        braid.client(&segment(client(), vip(), Tcp::SYN, (isn, 0), &[]));
        let (_, _, answer) = read(&only(braid.taken(EDGE)));
        braid.client(&segment(client(), vip(), Tcp::ACK, (isn + 1, answer.sequence.wrapping_add(1)), b"again"));
        braid.settle();
        let (_, _, syn) = read(&twice(braid.taken(GATEWAY)));
        assert_eq!((syn.flags, syn.sequence), (Tcp::SYN, isn));
        let snapshot = braid.snapshot(GATEWAY);
        assert_eq!((&snapshot["nat"]["flows"], &snapshot["fast_path"]["sessions"]), (&1.into(), &1.into()));
    }
}

#[test]
fn datagrams_of_the_application_go_through_the_nat() {
    let mut braid = fast();
    braid.client(&udp("10.91.1.10", 4000, VIP, 53, b"question"));
    braid.settle();
    assert_eq!(payload(&only(braid.taken(GATEWAY))), b"question");
}

#[test]
fn each_shard_asks_servers_from_its_own_ports() {
    let mut braid = fast_with(Braid::up_with(2, 2, 2), 2);
    let mut owners = [0, 0];
    for port in 4000..4020_u16 {
        let from = SocketAddr::new(client().ip(), port);
        braid.client(&segment(from, vip(), Tcp::SYN, (7, 0), &[]));
        braid.settle();
        let (_, _, answer) = read(&only(braid.taken(EDGE)));
        braid.client(&segment(from, vip(), Tcp::ACK, (8, answer.sequence.wrapping_add(1)), b"request"));
        braid.settle();
        let (snat, server, _) = read(&twice(braid.taken(GATEWAY)));
        owners[usize::from(snat.port() % 2)] += 1;
        braid.server(&segment(server, snat, Tcp::SYN | Tcp::ACK, (SERVER_ISN, 8), &[]));
        braid.settle();
        assert_eq!(braid.taken(GATEWAY).len(), 2, "an acknowledgement and the request");
        braid.server(&segment(server, snat, Tcp::ACK, (SERVER_ISN + 1, 15), b"answer"));
        braid.settle();
        assert!(only(braid.taken(EDGE)).ends_with(b"answer"));
    }
    assert!(owners[0] > 0 && owners[1] > 0, "{owners:?}");
}
