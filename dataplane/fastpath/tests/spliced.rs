//! What clients and servers must not be able to do to a connection that a stack has had, and that has come back.

use crate::world;

use braid_fastpath::{FastPath, Reason, Side, Verdict};
use braid_packet::{tcp_checksum_is_good, Tcp, VnetHdr};
use world::lone::*;
use world::{fast_path, parse, APP, FLOW};

/// Where the client goes on, and where the server does; both have said nothing yet since then.
const NEXT: u32 = CLIENT_ISN.wrapping_add(8);
const SERVED: u32 = SERVER_ISN + 1;
const ASKED: u32 = STACK_ISN + 8;

fn payload(packet: &[u8]) -> (Tcp, &[u8]) {
    let (ip, tcp) = parse(packet);
    assert!(tcp_checksum_is_good(packet, &ip));
    (tcp, &packet[ip.header_len + tcp.header_len..])
}

#[test]
fn what_is_outside_the_windows_is_dropped_and_changes_nothing() {
    let mut fast = fast_path(1404);
    let sent = spliced(&mut fast, None).wrapping_add(1);
    let before = fast.session(FLOW);
    for (sequence, acknowledgement, flags, reason) in [
        (NEXT.wrapping_add(1_000_000), sent, Tcp::ACK, Reason::Window),
        (NEXT.wrapping_sub(100_000), sent, Tcp::ACK, Reason::Window),
        (NEXT.wrapping_add(1_000_000), 0, Tcp::RST, Reason::Window),
        (NEXT.wrapping_sub(1), 0, Tcp::RST, Reason::Window),
        (NEXT, sent.wrapping_add(1), Tcp::ACK, Reason::Acknowledgement),
        (NEXT, sent.wrapping_sub(700_000), Tcp::ACK, Reason::Acknowledgement),
    ] {
        let verdict = to_server(&mut fast, from_client(flags, sequence, acknowledgement, &[]));
        assert_eq!(verdict, Verdict::Drop(reason), "{sequence} {acknowledgement} {flags}");
    }
    for (sequence, acknowledgement, flags, reason) in [
        (SERVED + 1_000_000, ASKED, Tcp::ACK, Reason::Window),
        (SERVED - 1, 0, Tcp::RST, Reason::Window),
        (SERVED, ASKED + 1, Tcp::ACK, Reason::Acknowledgement),
    ] {
        let verdict = to_client(&mut fast, from_server(flags, sequence, acknowledgement, &[]));
        assert_eq!(verdict, Verdict::Drop(reason), "{sequence} {acknowledgement} {flags}");
    }
    assert_eq!(fast.session(FLOW), before);
    assert!(fast.take_outputs().is_empty());
}

/// What overlaps with other lengths, and single bytes in any order, reach either side at their place in the stream.
#[test]
fn overlapping_and_tiny_segments_pass_with_the_bytes_of_one_stream() {
    let stream: Vec<u8> = (0..200).collect();
    let parts = (0..200).rev().map(|n| (n, n + 1)).chain([(0, 10), (5, 20), (0, 40), (30, 31), (100, 200)]);
    let mut fast = fast_path(1404);
    let sent = spliced(&mut fast, None).wrapping_add(1);
    for (from, to) in parts {
        let (at, bytes) = (from as u32, &stream[from..to]);
        let mut packet = from_client(Tcp::ACK, NEXT.wrapping_add(at), sent, bytes);
        assert_eq!(fast.receive_from_client(FLOW, &mut packet, false, START), Verdict::Pass);
        let (tcp, body) = payload(&packet);
        assert_eq!((tcp.sequence, tcp.acknowledgement, body), (ASKED + at, SERVED, bytes));
        let mut packet = from_server(Tcp::ACK, SERVED + at, ASKED, bytes);
        assert_eq!(fast.receive_from_server(FLOW, VnetHdr::default(), &mut packet, APP, START), Verdict::Pass);
        let (tcp, body) = payload(&packet);
        assert_eq!((tcp.sequence, tcp.acknowledgement, body), (sent.wrapping_add(at), NEXT, bytes));
    }
    assert_eq!((fast.held_now(), fast.owed_bytes()), (0, 0));
}

/// As far as a client's next request waits for the control side: many pieces of it are kept, up to the bound.
#[test]
fn a_next_request_in_tiny_segments_is_held_up_to_the_bound_and_none_of_it_reaches_the_server() {
    let mut fast = fast_path(1404);
    let sent = spliced(&mut fast, Some(6)).wrapping_add(1);
    let byte = |n: u32| from_client(Tcp::ACK, NEXT.wrapping_add(n), sent, b"x");
    for n in (0..5_000).rev() {
        let verdict = to_server(&mut fast, byte(n));
        assert!(matches!(verdict, Verdict::Taken | Verdict::Drop(Reason::HoldFull)), "{verdict:?}");
    }
    assert_eq!(fast.held_now(), 32);
    for output in fast.take_outputs() {
        assert_eq!((output.to, payload(&output.packet).1.len()), (Side::Server, 0), "nothing but acknowledgements");
    }
    assert!(fast.take_requests().is_empty(), "the answer has not come");
}

/// A server that closes behind its last byte, a byte that is sent behind that end, and the end once more.
#[test]
fn data_behind_an_end_changes_nothing_of_what_was_before_it() {
    let mut fast = fast_path(1404);
    let sent = spliced(&mut fast, None).wrapping_add(1);
    let mut last = from_server(Tcp::ACK | Tcp::FIN, SERVED, ASKED, b"last");
    assert_eq!(fast.receive_from_server(FLOW, VnetHdr::default(), &mut last, APP, START), Verdict::Pass);
    let (tcp, body) = payload(&last);
    assert_eq!((tcp.sequence, tcp.flags, body), (sent, Tcp::ACK | Tcp::FIN, &b"last"[..]));
    let mut behind = from_server(Tcp::ACK, SERVED + 5, ASKED, b"behind");
    if fast.receive_from_server(FLOW, VnetHdr::default(), &mut behind, APP, START) == Verdict::Pass {
        assert_eq!(payload(&behind).0.sequence, sent.wrapping_add(5), "behind the end, where the client drops it");
    }
    assert_eq!(fast.is_over(FLOW), None, "the client may go on");
    let acknowledged = from_client(Tcp::ACK, NEXT, sent.wrapping_add(5), b"thank you");
    assert_eq!(to_server(&mut fast, acknowledged), Verdict::Pass);
    let end = from_client(Tcp::ACK | Tcp::FIN, NEXT.wrapping_add(9), sent.wrapping_add(5), &[]);
    assert_eq!((to_server(&mut fast, end), fast.is_over(FLOW)), (Verdict::Pass, Some(false)));
}

/// An answer whose length was known, and a server that closes behind it: in the last segment, or in one of its own. The client
/// gets the answer and no end; the control side is asked when it has all, and the stack gets the end when the server repeats it.
#[test]
fn a_server_that_closes_behind_the_whole_answer_takes_none_of_it_along() {
    for alone in [false, true] {
        let mut fast = fast_path(1404);
        let sent = spliced(&mut fast, Some(6)).wrapping_add(1);
        let mut parts = vec![from_server(Tcp::ACK | Tcp::FIN, SERVED, ASKED, b"answer")];
        if alone {
            parts = vec![
                from_server(Tcp::ACK, SERVED, ASKED, b"answer"),
                from_server(Tcp::FIN | Tcp::ACK, SERVED + 6, ASKED, b""),
            ];
        }
        let verdicts: Vec<Verdict> =
            parts.iter_mut().map(|part| fast.receive_from_server(FLOW, VnetHdr::default(), part, APP, START)).collect();
        assert_eq!(verdicts, if alone { vec![Verdict::Pass, Verdict::Taken] } else { vec![Verdict::Pass] });
        let (tcp, body) = payload(&parts[0]);
        assert_eq!((tcp.sequence, tcp.flags, body), (sent, Tcp::ACK, &b"answer"[..]));
        assert!(fast.take_requests().is_empty(), "the client has not all of it");
        assert_eq!(to_server(&mut fast, from_client(Tcp::ACK, NEXT, sent.wrapping_add(6), b"")), Verdict::Pass);
        assert_eq!(fast.take_requests().iter().map(|request| request.held).collect::<Vec<_>>(), [0]);
        let address = (vip(), client());
        let (_, server) = fast.records(FLOW, &ends(FLOW).unwrap(), Some(address), START).unwrap();
        assert_eq!(server.unwrap().receive_next, SERVED + 6, "its end is still to come");
        assert_eq!(fast.take(FLOW), Some(Vec::new()));
        let end = from_server(Tcp::FIN | Tcp::ACK, SERVED + 6, ASKED, b"");
        assert_eq!(fast.receive_server_for_stack(FLOW, VnetHdr::default(), &end, Some(APP), START), Verdict::Stack);
    }
}

#[test]
fn a_server_that_closes_within_its_answer_ends_it_for_the_client_too() {
    let mut fast = fast_path(1404);
    let sent = spliced(&mut fast, Some(6)).wrapping_add(1);
    let mut cut = from_server(Tcp::ACK | Tcp::FIN, SERVED, ASKED, b"ans");
    assert_eq!(fast.receive_from_server(FLOW, VnetHdr::default(), &mut cut, APP, START), Verdict::Pass);
    let (tcp, body) = payload(&cut);
    assert_eq!((tcp.sequence, tcp.flags, body), (sent, Tcp::ACK | Tcp::FIN, &b"ans"[..]));
    assert_eq!(to_server(&mut fast, from_client(Tcp::ACK, NEXT, sent.wrapping_add(4), b"")), Verdict::Pass);
    assert!(fast.take_requests().is_empty());
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Reached {
    Asked,
    Normal,
    Held,
    Spliced,
    Waits,
}

fn reach(fast: &mut FastPath, state: Reached) -> u32 {
    match state {
        Reached::Asked => asked(fast),
        Reached::Normal => in_the_stack(fast),
        Reached::Held => {
            let cookie = in_the_stack(fast);
            assert!(fast.hold(FLOW, START));
            cookie
        }
        Reached::Spliced => spliced(fast, None),
        Reached::Waits => {
            let cookie = spliced(fast, Some(6));
            let next = from_client(Tcp::ACK, NEXT, cookie.wrapping_add(1), b"next");
            assert_eq!(to_server(fast, next), Verdict::Taken);
            assert_eq!(fast.held_now(), 1);
            cookie
        }
    }
}

/// From either side: nothing is held any more, and whoever has the other side hears of it.
#[test]
fn a_reset_at_each_state_reaches_the_other_side_or_the_stack_and_leaves_nothing_held() {
    for state in [Reached::Asked, Reached::Normal, Reached::Held, Reached::Spliced, Reached::Waits] {
        for by_client in [true, false] {
            let mut fast = fast_path(1404);
            let sent = reach(&mut fast, state).wrapping_add(1);
            fast.take_outputs();
            let next = if state == Reached::Waits { NEXT.wrapping_add(4) } else { NEXT };
            let mut reset = match by_client {
                true => from_client(Tcp::RST | Tcp::ACK, next, sent, &[]),
                false => from_server(Tcp::RST | Tcp::ACK, SERVED, ASKED, &[]),
            };
            let verdict = match (by_client, state) {
                (true, _) => fast.receive_from_client(FLOW, &mut reset, false, START),
                // Nobody has asked a server.
                (false, Reached::Asked) => continue,
                (false, Reached::Normal | Reached::Held) => {
                    fast.receive_server_for_stack(FLOW, VnetHdr::default(), &reset, Some(APP), START)
                }
                (false, _) => fast.receive_from_server(FLOW, VnetHdr::default(), &mut reset, APP, START),
            };
            let wanted = match state {
                Reached::Asked => Verdict::End,
                Reached::Normal => Verdict::Stack,
                Reached::Held => Verdict::Taken,
                Reached::Spliced | Reached::Waits => Verdict::Pass,
            };
            assert_eq!(verdict, wanted, "{state:?}, by client: {by_client}");
            match state {
                Reached::Asked => assert!(fast.is_empty()),
                Reached::Normal => {}
                Reached::Held => assert_eq!(fast.take(FLOW).unwrap().len(), 1, "the stack gets it"),
                Reached::Spliced | Reached::Waits => {
                    assert_eq!(fast.is_over(FLOW), Some(true));
                    let (tcp, _) = payload(&reset);
                    let to_server = if by_client { ASKED.wrapping_add(next.wrapping_sub(NEXT)) } else { sent };
                    assert_eq!(tcp.sequence, to_server, "{state:?}, by client: {by_client}");
                    fast.sweep(10, START, |_| None);
                }
            }
            assert_eq!(fast.held_now(), 0, "{state:?}, by client: {by_client}");
        }
    }
}
