//! Connections of a proxied application: accepted by the fast path, taken by a TCP stack, and given back.

use crate::stack;
use crate::tcp;

use braid_core::{shard_of, Event, Order, Park, Splice};
use braid_packet::record::TcpRecord;
use braid_packet::{checksum, icmp, Ip, Tcp, Time, Transport};
use braid_testbed::*;
use stack::*;
use std::net::SocketAddr;
use std::sync::mpsc::channel;
use tcp::*;

#[test]
fn the_control_side_hears_of_the_first_byte_three_times_and_then_the_client_is_reset() {
    let mut braid = proxied("first-byte");
    let cookie = connect(&mut braid);
    braid.advance(5 * Time::SECOND);
    assert!(requests(&mut braid).is_empty(), "an idle client asks for nothing");
    from_client(&mut braid, Tcp::ACK, (FIRST, cookie.wrapping_add(1)), b"request");
    let request = requests(&mut braid).remove(0);
    let record = TcpRecord::decode(&request.client).unwrap();
    assert_eq!((request.app, request.edge, request.server, request.held), (7, EDGE, None, 47));
    assert_eq!((record.local, record.remote), (vip(), client()));
    assert_eq!((record.send_next, record.receive_next), (cookie.wrapping_add(1), FIRST));
    assert_eq!((record.scales, record.mss, record.timestamp), (Some((7, 9)), 1380, None));
    assert_eq!((record.window.send, record.window.receive), (500 << 7, 14_600));
    braid.advance(3 * Time::SECOND);
    assert_eq!(requests(&mut braid).len(), 2);
    assert!(braid.taken(GATEWAY).is_empty() && braid.taken(EDGE).is_empty());
    braid.advance(Time::SECOND);
    let (_, _, reset) = read(&only(braid.taken(EDGE)));
    assert_eq!((reset.flags & Tcp::RST, reset.sequence), (Tcp::RST, cookie.wrapping_add(1)));
    assert_eq!(braid.drops(GATEWAY, "normal_silent"), 1);
    order(&mut braid, request.connection, Order::Take);
    assert_eq!(ends(&mut braid), ["silent", "gone"]);
    assert_eq!(braid.snapshot(GATEWAY)["nat"]["flows"], 0);
}

#[test]
fn the_control_side_hears_of_a_client_that_says_nothing_for_too_long() {
    let mut braid = proxied("first-byte");
    connect(&mut braid);
    braid.advance(59 * Time::SECOND);
    assert!(requests(&mut braid).is_empty());
    assert_eq!(braid.snapshot(GATEWAY)["fast_path"]["waiting"]["7"], 1);
    braid.advance(2 * Time::SECOND);
    let request = requests(&mut braid).remove(0);
    assert_eq!((request.held, request.held_at, request.server), (0, None, None));
    order(&mut braid, request.connection, Order::Take);
    braid.advance(Time::SECOND);
    assert_eq!(braid.snapshot(GATEWAY)["fast_path"]["waiting"]["7"], serde_json::Value::Null);
}

#[test]
fn where_a_server_speaks_first_the_control_side_hears_at_once_and_may_refuse() {
    let mut braid = proxied("at-once");
    let cookie = connect(&mut braid);
    let request = requests(&mut braid).remove(0);
    assert_eq!((request.held, request.held_at), (0, None));
    order(&mut braid, request.connection, Order::Reset);
    assert_eq!(read(&only(braid.taken(EDGE))).2.sequence, cookie.wrapping_add(1));
    assert_eq!(braid.drops(GATEWAY, "normal_refused"), 1);
    from_client(&mut braid, Tcp::ACK, (FIRST, cookie.wrapping_add(1)), b"late");
    assert_eq!(read(&only(braid.taken(EDGE))).2.flags, Tcp::RST, "its cookie is spent");
}

#[test]
fn while_the_stack_has_it_all_packets_pass_as_they_are_until_both_have_ended() {
    let mut braid = proxied("first-byte");
    let (_, cookie, snat) = in_the_stack(&mut braid);
    from_host(&mut braid, vip(), "10.91.1.10:4001".parse().unwrap(), Tcp::RST, (9, 0), &[]);
    from_host(&mut braid, snat, "10.93.0.11:80".parse().unwrap(), Tcp::RST, (9, 0), &[]);
    assert!(braid.taken(EDGE).is_empty() && braid.taken(GATEWAY).is_empty());
    assert_eq!(braid.drops(GATEWAY, "normal_no_flow"), 2);
    let (end, next) = (cookie.wrapping_add(7), FIRST.wrapping_add(7));
    from_host(&mut braid, vip(), client(), Tcp::ACK | Tcp::FIN, (end, next), &[]);
    from_client(&mut braid, Tcp::ACK | Tcp::FIN, (next, end.wrapping_add(1)), &[]);
    assert_eq!((braid.taken(EDGE).len(), braid.taken(GATEWAY).len()), (1, 1));
    // The ports may be used again at once.
    braid.client(&segment(client(), vip(), Tcp::SYN, (5, 0), &[]));
    braid.settle();
    assert_eq!(read(&only(braid.taken(EDGE))).2.flags, Tcp::SYN | Tcp::ACK);
}

#[test]
fn a_connection_goes_back_and_both_sides_go_on_in_their_own_numbers() {
    for transparent in ["", OWN] {
        goes_back(with_shards(Braid::up(), "first-byte", 1, transparent), !transparent.is_empty());
    }
}

fn goes_back(mut braid: Braid, transparent: bool) {
    let (connection, cookie, snat) = in_the_stack(&mut braid);
    assert_eq!(snat == client(), transparent);
    let (record, of_server) = records(cookie, snat);
    assert!(hold(&mut braid, connection));
    let (next, behind) = (FIRST.wrapping_add(7), cookie.wrapping_add(7));
    from_client(&mut braid, Tcp::ACK, (next, behind), b"more");
    from_host(&mut braid, server(), snat, Tcp::ACK, (SERVER_ISN + 7, STACK_ISN + 10), b" and so on");
    from_host(&mut braid, vip(), client(), Tcp::RST, (behind, 0), &[]);
    assert!(braid.taken(EDGE).is_empty() && braid.taken(GATEWAY).is_empty(), "held, and guarded");
    assert_eq!(braid.drops(GATEWAY, "normal_guarded"), 1);
    let splice =
        Splice { client: record, server: of_server, to_client: b"owed".to_vec(), to_server: Vec::new(), until: None };
    order(&mut braid, connection, Order::Splice(Box::new(splice)));
    let to_server = only(braid.taken(GATEWAY));
    let (from, to, tcp) = read(&to_server);
    assert_eq!((from, to, tcp.sequence), (snat, server(), STACK_ISN + 10));
    assert!(to_server.ends_with(b"more"));
    let to_client = braid.taken(EDGE);
    assert_eq!(to_client.len(), 2);
    assert!(to_client[0].ends_with(b"owed") && to_client[1].ends_with(b" and so on"));
    let told: Vec<_> = to_client.iter().map(|packet| read(packet).2).map(|tcp| tcp.sequence).collect();
    assert_eq!(told, [behind, behind.wrapping_add(4)]);
    // What is owed is sent again, until it is acknowledged.
    braid.advance(400 * Time::MILLISECOND);
    assert!(only(braid.taken(EDGE)).ends_with(b"owed"));
    from_client(&mut braid, Tcp::ACK, (next.wrapping_add(4), behind.wrapping_add(14)), &[]);
    assert_eq!(read(&only(braid.taken(GATEWAY))).2.acknowledgement, SERVER_ISN + 17);
    braid.advance(2 * Time::SECOND);
    assert!(braid.taken(EDGE).is_empty());
    let snapshot = braid.snapshot(GATEWAY);
    let shown = &snapshot["fast_path"];
    assert_eq!((&shown["spliced"], &shown["residual_bytes"], &shown["held_now"]), (&1.into(), &0.into(), &0.into()));
    // And both ends, which the control side hears of.
    let (next, behind) = (next.wrapping_add(4), behind.wrapping_add(14));
    from_client(&mut braid, Tcp::ACK | Tcp::FIN, (next, behind), &[]);
    from_host(&mut braid, server(), snat, Tcp::ACK | Tcp::FIN, (SERVER_ISN + 17, STACK_ISN + 15), &[]);
    assert_eq!((braid.taken(EDGE).len(), braid.taken(GATEWAY).len()), (1, 1));
    assert!(ends(&mut braid).is_empty(), "nobody is woken for that alone");
    braid.advance(150 * Time::MILLISECOND);
    assert_eq!(ends(&mut braid), ["closed"]);
}

#[test]
fn the_end_of_a_spliced_connection_is_told_before_what_comes_next() {
    let mut braid = proxied("first-byte");
    let (connection, cookie, snat) = in_the_stack(&mut braid);
    assert!(hold(&mut braid, connection));
    let (client_side, server_side) = records(cookie, snat);
    let splice =
        Splice { client: client_side, server: server_side, to_client: Vec::new(), to_server: Vec::new(), until: None };
    order(&mut braid, connection, Order::Splice(Box::new(splice)));
    from_client(&mut braid, Tcp::RST, (FIRST.wrapping_add(7), 0), &[]);
    assert!(braid.heard(GATEWAY).is_empty());
    let other = SocketAddr::new(client().ip(), 4001);
    braid.client(&segment(other, vip(), Tcp::SYN, (CLIENT_ISN, 0), &[]));
    braid.settle();
    let cookie = braid.taken(EDGE).iter().map(|packet| read(packet).2.sequence).next_back().unwrap();
    braid.client(&segment(other, vip(), Tcp::ACK, (FIRST, cookie.wrapping_add(1)), b"request"));
    braid.settle();
    let heard = braid.heard(GATEWAY);
    assert!(matches!(&heard[..], [Event::Ended { why: "reset", .. }, Event::ServiceRequest(_)]), "{heard:?}");
}

#[test]
fn a_hold_without_an_answer_ends_and_the_stack_gets_what_was_held() {
    let mut braid = proxied("first-byte");
    let (connection, cookie, _) = in_the_stack(&mut braid);
    assert!(hold(&mut braid, connection));
    assert!(!hold(&mut braid, connection), "once");
    from_client(&mut braid, Tcp::ACK, (FIRST.wrapping_add(7), cookie.wrapping_add(7)), b"more");
    braid.advance(3 * Time::SECOND);
    assert!(braid.taken(GATEWAY).is_empty());
    braid.advance(Time::SECOND);
    assert!(only(braid.taken(GATEWAY)).ends_with(b"more"));
    assert_eq!(braid.drops(GATEWAY, "normal_hold_expired"), 1);
    from_client(&mut braid, Tcp::ACK | Tcp::FIN, (FIRST.wrapping_add(11), cookie.wrapping_add(7)), &[]);
    assert!(!hold(&mut braid, connection), "one side has ended");
}

#[test]
fn the_next_request_of_a_spliced_connection_waits_for_the_answer_and_is_the_control_sides_again() {
    let mut braid = proxied("first-byte");
    let (connection, cookie, snat) = in_the_stack(&mut braid);
    let (client_side, server_side) = records(cookie, snat);
    assert!(hold(&mut braid, connection));
    let splice = Splice {
        client: client_side,
        server: server_side,
        to_client: Vec::new(),
        to_server: Vec::new(),
        until: Some(6),
    };
    order(&mut braid, connection, Order::Splice(Box::new(splice)));
    let (next, behind) = (FIRST.wrapping_add(7), cookie.wrapping_add(7));
    from_client(&mut braid, Tcp::ACK, (next, behind), b"request 2");
    assert_eq!(read(&only(braid.taken(GATEWAY))).2.payload, 0, "no server sees it");
    assert!(requests(&mut braid).is_empty(), "while the answer goes on");
    from_host(&mut braid, server(), snat, Tcp::ACK, (SERVER_ISN + 7, STACK_ISN + 10), b"answer");
    assert!(only(braid.taken(EDGE)).ends_with(b"answer"));
    from_client(&mut braid, Tcp::ACK, (next.wrapping_add(9), behind.wrapping_add(6)), &[]);
    let told: Vec<_> = braid.taken(GATEWAY).iter().map(|packet| read(packet).2).collect();
    assert_eq!(told.iter().map(|tcp| (tcp.sequence, tcp.payload)).collect::<Vec<_>>(), [(STACK_ISN + 10, 0); 1]);
    assert_eq!(told[0].acknowledgement, SERVER_ISN + 13);
    let request = requests(&mut braid).remove(0);
    assert_eq!(request.connection, connection);
    let (client_side, server_side) =
        (TcpRecord::decode(&request.client).unwrap(), TcpRecord::decode(&request.server.unwrap()).unwrap());
    assert_eq!((client_side.send_next, client_side.receive_next), (behind.wrapping_add(6), next));
    assert_eq!((server_side.local, server_side.remote), (snat, server()));
    assert_eq!((server_side.send_next, server_side.receive_next), (STACK_ISN + 10, SERVER_ISN + 13));
    // With another server: the one before is told.
    let other = open_server(&mut braid, connection, false);
    let (from, to, reset) = read(&only(braid.taken(GATEWAY)));
    assert_eq!((from, to, reset.flags & Tcp::RST, reset.sequence), (snat, server(), Tcp::RST, STACK_ISN + 10));
    assert!(other != snat);
    order(&mut braid, connection, Order::Take);
    let packet = only(braid.taken(GATEWAY));
    let (from, _, tcp) = read(&packet);
    assert_eq!((from, tcp.sequence, packet.ends_with(b"request 2")), (client(), next, true));
    assert_eq!(braid.snapshot(GATEWAY)["fast_path"]["again"], 1);
}

#[test]
fn each_shard_has_its_connections_whichever_queue_their_packets_come_by() {
    for transparent in ["", OWN] {
        have_their_connections(with_shards(Braid::up_with(2, 2, 2), "first-byte", 2, transparent), transparent);
    }
}

fn have_their_connections(mut braid: Braid, transparent: &str) {
    let mut owners = [0, 0];
    for port in 4000..4020_u16 {
        let client = SocketAddr::new(client().ip(), port);
        braid.client(&segment(client, vip(), Tcp::SYN, (CLIENT_ISN, 0), &[]));
        braid.settle();
        let cookie = read(&only(braid.taken(EDGE))).2.sequence;
        braid.client(&segment(client, vip(), Tcp::ACK, (FIRST, cookie.wrapping_add(1)), b"request"));
        braid.settle();
        let connection = requests(&mut braid).remove(0).connection;
        order(&mut braid, connection, Order::Take);
        assert!(only(braid.taken(GATEWAY)).ends_with(b"request"));
        let snat = open_server(&mut braid, connection, false);
        assert_eq!(usize::from(snat.port() % 2), shard_of(connection));
        assert_eq!(snat.ip() == client.ip(), !transparent.is_empty());
        owners[shard_of(connection)] += 1;
        for queue in 0..2 {
            braid.queue = queue;
            from_host(&mut braid, snat, server(), Tcp::SYN, (STACK_ISN, 0), &[]);
            from_host(&mut braid, server(), snat, Tcp::SYN | Tcp::ACK, (SERVER_ISN, STACK_ISN + 1), &[]);
            let numbers = (cookie.wrapping_add(1), FIRST.wrapping_add(7));
            from_host(&mut braid, vip(), client, Tcp::ACK, numbers, b"answer");
            assert_eq!(braid.taken(GATEWAY).len(), 2);
            assert!(only(braid.taken(EDGE)).ends_with(b"answer"));
        }
    }
    assert!(owners[0] > 0 && owners[1] > 0, "{owners:?}");
    assert_eq!(braid.drops(GATEWAY, "normal_no_flow"), 0);
}

/// That a router could not carry a packet of `from` to `to` with this number; the MTU is 1300.
fn too_big(router: &str, from: SocketAddr, to: SocketAddr, sequence: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let quote = segment(from, to, Tcp::ACK, (sequence, 9), b"x");
    assert!(icmp::too_big(&mut out, &quote, router.parse().unwrap(), 1300).is_some());
    out
}

fn quoted(packet: &[u8]) -> (SocketAddr, SocketAddr, u32) {
    let ip = Ip::parse(packet).unwrap();
    assert_eq!(!checksum::sum(&packet[ip.header_len..], 0), 0, "its checksum");
    let quoted = Ip::parse_quoted(&packet[ip.header_len + 8..]).unwrap();
    let Transport::Tcp(tcp) = quoted.transport else { panic!("{quoted:?}") };
    let (from, to) = (SocketAddr::new(quoted.source, tcp.source), SocketAddr::new(quoted.destination, tcp.destination));
    (from, to, tcp.sequence)
}

#[test]
fn errors_about_packets_reach_the_stack_as_they_are_and_the_other_side_in_its_numbers() {
    let mut braid = proxied("first-byte");
    let (connection, cookie, snat) = in_the_stack(&mut braid);
    let of_client = too_big("10.91.1.254", vip(), client(), cookie.wrapping_add(1));
    let of_server = too_big("10.93.0.254", snat, server(), STACK_ISN + 1);
    braid.client(&of_client);
    braid.settle();
    assert_eq!(only(braid.taken(GATEWAY)), of_client);
    braid.server(&of_server);
    assert_eq!(only(braid.taken(GATEWAY)), of_server);
    let (client_side, server_side) = records(cookie, snat);
    assert!(hold(&mut braid, connection));
    let (to_client, to_server) = (Vec::new(), Vec::new());
    let splice = Splice { client: client_side, server: server_side, to_client, to_server, until: None };
    order(&mut braid, connection, Order::Splice(Box::new(splice)));
    from_client(&mut braid, Tcp::ACK, (FIRST.wrapping_add(7), cookie.wrapping_add(7)), b"0123456789");
    from_host(&mut braid, server(), snat, Tcp::ACK, (SERVER_ISN + 7, STACK_ISN + 10), b"0123456789");
    assert_eq!((braid.taken(GATEWAY).len(), braid.taken(EDGE).len()), (1, 1));
    braid.client(&too_big("10.91.1.254", vip(), client(), cookie.wrapping_add(9)));
    braid.settle();
    assert_eq!(quoted(&only(braid.taken(GATEWAY))), (server(), snat, SERVER_ISN + 9));
    braid.server(&too_big("10.93.0.254", snat, server(), STACK_ISN + 12));
    braid.settle();
    assert_eq!(quoted(&only(braid.taken(EDGE))), (client(), vip(), FIRST.wrapping_add(9)));
}

#[test]
fn a_connection_between_two_requests_waits_without_a_server_for_the_next_one() {
    let mut braid = proxied("first-byte");
    let (connection, cookie, snat) = in_the_stack(&mut braid);
    let (record, _) = records(cookie, snat);
    let hold_alone = |braid: &mut Braid| {
        let (sender, receiver) = channel();
        order(braid, connection, Order::HoldAlone(answer(sender)));
        receiver.try_recv().unwrap()
    };
    assert!(hold_alone(&mut braid));
    assert!(!hold_alone(&mut braid), "once");
    let (next, behind) = (FIRST.wrapping_add(7), cookie.wrapping_add(7));
    from_host(&mut braid, server(), snat, Tcp::ACK, (SERVER_ISN + 7, STACK_ISN + 10), b"of nobody's server");
    order(&mut braid, connection, Order::Park(Box::new(Park { client: record, to_client: b"owed".to_vec() })));
    assert!(only(braid.taken(EDGE)).ends_with(b"owed"));
    from_client(&mut braid, Tcp::ACK, (next, behind.wrapping_add(4)), b"request 2");
    let asked = requests(&mut braid).pop().unwrap();
    assert_eq!((asked.connection, &asked.server, asked.shared), (connection, &None, false));
    let shown = TcpRecord::decode(&asked.client).unwrap();
    assert_eq!((shown.send_next, shown.receive_next), (behind.wrapping_add(4), next));
    let (from, to, tcp) = read(&only(braid.taken(GATEWAY)));
    assert_eq!((from, to, tcp.flags), (snat, server(), Tcp::RST), "who still talks to the last request is told");
    order(&mut braid, connection, Order::Take);
    assert!(only(braid.taken(GATEWAY)).ends_with(b"request 2"));
    assert_eq!(braid.snapshot(GATEWAY)["fast_path"]["parked"], 1);
}
