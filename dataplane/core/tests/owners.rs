//! Transferred connections: who may say who has one, what is held, and where its packets go.

use braid_core::{Command, Ends, Event, Owner};
use braid_packet::{Ip, Tcp, Time, Transport};
use braid_testbed::*;
use std::sync::mpsc::channel;

const CLIENT: &str = "10.91.1.10";
const ACK: u8 = Tcp::ACK;

fn ends() -> Ends {
    Ends::new(format!("{CLIENT}:4000").parse().unwrap(), format!("{VIP}:80").parse().unwrap())
}

fn segment(flags: u8) -> Vec<u8> {
    tcp(CLIENT, VIP, flags, 1, b"")
}

/// From the VIP to the client.
fn spoken(flags: u8) -> Vec<u8> {
    let mut packet = segment(flags);
    // The checksums stay right.
    packet[12..20].rotate_left(4);
    packet[20..24].rotate_left(2);
    packet
}

fn flags_of(packet: &[u8]) -> u8 {
    match Ip::parse(packet).unwrap().transport {
        Transport::Tcp(tcp) => tcp.flags,
        _ => panic!("no TCP"),
    }
}

/// A connection that is open: how many of a client's next packets reach the gateway's host.
fn opened() -> Braid {
    let mut braid = Braid::up();
    braid.client(&segment(Tcp::SYN));
    braid.settle();
    assert_eq!(braid.taken(GATEWAY).len(), 1);
    braid
}

fn arrived(braid: &mut Braid, flags: u8) -> usize {
    braid.client(&segment(flags));
    braid.settle();
    braid.taken(GATEWAY).len()
}

#[test]
fn a_gateway_holds_packets_and_gives_them_on_or_away() {
    let mut braid = opened();
    assert!(braid.own(GATEWAY, ends(), Some(Owner::Held), None));
    assert_eq!(arrived(&mut braid, ACK), 0);
    assert_eq!(arrived(&mut braid, ACK | 8), 0);
    assert!(braid.own(GATEWAY, ends(), None, None));
    let released = braid.taken(GATEWAY);
    assert_eq!(released.iter().map(|packet| flags_of(packet)).collect::<Vec<_>>(), [ACK, ACK | 8], "in their order");
    assert_eq!(arrived(&mut braid, ACK), 1);
    braid.own(GATEWAY, ends(), Some(Owner::Held), None);
    assert_eq!(arrived(&mut braid, ACK), 0);
    braid.own(GATEWAY, ends(), Some(Owner::Away), None);
    assert_eq!((arrived(&mut braid, ACK), braid.taken(GATEWAY).len()), (0, 0));
    assert_eq!(braid.drops(GATEWAY, "transferred_away"), 2, "the held one, and one that came late");
    braid.advance(120 * Time::SECOND);
    assert_eq!(arrived(&mut braid, ACK), 0, "an edge that has started again, and was not told, sends it here");
    braid.client(&udp(CLIENT, 4000, VIP, 80, b"question"));
    braid.settle();
    assert_eq!(braid.taken(GATEWAY).len(), 1, "what else the client sends is not concerned");
}

#[test]
fn only_the_gateway_that_serves_a_client_says_who_has_its_connection() {
    let to_proxy = Some(Owner::Node(PROXY));
    let mut braid = opened();
    assert!(!braid.own(EDGE, ends(), to_proxy, Some(GATEWAY + 1)));
    assert!(!braid.own(EDGE, ends(), Some(Owner::Node(GATEWAY + 1)), Some(GATEWAY)), "no row names it");
    assert_eq!(arrived(&mut braid, ACK), 1);
    assert!(braid.own(EDGE, ends(), to_proxy, Some(GATEWAY)));
    assert_eq!(arrived(&mut braid, ACK), 0, "it goes to the proxy, or nowhere");
    assert!(braid.own(EDGE, ends(), None, Some(GATEWAY)));
    assert_eq!(arrived(&mut braid, ACK), 1);
}

#[test]
fn a_client_that_an_edge_has_not_met_since_it_began_is_the_gateways_that_would_get_it() {
    let mut braid = Braid::up();
    let to_proxy = Some(Owner::Node(PROXY));
    assert!(!braid.own(EDGE, ends(), to_proxy, Some(GATEWAY + 1)));
    assert!(braid.own(EDGE, ends(), to_proxy, Some(GATEWAY)));
    braid.client(&segment(ACK));
    braid.settle();
    let resets = braid.taken(EDGE).len();
    assert_eq!(
        (resets, braid.taken(GATEWAY).len(), braid.drops(EDGE, "owner_gone")),
        (0, 0, 1),
        "the proxy may yet come"
    );
}

#[test]
fn a_client_whose_proxy_is_gone_is_reset_and_may_connect_again() {
    let mut braid = opened();
    braid.taken(EDGE);
    braid.own(EDGE, ends(), Some(Owner::Node(PROXY)), Some(GATEWAY));
    braid.advance(3000 * Time::MILLISECOND);
    braid.taken(EDGE);
    assert_eq!(arrived(&mut braid, ACK), 0);
    let told = braid.taken(EDGE);
    assert_eq!(told.iter().map(|packet| flags_of(packet)).collect::<Vec<_>>(), [Tcp::RST]);
    assert_eq!(braid.drops(EDGE, "owner_gone"), 1);
    assert_eq!(arrived(&mut braid, Tcp::SYN), 1);
}

#[test]
fn the_gateway_no_longer_speaks_on_a_connection_when_another_node_has_begun_to() {
    let mut braid = opened_with_proxy();
    braid.client(&segment(ACK));
    braid.settle();
    let mut reply = braid.taken(GATEWAY).remove(0);
    // From the server to the SNAT address; the checksums stay right.
    reply[12..20].rotate_left(4);
    reply[20..24].rotate_left(2);
    let answer = |braid: &mut Braid| {
        braid.server(&reply);
        braid.settle();
        braid.taken(EDGE).len()
    };
    assert_eq!(answer(&mut braid), 1);
    braid.own(EDGE, ends(), Some(Owner::Node(PROXY)), Some(GATEWAY));
    assert_eq!(answer(&mut braid), 1, "it may have been refused by then");
    assert!(braid.own(EDGE, ends(), None, Some(GATEWAY)));
    assert_eq!(answer(&mut braid), 1);
    braid.own(EDGE, ends(), Some(Owner::Node(PROXY)), Some(GATEWAY));
    braid.own(PROXY, ends(), Some(Owner::Here), None);
    braid.server_at(PROXY, &spoken(ACK));
    braid.settle();
    assert_eq!(braid.taken(EDGE).len(), 1);
    assert_eq!(answer(&mut braid), 0);
    assert_eq!(braid.drops(EDGE, "not_the_owner"), 1);
}

/// As `braid/transfer.py` has its picture, of the connection of these tests.
fn steer(order: u32, node: u16) -> Vec<u8> {
    let hosts = [CLIENT, VIP].map(|host| host.parse::<std::net::Ipv4Addr>().unwrap().octets()).concat();
    let mut message = vec![1, 25, 0, 38];
    message.extend([7; 16]);
    message.extend(order.to_be_bytes());
    [node, 4000, 80].iter().for_each(|number| message.extend(number.to_be_bytes()));
    message.extend(hosts);
    message
}

/// What the gateway hears when it has said that to the edge.
fn answered(braid: &mut Braid, message: Vec<u8>) -> Vec<Vec<u8>> {
    let sent = answer(channel().0);
    braid.command(GATEWAY, Command::Control { peer: EDGE, adjacent: false, message, sent });
    braid.settle();
    let controls = braid.heard(GATEWAY).into_iter().filter_map(|event| match event {
        Event::Control { message, .. } => Some(message),
        _ => None,
    });
    controls.collect()
}

#[test]
fn an_edge_obeys_the_gateway_in_the_turn_in_which_it_hears_it() {
    let mut braid = opened_with_proxy();
    braid.own(PROXY, ends(), Some(Owner::Here), None);
    assert_eq!(answered(&mut braid, steer(2, PROXY)), [[&[1, 26, 0, 25][..], &[7; 16], &[0, 0, 0, 2, 1]].concat()]);
    assert_eq!(arrived(&mut braid, ACK), 0);
    assert_eq!(braid.taken(PROXY).len(), 1);
    assert!(answered(&mut braid, steer(1, 0)).is_empty(), "overtaken");
    assert_eq!(braid.drops(EDGE, "steering_stray"), 1);
    let seen = [1, 26, 0, 34].into_iter().chain([7; 16]).chain([0, 0, 0, 3, 1]);
    let seen: Vec<u8> = seen.chain([2]).chain([0; 8]).collect();
    assert_eq!(answered(&mut braid, steer(3, 0)), [seen], "the client has acknowledged, and the proxy not spoken");
    assert_eq!(arrived(&mut braid, ACK), 1);
    assert_eq!(answered(&mut braid, steer(4, GATEWAY + 1))[0][24], 0, "no row names that node");
    assert!(answered(&mut braid, steer(5, PROXY)[..30].to_vec()).is_empty());
    assert_eq!(braid.drops(EDGE, "steering_bad"), 1);
}

#[test]
fn a_connection_comes_back_from_a_proxy_that_the_edge_misses_too() {
    let mut braid = opened_with_proxy();
    let if_gone = u16::MAX;
    answered(&mut braid, steer(1, PROXY));
    assert_eq!(answered(&mut braid, steer(2, if_gone))[0][24], 0, "it is there");
    let without_proxy = |sent: Sent| if sent.from == PROXY { Vec::new() } else { vec![sent] };
    braid.advance_with(1200 * Time::MILLISECOND, without_proxy);
    braid.taken(EDGE);
    let arrived = |braid: &mut Braid| {
        braid.client(&segment(ACK));
        braid.settle_with(without_proxy);
        (braid.taken(EDGE).len(), braid.taken(GATEWAY).len())
    };
    assert_eq!(arrived(&mut braid), (0, 0), "not reset: its gateway may go on");
    assert_eq!(braid.drops(EDGE, "owner_gone"), 1);
    braid.advance_with(2000 * Time::MILLISECOND, without_proxy);
    braid.taken(EDGE);
    assert_eq!(arrived(&mut braid), (1, 0), "its gateway does not");
    let answer = answered(&mut braid, steer(3, if_gone));
    assert_eq!(answer[0][24..26], [1, 2]);
    assert_eq!(arrived(&mut braid), (0, 1));
    // When it is there again it has nothing to say to the client.
    braid.advance(3000 * Time::MILLISECOND);
    braid.connect();
    braid.advance(12_000 * Time::MILLISECOND);
    braid.taken(EDGE);
    braid.own(PROXY, ends(), Some(Owner::Here), None);
    let before = braid.drops(EDGE, "not_the_owner");
    braid.server_at(PROXY, &spoken(Tcp::FIN | ACK));
    braid.settle();
    assert!(braid.taken(EDGE).is_empty());
    assert_eq!(braid.drops(EDGE, "not_the_owner"), before + 1);
}

#[test]
fn a_connection_comes_back_from_a_proxy_that_has_started_again() {
    let mut braid = opened_with_proxy();
    let if_gone = u16::MAX;
    answered(&mut braid, steer(1, PROXY));
    braid.own(PROXY, ends(), Some(Owner::Here), None);
    assert_eq!(arrived(&mut braid, ACK), 0);
    assert_eq!(braid.taken(PROXY).len(), 1);
    braid.boot_proxy();
    braid.heard(EDGE);
    assert_eq!(arrived(&mut braid, ACK), 0);
    let told = |braid: &mut Braid| (braid.taken(EDGE).len(), braid.taken(PROXY).len(), braid.drops(EDGE, "owner_gone"));
    assert_eq!(told(&mut braid), (0, 0, 1), "it knows nothing of the connection, and the gateway may go on");
    assert_eq!(answered(&mut braid, steer(2, if_gone))[0][24..26], [1, 2]);
    assert_eq!(arrived(&mut braid, ACK), 1);
    // A connection that the new process has is its own.
    answered(&mut braid, steer(3, PROXY));
    braid.own(PROXY, ends(), Some(Owner::Here), None);
    assert_eq!(answered(&mut braid, steer(4, if_gone))[0][24], 0, "it is there");
    assert_eq!(arrived(&mut braid, ACK), 0);
    assert_eq!(braid.taken(PROXY).len(), 1);
}

#[test]
fn a_client_whose_gateway_dies_before_the_proxy_has_begun_hears_of_it() {
    let mut braid = opened_with_proxy();
    answered(&mut braid, steer(1, PROXY));
    assert_eq!(arrived(&mut braid, ACK), 0, "it waits for the proxy");
    braid.boot_gateway();
    braid.taken(EDGE);
    assert_eq!(arrived(&mut braid, ACK), 1, "which nobody tells to begin");
    // One that has begun goes on without a gateway.
    answered(&mut braid, steer(2, PROXY));
    braid.own(PROXY, ends(), Some(Owner::Here), None);
    braid.server_at(PROXY, &spoken(ACK));
    braid.settle();
    braid.boot_gateway();
    braid.taken(PROXY);
    assert_eq!((arrived(&mut braid, ACK), braid.taken(PROXY).len()), (0, 1));
}

#[test]
fn a_client_whose_proxy_has_started_again_is_reset_when_nobody_goes_on() {
    let mut braid = opened_with_proxy();
    answered(&mut braid, steer(1, PROXY));
    braid.own(PROXY, ends(), Some(Owner::Here), None);
    braid.server_at(PROXY, &spoken(Tcp::SYN | ACK));
    braid.advance(200 * Time::MILLISECOND);
    braid.boot_proxy();
    braid.taken(EDGE);
    braid.advance(1900 * Time::MILLISECOND);
    braid.taken(EDGE);
    assert_eq!((arrived(&mut braid, ACK), braid.taken(EDGE).len()), (0, 0));
    // By then it is asked, even if it only receives.
    braid.advance(400 * Time::MILLISECOND);
    let asked = braid.taken(EDGE);
    assert_eq!(asked.iter().map(|packet| flags_of(packet)).collect::<Vec<_>>(), [ACK]);
    assert_eq!(arrived(&mut braid, ACK), 0);
    assert_eq!(braid.taken(EDGE).iter().map(|packet| flags_of(packet)).collect::<Vec<_>>(), [Tcp::RST]);
}

#[test]
fn the_shard_that_a_connection_meets_obeys_the_gateway_and_knows_how_far_it_has_come() {
    for (edge, gateway) in [(2, 1), (2, 2), (4, 2), (1, 2)] {
        let mut braid = Braid::up_with_proxy_and(edge, gateway);
        let what = format!("{edge} shards at the edge, {gateway} at the gateway");
        braid.client(&segment(Tcp::SYN));
        braid.settle();
        assert_eq!(braid.taken(GATEWAY).len(), 1, "{what}");
        braid.own(PROXY, ends(), Some(Owner::Here), None);
        assert_eq!(answered(&mut braid, steer(2, PROXY))[0][24], 1, "{what}");
        for queue in 0..4 {
            braid.queue = queue;
            assert_eq!(arrived(&mut braid, ACK), 0, "{what}");
            assert_eq!(braid.taken(PROXY).len(), 1, "{what}");
        }
        braid.server_at(PROXY, &spoken(ACK));
        braid.settle();
        assert_eq!(braid.taken(EDGE).len(), 1, "{what}");
        let if_gone = u16::MAX;
        assert_eq!(answered(&mut braid, steer(3, if_gone))[0][24], 0, "{what}: it is there");
        braid.boot_proxy();
        braid.taken(EDGE);
        assert_eq!(answered(&mut braid, steer(4, if_gone))[0][24..26], [1, 7], "{what}: all has been seen");
        assert!(answered(&mut braid, steer(1, PROXY)).is_empty(), "{what}: overtaken");
        assert_eq!(arrived(&mut braid, ACK), 1, "{what}");
    }
}

/// How a connection moves to the proxy, in the order in which the control sides say it; `meanwhile` between edge and gateway.
fn move_to_proxy(braid: &mut Braid, meanwhile: impl FnOnce(&mut Braid)) {
    braid.own(GATEWAY, ends(), Some(Owner::Held), None);
    braid.own(PROXY, ends(), Some(Owner::Held), None);
    meanwhile(braid);
    assert!(braid.own(EDGE, ends(), Some(Owner::Node(PROXY)), Some(GATEWAY)));
    braid.own(GATEWAY, ends(), Some(Owner::Away), None);
    braid.settle();
    braid.own(PROXY, ends(), Some(Owner::Here), None);
}

fn bodies(packets: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    packets.iter().map(|packet| packet[40..].to_vec()).collect()
}

fn request(body: &[u8]) -> Vec<u8> {
    tcp(CLIENT, VIP, ACK | 8, 1, body)
}

fn opened_with_proxy() -> Braid {
    let mut braid = Braid::up_with_proxy();
    braid.client(&segment(Tcp::SYN));
    braid.settle();
    assert_eq!(braid.taken(GATEWAY).len(), 1);
    braid
}

#[test]
fn what_reaches_a_gateway_late_goes_to_the_proxy() {
    let mut braid = opened_with_proxy();
    move_to_proxy(&mut braid, |braid| {
        braid.client(&request(b"held"));
        braid.settle();
        // Still under way when the edge is steered.
        braid.client(&request(b"late"));
    });
    assert_eq!(bodies(braid.taken(PROXY)), [b"held", b"late"]);
    assert_eq!(braid.snapshot(GATEWAY)["owners"]["passed_on"], 2);
    assert!(braid.taken(GATEWAY).is_empty());
}

#[test]
fn what_reaches_a_proxy_late_goes_to_the_gateway() {
    let mut braid = opened_with_proxy();
    move_to_proxy(&mut braid, |_| {});
    braid.client(&request(b"here"));
    braid.settle();
    assert_eq!(bodies(braid.taken(PROXY)), [b"here"]);
    for number in [PROXY, GATEWAY] {
        braid.own(number, ends(), Some(Owner::Held), None);
    }
    braid.client(&request(b"held"));
    braid.settle();
    braid.client(&request(b"late"));
    assert!(braid.own(EDGE, ends(), None, Some(GATEWAY)));
    braid.own(PROXY, ends(), Some(Owner::Away), None);
    braid.settle();
    braid.own(GATEWAY, ends(), None, None);
    assert_eq!(bodies(braid.taken(GATEWAY)), [b"held", b"late"]);
    assert_eq!(braid.snapshot(PROXY)["owners"]["passed_on"], 2);
    assert!(braid.taken(PROXY).is_empty());
    braid.client(&request(b"next"));
    braid.settle();
    assert_eq!(bodies(braid.taken(GATEWAY)), [b"next"]);
}

#[test]
fn nobody_passes_on_what_is_not_or_was_not_its_own() {
    let mut braid = opened_with_proxy();
    let refused = |braid: &mut Braid| {
        braid.settle();
        assert!(braid.taken(PROXY).is_empty());
        let before = braid.drops(EDGE, "not_a_reply") + braid.drops(EDGE, "not_the_owner");
        assert!(braid.taken(EDGE).is_empty());
        before
    };
    // The gateway gives it away, and the edge was not told.
    braid.client(&request(b"under way"));
    braid.own(GATEWAY, ends(), Some(Owner::Away), None);
    assert_eq!(refused(&mut braid), 1);
    // The edge was, but to another node than the one that passes it on.
    braid.own(EDGE, ends(), Some(Owner::Node(PROXY)), Some(GATEWAY));
    braid.own(PROXY, ends(), Some(Owner::Away), None);
    braid.client(&request(b"to the proxy, which has it no more"));
    assert_eq!(refused(&mut braid), 2);
}
