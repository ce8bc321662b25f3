//! A connection goes from one gateway's fast path to another's while both its ends go on, and byte streams are equal to those that
//! went in.

use crate::world;

use braid_fastpath::{mark, FastPath, Movable, SessionInfo, ToldSession};
use braid_packet::Rest;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use world::end::{bytes, State};
use world::lone::{ends, spliced, START};
use world::moving::Drain;
use world::proxied::{Control, Proxied, CONTROL};
use world::setting::{usual, Setting};
use world::{fast_path, Faults, FLOW};

fn setting(v6: bool) -> Setting {
    usual(v6, 400_000)
}

fn transfer(client: Setting, server: Setting, faults: Faults, control: Control, drain: Drain, seed: u64) -> Proxied {
    let mut world = Proxied::new(client, server, 1404, faults, control, seed).with_drain(drain);
    world.run(60_000);
    all_arrived(&world);
    world
}

fn all_arrived(world: &Proxied) {
    let (client, server) = (world.client.setting, world.server.setting);
    assert_eq!((world.client.state, world.server.state), (State::Established, State::Established));
    let (got, wanted) = (&world.client.received, bytes(2, server.bytes));
    assert!(*got == wanted, "{} of {} to the client", got.len(), wanted.len());
    let (got, wanted) = (&world.server.received, bytes(1, client.bytes));
    assert!(*got == wanted, "{} of {} to the server", got.len(), wanted.len());
}

/// Whoever turns first: the client, the server, or both at once.
#[test]
fn a_spliced_connection_moves_and_no_clock_goes_back() {
    for bits in 0..4_u32 {
        let end = |timestamps: bool| Setting { timestamps, sack: bits & 2 == 0, ..setting(bits & 1 == 0) };
        for (of_client, of_server) in [(true, true), (true, false), (false, false)] {
            for turn in [(20, 50), (50, 20), (20, 20)] {
                let drain = Drain { begins: 60, turn, round: 10, transit: 0 };
                let world = transfer(end(of_client), end(of_server), Faults::default(), CONTROL, drain, 9 << 32 | 5);
                assert_eq!((world.spliced, world.taken, world.has_moved()), (1, 1, true));
                assert_eq!((world.client.went_back, world.server.went_back), (0, 0));
            }
        }
    }
}

/// The stack's sockets had promised each end more than the other one has room for.
#[test]
fn promises_move_along() {
    for (of_client, of_server) in [(8_000, 200_000), (200_000, 8_000), (8_000, 8_000)] {
        for turn in [(20, 50), (50, 20)] {
            let (client, server) =
                (Setting { window: of_client, ..setting(false) }, Setting { window: of_server, ..setting(false) });
            let drain = Drain { begins: 14, turn, round: 10, transit: 0 };
            let world = transfer(client, server, Faults::default(), CONTROL, drain, 3 << 32 | 5);
            assert_eq!((world.spliced, world.has_moved()), (1, true));
        }
    }
}

/// All but what counts timers, where this gateway's own timestamps begin, and who has told whom.
fn known(fast: &FastPath) -> SessionInfo {
    let mut found = fast.session(FLOW).unwrap();
    (found.proxy.turn, found.proxy.ts_shift) = (0, 0);
    found.proxy.marks &= !mark::GIVEN;
    found
}

/// The client asks again while its connection moves; whoever asks the control side then, the other gateway's stack serves it.
#[test]
fn the_next_request_is_the_other_gateways() {
    let (mut asked, mut beyond, mut directly) = (0, 0, 0);
    for (of_client, of_server) in [(true, true), (true, false), (false, false)] {
        for begins in (60..140).step_by(2) {
            for (turn, transit) in [((20, 50), 25), ((50, 20), 0), ((300, 300), 15), ((0, 0), 25), ((0, 300), 0)] {
                let client = Setting { timestamps: of_client, bytes: 200_000, ..setting(false) };
                let server = Setting { timestamps: of_server, bytes: 100_000, ..setting(false) };
                let drain = Drain { begins, turn, round: 10, transit };
                let control = Control { again: true, ..CONTROL };
                let mut world = Proxied::new(client, server, 1404, Faults::default(), control, 5).with_drain(drain);
                let next = world.client.keep_back(2_000);
                while world.client.received.len() < server.bytes {
                    world.step();
                }
                for _ in 0..60 {
                    world.step();
                }
                world.client.write_more(&next);
                world.client.more = false;
                world.run(60_000);
                all_arrived(&world);
                assert!(world.taken == 2, "{begins} {turn:?}");
                // An acknowledgement of the server's, for what it had before, may still come by the first gateway.
                assert!(world.client.went_back <= 1 && world.server.went_back == 0, "{begins} {turn:?}");
                let moving = world.moving.unwrap();
                asked += u32::from(moving.asked);
                beyond += u32::from(moving.beyond);
                directly += u32::from(moving.over && !moving.asked);
            }
        }
    }
    assert!(asked > 20 && beyond > 20 && directly > 20, "{asked} {beyond} {directly}");
}

#[test]
fn what_is_told_is_read_or_refused_whole() {
    let mut first = fast_path(1404);
    spliced(&mut first, None);
    assert_eq!(first.movable(FLOW), Movable::Now);
    let mut told = Vec::new();
    assert!(first.write_session(FLOW, START, &mut told));
    let ends = ends(FLOW).unwrap();
    for length in 0..told.len() {
        assert!(ToldSession::read(&mut Rest(&told[..length])).is_none());
    }
    let mut second = fast_path(1404);
    let told = ToldSession::read(&mut Rest(&told)).unwrap();
    second.take_session(FLOW, &ends, told.clone(), true, START);
    assert_eq!(known(&first), known(&second), "told once, all is known");
    second.take_session(FLOW, &ends, told, true, START);
    assert_eq!(known(&first), known(&second), "and told again it is the same");
}

proptest! {
    // What fails becomes a test with a name here; there is no file of seeds.
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, rng_seed: RngSeed::Fixed(25), ..ProptestConfig::default() })]

    #[test]
    fn streams_are_equal_whenever_and_in_whatever_order_the_ends_turn(
        v6: bool,
        bits in 0u32..8,
        windows in (3_000u32..200_000, 3_000u32..200_000),
        sizes in (0usize..100_000, 100_000usize..600_000),
        again: bool,
        begins in 10u64..200,
        turn in (0u64..100, 0u64..100),
        round in 1u64..50, transit in 0u64..60,
        lost in 0u32..6, doubled in 0u32..6, late in 0u32..20,
        seed: u64,
    ) {
        let client = Setting { timestamps: bits & 1 == 0, sack: bits & 2 == 0, window: windows.0, bytes: sizes.0, ..setting(v6) };
        let server = Setting {
            timestamps: client.timestamps && bits & 4 == 0, window: windows.1, bytes: sizes.1, ..setting(v6)
        };
        transfer(client, server, Faults { lost, doubled, late }, Control { again, ..CONTROL }, Drain { begins, turn, round, transit }, seed);
    }
}
