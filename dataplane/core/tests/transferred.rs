//! Connections of the stack that another node takes over, and that come back.

use crate::stack::*;
use crate::tcp::*;
use braid_core::{Command, Ends, Order, Owner, Park};
use braid_packet::record::TcpRecord;
use braid_packet::{Tcp, Time};
use braid_testbed::*;
use std::sync::mpsc::channel;

fn whose() -> Ends {
    Ends::new(client(), vip())
}

fn own(braid: &mut Braid, owner: Option<Owner>) {
    assert!(braid.own(GATEWAY, whose(), owner, None));
    braid.settle();
}

fn adopt(braid: &mut Braid, record: &TcpRecord, guest: bool) -> Option<u64> {
    let (sender, receiver) = channel();
    braid.command(GATEWAY, Command::Adopt { record: Box::new(record.clone()), guest, adopted: answer(sender) });
    braid.settle();
    receiver.try_recv().unwrap()
}

/// In the stack and offered to another node, and what the client has said by then.
fn given_away(braid: &mut Braid) -> (u64, u32, std::net::SocketAddr) {
    let found = in_the_stack(braid);
    own(braid, Some(Owner::Held));
    own(braid, Some(Owner::Away));
    found
}

#[test]
fn what_waited_goes_to_the_stack_as_if_it_came_now() {
    let mut braid = proxied("first-byte");
    let (connection, cookie, _) = in_the_stack(&mut braid);
    let (next, behind) = (FIRST.wrapping_add(7), cookie.wrapping_add(7));
    own(&mut braid, Some(Owner::Held));
    from_client(&mut braid, Tcp::ACK, (next, behind), b"held");
    assert!(braid.taken(GATEWAY).is_empty());
    own(&mut braid, None);
    assert!(only(braid.taken(GATEWAY)).ends_with(b"held"));
    // The data plane has seen it: a reset right behind it ends the connection.
    from_client(&mut braid, Tcp::RST, (next.wrapping_add(4), 0), &[]);
    assert_eq!(braid.taken(GATEWAY).len(), 1);
    assert!(!hold(&mut braid, connection), "it has begun to end");
}

#[test]
fn of_one_that_was_given_away_only_the_servers_side_goes_on() {
    let mut braid = proxied("first-byte");
    let (connection, cookie, snat) = given_away(&mut braid);
    let (next, behind) = (FIRST.wrapping_add(7), cookie.wrapping_add(7));
    from_client(&mut braid, Tcp::ACK, (next, behind), b"late");
    assert!(braid.taken(GATEWAY).is_empty(), "it goes after the connection");
    from_host(&mut braid, vip(), client(), Tcp::RST, (behind, 0), &[]);
    assert!(braid.taken(EDGE).iter().all(|packet| read(packet).2.flags & Tcp::RST == 0), "the stack is silent");
    from_host(&mut braid, snat, server(), Tcp::FIN | Tcp::ACK, (STACK_ISN + 10, SERVER_ISN + 7), &[]);
    from_host(&mut braid, server(), snat, Tcp::FIN | Tcp::ACK, (SERVER_ISN + 7, STACK_ISN + 11), &[]);
    assert_eq!(braid.taken(GATEWAY).len(), 2, "the end to the server, and the server's");
    assert!(!hold(&mut braid, connection));
    // The ports may be used again at once.
    from_client(&mut braid, Tcp::SYN, (5, 0), &[]);
    assert_eq!(read(&only(braid.taken(EDGE))).2.flags, Tcp::SYN | Tcp::ACK);
}

#[test]
fn one_that_comes_back_is_the_stacks_as_before_and_may_go_on_in_the_data_plane() {
    for elsewhere in [false, true] {
        let mut braid = proxied("first-byte");
        // Another gateway may have had it before.
        let (cookie, before) = if elsewhere {
            (9_000, None)
        } else {
            let (connection, cookie, _) = given_away(&mut braid);
            (cookie, Some(connection))
        };
        braid.taken(EDGE);
        let (next, behind) = (FIRST.wrapping_add(500), cookie.wrapping_add(90_000));
        own(&mut braid, Some(Owner::Held));
        let back = record(vip(), client(), behind, next);
        let connection = adopt(&mut braid, &back, elsewhere).unwrap();
        assert_eq!(before.unwrap_or(connection), connection);
        assert_eq!(adopt(&mut braid, &back, elsewhere), None, "there is one of these ends");
        own(&mut braid, None);
        from_host(&mut braid, vip(), client(), Tcp::ACK, (behind, next), b"answer");
        assert!(only(braid.taken(EDGE)).ends_with(b"answer"));
        from_client(&mut braid, Tcp::ACK, (next, behind.wrapping_add(6)), b"more");
        assert!(only(braid.taken(GATEWAY)).ends_with(b"more"));
        let snat = open_server(&mut braid, connection, false);
        from_host(&mut braid, snat, server(), Tcp::SYN, (STACK_ISN, 0), &[]);
        assert_eq!(read(&only(braid.taken(GATEWAY))).0, snat);
        let (sender, receiver) = channel();
        order(&mut braid, connection, Order::HoldAlone(answer(sender)));
        assert!(receiver.try_recv().unwrap());
        let client_record = record(vip(), client(), behind.wrapping_add(6), next.wrapping_add(4));
        let park = Park { client: client_record, to_client: Vec::new() };
        order(&mut braid, connection, Order::Park(Box::new(park)));
        from_client(&mut braid, Tcp::ACK, (next.wrapping_add(4), behind.wrapping_add(6)), b"next");
        let request = requests(&mut braid).remove(0);
        assert_eq!((request.connection, request.held, request.shared), (connection, 44, elsewhere));
    }
}

#[test]
fn a_connection_that_is_none_of_the_fast_paths_is_not_adopted() {
    let mut braid = proxied("listener");
    assert_eq!(adopt(&mut braid, &record(vip(), client(), 1, 2), false), None);
    let mut braid = proxied("first-byte");
    let other = "10.91.1.131:80".parse().unwrap();
    assert_eq!(adopt(&mut braid, &record(other, client(), 1, 2), false), None);
    // A client that waits for nothing of the stack's has another connection of the same ends.
    connect(&mut braid);
    assert_eq!(adopt(&mut braid, &record(vip(), client(), 1, 2), false), None);
}

/// A server is told how its client's clock goes on: before that is known its connection stays in the stack.
#[test]
fn where_the_clients_clock_is_not_known_the_server_stays_with_the_stack() {
    let mut braid = proxied("first-byte");
    let mut back = record(vip(), client(), 1_000, 2_000);
    back.timestamp = Some(77);
    let connection = adopt(&mut braid, &back, false).unwrap();
    open_server(&mut braid, connection, false);
    assert!(!hold(&mut braid, connection));
    let options = [1, 1, 8, 10, 0xff, 0, 0, 9, 0, 0, 0, 77];
    let mut packet = Vec::new();
    let (from, to, flags) = (client(), vip(), Tcp::ACK);
    braid_packet::Segment { from, to, sequence: 2_000, acknowledgement: 1_000, flags, window: 500, options: &options }
        .write(&mut packet)
        .unwrap();
    braid.client(&packet);
    braid.settle();
    assert_eq!(braid.taken(GATEWAY).len(), 1);
    assert!(hold(&mut braid, connection));
    braid.advance(4 * Time::SECOND);
}
