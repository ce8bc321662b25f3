//! One connection, packet by packet, as tests of single rules need it.

use super::bytes::finish;
use super::{parse, APP, FLOW};
use braid_fastpath::{Ends, FastPath, Seen, Side, Splice, Stranger, Verdict};
use braid_packet::record::{TcpRecord, Window};
use braid_packet::{FlowId, Segment, Tcp, Time, VnetHdr};
use std::net::SocketAddr;

pub const START: Time = Time(1_000 * Time::SECOND);
/// Of a flow that lives.
pub const SEEN: Seen = Seen { app: APP, last: START };
pub const CLIENT_ISN: u32 = 0xffff_fff0;
pub const SERVER_ISN: u32 = 77_000;
pub const PUSH: u8 = 8;

pub fn client() -> SocketAddr {
    "192.0.2.7:4000".parse().unwrap()
}

pub fn vip() -> SocketAddr {
    "203.0.113.1:80".parse().unwrap()
}

pub fn packet(
    from: SocketAddr,
    to: SocketAddr,
    flags: u8,
    numbers: (u32, u32),
    options: &[u8],
    body: &[u8],
) -> Vec<u8> {
    let (sequence, acknowledgement) = numbers;
    written(&Segment { from, to, sequence, acknowledgement, flags, window: 5000, options }, body)
}

/// One that acknowledges, with a window.
pub fn numbered(
    from: SocketAddr,
    to: SocketAddr,
    sequence: u32,
    acknowledgement: u32,
    window: u16,
    body: &[u8],
) -> Vec<u8> {
    written(&Segment { from, to, sequence, acknowledgement, flags: Tcp::ACK, window, options: &[] }, body)
}

fn written(segment: &Segment<'_>, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    segment.write(&mut out).unwrap();
    out.extend_from_slice(body);
    finish(&mut out, false);
    out
}

pub fn from_client(flags: u8, sequence: u32, acknowledgement: u32, body: &[u8]) -> Vec<u8> {
    packet(client(), vip(), flags, (sequence, acknowledgement), &[], body)
}

pub fn from_server(flags: u8, sequence: u32, acknowledgement: u32, body: &[u8]) -> Vec<u8> {
    packet(vip(), client(), flags, (sequence, acknowledgement), &[], body)
}

pub const SYN_OPTIONS: [u8; 8] = [2, 4, 5, 0x8c, 1, 3, 3, 7];

/// The cookie that a SYN brings.
pub fn cookie(fast: &mut FastPath) -> u32 {
    let syn = packet(client(), vip(), Tcp::SYN, (CLIENT_ISN, 0), &SYN_OPTIONS, &[]);
    assert_eq!(fast.receive_stranger(&syn, false, APP, START), Stranger::Reply);
    let (_, tcp) = parse(fast.answer());
    assert_eq!((tcp.flags, tcp.acknowledgement), (Tcp::SYN | Tcp::ACK, CLIENT_ISN.wrapping_add(1)));
    tcp.sequence
}

/// A client that is connected; our SYN to its server has gone out, twice. The cookie.
pub fn opening(fast: &mut FastPath) -> u32 {
    let cookie = cookie(fast);
    let first = from_client(Tcp::ACK, CLIENT_ISN.wrapping_add(1), cookie.wrapping_add(1), &[]);
    let Stranger::Open(admitted) = fast.receive_stranger(&first, false, APP, START) else { panic!("no cookie") };
    assert!(fast.open(FLOW, admitted, &first, false, START));
    let outputs = fast.take_outputs();
    let (_, syn) = parse(&outputs[0].packet);
    assert_eq!((outputs.len(), outputs[0].to, syn.flags, syn.sequence), (2, Side::Server, Tcp::SYN, CLIENT_ISN));
    assert_eq!(outputs[0], outputs[1]);
    cookie
}

pub fn open(fast: &mut FastPath) -> u32 {
    let cookie = opening(fast);
    let mut answer =
        packet(vip(), client(), Tcp::SYN | Tcp::ACK, (SERVER_ISN, CLIENT_ISN.wrapping_add(1)), &SYN_OPTIONS, &[]);
    assert_eq!(fast.receive_from_server(FLOW, VnetHdr::default(), &mut answer, APP, START), Verdict::Taken);
    let (_, acknowledgement) = parse(&fast.take_outputs()[0].packet);
    assert_eq!((acknowledgement.flags, acknowledgement.acknowledgement), (Tcp::ACK, SERVER_ISN + 1));
    cookie
}

/// A client that has sent "request"; the control side is asked to take the connection.
pub fn asked(fast: &mut FastPath) -> u32 {
    let cookie = cookie(fast);
    let first = from_client(Tcp::ACK, CLIENT_ISN.wrapping_add(1), cookie.wrapping_add(1), b"request");
    let Stranger::Open(admitted) = fast.receive_stranger(&first, false, APP, START) else { panic!("no cookie") };
    assert!(fast.accept(FLOW, admitted, &first, false, false, START));
    assert_eq!((fast.take_requests().len(), fast.held_now()), (1, 1));
    cookie
}

/// The same, and the connection is the stack's.
pub fn in_the_stack(fast: &mut FastPath) -> u32 {
    let cookie = asked(fast);
    assert_eq!(fast.take(FLOW).unwrap().len(), 1);
    cookie
}

/// The stack's own first number towards a server.
pub const STACK_ISN: u32 = 70_000;

/// The same, and it has gone back, with the request at the server and no byte of an answer.
pub fn spliced(fast: &mut FastPath, until: Option<u32>) -> u32 {
    let cookie = in_the_stack(fast);
    splice(fast, cookie, until);
    cookie
}

/// What the stack has goes back, with the request at the server and no byte of an answer.
pub fn splice(fast: &mut FastPath, cookie: u32, until: Option<u32>) {
    let record = |send_next: u32, receive_next: u32| TcpRecord {
        local: vip(),
        remote: client(),
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
    };
    assert!(fast.hold(FLOW, START));
    let splice = Splice {
        client: record(cookie.wrapping_add(1), CLIENT_ISN.wrapping_add(8)),
        server: record(STACK_ISN + 8, SERVER_ISN + 1),
        to_client: Vec::new(),
        to_server: Vec::new(),
        until,
    };
    assert_eq!(fast.splice(FLOW, &splice, &ends(FLOW).unwrap(), START), Some(Vec::new()));
}

pub fn to_server(fast: &mut FastPath, mut packet: Vec<u8>) -> Verdict {
    fast.receive_from_client(FLOW, &mut packet, false, START)
}

pub fn to_client(fast: &mut FastPath, mut packet: Vec<u8>) -> Verdict {
    fast.receive_from_server(FLOW, VnetHdr::default(), &mut packet, APP, START)
}

pub fn ends(_: FlowId) -> Option<Ends> {
    Some(Ends { client: client(), vip: vip() })
}
