//! Two gateways of a region: flows of one go to the other while clients and servers go on.

use crate::stack::record;
use crate::tcp;

use braid_core::{Command, Copied, Desired, Event, Order, PeriodKey, Prefix, Splice, Took, Which};
use braid_packet::{finish_checksum, Ip, Tcp, Time, VnetHdr};
use braid_testbed::*;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::mpsc::channel;
use tcp::*;

pub const POOL: &str = "10.93.0.128/30";
pub const OTHER_POOL: &str = "10.93.0.132/30";
pub const CLIENT_ISN: u32 = 0xffff_ff00;
pub const SERVER_ISN: u32 = 4_000_000;
/// A proxied application, whose connections a stack has had.
const SPLICED: &str = "spliced";
/// The same, for one answer: what the client says then the control side is asked about.
pub const ANSWERED: &str = "answered";

/// How far a move is.
#[derive(Clone, Copy, Default)]
pub struct Stage {
    moving: bool,
    guests: bool,
    leaving: bool,
    asks: bool,
    diverted: bool,
}

pub fn desired(number: u16, mode: &str, stage: Stage) -> Desired {
    let near: Vec<u16> = match number {
        EDGE => RELAYS.to_vec(),
        GATEWAY => vec![21, 22, SIBLING],
        SIBLING => vec![21, 22, GATEWAY],
        _ => vec![EDGE, GATEWAY, SIBLING],
    };
    let neighbours: Vec<_> = near.iter().map(|n| json!({"node": n, "addresses": [address(*n).to_string()]})).collect();
    let set = |peer: u16| json!({"peer": peer, "set": 2, "paths": [{"id": 0, "route": [21, peer]}, {"id": 1, "route": [22, peer]}]});
    let direct = |peer: u16| json!({"peer": peer, "set": 1, "paths": [{"id": 0, "route": [peer]}]});
    let sets = match number {
        EDGE => vec![set(GATEWAY), set(SIBLING)],
        GATEWAY => vec![set(EDGE), direct(SIBLING)],
        SIBLING => vec![set(EDGE), direct(GATEWAY)],
        _ => Vec::new(),
    };
    let mut whole = json!({"neighbours": neighbours, "path_sets": sets});
    if number == EDGE {
        let diverts = if stage.diverted { json!([[GATEWAY, SIBLING]]) } else { json!([]) };
        whole["edge"] = json!({"applications": [{"app": 0, "vips": [VIP], "ports": [["any", 0, 65535]], "set": 2,
            "gateways": [GATEWAY, SIBLING], "diverts": diverts, "owners": [PROXY]}]});
    }
    let (own, other, sibling) = match number {
        GATEWAY => (POOL, OTHER_POOL, SIBLING),
        _ => (OTHER_POOL, POOL, GATEWAY),
    };
    if number == GATEWAY || number == SIBLING {
        let application = json!({"app": 0, "vips": [{"address": VIP, "edge": EDGE}], "ports": [["any", 0, 65535]], "set": 2,
            "mode": mode, "targets": [{"address": "10.93.0.10", "port": null, "weight": 1, "healthy": true}]});
        let proxied = json!({"app": 0, "vips": [{"address": VIP, "edge": EDGE}], "ports": [["tcp", 80, 80]], "set": 2,
            "accept": "first-byte", "transparent": []});
        let (applications, proxied) = if mode == SPLICED || mode == ANSWERED {
            (json!([]), json!([proxied]))
        } else {
            (json!([application]), json!([]))
        };
        whole["gateway"] = json!({"applications": applications, "proxied": proxied,
            "snat": [own], "siblings": [sibling], "moving": stage.moving,
            "guests": if stage.guests { vec![other] } else { Vec::new() },
            "sibling": if stage.leaving || stage.asks { json!({"node": sibling, "leaving": stage.leaving}) }
                else { json!(null) }});
    }
    Desired::parse(&whole.to_string()).unwrap()
}

pub fn up(mode: &str) -> Braid {
    let mut braid = Braid::up();
    braid.boot(SIBLING);
    for number in [EDGE, RELAYS[0], RELAYS[1], GATEWAY, SIBLING] {
        braid.configure(number, &desired(number, mode, Stage::default()));
    }
    for relay in RELAYS {
        braid.initiate(SIBLING, relay, true);
    }
    braid.initiate(SIBLING, GATEWAY, true);
    braid.settle();
    braid.initiate(EDGE, SIBLING, false);
    braid.initiate(GATEWAY, SIBLING, false);
    braid.settle();
    for number in [GATEWAY, SIBLING] {
        let keys = [4, 5].map(|period| PeriodKey { period, key: [period as u8; 16] }).into();
        braid.command(number, Command::SynKeys { current: 5, keys, gateways: [].into() });
    }
    for number in [EDGE, GATEWAY, SIBLING] {
        braid.taken(number);
    }
    braid
}

pub fn copy(braid: &mut Braid, from: u16, pool: &str, since: Time) -> Copied {
    copy_which(braid, from, pool, Which::Steady, since)
}

pub fn copy_which(braid: &mut Braid, from: u16, pool: &str, which: Which, since: Time) -> Copied {
    let (sender, receiver) = channel();
    let pools: Vec<Prefix> = vec![pool.parse().unwrap()];
    braid.command(from, Command::CopyFlows { pools, which, from: 0, since, reply: answer(sender) });
    receiver.try_recv().unwrap()
}

pub fn take(braid: &mut Braid, to: u16, piece: &[u8]) -> Took {
    let (sender, receiver) = channel();
    braid.command(to, Command::TakeFlows(piece.to_vec(), answer(sender)));
    receiver.try_recv().unwrap()
}

pub fn client(port: u16) -> SocketAddr {
    SocketAddr::new("10.91.1.10".parse().unwrap(), port)
}

pub fn vip() -> SocketAddr {
    SocketAddr::new(VIP.parse().unwrap(), 80)
}

pub fn server() -> SocketAddr {
    "10.93.0.10:80".parse().unwrap()
}

/// What the client got, and what a gateway's host did.
pub fn arrived(braid: &mut Braid, number: u16) -> (SocketAddr, SocketAddr, Tcp) {
    braid.settle();
    let mut packets = braid.taken(number);
    // The fast path asks servers twice at once.
    if packets.len() == 2 && packets[0] == packets[1] {
        packets.pop();
    }
    read(&only(packets))
}

/// A connection through the first gateway, up to its first bytes: what the client adds to the server's numbers, and its source
/// at the server.
pub fn connect(braid: &mut Braid, mode: &str, port: u16) -> (u32, SocketAddr) {
    let first = CLIENT_ISN.wrapping_add(1);
    braid.client(&segment(client(port), vip(), Tcp::SYN, (CLIENT_ISN, 0), &[]));
    if mode == "nat" {
        let (snat, _, _) = arrived(braid, GATEWAY);
        braid.server(&segment(server(), snat, Tcp::SYN | Tcp::ACK, (SERVER_ISN, first), &[]));
        arrived(braid, EDGE);
        braid.client(&segment(client(port), vip(), Tcp::ACK, (first, SERVER_ISN + 1), b"request"));
        arrived(braid, GATEWAY);
        return (0, snat);
    }
    let (_, _, answer) = arrived(braid, EDGE);
    let cookie = answer.sequence;
    braid.client(&segment(client(port), vip(), Tcp::ACK, (first, cookie.wrapping_add(1)), b"request"));
    if mode == SPLICED || mode == ANSWERED {
        let until = (mode == ANSWERED).then_some(1000);
        let numbers = (cookie.wrapping_add(1), CLIENT_ISN.wrapping_add(8));
        let snat = serve(braid, GATEWAY, client(port), numbers, Some(until));
        return (cookie.wrapping_sub(SERVER_ISN), snat);
    }
    let (snat, _, _) = arrived(braid, GATEWAY);
    braid.server(&segment(server(), snat, Tcp::SYN | Tcp::ACK, (SERVER_ISN, first), &[]));
    braid.settle();
    assert_eq!(braid.taken(GATEWAY).len(), 2, "our acknowledgement, and the request");
    (cookie.wrapping_sub(SERVER_ISN), snat)
}

/// The connection that the control side of a gateway was asked about last.
pub fn asked(braid: &mut Braid, number: u16) -> u64 {
    braid.settle();
    let heard = braid.heard(number).into_iter();
    let mut asked =
        heard.filter_map(
            |event| if let Event::ServiceRequest(request) = event { Some(request.connection) } else { None },
        );
    asked.next_back().unwrap()
}

/// The stack takes a client's request, and passes it on. `back`: it gives the connection back then, as a splice with these bytes
/// left of the answer. `numbers`: the next byte for the client, and of it. The connection's source at the server.
pub fn serve(
    braid: &mut Braid,
    by: u16,
    client: SocketAddr,
    (said, behind): (u32, u32),
    back: Option<Option<u32>>,
) -> SocketAddr {
    let connection = asked(braid, by);
    braid.command(by, Command::Connection(connection, Order::Take));
    let (sender, receiver) = channel();
    braid.command(
        by,
        Command::Connection(connection, Order::OpenServer { server: server(), hold: false, leased: answer(sender) }),
    );
    let snat = receiver.try_recv().unwrap().unwrap();
    if let Some(until) = back {
        let (sender, receiver) = channel();
        braid.command(by, Command::Connection(connection, Order::Hold(answer(sender))));
        assert!(receiver.try_recv().unwrap());
        let splice = Splice {
            client: record(vip(), client, said, behind),
            server: record(snat, server(), behind, SERVER_ISN + 1),
            to_client: Vec::new(),
            to_server: Vec::new(),
            until,
        };
        braid.command(by, Command::Connection(connection, Order::Splice(Box::new(splice))));
    }
    braid.settle();
    braid.taken(by);
    snat
}

/// The next bytes of a server, who sees them come back.
pub fn answer_by(braid: &mut Braid, gateway: u16, snat: SocketAddr, at: u32, shift: u32, port: u16) {
    let sequence = SERVER_ISN + 1 + at;
    let behind = CLIENT_ISN.wrapping_add(8);
    braid.server_at(gateway, &segment(server(), snat, Tcp::ACK, (sequence, behind), &[7; 1000]));
    let (from, to, got) = arrived(braid, EDGE);
    assert_eq!((from, to, got.sequence, got.payload), (vip(), client(port), sequence.wrapping_add(shift), 1000));
}

/// The client acknowledges: which gateway sends that to the server, and as what.
pub fn acknowledge(braid: &mut Braid, by: u16, snat: SocketAddr, at: u32, shift: u32, port: u16) {
    let behind = CLIENT_ISN.wrapping_add(8);
    let number = SERVER_ISN + 1 + at;
    braid.client(&segment(client(port), vip(), Tcp::ACK, (behind, number.wrapping_add(shift)), &[]));
    let (from, to, got) = arrived(braid, by);
    assert_eq!((from, to, got.acknowledgement), (snat, server(), number));
}

pub fn set(braid: &mut Braid, mode: &str, stages: [(u16, Stage); 2]) {
    for (number, stage) in stages {
        braid.configure(number, &desired(number, mode, stage));
    }
}

pub const COPYING: Stage = Stage { moving: true, guests: false, leaving: false, asks: true, diverted: false };
pub const LEFT: Stage = Stage { leaving: true, ..COPYING };
pub const HOST: Stage = Stage { guests: true, ..COPYING };
/// Of an edge, whose clients the sibling gets.
pub const DIVERTED: Stage = Stage { moving: false, guests: false, leaving: false, asks: false, diverted: true };

#[test]
fn a_connection_goes_on_at_the_sibling_whatever_way_its_packets_take() {
    for mode in ["nat", "fast-path", SPLICED] {
        let mut braid = up(mode);
        let (shift, snat) = connect(&mut braid, mode, 4000);
        answer_by(&mut braid, GATEWAY, snat, 0, shift, 4000);
        acknowledge(&mut braid, GATEWAY, snat, 1000, shift, 4000);
        set(&mut braid, mode, [(GATEWAY, COPYING), (SIBLING, HOST)]);
        let copied = copy(&mut braid, GATEWAY, POOL, Time(0));
        assert_eq!((copied.flows, copied.opening, copied.stay, copied.next), (1, 0, 0, None));
        let took = take(&mut braid, SIBLING, &copied.pieces[0]);
        assert_eq!((took.new, took.again, took.refused), (1, 0, 0), "{}", took.why);
        // The download goes on by the old gateway, far beyond the window that the other one knows of.
        for step in 1..60 {
            answer_by(&mut braid, GATEWAY, snat, step * 1000, shift, 4000);
            acknowledge(&mut braid, GATEWAY, snat, step * 1000 + 1000, shift, 4000);
        }
        set(&mut braid, mode, [(GATEWAY, LEFT), (EDGE, DIVERTED)]);
        // The client's packets take the new way, the server's still the old one.
        for step in 60..120 {
            answer_by(&mut braid, GATEWAY, snat, step * 1000, shift, 4000);
            acknowledge(&mut braid, SIBLING, snat, step * 1000 + 1000, shift, 4000);
        }
        for step in 120..180 {
            answer_by(&mut braid, SIBLING, snat, step * 1000, shift, 4000);
            acknowledge(&mut braid, SIBLING, snat, step * 1000 + 1000, shift, 4000);
        }
        // It is over: windows are judged again, and the first gateway may go.
        set(&mut braid, mode, [(GATEWAY, LEFT), (SIBLING, Stage { moving: false, asks: false, ..HOST })]);
        braid.boot(GATEWAY);
        for step in 180..200 {
            answer_by(&mut braid, SIBLING, snat, step * 1000, shift, 4000);
            acknowledge(&mut braid, SIBLING, snat, step * 1000 + 1000, shift, 4000);
        }
        let behind = CLIENT_ISN.wrapping_add(8);
        let last = SERVER_ISN + 1 + 200_000;
        braid.server_at(SIBLING, &segment(server(), snat, Tcp::FIN | Tcp::ACK, (last, behind), &[]));
        arrived(&mut braid, EDGE);
        let end = (behind, last.wrapping_add(1).wrapping_add(shift));
        braid.client(&segment(client(4000), vip(), Tcp::FIN | Tcp::ACK, end, &[]));
        arrived(&mut braid, SIBLING);
        let flows = braid.ask_flows(SIBLING, 10);
        braid.advance(Time::SECOND);
        assert_eq!(flows.try_recv().unwrap()[0].flow.state, "closed", "{mode}: both ends were seen");
    }
}

#[test]
fn what_is_not_here_goes_to_the_sibling_and_never_back() {
    for mode in ["nat", "fast-path", SPLICED] {
        let mut braid = up(mode);
        let (shift, snat) = connect(&mut braid, mode, 4000);
        // Nothing was copied: each packet that comes to the sibling is passed on to who has its flow.
        set(&mut braid, mode, [(GATEWAY, COPYING), (SIBLING, HOST)]);
        set(&mut braid, mode, [(EDGE, DIVERTED), (SIBLING, HOST)]);
        answer_by(&mut braid, SIBLING, snat, 0, shift, 4000);
        acknowledge(&mut braid, GATEWAY, snat, 1000, shift, 4000);
        // Of a connection that neither has, the client hears.
        braid.client(&segment(client(4001), vip(), Tcp::ACK, (5, 6), b"late"));
        let (_, to, got) = arrived(&mut braid, EDGE);
        assert_eq!((to, got.flags & Tcp::RST), (client(4001), Tcp::RST));
        assert_eq!(braid.snapshot(GATEWAY)["passed_on"], 0);
    }
}

/// A client's packet whose checksum is left to whoever sends it on is passed on with it, and whole.
#[test]
fn what_is_passed_on_stays_whole_though_its_checksum_is_not_there_yet() {
    let mut braid = up("nat");
    let (_, snat) = connect(&mut braid, "nat", 4000);
    set(&mut braid, "nat", [(GATEWAY, COPYING), (SIBLING, HOST)]);
    set(&mut braid, "nat", [(EDGE, DIVERTED), (SIBLING, HOST)]);
    let packet = tcp_partial("10.91.1.10", VIP, Tcp::ACK, CLIENT_ISN.wrapping_add(8), b"more");
    let vnet = VnetHdr { needs_csum: true, csum_start: 20, csum_offset: 16, ..VnetHdr::default() };
    braid.client_super(vnet, &packet);
    braid.settle();
    let (vnet, mut got) = braid.taken_with_offload(GATEWAY).remove(0);
    assert!(!vnet.needs_csum || finish_checksum(&mut got));
    let (from, to, tcp) = read(&got);
    assert_eq!((from, to, tcp.payload), (snat, server(), 4));
}

#[test]
fn a_gateway_that_leaves_begins_nothing() {
    for mode in ["nat", "fast-path"] {
        let mut braid = up(mode);
        set(&mut braid, mode, [(GATEWAY, LEFT), (SIBLING, HOST)]);
        braid.client(&udp("10.91.1.10", 5000, VIP, 53, b"question"));
        braid.settle();
        assert!(braid.taken(GATEWAY).is_empty());
        let question = only(braid.taken(SIBLING));
        let source = Ip::parse(&question).unwrap().source;
        assert!(OTHER_POOL.parse::<Prefix>().unwrap().contains(source), "of the pool of who began it");
        braid.client(&segment(client(4002), vip(), Tcp::SYN, (CLIENT_ISN, 0), &[]));
        braid.settle();
        assert!(braid.taken(GATEWAY).is_empty());
        match mode {
            "nat" => assert_eq!(read(&only(braid.taken(SIBLING))).2.flags, Tcp::SYN),
            _ => assert_eq!(read(&only(braid.taken(EDGE))).2.flags, Tcp::SYN | Tcp::ACK),
        }
        assert_eq!(braid.snapshot(GATEWAY)["passed_on"], 2);
    }
}

#[test]
fn flows_that_were_not_used_since_are_not_told_again() {
    let mut braid = up("nat");
    for port in 4000..4100 {
        connect(&mut braid, "nat", port);
    }
    set(&mut braid, "nat", [(GATEWAY, COPYING), (SIBLING, HOST)]);
    let all = copy(&mut braid, GATEWAY, POOL, Time(0));
    assert_eq!((all.flows, all.next), (100, None));
    assert!(all.pieces.iter().all(|piece| piece.len() <= 1000), "each fits into a control message");
    let new: u32 = all.pieces.iter().map(|piece| take(&mut braid, SIBLING, piece).new).sum();
    let again: u32 = all.pieces.iter().map(|piece| take(&mut braid, SIBLING, piece).again).sum();
    assert_eq!((new, again), (100, 100), "told twice is as told once");
    braid.advance(Time::MILLISECOND);
    let since = braid.now;
    braid.client(&segment(client(4005), vip(), Tcp::ACK, (CLIENT_ISN.wrapping_add(8), SERVER_ISN + 1), b"more"));
    braid.settle();
    assert_eq!(copy(&mut braid, GATEWAY, POOL, since).flows, 1);
    assert_eq!(copy(&mut braid, GATEWAY, OTHER_POOL, Time(0)).flows, 0, "of another pool");
}

#[test]
fn a_piece_is_taken_or_refused_as_what_it_is() {
    for mode in ["nat", "fast-path", SPLICED] {
        let mut braid = up(mode);
        connect(&mut braid, mode, 4000);
        let piece = copy(&mut braid, GATEWAY, POOL, Time(0)).pieces.remove(0);
        let took = take(&mut braid, SIBLING, &piece);
        assert_eq!((took.new, took.refused, took.why), (0, 1, "no_pool"), "it is not a guest's");
        set(&mut braid, mode, [(GATEWAY, COPYING), (SIBLING, HOST)]);
        for length in 0..piece.len() {
            let took = take(&mut braid, SIBLING, &piece[..length]);
            assert_eq!((took.new, took.refused), (0, u32::from(length > 0)));
        }
        let other = if mode == "nat" { "fast-path" } else { "nat" };
        braid.configure(SIBLING, &desired(SIBLING, other, HOST));
        assert_eq!(take(&mut braid, SIBLING, &piece).why, "mode", "another version of the topology");
        braid.configure(SIBLING, &desired(SIBLING, mode, HOST));
        assert_eq!(take(&mut braid, SIBLING, &piece).new, 1);
    }
}
