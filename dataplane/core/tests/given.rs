//! Two gateways of a region: of a connection that the control side is asked about, one of them has the say.

use crate::siblings::*;
use crate::stack::record;
use crate::tcp::*;
use braid_core::{Command, Ends, Event, Order, Owner, Park, Which};
use braid_packet::{Tcp, Time};
use braid_testbed::*;
use std::sync::mpsc::channel;

/// The client's next request comes to the first gateway, which was told to leave it to the other one.
#[test]
fn the_next_request_of_a_client_is_given_to_the_sibling_with_its_connection() {
    let mut braid = up(ANSWERED);
    let (shift, snat) = connect(&mut braid, ANSWERED, 4000);
    set(&mut braid, ANSWERED, [(GATEWAY, COPYING), (SIBLING, HOST)]);
    let steady = copy(&mut braid, GATEWAY, POOL, Time(0));
    assert_eq!((steady.flows, steady.opening), (0, 1), "as long as this gateway would be asked");
    answer_by(&mut braid, GATEWAY, snat, 0, shift, 4000);
    acknowledge(&mut braid, GATEWAY, snat, 1000, shift, 4000);
    braid.client(&segment(
        client(4000),
        vip(),
        Tcp::ACK,
        (CLIENT_ISN.wrapping_add(8), (SERVER_ISN + 1001).wrapping_add(shift)),
        b"next request",
    ));
    let connection = asked(&mut braid, GATEWAY);
    braid.taken(GATEWAY);
    let tell = |braid: &mut Braid, pool: &str, which: Which| {
        let (sender, receiver) = channel();
        let order = Order::Tell(vec![pool.parse().unwrap()], which, answer(sender));
        braid.command(GATEWAY, Command::Connection(connection, order));
        receiver.try_recv().unwrap()
    };
    assert_eq!(tell(&mut braid, OTHER_POOL, Which::All), None, "of another pool");
    let piece = tell(&mut braid, POOL, Which::All).unwrap();
    let took = take(&mut braid, SIBLING, &piece);
    assert_eq!((took.new, took.refused), (1, 0), "{}", took.why);
    set(&mut braid, ANSWERED, [(GATEWAY, LEFT), (SIBLING, HOST)]);
    braid.command(GATEWAY, Command::Connection(connection, Order::Leave));
    let there = asked(&mut braid, SIBLING);
    braid.command(SIBLING, Command::Connection(there, Order::Take));
    braid.settle();
    let request = braid.taken(SIBLING).pop().unwrap();
    assert!(request.ends_with(b"next request"));
    assert_eq!(read(&request).1, vip(), "for the stack, as it was");
    let moved = braid.heard(GATEWAY).into_iter().any(|event| matches!(event, Event::Ended { why: "moved", .. }));
    assert!(moved, "the control side knows that it is gone");
    let flows = braid.ask_flows(GATEWAY, 10);
    braid.advance(Time::SECOND);
    assert!(flows.try_recv().unwrap().is_empty());
}

/// Client and server end while their connection is told: both ends go by the first gateway, which knows them then and tells them.
#[test]
fn a_connection_that_ends_is_not_given_away_with_its_last_acknowledgement() {
    let mut braid = up(ANSWERED);
    let (shift, snat) = connect(&mut braid, ANSWERED, 4000);
    answer_by(&mut braid, GATEWAY, snat, 0, shift, 4000);
    acknowledge(&mut braid, GATEWAY, snat, 1000, shift, 4000);
    set(&mut braid, ANSWERED, [(GATEWAY, LEFT), (SIBLING, HOST)]);
    let tell = |braid: &mut Braid| {
        let piece = copy_which(braid, GATEWAY, POOL, Which::All, Time(0)).pieces.remove(0);
        let took = take(braid, SIBLING, &piece);
        (took.new, took.again)
    };
    assert_eq!(tell(&mut braid), (1, 0));
    let (behind, last) = (CLIENT_ISN.wrapping_add(8), SERVER_ISN + 1001);
    let end = (behind, last.wrapping_add(shift));
    braid.client(&segment(client(4000), vip(), Tcp::FIN | Tcp::ACK, end, &[]));
    arrived(&mut braid, GATEWAY);
    let server_end = segment(server(), snat, Tcp::FIN | Tcp::ACK, (last, behind.wrapping_add(1)), &[]);
    braid.server_at(GATEWAY, &server_end);
    arrived(&mut braid, EDGE);
    let number = (behind.wrapping_add(1), last.wrapping_add(1).wrapping_add(shift));
    braid.client(&segment(client(4000), vip(), Tcp::ACK, number, &[]));
    let (_, _, got) = arrived(&mut braid, GATEWAY);
    assert_eq!((got.sequence, got.acknowledgement), (behind.wrapping_add(1), last + 1), "the server is done");
    assert_eq!(tell(&mut braid), (0, 1));
    // The server says its end once more, where its packets go now: it is no reason to ask the control side.
    braid.server_at(SIBLING, &server_end);
    assert_eq!(arrived(&mut braid, EDGE).2.flags, Tcp::FIN | Tcp::ACK);
    let asked = braid.heard(SIBLING).into_iter().any(|event| matches!(event, Event::ServiceRequest(_)));
    assert!(!asked);
}

/// A connection that another gateway may have gone on with is not served from what was known of it.
#[test]
fn what_did_not_come_back_is_forgotten_and_found_at_the_sibling() {
    let mut braid = up(ANSWERED);
    let (shift, snat) = connect(&mut braid, ANSWERED, 4000);
    set(&mut braid, ANSWERED, [(GATEWAY, LEFT), (SIBLING, HOST)]);
    let piece = copy_which(&mut braid, GATEWAY, POOL, Which::All, Time(0)).pieces.remove(0);
    assert_eq!(take(&mut braid, SIBLING, &piece).new, 1);
    let forget = |braid: &mut Braid, number: u16, all: bool| {
        let (sender, receiver) = channel();
        braid.command(number, Command::ForgetGiven { from: 0, all, reply: answer(sender) });
        assert_eq!(receiver.try_recv().unwrap(), None);
    };
    forget(&mut braid, SIBLING, false);
    answer_by(&mut braid, SIBLING, snat, 0, shift, 4000);
    forget(&mut braid, GATEWAY, false);
    answer_by(&mut braid, GATEWAY, snat, 0, shift, 4000);
    assert_eq!(braid.snapshot(GATEWAY)["passed_on"], 1, "the sibling has it alone");
    forget(&mut braid, SIBLING, true);
    assert_eq!(copy_which(&mut braid, SIBLING, POOL, Which::Guests, Time(0)).flows, 0);
}

/// A connection that a content proxy got of the gateway that is drained, and gave back to the sibling: home again, that gateway
/// has a flow of it that says nothing any more.
#[test]
fn what_a_stack_gave_to_another_node_is_found_at_the_sibling_that_has_got_it_back() {
    let mut braid = up(ANSWERED);
    let ends = Ends::new(client(4000), vip());
    braid.client(&segment(client(4000), vip(), Tcp::SYN, (CLIENT_ISN, 0), &[]));
    braid.settle();
    let cookie = read(&only(braid.taken(EDGE))).2.sequence;
    let (first, behind) = (CLIENT_ISN.wrapping_add(1), cookie.wrapping_add(1));
    braid.client(&segment(client(4000), vip(), Tcp::ACK, (first, behind), b"request"));
    let connection = asked(&mut braid, GATEWAY);
    braid.command(GATEWAY, Command::Connection(connection, Order::Take));
    for owner in [Some(Owner::Held), Some(Owner::Away)] {
        assert!(braid.own(GATEWAY, ends, owner, None));
    }
    braid.settle();
    braid.taken(GATEWAY);
    // The sibling decides about it now, and has it.
    set(&mut braid, ANSWERED, [(GATEWAY, COPYING), (SIBLING, HOST)]);
    assert!(braid.own(GATEWAY, ends, None, None));
    let (next, said) = (first.wrapping_add(50), behind.wrapping_add(9_000));
    let (sender, receiver) = channel();
    let back = Box::new(record(vip(), client(4000), said, next));
    braid.command(SIBLING, Command::Adopt { record: back, guest: true, adopted: answer(sender) });
    let there = receiver.try_recv().unwrap().unwrap();
    braid.client(&segment(client(4000), vip(), Tcp::ACK, (next, said), b"asked"));
    braid.settle();
    assert!(braid.taken(GATEWAY).is_empty(), "no stack of this one has anything to say");
    assert!(only(braid.taken(SIBLING)).ends_with(b"asked"));
    // And comes home between two requests.
    let next = next.wrapping_add(5);
    let (sender, receiver) = channel();
    braid.command(SIBLING, Command::Connection(there, Order::HoldAlone(answer(sender))));
    assert!(receiver.try_recv().unwrap());
    let park = Box::new(Park { client: record(vip(), client(4000), said, next), to_client: Vec::new() });
    braid.command(SIBLING, Command::Connection(there, Order::Park(park)));
    let piece = copy_which(&mut braid, SIBLING, POOL, Which::Guests, Time(0)).pieces.remove(0);
    let took = take(&mut braid, GATEWAY, &piece);
    assert_eq!((took.new + took.again, took.refused), (1, 0), "{}", took.why);
    braid.client(&segment(client(4000), vip(), Tcp::ACK, (next, said), b"again"));
    let here = asked(&mut braid, GATEWAY);
    braid.command(GATEWAY, Command::Connection(here, Order::Take));
    braid.settle();
    assert!(only(braid.taken(GATEWAY)).ends_with(b"again"));
}

/// The sibling goes on with a connection while a piece is under way that tells it once more, as it was.
#[test]
fn what_was_told_before_the_sibling_went_on_with_a_connection_changes_nothing_there() {
    for spliced in [false, true] {
        let mut braid = up(ANSWERED);
        let (shift, snat) = connect(&mut braid, ANSWERED, 4000);
        answer_by(&mut braid, GATEWAY, snat, 0, shift, 4000);
        acknowledge(&mut braid, GATEWAY, snat, 1000, shift, 4000);
        set(&mut braid, ANSWERED, [(GATEWAY, LEFT), (SIBLING, HOST)]);
        let tell = |braid: &mut Braid| copy_which(braid, GATEWAY, POOL, Which::All, Time(0)).pieces.remove(0);
        let first = tell(&mut braid);
        assert_eq!(take(&mut braid, SIBLING, &first).new, 1);
        braid.advance(Time::SECOND);
        // A packet that took its time: the first gateway has used the flow last, and says so.
        acknowledge(&mut braid, GATEWAY, snat, 1000, shift, 4000);
        let late = tell(&mut braid);
        set(&mut braid, ANSWERED, [(EDGE, DIVERTED), (SIBLING, HOST)]);
        let (behind, said) = (CLIENT_ISN.wrapping_add(8), (SERVER_ISN + 1001).wrapping_add(shift));
        braid.client(&segment(client(4000), vip(), Tcp::ACK, (behind, said), b"next request"));
        let next = behind.wrapping_add(12);
        let own = serve(&mut braid, SIBLING, client(4000), (said, next), spliced.then_some(Some(5_000)));
        assert_ne!(own, snat, "of its own pool");
        braid.advance(20 * Time::MILLISECOND);
        let took = take(&mut braid, SIBLING, &late);
        assert_eq!((took.new, took.again, took.refused), (0, 1, 0), "{}", took.why);
        let answer = segment(server(), own, Tcp::ACK, (SERVER_ISN + 1, next), &[9; 1000]);
        braid.server_at(SIBLING, &answer);
        braid.settle();
        if spliced {
            let (_, to, got) = read(&only(braid.taken(EDGE)));
            assert_eq!((to, got.sequence, got.payload), (client(4000), said, 1000));
        } else {
            assert_eq!(braid.taken(SIBLING), [answer], "for the stack");
        }
    }
}

/// Both gateways have a connection whose client has said nothing yet: its next number, and ours.
fn told_before_a_request(stage: Stage) -> (Braid, u32, u32) {
    let mut braid = up(ANSWERED);
    braid.client(&segment(client(4000), vip(), Tcp::SYN, (CLIENT_ISN, 0), &[]));
    braid.settle();
    let cookie = read(&only(braid.taken(EDGE))).2.sequence;
    let (first, said) = (CLIENT_ISN.wrapping_add(1), cookie.wrapping_add(1));
    braid.client(&segment(client(4000), vip(), Tcp::ACK, (first, said), &[]));
    braid.settle();
    set(&mut braid, ANSWERED, [(GATEWAY, stage), (SIBLING, HOST)]);
    let piece = copy_which(&mut braid, GATEWAY, POOL, Which::All, Time(0)).pieces.remove(0);
    assert_eq!(take(&mut braid, SIBLING, &piece).new, 1);
    (braid, first, said)
}

/// What a client asked the sibling, and has its answer to, it says again, and that comes to the first gateway.
#[test]
fn what_is_asked_about_here_and_answered_there_is_as_it_is_there() {
    let (mut braid, first, said) = told_before_a_request(LEFT);
    set(&mut braid, ANSWERED, [(EDGE, DIVERTED), (SIBLING, HOST)]);
    let request = segment(client(4000), vip(), Tcp::ACK, (first, said), b"request");
    braid.client(&request);
    let there = asked(&mut braid, SIBLING);
    braid.command(SIBLING, Command::Connection(there, Order::Take));
    let (sender, receiver) = channel();
    braid.command(SIBLING, Command::Connection(there, Order::HoldAlone(answer(sender))));
    assert!(receiver.try_recv().unwrap());
    let (said, next) = (said.wrapping_add(9_000), first.wrapping_add(7));
    let park = Box::new(Park { client: record(vip(), client(4000), said, next), to_client: Vec::new() });
    braid.command(SIBLING, Command::Connection(there, Order::Park(park)));
    let piece = copy_which(&mut braid, SIBLING, POOL, Which::Guests, Time(0)).pieces.remove(0);
    set(&mut braid, ANSWERED, [(GATEWAY, COPYING), (EDGE, Stage::default())]);
    braid.client(&request);
    asked(&mut braid, GATEWAY);
    let took = take(&mut braid, GATEWAY, &piece);
    assert_eq!((took.new, took.again, took.refused), (0, 1, 0), "{}", took.why);
    braid.client(&segment(client(4000), vip(), Tcp::ACK, (next, said), b"next"));
    let here = asked(&mut braid, GATEWAY);
    braid.taken(GATEWAY);
    braid.command(GATEWAY, Command::Connection(here, Order::Take));
    braid.settle();
    assert!(only(braid.taken(GATEWAY)).ends_with(b"next"), "and nothing of what was answered");
}

/// The gateway that has told a connection decides about its next request all the same: the other one did not hear of it.
#[test]
fn what_acknowledges_an_answer_that_is_not_known_here_goes_to_who_has_said_it() {
    let (mut braid, first, said) = told_before_a_request(COPYING);
    braid.client(&segment(client(4000), vip(), Tcp::ACK, (first, said), b"request"));
    let here = asked(&mut braid, GATEWAY);
    braid.command(GATEWAY, Command::Connection(here, Order::Take));
    braid.settle();
    braid.taken(GATEWAY);
    set(&mut braid, ANSWERED, [(EDGE, DIVERTED), (SIBLING, HOST)]);
    let acknowledged = segment(client(4000), vip(), Tcp::ACK, (first.wrapping_add(7), said.wrapping_add(9_000)), &[]);
    braid.client(&acknowledged);
    braid.settle();
    assert!(braid.taken(SIBLING).is_empty());
    assert_eq!(only(braid.taken(GATEWAY)), acknowledged, "for the stack that has said it");
}

/// Also when it serves the client no more: its drain is over, or its sibling's.
#[test]
fn who_gave_a_connection_to_a_content_proxy_may_take_it_back() {
    let mut braid = up("nat");
    connect(&mut braid, "nat", 4000);
    let (ends, to_proxy) = (Ends::new(client(4000), vip()), Some(Owner::Node(PROXY)));
    assert!(!braid.own(EDGE, ends, to_proxy, Some(SIBLING)), "the client is the other one's");
    braid.configure(EDGE, &desired(EDGE, "nat", DIVERTED));
    assert!(braid.own(EDGE, ends, to_proxy, Some(SIBLING)));
    braid.configure(EDGE, &desired(EDGE, "nat", Stage::default()));
    assert!(braid.own(EDGE, ends, None, Some(SIBLING)));
    assert!(braid.own(EDGE, ends, to_proxy, Some(GATEWAY)));
    assert!(!braid.own(EDGE, ends, None, Some(SIBLING)), "this time it was not the one");
}
