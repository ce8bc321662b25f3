//! A gateway with a proxied application, and a connection of that as a TCP stack has it.

#![allow(dead_code)] // Each file of tests uses a part.

use crate::tcp::*;
use braid_core::{shard_of, Command, Desired, Event, Order, PeriodKey, ServiceRequest};
use braid_packet::record::{TcpRecord, Window};
use braid_packet::Tcp;
use braid_testbed::*;
use std::net::SocketAddr;
use std::sync::mpsc::channel;

pub const CLIENT_ISN: u32 = 0xffff_fffe;
pub const FIRST: u32 = CLIENT_ISN.wrapping_add(1);
pub const STACK_ISN: u32 = 70_000;
pub const SERVER_ISN: u32 = 4_000_000;
/// `server` sees clients' own addresses.
pub const OWN: &str = r#""10.93.0.10""#;

pub fn proxied(accept: &str) -> Braid {
    with_shards(Braid::up(), accept, 1, "")
}

/// `transparent`: the server that sees clients' own addresses, as JSON.
pub fn with_shards(mut braid: Braid, accept: &str, shards: u8, transparent: &str) -> Braid {
    let at = |n: u16| format!(r#"{{"node": {n}, "addresses": ["{}"]}}"#, address(n));
    let desired = format!(
        r#"{{"neighbours": [{}, {}], "shards": {{"{EDGE}": {shards}, "21": {shards}, "22": {shards}}},
            "path_sets": [{{"peer": {EDGE}, "set": 2, "paths": [{{"id": 0, "route": [21, {EDGE}]}}, {{"id": 1, "route": [22, {EDGE}]}}]}}],
            "gateway": {{"applications": [], "snat": ["10.93.0.128/30"], "proxied": [{{"app": 7, "accept": "{accept}", "transparent": [{transparent}], "idle_timeout": 60.0,
                "vips": [{{"address": "{VIP}", "edge": {EDGE}}}], "ports": [["tcp", 80, 80]], "set": 2}}]}}}}"#,
        at(RELAYS[0]),
        at(RELAYS[1])
    );
    let desired = Desired::parse(&desired).unwrap();
    for shard in 0..usize::from(shards) {
        braid.command_to(GATEWAY, shard, Command::Configure(Box::new(desired.clone())));
        let keys = [4, 5].map(|period| PeriodKey { period, key: [period as u8; 16] }).into();
        braid.command_to(GATEWAY, shard, Command::SynKeys { current: 5, keys, gateways: [].into() });
    }
    braid
}

pub fn client() -> SocketAddr {
    "10.91.1.10:4000".parse().unwrap()
}

pub fn vip() -> SocketAddr {
    SocketAddr::new(VIP.parse().unwrap(), 80)
}

pub fn server() -> SocketAddr {
    "10.93.0.10:8080".parse().unwrap()
}

pub fn order(braid: &mut Braid, connection: u64, order: Order) {
    braid.command_to(GATEWAY, shard_of(connection), Command::Connection(connection, order));
    braid.settle();
}

pub fn hold(braid: &mut Braid, connection: u64) -> bool {
    let (sender, receiver) = channel();
    order(braid, connection, Order::Hold(answer(sender)));
    receiver.try_recv().unwrap()
}

pub fn open_server(braid: &mut Braid, connection: u64, hold: bool) -> SocketAddr {
    let (sender, receiver) = channel();
    order(braid, connection, Order::OpenServer { server: server(), hold, leased: answer(sender) });
    receiver.try_recv().unwrap().unwrap()
}

pub fn requests(braid: &mut Braid) -> Vec<ServiceRequest> {
    let heard = braid.heard(GATEWAY).into_iter();
    heard.filter_map(|event| if let Event::ServiceRequest(request) = event { Some(*request) } else { None }).collect()
}

pub fn ends(braid: &mut Braid) -> Vec<&'static str> {
    let heard = braid.heard(GATEWAY).into_iter();
    heard.filter_map(|event| if let Event::Ended { why, .. } = event { Some(why) } else { None }).collect()
}

/// A client that is connected. The cookie.
pub fn connect(braid: &mut Braid) -> u32 {
    braid.client(&segment(client(), vip(), Tcp::SYN, (CLIENT_ISN, 0), &[]));
    braid.settle();
    let cookie = read(&only(braid.taken(EDGE))).2.sequence;
    braid.client(&segment(client(), vip(), Tcp::ACK, (FIRST, cookie.wrapping_add(1)), &[]));
    braid.settle();
    assert!(braid.taken(GATEWAY).is_empty());
    cookie
}

pub fn from_client(braid: &mut Braid, flags: u8, numbers: (u32, u32), body: &[u8]) {
    braid.client(&segment(client(), vip(), flags, numbers, body));
    braid.settle();
}

/// From the host of the gateway: its stack, or a server.
pub fn from_host(braid: &mut Braid, from: SocketAddr, to: SocketAddr, flags: u8, numbers: (u32, u32), body: &[u8]) {
    braid.server(&segment(from, to, flags, numbers, body));
    braid.settle();
}

/// A connection in the stack, with a server, that has carried a request and an answer. Connection, cookie, SNAT address.
pub fn in_the_stack(braid: &mut Braid) -> (u64, u32, SocketAddr) {
    with_server(braid, false)
}

/// `hold`: until its server sends something.
pub fn with_server(braid: &mut Braid, hold: bool) -> (u64, u32, SocketAddr) {
    let cookie = connect(braid);
    from_client(braid, Tcp::ACK, (FIRST, cookie.wrapping_add(1)), b"request");
    let request = requests(braid).remove(0);
    order(braid, request.connection, Order::Take);
    assert!(only(braid.taken(GATEWAY)).ends_with(b"request"));
    let snat = open_server(braid, request.connection, hold);
    from_host(braid, snat, server(), Tcp::SYN, (STACK_ISN, 0), &[]);
    let (from, to, syn) = read(&only(braid.taken(GATEWAY)));
    assert_eq!((from, to, syn.flags, syn.sequence), (snat, server(), Tcp::SYN, STACK_ISN), "as it was");
    from_host(braid, server(), snat, Tcp::SYN | Tcp::ACK, (SERVER_ISN, STACK_ISN + 1), &[]);
    let (from, to, _) = read(&only(braid.taken(GATEWAY)));
    assert_eq!((from, to), (server(), snat), "as it was");
    from_host(braid, vip(), client(), Tcp::ACK, (cookie.wrapping_add(1), FIRST.wrapping_add(7)), b"answer");
    assert!(only(braid.taken(EDGE)).ends_with(b"answer"));
    (request.connection, cookie, snat)
}

/// A socket with nothing in its queues.
pub fn record(local: SocketAddr, remote: SocketAddr, send_next: u32, receive_next: u32) -> TcpRecord {
    TcpRecord {
        local,
        remote,
        send_next,
        receive_next,
        mss: 1360,
        scales: Some((7, 9)),
        sack: false,
        timestamp: None,
        window: Window { update: receive_next, send: 60_000, most: 60_000, receive: 60_000, edge_from: receive_next },
        unread: Vec::new(),
        unacknowledged: Vec::new(),
        unsent: Vec::new(),
    }
}

/// As both sockets have it when the request was passed on and 6 bytes of the answer as well.
pub fn records(cookie: u32, snat: SocketAddr) -> (TcpRecord, TcpRecord) {
    (
        record(vip(), client(), cookie.wrapping_add(7), FIRST.wrapping_add(7)),
        record(snat, server(), STACK_ISN + 10, SERVER_ISN + 7),
    )
}
