//! A connection that the stack gives back between two requests waits for the next one, with the numbers that its socket had, at
//! this gateway or at another one.

use crate::world;

use braid_fastpath::{mark, FastPath, Movable, Park, Request, Splice, State, ToldSession, Verdict};
use braid_packet::record::{TcpRecord, Window};
use braid_packet::{Rest, Tcp, Time};
use world::lone::{client, ends, from_client, in_the_stack, numbered, to_server, vip, CLIENT_ISN, SEEN, START};
use world::{fast_path, parse, APP, FLOW};

/// The stack has sent so many bytes of an answer, and read a request of so many.
const SAID: u32 = 5_000;
const HEARD: u32 = 7;
const PROMISED: u32 = 60_000;

fn record(cookie: u32, unacknowledged: usize) -> TcpRecord {
    let receive_next = CLIENT_ISN.wrapping_add(1 + HEARD);
    TcpRecord {
        local: vip(),
        remote: client(),
        send_next: cookie.wrapping_add(1 + SAID),
        receive_next,
        mss: 1360,
        scales: Some((7, 9)),
        sack: false,
        timestamp: None,
        window: Window { update: receive_next, send: 9_000, most: 9_000, receive: PROMISED, edge_from: receive_next },
        unread: Vec::new(),
        unacknowledged: vec![b'a'; unacknowledged],
        unsent: Vec::new(),
    }
}

/// Its next numbers: the client's, and ours.
fn parked(fast: &mut FastPath, unacknowledged: usize, to_client: &[u8]) -> (u32, u32) {
    let record = record(in_the_stack(fast), unacknowledged);
    assert!(fast.hold_alone(FLOW, START));
    let park = Park { client: record.clone(), to_client: to_client.to_vec() };
    park.check().unwrap();
    assert_eq!(fast.park(FLOW, &park, &ends(FLOW).unwrap(), START), Some(Vec::new()));
    (record.receive_next, record.send_next.wrapping_add(to_client.len() as u32))
}

/// What the client is told: sequence, acknowledgement, window, bytes.
fn told(fast: &mut FastPath) -> Vec<(u32, u32, u16, usize)> {
    let read = |packet: &[u8]| {
        let (_, tcp) = parse(packet);
        (tcp.sequence, tcp.acknowledgement, tcp.window, tcp.payload)
    };
    fast.take_outputs().iter().map(|output| read(&output.packet)).collect()
}

#[test]
fn it_waits_for_a_request_and_answers_who_asks_whether_it_is_there() {
    let mut fast = fast_path(1404);
    let (theirs, ours) = parked(&mut fast, 0, &[]);
    assert_eq!((fast.movable(FLOW), fast.counters().parked), (Movable::Asks, 1));
    let window = (PROMISED >> 9) as u16;
    let alive = [(ours, theirs, window, 0)];
    for (sequence, body) in
        [(theirs.wrapping_sub(1), &b""[..]), (theirs.wrapping_sub(1), b"t"), (theirs.wrapping_sub(7), b"request")]
    {
        assert_eq!(to_server(&mut fast, from_client(Tcp::ACK, sequence, ours, body)), Verdict::Taken);
        assert_eq!(told(&mut fast), alive, "a probe, or the last request once more");
    }
    assert_eq!(to_server(&mut fast, from_client(Tcp::ACK, theirs, ours, &[])), Verdict::Taken);
    assert!(told(&mut fast).is_empty() && fast.take_requests().is_empty());
    // What is sent once more may have grown.
    assert_eq!(to_server(&mut fast, from_client(Tcp::ACK, theirs.wrapping_sub(3), ours, b"estnext")), Verdict::Taken);
    assert_eq!((fast.take_requests().len(), fast.held_now()), (1, 1));
    let (record, server) = fast.records(FLOW, &ends(FLOW).unwrap(), None, START).unwrap();
    assert_eq!((record.send_next, record.receive_next, record.window.receive), (ours, theirs, PROMISED));
    assert!(server.is_none());
    assert_eq!(fast.take(FLOW).unwrap().len(), 1);
}

#[test]
fn one_that_waits_is_counted_and_when_it_has_waited_for_too_long_the_control_side_is_told() {
    let mut fast = fast_path(1404);
    let (theirs, ours) = parked(&mut fast, 0, &[]);
    fast.set_patience([(APP, 5 * Time::SECOND)].into());
    let look = |fast: &mut FastPath, seconds: u64| {
        assert!(fast.sweep(10, START.after(seconds * Time::SECOND), |_| Some(SEEN)).is_empty());
        (fast.waiting().collect::<Vec<_>>(), fast.take_requests())
    };
    assert_eq!(look(&mut fast, 4), (vec![(APP, 1)], Vec::new()));
    // To be asked whether one is there is not to say something.
    to_server(&mut fast, from_client(Tcp::ACK, theirs.wrapping_sub(1), ours, &[]));
    let late = Request { flow: FLOW, held: 0, held_at: None };
    assert_eq!(look(&mut fast, 5), (vec![(APP, 1)], vec![late]));
    assert_eq!(look(&mut fast, 6), (Vec::new(), Vec::new()), "it does not wait for its client");
    assert_eq!(fast.take(FLOW), Some(Vec::new()));
    // What another gateway was told of is that one's to end.
    let mut fast = fast_path(1404);
    parked(&mut fast, 0, &[]);
    fast.set_patience([(APP, 5 * Time::SECOND)].into());
    assert!(fast.write_session(FLOW, START, &mut Vec::new()));
    assert_eq!(look(&mut fast, 5), (Vec::new(), Vec::new()));
}

#[test]
fn within_what_was_promised_all_is_taken_and_nothing_beyond() {
    let mut fast = fast_path(1404);
    let (theirs, ours) = parked(&mut fast, 0, &[]);
    let at = |by: u32| from_client(Tcp::ACK, theirs.wrapping_add(by), ours, b"0123456789");
    assert!(matches!(to_server(&mut fast, at(PROMISED)), Verdict::Drop(_)));
    assert_eq!(to_server(&mut fast, at(PROMISED - 10)), Verdict::Taken);
    assert!(matches!(
        to_server(&mut fast, from_client(Tcp::ACK, theirs, ours.wrapping_add(1), b"x")),
        Verdict::Drop(_)
    ));
}

#[test]
fn an_end_is_the_stacks_and_a_reset_is_the_end() {
    let mut fast = fast_path(1404);
    let (theirs, ours) = parked(&mut fast, 0, &[]);
    assert_eq!(to_server(&mut fast, from_client(Tcp::FIN | Tcp::ACK, theirs, ours, &[])), Verdict::Taken);
    assert_eq!(fast.take_requests().len(), 1);
    let mut fast = fast_path(1404);
    let (theirs, ours) = parked(&mut fast, 0, &[]);
    assert!(matches!(to_server(&mut fast, from_client(Tcp::RST, theirs.wrapping_sub(1), ours, &[])), Verdict::Drop(_)));
    assert_eq!(to_server(&mut fast, from_client(Tcp::RST, theirs, ours, &[])), Verdict::End);
    assert!(fast.is_empty());
}

/// What the client has not acknowledged is sent again until it has, and what it asks meanwhile waits.
#[test]
fn what_is_owed_is_paid_before_anybody_is_asked() {
    let mut fast = fast_path(1404);
    let (theirs, ours) = parked(&mut fast, 2_000, b"tail");
    assert_eq!(told(&mut fast), [(ours.wrapping_sub(4), theirs, (PROMISED >> 9) as u16, 4)], "what never was sent");
    assert_eq!(fast.movable(FLOW), Movable::Soon);
    let acknowledged = ours.wrapping_sub(1_000);
    assert_eq!(to_server(&mut fast, numbered(client(), vip(), theirs, acknowledged, 70, b"next")), Verdict::Taken);
    assert!(fast.take_requests().is_empty());
    assert_eq!(fast.handle_timeout(START.after(Time::SECOND), ends), []);
    assert_eq!(told(&mut fast), [(acknowledged, theirs, (PROMISED >> 9) as u16, 1_000)]);
    assert_eq!(to_server(&mut fast, numbered(client(), vip(), theirs.wrapping_add(4), ours, 70, &[])), Verdict::Taken);
    assert_eq!((fast.take_requests().len(), fast.held_now(), fast.owed_bytes()), (1, 1, 0));
}

#[test]
fn a_client_that_is_gone_is_given_up_with_what_it_is_owed() {
    let mut fast = fast_path(1404);
    parked(&mut fast, 2_000, &[]);
    let (mut now, mut ended) = (START, Vec::new());
    while let Some(due) = fast.next_timeout().filter(|_| ended.is_empty()) {
        now = due.max(now);
        ended = fast.handle_timeout(now, ends);
    }
    assert_eq!(ended, [FLOW]);
    assert!(now.since(START) < 120 * Time::SECOND && fast.is_empty());
}

#[test]
fn it_moves_and_the_other_gateway_is_asked_with_the_same_numbers() {
    let mut first = fast_path(1404);
    let (theirs, ours) = parked(&mut first, 0, &[]);
    let mut piece = Vec::new();
    assert!(first.write_session(FLOW, START, &mut piece));
    let mut second = fast_path(1404);
    let ends = ends(FLOW).unwrap();
    second.take_session(FLOW, &ends, ToldSession::read(&mut Rest(&piece)).unwrap(), true, START);
    let info = second.session(FLOW).unwrap();
    assert_eq!((info.proxy.state, info.proxy.marks & mark::SHARED), (State::Waiting, mark::SHARED));
    assert_eq!(to_server(&mut second, from_client(Tcp::ACK, theirs, ours, b"next")), Verdict::Taken);
    let later = START.after(Time::SECOND);
    let of = |fast: &FastPath| fast.records(FLOW, &ends, None, later).unwrap().0;
    assert_eq!(second.take_requests().len(), 1);
    assert_eq!(of(&second), of(&first));
    // The first gateway sees by its answers that the other one has gone on.
    let beyond = from_client(Tcp::ACK, theirs.wrapping_add(4), ours.wrapping_add(900), &[]);
    assert!(first.is_beyond(FLOW, braid_fastpath::Side::Client, &beyond));
}

/// They are on their way out of the stack yet.
#[test]
fn the_stacks_last_words_pass_but_for_a_reset() {
    let mut fast = fast_path(1404);
    let (theirs, ours) = parked(&mut fast, 10, &[]);
    let mut says = |flags| {
        let packet = world::lone::packet(vip(), client(), flags, (ours.wrapping_sub(10), theirs), &[], b"0123456789");
        fast.receive_from_stack(FLOW, braid_fastpath::Side::Client, &packet)
    };
    assert!(says(Tcp::ACK) && !says(Tcp::RST));
}

#[test]
fn one_that_has_begun_to_end_stays() {
    let mut fast = fast_path(1404);
    let cookie = in_the_stack(&mut fast);
    let end = from_client(Tcp::FIN | Tcp::ACK, CLIENT_ISN.wrapping_add(8), cookie.wrapping_add(1), &[]);
    assert_eq!(to_server(&mut fast, end), Verdict::Stack);
    assert!(!fast.hold_alone(FLOW, START));
    let mut fast = fast_path(1404);
    let unread = TcpRecord { unread: vec![1], ..record(in_the_stack(&mut fast), 0) };
    assert_eq!(Park { client: unread, to_client: Vec::new() }.check(), Err("not_quiet"));
}

/// What a client has said behind its request while the answer is under way, or between two requests, is for the control side to
/// see: it is not passed on with the rest.
#[test]
fn one_whose_next_request_is_unread_is_not_spliced_for_one_answer() {
    let client = TcpRecord { unread: b"GET".to_vec(), ..record(1, 0) };
    let splice =
        |until| Splice { client: client.clone(), server: record(1, 0), to_client: vec![], to_server: vec![], until };
    assert_eq!(splice(Some(0)).check(), Err("not_quiet"));
    assert_eq!(splice(Some(1000)).check(), Err("not_quiet"));
    assert_eq!(splice(None).check(), Ok(()), "of one that is never asked about again it goes on");
}
