//! The server's side of a connection: who is told what when it fails, and what is held until it is there.

use crate::world;

use braid_fastpath::{Reason, Side, Stranger, Verdict, OUR_WINDOW};
use braid_packet::{tcp_checksum_is_good, Tcp, Time, VnetHdr};
use world::lone::*;
use world::{fast_path, parse, APP, FLOW};

#[test]
fn a_server_that_refuses_resets_the_client() {
    let mut fast = fast_path(1404);
    let cookie = opening(&mut fast);
    let stray = from_server(Tcp::RST | Tcp::ACK, 0, CLIENT_ISN, &[]);
    assert_eq!(to_client(&mut fast, stray), Verdict::Drop(Reason::ServerStray), "of another number");
    let refusal = from_server(Tcp::RST | Tcp::ACK, 0, CLIENT_ISN.wrapping_add(1), &[]);
    assert_eq!(to_client(&mut fast, refusal), Verdict::End);
    let outputs = fast.take_outputs();
    let (_, reset) = parse(&outputs[0].packet);
    assert_eq!(
        (outputs[0].to, reset.flags, reset.sequence),
        (Side::Client, Tcp::RST | Tcp::ACK, cookie.wrapping_add(1))
    );
    assert_eq!((fast.len(), fast.counters().refused(Reason::ServerRefused)), (0, 1));
}

#[test]
fn a_silent_server_is_asked_four_times_and_then_the_client_is_told() {
    let mut fast = fast_path(1404);
    let cookie = opening(&mut fast);
    let mut asked = Vec::new();
    let mut now = START;
    loop {
        now = now.after(100 * Time::MILLISECOND);
        let ended = fast.handle_timeout(now, ends);
        let outputs = fast.take_outputs();
        if !ended.is_empty() {
            let (_, reset) = parse(&outputs[0].packet);
            assert_eq!((ended, reset.flags & Tcp::RST, reset.sequence), (vec![FLOW], Tcp::RST, cookie.wrapping_add(1)));
            break;
        }
        asked.extend(outputs.iter().map(|output| {
            assert_eq!(parse(&output.packet).1.flags, Tcp::SYN);
            now.since(START) / Time::MILLISECOND
        }));
    }
    assert_eq!((asked, now.since(START) / Time::MILLISECOND), (vec![500, 1500, 3500], 7500));
    assert_eq!((fast.len(), fast.next_timeout()), (0, None));
    assert_eq!(fast.counters().refused(Reason::ServerSilent), 1);
    for body in [&b""[..], b"late"] {
        let late = from_client(Tcp::ACK, CLIENT_ISN.wrapping_add(1), cookie.wrapping_add(1), body);
        assert_eq!(fast.receive_stranger(&late, false, APP, now), Stranger::Reply);
        assert_eq!(parse(fast.answer()).1.flags, Tcp::RST);
    }
    assert_eq!(fast.counters().refused(Reason::CookieSpent), 2);
}

#[test]
fn an_earlier_connection_of_the_server_is_reset_and_ours_goes_on() {
    let mut fast = fast_path(1404);
    opening(&mut fast);
    assert_eq!(to_client(&mut fast, from_server(Tcp::ACK, 9, 4242, &[])), Verdict::Reply);
    let (_, reset) = parse(fast.answer());
    assert_eq!((reset.flags, reset.sequence), (Tcp::RST, 4242));
    assert_eq!(fast.len(), 1);
}

#[test]
fn what_comes_before_the_server_answers_is_held_within_bounds_and_goes_out_in_order() {
    let mut fast = fast_path(1404);
    let cookie = opening(&mut fast);
    let first = CLIENT_ISN.wrapping_add(1);
    let part = |n: u32| from_client(Tcp::ACK | PUSH, first.wrapping_add(n), cookie.wrapping_add(1), &[n as u8]);
    for n in 0..40 {
        assert_eq!(
            to_server(&mut fast, part(n)),
            if n < 32 { Verdict::Taken } else { Verdict::Drop(Reason::HoldFull) }
        );
        assert!(matches!(to_server(&mut fast, part(n)), Verdict::Taken | Verdict::Drop(Reason::HoldFull)), "once more");
    }
    let beyond = from_client(Tcp::ACK, first.wrapping_add(u32::from(OUR_WINDOW) + 1), cookie.wrapping_add(1), b"x");
    assert_eq!(to_server(&mut fast, beyond), Verdict::Drop(Reason::Window));
    let wrong = from_client(Tcp::ACK, first, cookie, b"x");
    assert_eq!(to_server(&mut fast, wrong), Verdict::Drop(Reason::Acknowledgement));
    let mut answer = from_server(Tcp::SYN | Tcp::ACK, SERVER_ISN, first, &[]);
    assert_eq!(fast.receive_from_server(FLOW, VnetHdr::default(), &mut answer, APP, START), Verdict::Taken);
    let outputs = fast.take_outputs();
    assert_eq!(outputs.len(), 33, "an acknowledgement, then what was held");
    for (n, output) in outputs[1..].iter().enumerate() {
        let (ip, tcp) = parse(&output.packet);
        assert_eq!((tcp.sequence, tcp.acknowledgement), (first.wrapping_add(n as u32), SERVER_ISN + 1));
        assert!(tcp_checksum_is_good(&output.packet, &ip));
    }
    assert_eq!(fast.counters().held, 32);
}

#[test]
fn a_client_that_resets_before_the_server_answers_is_forgotten() {
    let mut fast = fast_path(1404);
    let cookie = opening(&mut fast);
    let reset = from_client(Tcp::RST, CLIENT_ISN.wrapping_add(1), cookie.wrapping_add(1), &[]);
    assert_eq!(to_server(&mut fast, reset), Verdict::End);
    assert_eq!(fast.len(), 0);
    assert!(fast.handle_timeout(START.after(Time::SECOND), ends).is_empty());
    assert!(fast.take_outputs().is_empty());
}

#[test]
fn a_lost_acknowledgement_is_given_again() {
    let mut fast = fast_path(1404);
    open(&mut fast);
    let again = || from_server(Tcp::SYN | Tcp::ACK, SERVER_ISN, CLIENT_ISN.wrapping_add(1), &[]);
    assert_eq!(to_client(&mut fast, again()), Verdict::Taken);
    assert!(fast.take_outputs().is_empty(), "the answer to the second SYN");
    assert_eq!(to_client(&mut fast, again()), Verdict::Taken);
    assert_eq!(parse(&fast.take_outputs()[0].packet).1.acknowledgement, SERVER_ISN + 1);
    let other = from_server(Tcp::SYN | Tcp::ACK, SERVER_ISN + 9, CLIENT_ISN.wrapping_add(1), &[]);
    assert_eq!(to_client(&mut fast, other), Verdict::Drop(Reason::StraySyn));
}

#[test]
fn a_reset_ends_a_connection_unless_its_sender_goes_on() {
    let mut fast = fast_path(1404);
    let cookie = open(&mut fast);
    assert_eq!(fast.take_changed(), [(FLOW, true)]);
    let next = CLIENT_ISN.wrapping_add(1);
    for (from_server, ahead) in [(false, 0), (false, 100), (true, 0), (true, 100)] {
        let reset = match from_server {
            true => to_client(&mut fast, of_server(Tcp::RST, ahead, &[])),
            false => to_server(&mut fast, from_client(Tcp::RST, next.wrapping_add(ahead), 0, &[])),
        };
        assert_eq!((reset, fast.take_ending(), fast.is_over(FLOW)), (Verdict::Pass, vec![FLOW], Some(true)));
        let more = match from_server {
            true => to_client(&mut fast, of_server(Tcp::ACK, 0, b"x")),
            false => to_server(&mut fast, from_client(Tcp::ACK, next, cookie.wrapping_add(1), b"x")),
        };
        assert_eq!((more, fast.take_changed(), fast.is_over(FLOW)), (Verdict::Pass, vec![(FLOW, true)], None));
    }
    assert_eq!(to_client(&mut fast, of_server(Tcp::ACK | Tcp::FIN, 1, &[])), Verdict::Pass);
    assert_eq!(fast.is_over(FLOW), None);
    let last = from_client(Tcp::ACK | Tcp::FIN, next.wrapping_add(1), cookie.wrapping_add(3), &[]);
    assert_eq!((to_server(&mut fast, last), fast.is_over(FLOW)), (Verdict::Pass, Some(false)));
}

/// A packet of the server of an open connection, so many bytes behind its first one.
fn of_server(flags: u8, ahead: u32, body: &[u8]) -> Vec<u8> {
    from_server(flags, SERVER_ISN + 1 + ahead, CLIENT_ISN.wrapping_add(2), body)
}
