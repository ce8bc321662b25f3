//! Byte streams are equal to those that went in, however often a connection changes between the fast path and a TCP stack.

use crate::world;

use braid_fastpath::{Reason, Side, Splice, Stranger, Verdict};
use braid_packet::record::{TcpRecord, Window};
use braid_packet::{FlowId, Tcp, Time, VnetHdr};
use proptest::prelude::*;
use world::end::{bytes, State};
use world::lone::{self, in_the_stack, START};
use world::proxied::{Control, Proxied, CONTROL};
use world::setting::{usual, Setting};
use world::{fast_path, matrix, Faults, APP, FLOW};

fn setting(v6: bool) -> Setting {
    usual(v6, 200_000)
}

fn transfer(client: Setting, server: Setting, faults: Faults, control: Control, seed: u64) -> Proxied {
    let mut world = Proxied::new(client, server, 1404, faults, control, seed);
    world.run(60_000);
    assert_eq!((world.client.state, world.server.state), (State::Established, State::Established));
    let (got, wanted) = (&world.client.received, bytes(2, server.bytes));
    assert!(*got == wanted, "{} of {} to the client", got.len(), wanted.len());
    let (got, wanted) = (&world.server.received, bytes(1, client.bytes));
    assert!(*got == wanted, "{} of {} to the server", got.len(), wanted.len());
    world
}

#[test]
fn in_a_perfect_network_nothing_is_refused_and_no_clock_goes_back() {
    for bits in 0..8_u32 {
        let end = |timestamps: bool| Setting {
            timestamps,
            sack: bits & 2 == 0,
            scale: (bits & 4 == 0).then_some(6),
            ..setting(bits & 1 == 0)
        };
        for (of_client, of_server) in [(true, true), (true, false), (false, false)] {
            let world = transfer(end(of_client), end(of_server), Faults::default(), CONTROL, 9 << 32 | 5);
            assert_eq!((world.spliced, world.taken), (1, 1));
            assert_eq!((world.client.went_back, world.server.went_back), (0, 0));
            assert_eq!(world.fast.owed_bytes(), 0);
        }
    }
}

/// Every pair of option sets, in the stack all the time and given back in the middle; what cannot go back stays, and says why.
#[test]
fn every_pair_of_option_sets_works_promoted_and_spliced() {
    let base = Setting { bytes: 100_000, ..setting(false) };
    let faults = Faults { doubled: 2, ..Faults::default() };
    let stays = Control { splice_after: 1_000_000, ..CONTROL };
    let returns = Control { splice_after: 4, ..CONTROL };
    for (n, (client, server)) in matrix::pairs(base, Setting { burst: 8, bytes: 120_000, ..base }).enumerate() {
        let seed = (n as u64) << 32 | 77;
        assert_eq!(transfer(client, server, faults, stays, seed).spliced, 0);
        let world = transfer(client, server, faults, returns, seed);
        let small = server.mtu < 1404;
        match server.timestamps && !client.timestamps {
            true if !small => {
                assert_eq!(world.spliced, 0);
                assert!(world.stayed.contains("timestamps_of_the_server_alone"), "{:?}", world.stayed);
            }
            _ => assert_eq!(world.spliced == 1, !small, "{client:?} {server:?} {:?}", world.stayed),
        }
    }
}

#[test]
fn a_server_that_nobody_wants_to_see_never_reaches_the_stack() {
    let never = Control { splice_after: 1_000_000, at_answer: true, ..CONTROL };
    let (client, server) = (Setting { bytes: 1000, ..setting(true) }, setting(true));
    let mut world = Proxied::new(client, server, 1404, Faults::default(), never, 6);
    (world.client.more, world.server.more) = (true, true);
    for _ in 0..2_000 {
        world.step();
    }
    assert_eq!((world.spliced, world.taken), (1, 1), "{:?}", world.stayed);
    assert!(world.client.received == bytes(2, server.bytes) && world.server.received == bytes(1, client.bytes));
}

#[test]
fn it_is_held_at_the_servers_first_bytes_and_once() {
    let mut fast = fast_path(1404);
    in_the_stack(&mut fast);
    fast.hold_at_answer(FLOW, true);
    let syn = lone::packet(
        lone::vip(),
        lone::client(),
        Tcp::SYN | Tcp::ACK,
        (lone::SERVER_ISN, lone::STACK_ISN + 1),
        &lone::SYN_OPTIONS,
        &[],
    );
    assert_eq!(fast.receive_server_for_stack(FLOW, VnetHdr::default(), &syn, None, START), Verdict::Stack);
    let mut receive = |flags, sequence, body: &[u8]| {
        let packet = lone::from_server(flags, sequence, lone::STACK_ISN + 1, body);
        let verdict = fast.receive_server_for_stack(FLOW, VnetHdr::default(), &packet, None, START);
        (verdict, fast.take_answered().len(), fast.held_now())
    };
    assert_eq!(receive(Tcp::ACK, lone::SERVER_ISN + 1, &[]), (Verdict::Stack, 0, 0));
    assert_eq!(receive(Tcp::ACK, lone::SERVER_ISN + 1, b"answer"), (Verdict::Taken, 1, 1));
    assert_eq!(receive(Tcp::ACK, lone::SERVER_ISN + 7, b"more"), (Verdict::Taken, 0, 2));
    // Whoever changed its mind has it as before.
    assert_eq!(fast.take(FLOW).unwrap().len(), 2);
    let packet = lone::from_server(Tcp::ACK, lone::SERVER_ISN + 1, lone::STACK_ISN + 1, b"answer");
    assert_eq!(fast.receive_server_for_stack(FLOW, VnetHdr::default(), &packet, None, START), Verdict::Stack);
    assert!(!fast.has_news());
}

#[test]
fn a_client_that_goes_on_after_the_answer_is_the_stacks_again() {
    let (client, server) = (Setting { bytes: 400_000, ..setting(false) }, setting(false));
    let world = transfer(client, server, Faults::default(), Control { again: true, ..CONTROL }, 5);
    assert_eq!((world.spliced, world.taken), (1, 2));
}

#[test]
fn a_client_that_sent_more_than_is_held_is_the_stacks_again() {
    let client = Setting { sack: false, scale: None, mtu: 1280, window: 3625, bytes: 124_529, ..setting(true) };
    let server = Setting {
        timestamps: false,
        scale: Some(0),
        mtu: 1404,
        window: 32_257,
        bytes: 74_592,
        burst: 18,
        ..setting(true)
    };
    let control = Control { take_after: 0, splice_after: 6, frozen_for: 3, reads: 100, again: true, ..CONTROL };
    transfer(client, server, Faults { lost: 4, doubled: 1, late: 0 }, control, 11_827_128_112_088_019_816);
}

proptest! {
    // What fails becomes a test with a name here; there is no file of seeds.
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn streams_are_equal(
        v6: bool,
        bits in 0u32..32,
        scales in (0u8..=14, 0u8..=14),
        mtus in (prop::sample::select(vec![1280u16, 1400, 1500]), prop::sample::select(vec![1280u16, 1404, 1500])),
        windows in (3_000u32..60_000, 3_000u32..60_000),
        sizes in (1usize..200_000, 0usize..300_000),
        burst in 1usize..45,
        faults in (0u32..8, 0u32..10, 0u32..30),
        times in (0u64..30, 0u64..40, 0u64..30),
        reads in prop::sample::select(vec![100usize, 3000, 100_000]),
        at_answer: bool,
        again: bool,
        seed: u64,
    ) {
        let (lost, doubled, late) = faults;
        let with = bits & 1 == 0;
        let client = Setting {
            v6, timestamps: with, sack: bits & 2 == 0, scale: (bits & 4 == 0).then_some(scales.0),
            mtu: mtus.0, window: windows.0, burst: 1, segment: 0, bytes: sizes.0,
        };
        let server = Setting {
            v6, timestamps: bits & 8 == 0, sack: bits & 16 == 0, scale: (bits & 1 == 0).then_some(scales.1),
            mtu: mtus.1, window: windows.1, burst, segment: 0, bytes: sizes.1,
        };
        let control = Control { take_after: times.0, splice_after: times.1, frozen_for: times.2, reads, at_answer, again };
        transfer(client, server, Faults { lost, doubled, late }, control, seed);
    }
}

#[test]
fn what_is_held_while_a_connection_changes_hands_is_bounded_and_acknowledgements_take_one_place() {
    let mut fast = fast_path(1404);
    let cookie = in_the_stack(&mut fast);
    assert!(fast.hold(FLOW, START));
    let first = lone::CLIENT_ISN.wrapping_add(8);
    for n in 0..4000_u32 {
        let body: &[u8] = if n % 10 == 9 { b"x" } else { b"" };
        let flags = Tcp::ACK;
        lone::to_server(&mut fast, lone::from_client(flags, first.wrapping_add(n), cookie.wrapping_add(1), body));
    }
    assert!((250..=251).contains(&fast.held_now()), "{}", fast.held_now());
    assert!(fast.counters().refused(Reason::HoldFull) > 0);
    fast.take(FLOW).unwrap();
    assert_eq!(fast.held_now(), 0);
}

/// It would get larger ones than it takes, as long as the client believes what it was told.
#[test]
fn a_server_that_takes_less_than_its_client_was_told_stays_and_the_next_client_is_told() {
    let mut fast = fast_path(1404);
    for (mss, may) in [(1300, false), (1300, true), (1460, true)] {
        in_the_stack(&mut fast);
        let options = [2, 4, (mss >> 8) as u8, mss as u8];
        let answer = lone::packet(lone::vip(), lone::client(), Tcp::SYN | Tcp::ACK, (9, 9), &options, &[]);
        fast.receive_server_for_stack(FLOW, VnetHdr::default(), &answer, Some(APP), START);
        assert_eq!(fast.hold(FLOW, START), may, "{mss}");
        fast.sweep(10, START, |_| None);
        lone::cookie(&mut fast);
        let (ip, tcp) = world::parse(fast.answer());
        assert_eq!(
            world::bytes::read(&fast.answer()[ip.header_len + 20..ip.header_len + tcp.header_len]).0,
            Some(1300)
        );
    }
}

#[test]
fn the_stack_cannot_reset_what_it_does_not_have() {
    let mut fast = fast_path(1404);
    let cookie = in_the_stack(&mut fast);
    let reset = lone::from_server(Tcp::RST, cookie.wrapping_add(1), 0, b"");
    let data = lone::from_server(Tcp::ACK, cookie.wrapping_add(1), lone::CLIENT_ISN.wrapping_add(8), b"answer");
    assert!(fast.receive_from_stack(FLOW, Side::Client, &data));
    assert!(fast.hold(FLOW, START));
    assert!(!fast.receive_from_stack(FLOW, Side::Client, &reset));
    assert!(fast.receive_from_stack(FLOW, Side::Client, &data), "what it had sent before");
    fast.take(FLOW).unwrap();
    assert!(fast.receive_from_stack(FLOW, Side::Client, &reset), "its own");
    assert_eq!(fast.take_changed(), [(FLOW, false)]);
    assert_eq!(fast.counters().refused(Reason::NormalGuarded), 1);
}

/// A connection of which no end was seen would be the stack's until it is idle for hours, and a drain would wait for it.
#[test]
fn what_the_stack_had_sent_when_it_was_held_is_known_if_it_stays() {
    let next = lone::CLIENT_ISN.wrapping_add(8);
    let bye = |cookie: u32| lone::from_client(Tcp::ACK | Tcp::FIN, next, cookie.wrapping_add(7), &[]);
    let mut fast = fast_path(1404);
    let cookie = in_the_stack(&mut fast);
    assert!(fast.hold(FLOW, START));
    let answer = lone::from_server(Tcp::ACK, cookie.wrapping_add(1), next, b"answer");
    assert!(fast.receive_from_stack(FLOW, Side::Client, &answer));
    fast.take(FLOW).unwrap();
    assert_eq!(fast.receive_from_client(FLOW, &mut bye(cookie), false, START), Verdict::Stack);
    let end = lone::from_server(Tcp::ACK | Tcp::FIN, cookie.wrapping_add(7), next.wrapping_add(1), &[]);
    assert!(fast.receive_from_stack(FLOW, Side::Client, &end));
    assert_eq!(fast.take_changed(), [(FLOW, false)]);

    let cookie = in_the_stack(&mut fast);
    assert!(fast.hold(FLOW, START));
    let end = lone::from_server(Tcp::ACK | Tcp::FIN, cookie.wrapping_add(1), next, b"answer");
    assert!(fast.receive_from_stack(FLOW, Side::Client, &end));
    fast.take(FLOW).unwrap();
    assert_eq!(fast.receive_from_client(FLOW, &mut bye(cookie), false, START), Verdict::Stack);
    assert_eq!(fast.take_changed(), [(FLOW, false)]);
}

/// A client that asks and gives up at once: nothing else tells that its connection is over.
#[test]
fn a_reset_right_behind_a_request_ends_it_though_nothing_was_acknowledged_yet() {
    let next = lone::CLIENT_ISN.wrapping_add(8);
    for (ahead, ends) in [(7, true), (0, true), (3, false), (8, false)] {
        let mut fast = fast_path(1404);
        let cookie = in_the_stack(&mut fast);
        let answer = lone::from_server(Tcp::ACK, cookie.wrapping_add(1), next, b"answer");
        assert!(fast.receive_from_stack(FLOW, Side::Client, &answer));
        let asked = lone::from_client(Tcp::ACK, next, cookie.wrapping_add(7), b"request");
        let reset = lone::from_client(Tcp::RST, next.wrapping_add(ahead), 0, &[]);
        for mut packet in [asked, reset] {
            assert_eq!(fast.receive_from_client(FLOW, &mut packet, false, START), Verdict::Stack);
        }
        assert_eq!(!fast.take_changed().is_empty(), ends, "{ahead}");
    }
}

prop_compose! {
    fn record()(numbers: [u32; 8], mss: u16, scale in 0u8..=14, bits in 0u8..8, lengths in [0usize..3000, 0..3000, 0..3000])
        -> TcpRecord {
        TcpRecord {
            local: lone::vip(),
            remote: lone::client(),
            send_next: numbers[0],
            receive_next: numbers[1],
            mss,
            scales: (bits & 1 == 0).then_some((scale, 9)),
            sack: bits & 2 == 0,
            timestamp: (bits & 4 == 0).then_some(numbers[2]),
            window: Window {
                update: numbers[3],
                send: numbers[4],
                most: numbers[5],
                receive: numbers[6],
                edge_from: numbers[7],
            },
            unread: vec![1; lengths[0]],
            unacknowledged: vec![2; lengths[1]],
            unsent: vec![3; lengths[2]],
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever records say, and whatever comes after: a packet more or less, never a crash, never more kept than may be.
    #[test]
    fn no_record_and_no_packet_does_harm(
        records in (record(), record()),
        until in prop::option::of(0u32..100_000),
        steps in prop::collection::vec((0u8..5, any::<(u32, u32)>(), 0u8..64, 0usize..2000, 0u64..3_000), 0..40),
    ) {
        let mut fast = fast_path(1404);
        in_the_stack(&mut fast);
        prop_assert!(fast.hold(FLOW, START));
        let splice = Splice { client: records.0, server: records.1, to_client: vec![4; 9], to_server: Vec::new(), until };
        if splice.check().is_ok() {
            prop_assert!(fast.splice(FLOW, &splice, &lone::ends(FLOW).unwrap(), START).is_some());
        }
        let mut now = START;
        for (step, (sequence, acknowledgement), flags, length, later) in steps {
            now = now.after(later * Time::MILLISECOND);
            let body = vec![7; length];
            match step {
                0 | 1 => {
                    let near = |number: u32, of: u32| if step == 0 { of.wrapping_add(number % 5000) } else { number };
                    let session = fast.session(FLOW).unwrap();
                    let proxy = session.proxy;
                    let sequence = near(sequence, session.client.sender.end.wrapping_sub(proxy.client_shift));
                    let acknowledgement = near(acknowledgement, proxy.sender.end.wrapping_sub(proxy.shift));
                    let mut packet = lone::from_client(flags, sequence, acknowledgement, &body);
                    let verdict = fast.receive_from_client(FLOW, &mut packet, false, now);
                    prop_assert!(!matches!(verdict, Verdict::End | Verdict::Reopened));
                }
                2 => {
                    let mut packet = lone::from_server(flags, sequence, acknowledgement, &body);
                    fast.receive_from_server(FLOW, VnetHdr::default(), &mut packet, APP, now);
                }
                3 => {
                    let packet = lone::from_server(flags, sequence, acknowledgement, &body);
                    fast.receive_from_stack(FLOW, Side::Client, &packet);
                    fast.receive_server_for_stack(FLOW, VnetHdr::default(), &packet, Some(APP), now);
                }
                _ => {
                    if !fast.handle_timeout(now, lone::ends).is_empty() {
                        return Ok(());
                    }
                }
            }
            fast.take_outputs();
            prop_assert!(fast.held_now() <= 70 && fast.owed_bytes() <= 256 << 10);
        }
    }
}

/// The bound of what waits is for all connections: one beyond it is asked about when its client sends again.
#[test]
fn a_client_that_found_too_many_waiting_is_served_when_it_sends_again() {
    let mut fast = fast_path(1404);
    let cookie = lone::cookie(&mut fast);
    let first = lone::from_client(Tcp::ACK, lone::CLIENT_ISN.wrapping_add(1), cookie.wrapping_add(1), b"request");
    let Stranger::Open(admitted) = fast.receive_stranger(&first, false, APP, START) else { panic!("no cookie") };
    let mut flows = (0..).map(|index| FlowId { index: 10 + index, serial: 1 });
    while fast.accept(flows.next().unwrap(), admitted, &first, false, true, START) {}
    assert_eq!(fast.take_requests().len(), 1 << 17);
    assert!(fast.accept(FLOW, admitted, &first, false, false, START), "it has a flow");
    assert!(fast.take_requests().is_empty());
    let later = START.after(4 * Time::SECOND);
    fast.handle_timeout(later, |_| None);
    assert_eq!(fast.receive_from_client(FLOW, &mut first.clone(), false, later), Verdict::Taken);
    assert_eq!(fast.take_requests().iter().map(|request| request.flow).collect::<Vec<_>>(), [FLOW]);
}
