//! Transferred connections: who may say who has one, what is held, and where its packets go.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use braid_core::{Ends, Owner};
use braid_packet::{Ip, Tcp, Transport};
use braid_testbed::*;

const CLIENT: &str = "10.91.1.10";
const PROXY: u16 = 51;
const ACK: u8 = Tcp::ACK;

fn ends() -> Ends {
    Ends::new(format!("{CLIENT}:4000").parse().unwrap(), format!("{VIP}:80").parse().unwrap())
}

fn segment(flags: u8) -> Vec<u8> {
    tcp(CLIENT, VIP, flags, 1, b"")
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
    assert_eq!(braid.own(GATEWAY, ends(), Some(Owner::Held), None), Some(true));
    assert_eq!(arrived(&mut braid, ACK), 0);
    assert_eq!(arrived(&mut braid, ACK | 8), 0);
    assert_eq!(braid.own(GATEWAY, ends(), None, None), Some(true));
    let released = braid.taken(GATEWAY);
    assert_eq!(released.iter().map(|packet| flags_of(packet)).collect::<Vec<_>>(), [ACK, ACK | 8], "in their order");
    assert_eq!(arrived(&mut braid, ACK), 1);
    braid.own(GATEWAY, ends(), Some(Owner::Held), None);
    assert_eq!(arrived(&mut braid, ACK), 0);
    braid.own(GATEWAY, ends(), Some(Owner::Away), None);
    assert_eq!((arrived(&mut braid, ACK), braid.taken(GATEWAY).len()), (0, 0));
    assert_eq!(braid.drops(GATEWAY, "transferred_away"), 2, "the held one, and one that came late");
    braid.client(&udp(CLIENT, 4000, VIP, 80, b"question"));
    braid.settle();
    assert_eq!(braid.taken(GATEWAY).len(), 1, "what else the client sends is not concerned");
}

#[test]
fn only_the_gateway_that_serves_a_client_says_who_has_its_connection() {
    let mut braid = Braid::up();
    let to_proxy = Some(Owner::Node(PROXY));
    assert_eq!(braid.own(EDGE, ends(), to_proxy, Some(GATEWAY)), None, "the client is not known");
    let mut braid = opened();
    assert_eq!(braid.own(EDGE, ends(), to_proxy, Some(GATEWAY + 1)), Some(false));
    assert_eq!(arrived(&mut braid, ACK), 1);
    assert_eq!(braid.own(EDGE, ends(), to_proxy, Some(GATEWAY)), Some(true));
    assert_eq!(arrived(&mut braid, ACK), 0, "it goes to the proxy, or nowhere");
    assert_eq!(braid.own(EDGE, ends(), None, Some(GATEWAY)), Some(true));
    assert_eq!(arrived(&mut braid, ACK), 1);
}

#[test]
fn a_client_whose_proxy_is_gone_is_reset_and_may_connect_again() {
    let mut braid = opened();
    braid.taken(EDGE);
    braid.own(EDGE, ends(), Some(Owner::Node(PROXY)), Some(GATEWAY));
    assert_eq!(arrived(&mut braid, ACK), 0);
    let told = braid.taken(EDGE);
    assert_eq!(told.iter().map(|packet| flags_of(packet)).collect::<Vec<_>>(), [Tcp::RST]);
    assert_eq!(braid.drops(EDGE, "owner_gone"), 1);
    assert_eq!(arrived(&mut braid, Tcp::SYN), 1);
}

#[test]
fn the_gateway_no_longer_speaks_on_a_connection_that_another_node_has() {
    let mut braid = opened();
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
    assert_eq!(answer(&mut braid), 0);
    assert_eq!(braid.drops(EDGE, "not_the_owner"), 1);
}
