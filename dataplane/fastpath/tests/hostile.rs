//! What clients, servers and strangers must not be able to do.

use crate::world;

use braid_fastpath::{FastPath, Reason, Stranger, Verdict};
use braid_packet::{tcp_checksum_is_good, Tcp, Time, VnetHdr};
use proptest::prelude::*;
use std::net::SocketAddr;
use world::lone::*;
use world::{fast_path, parse, APP, FLOW};

#[test]
fn a_flood_of_syns_leaves_no_trace() {
    let mut fast = fast_path(1404);
    for port in 0..10_000 {
        let from = SocketAddr::new(client().ip(), port);
        let syn = packet(from, vip(), Tcp::SYN, (u32::from(port), 0), &SYN_OPTIONS, &[]);
        assert_eq!(fast.receive_stranger(&syn, false, APP, START), Stranger::Reply);
        assert!(fast.answer().len() <= syn.len(), "no amplification");
    }
    assert_eq!((fast.len(), fast.next_timeout(), fast.counters().cookies), (0, None, 10_000));
    assert!(fast.take_outputs().is_empty());
}

#[test]
fn forged_acknowledgements_are_refused_counted_and_answered_at_a_limited_rate() {
    let mut fast = fast_path(1404);
    let mut resets = 0;
    for n in 0..10_000_u32 {
        let forged = from_client(Tcp::ACK, 1, n.wrapping_mul(2_654_435_761), b"GET / HTTP/1.1");
        match fast.receive_stranger(&forged, false, APP, START) {
            Stranger::Reply => resets += 1,
            Stranger::Drop(Reason::CookieForged | Reason::CookieEarly) => {}
            other => panic!("{other:?}"),
        }
    }
    let counters = fast.counters();
    assert_eq!(fast.len(), 0);
    assert_eq!(counters.refused(Reason::CookieForged) + counters.refused(Reason::CookieEarly), 10_000);
    assert!((1000..=2000).contains(&resets), "{resets}");
}

#[test]
fn a_segment_that_overtakes_the_first_is_not_answered_by_a_reset() {
    let mut fast = fast_path(1404);
    let cookie = cookie(&mut fast);
    let second = from_client(Tcp::ACK, CLIENT_ISN.wrapping_add(1 + 1448), cookie.wrapping_add(1), b"later");
    assert_eq!(fast.receive_stranger(&second, false, APP, START), Stranger::Drop(Reason::CookieEarly));
}

/// A gateway that started again believes cookies of its region, so the client seems to be ahead of what it never sent.
#[test]
fn a_client_whose_first_segment_never_comes_is_told() {
    for (body, told) in [(&b""[..], 2), (b"more", 5)] {
        let mut fast = fast_path(1404);
        let cookie = cookie(&mut fast);
        let segment = from_client(Tcp::ACK, CLIENT_ISN.wrapping_add(1 + 7), cookie.wrapping_add(1), body);
        for second in 0..=told {
            let verdict = fast.receive_stranger(&segment, false, APP, START.after(second * Time::SECOND));
            assert_eq!(verdict == Stranger::Reply, second == told, "{second}: {verdict:?}");
        }
        let (_, reset) = parse(fast.answer());
        assert_eq!((reset.flags, reset.sequence), (Tcp::RST, cookie.wrapping_add(1)));
    }
}

#[test]
fn the_middle_of_a_connection_that_carried_as_much_both_ways_is_no_first_segment() {
    let mut fast = fast_path(1404);
    let cookie = cookie(&mut fast);
    for carried in [1, 7, 1448, 70_000] {
        let (sequence, acknowledgement) = (CLIENT_ISN.wrapping_add(1 + carried), cookie.wrapping_add(1 + carried));
        let segment = from_client(Tcp::ACK, sequence, acknowledgement, b"more");
        assert_eq!(fast.receive_stranger(&segment, false, APP, START), Stranger::Reply, "{carried}");
        assert_eq!(parse(fast.answer()).1.flags, Tcp::RST);
    }
}

#[test]
fn others_without_a_connection_are_refused() {
    let mut fast = fast_path(1404);
    for (flags, reply) in [
        (Tcp::RST, false),
        (Tcp::RST | Tcp::ACK, false),
        (Tcp::FIN, true),
        (0, true),
        (Tcp::SYN | Tcp::ACK, true),
        (Tcp::SYN | Tcp::FIN, true),
    ] {
        let verdict = fast.receive_stranger(&from_client(flags, 5, 6, &[]), false, APP, START);
        assert_eq!(verdict == Stranger::Reply, reply, "{flags}");
    }
    let mut damaged = from_client(Tcp::SYN, 5, 0, &[]);
    damaged[25] ^= 1;
    assert_eq!(fast.receive_stranger(&damaged, false, APP, START), Stranger::Drop(Reason::Checksum));
    let lying = packet(client(), vip(), Tcp::SYN, (5, 0), &[2, 9, 0, 0], &[]);
    assert_eq!(fast.receive_stranger(&lying, false, APP, START), Stranger::Drop(Reason::Options));
    let mut without_keys = FastPath::new(1404);
    let syn = from_client(Tcp::SYN, 5, 0, &[]);
    assert_eq!(without_keys.receive_stranger(&syn, false, APP, START), Stranger::Drop(Reason::NoKey));
    let cookie = from_client(Tcp::ACK, 5, 6, &[]);
    assert_eq!(without_keys.receive_stranger(&cookie, false, APP, START), Stranger::Drop(Reason::NoKey));
}

#[test]
fn a_syn_on_a_connection_is_challenged_and_tells_of_nothing_that_the_server_lacks() {
    let mut fast = fast_path(1404);
    let cookie = open(&mut fast);
    let first = CLIENT_ISN.wrapping_add(1);
    assert_eq!(to_server(&mut fast, from_client(Tcp::ACK, first, cookie.wrapping_add(1), &[7; 500])), Verdict::Pass);
    let syn = || packet(client(), vip(), Tcp::SYN, (123, 0), &SYN_OPTIONS, &[]);
    assert_eq!(to_server(&mut fast, syn()), Verdict::Reply);
    let (_, challenge) = parse(fast.answer());
    assert_eq!((challenge.flags, challenge.sequence), (Tcp::ACK, cookie.wrapping_add(1)));
    assert_eq!(challenge.acknowledgement, first, "the server has not acknowledged the 500 bytes");
    let answers = (0..1000).filter(|_| to_server(&mut fast, syn()) == Verdict::Reply).count();
    assert!(answers < 250, "{answers}");
    // The client has forgotten: it resets by what it was told, and that goes through.
    assert_eq!(to_server(&mut fast, from_client(Tcp::RST, first, 0, &[])), Verdict::Pass);
}

#[test]
fn what_is_outside_the_windows_is_dropped_and_changes_nothing() {
    let mut fast = fast_path(1404);
    let cookie = open(&mut fast);
    let (first, served) = (CLIENT_ISN.wrapping_add(1), cookie.wrapping_add(1));
    let before = fast.session(FLOW);
    for (sequence, acknowledgement, flags, reason) in [
        (first.wrapping_add(1_000_000), served, Tcp::ACK, Reason::Window),
        (first.wrapping_sub(100_000), served, Tcp::ACK, Reason::Window),
        (first.wrapping_add(1_000_000), 0, Tcp::RST, Reason::Window),
        (first.wrapping_sub(1), 0, Tcp::RST, Reason::Window),
        (first, served.wrapping_add(1), Tcp::ACK, Reason::Acknowledgement),
        (first, served.wrapping_sub(700_000), Tcp::ACK, Reason::Acknowledgement),
    ] {
        let verdict = to_server(&mut fast, from_client(flags, sequence, acknowledgement, &[]));
        assert_eq!(verdict, Verdict::Drop(reason), "{sequence} {acknowledgement} {flags}");
    }
    for (sequence, acknowledgement, flags, reason) in [
        (SERVER_ISN + 1 + 1_000_000, first, Tcp::ACK, Reason::Window),
        (SERVER_ISN, 0, Tcp::RST, Reason::Window),
        (SERVER_ISN + 1, first.wrapping_add(1), Tcp::ACK, Reason::Acknowledgement),
    ] {
        let verdict = to_client(&mut fast, from_server(flags, sequence, acknowledgement, &[]));
        assert_eq!(verdict, Verdict::Drop(reason), "{sequence} {acknowledgement} {flags}");
    }
    assert_eq!(fast.session(FLOW), before);
}

/// What overlaps with other lengths goes to the server as it came, and it takes the bytes of one stream.
#[test]
fn retransmissions_that_overlap_with_other_lengths_are_held_and_passed() {
    let stream: Vec<u8> = (0..200).collect();
    let (first, parts) = (CLIENT_ISN.wrapping_add(1), [(0, 10), (5, 20), (0, 40), (30, 31), (0, 10)]);
    let mut fast = fast_path(1404);
    let cookie = opening(&mut fast);
    let part = |(from, to): (usize, usize)| {
        from_client(Tcp::ACK, first.wrapping_add(from as u32), cookie.wrapping_add(1), &stream[from..to])
    };
    for span in parts {
        assert_eq!(to_server(&mut fast, part(span)), Verdict::Taken);
    }
    let answer = packet(vip(), client(), Tcp::SYN | Tcp::ACK, (SERVER_ISN, first), &SYN_OPTIONS, &[]);
    assert_eq!(to_client(&mut fast, answer), Verdict::Taken);
    let held: Vec<Vec<u8>> = fast.take_outputs().into_iter().skip(1).map(|output| output.packet).collect();
    assert_eq!(held.len(), 4, "the last one was there");
    let mut passed: Vec<Vec<u8>> = parts.map(part).into();
    for packet in &mut passed {
        assert_eq!(fast.receive_from_client(FLOW, packet, false, START), Verdict::Pass);
    }
    for packet in held.iter().chain(&passed) {
        let (ip, tcp) = parse(packet);
        let from = tcp.sequence.wrapping_sub(first) as usize;
        assert!(tcp_checksum_is_good(packet, &ip));
        assert_eq!(packet[ip.header_len + tcp.header_len..], stream[from..from + tcp.payload]);
    }
}

/// One byte at a time, in any order, before and after the server has answered.
#[test]
fn tiny_segments_are_held_up_to_the_bound_and_pass_later() {
    let mut fast = fast_path(1404);
    let cookie = opening(&mut fast);
    let first = CLIENT_ISN.wrapping_add(1);
    let byte = |n: u32| from_client(Tcp::ACK, first.wrapping_add(n), cookie.wrapping_add(1), &[n as u8]);
    let kept = (0..14_600).rev().filter(|&n| to_server(&mut fast, byte(n)) == Verdict::Taken).count();
    assert_eq!((kept, fast.counters().refused(Reason::HoldFull)), (32, 14_600 - 32));
    let answer = packet(vip(), client(), Tcp::SYN | Tcp::ACK, (SERVER_ISN, first), &SYN_OPTIONS, &[]);
    assert_eq!(to_client(&mut fast, answer), Verdict::Taken);
    assert_eq!(fast.take_outputs().len(), 33);
    assert!((0..5000).all(|n| to_server(&mut fast, byte(n)) == Verdict::Pass));
}

#[test]
fn a_reset_ends_the_connection_at_each_state_and_leaves_nothing_held() {
    let (first, reset) = (CLIENT_ISN.wrapping_add(1), Tcp::RST | Tcp::ACK);
    // Only a cookie is out: nobody has a connection.
    let mut fast = fast_path(1404);
    cookie(&mut fast);
    let stranger = fast.receive_stranger(&from_client(Tcp::RST, first, 0, &[]), false, APP, START);
    assert_eq!(stranger, Stranger::Drop(Reason::CookieForged));
    // The server has yet to answer, and a request is held.
    for by_client in [true, false] {
        let mut fast = fast_path(1404);
        let cookie = opening(&mut fast);
        assert_eq!(to_server(&mut fast, from_client(Tcp::ACK, first, cookie.wrapping_add(1), b"ask")), Verdict::Taken);
        let verdict = match by_client {
            true => to_server(&mut fast, from_client(reset, first, cookie.wrapping_add(1), &[])),
            false => to_client(&mut fast, from_server(reset, 0, first, &[])),
        };
        assert_eq!((verdict, fast.len()), (Verdict::End, 0));
        let told = fast.take_outputs().len();
        assert_eq!(told, usize::from(!by_client), "the other one is told");
        let late = from_client(Tcp::ACK, first, cookie.wrapping_add(1), b"ask");
        assert_eq!(fast.receive_stranger(&late, false, APP, START), Stranger::Reply);
        assert_eq!(parse(fast.answer()).1.flags, Tcp::RST);
    }
    // Open, and after the end of one side: resets pass, with the other's numbers.
    for finished in [false, true] {
        let mut fast = fast_path(1404);
        let served = open(&mut fast).wrapping_add(1);
        let end = u32::from(finished);
        if finished {
            assert_eq!(to_server(&mut fast, from_client(Tcp::ACK | Tcp::FIN, first, served, &[])), Verdict::Pass);
        }
        let mut of_server = from_server(reset, SERVER_ISN + 1, first.wrapping_add(end), &[]);
        assert_eq!(fast.receive_from_server(FLOW, VnetHdr::default(), &mut of_server, APP, START), Verdict::Pass);
        assert_eq!(parse(&of_server).1.sequence, served);
        let mut of_client = from_client(reset, first.wrapping_add(end), served, &[]);
        assert_eq!(fast.receive_from_client(FLOW, &mut of_client, false, START), Verdict::Pass);
        assert_eq!(parse(&of_client).1.acknowledgement, SERVER_ISN + 1);
    }
}

#[test]
fn damage_stays_visible_and_lying_options_do_not_pass() {
    let mut fast = fast_path(1404);
    let cookie = open(&mut fast);
    let (first, served) = (CLIENT_ISN.wrapping_add(1), cookie.wrapping_add(1));
    let mut damaged = from_client(Tcp::ACK, first, served, &[7; 100]);
    damaged[60] ^= 4;
    assert_eq!(fast.receive_from_client(FLOW, &mut damaged, false, START), Verdict::Pass);
    let (ip, _) = parse(&damaged);
    assert!(!tcp_checksum_is_good(&damaged, &ip));
    let lying = packet(client(), vip(), Tcp::ACK, (first, served), &[5, 34, 0, 0], &[]);
    assert_eq!(to_server(&mut fast, lying), Verdict::Drop(Reason::Options));
    let unknown =
        packet(client(), vip(), Tcp::ACK, (first, served), &[30, 4, 9, 9, 5, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1], &[]);
    let mut passed = unknown.clone();
    assert_eq!(fast.receive_from_client(FLOW, &mut passed, false, START), Verdict::Pass);
    assert_eq!(passed[40..56], [1; 16], "neither was negotiated");
    let (ip, _) = parse(&passed);
    assert!(tcp_checksum_is_good(&passed, &ip));
}

#[test]
fn a_flow_that_ended_takes_its_records_along() {
    let mut fast = fast_path(1404);
    open(&mut fast);
    fast.sweep(10, START, |_| Some(SEEN));
    assert_eq!(fast.len(), 1);
    fast.sweep(10, START, |flow| (flow != FLOW).then_some(SEEN));
    assert!(fast.is_empty());
    assert_eq!(to_server(&mut fast, from_client(Tcp::ACK, 1, 2, &[])), Verdict::Drop(Reason::NoSession));
}

proptest! {
    // What fails becomes a test with a name here; there is no file of seeds.
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes, nothing breaks, and no more is remembered than there are connections.
    #[test]
    fn any_header_is_survived(
        steps in proptest::collection::vec(
            (0u8..3, any::<u8>(), any::<(u32, u32)>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40), 0usize..50),
            1..20,
        ),
        established: bool,
    ) {
        let mut fast = fast_path(1404);
        let cookie = if established { open(&mut fast) } else { opening(&mut fast) };
        for (who, flags, (sequence, acknowledgement), near, options, body) in steps {
            let options = &options[..options.len() / 4 * 4];
            let (from, to) = if who == 1 { (vip(), client()) } else { (client(), vip()) };
            // Half of them with numbers that belong here.
            let near_numbers = match who {
                1 => (SERVER_ISN.wrapping_add(sequence % 3), CLIENT_ISN.wrapping_add(acknowledgement % 3)),
                _ => (CLIENT_ISN.wrapping_add(sequence % 3), cookie.wrapping_add(acknowledgement % 3)),
            };
            let numbers = if near { near_numbers } else { (sequence, acknowledgement) };
            let mut bytes = packet(from, to, flags, numbers, options, &vec![1; body]);
            let verdict = match who {
                0 => {
                    fast.receive_stranger(&bytes, false, APP, START);
                    continue;
                }
                1 => fast.receive_from_server(FLOW, VnetHdr::default(), &mut bytes, APP, START),
                _ => fast.receive_from_client(FLOW, &mut bytes, false, START),
            };
            if verdict == Verdict::Pass {
                let (ip, _) = parse(&bytes);
                prop_assert!(tcp_checksum_is_good(&bytes, &ip));
            }
            fast.take_outputs();
            prop_assert!(fast.len() <= 1);
        }
    }

    #[test]
    fn any_bytes_are_survived(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), partial: bool) {
        let mut fast = fast_path(1404);
        open(&mut fast);
        fast.receive_stranger(&bytes, partial, APP, START);
        fast.receive_from_client(FLOW, &mut bytes, partial, START);
        fast.receive_from_server(FLOW, VnetHdr { needs_csum: partial, ..VnetHdr::default() }, &mut bytes, APP, START);
    }
}
