//! Byte streams are equal to those that went in, however often a connection changes between the fast path and a TCP stack.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

mod world;

use proptest::prelude::*;
use world::end::{bytes, State};
use world::proxied::{Control, Proxied};
use world::setting::Setting;
use world::Faults;

const CONTROL: Control = Control { take_after: 1, splice_after: 8, frozen_for: 2, reads: 20_000, again: false };

fn setting(v6: bool) -> Setting {
    Setting {
        v6,
        timestamps: true,
        sack: true,
        scale: Some(7),
        mtu: 1500,
        window: 20_000,
        bytes: 200_000,
        burst: 1,
        segment: 0,
    }
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

#[test]
fn a_client_that_goes_on_after_the_answer_is_the_stacks_again() {
    let (client, server) = (Setting { bytes: 400_000, ..setting(false) }, setting(false));
    let world = transfer(client, server, Faults::default(), Control { again: true, ..CONTROL }, 5);
    assert_eq!((world.spliced, world.taken), (1, 2));
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
            v6, timestamps: bits & 8 == 0 && with, sack: bits & 16 == 0, scale: (bits & 1 == 0).then_some(scales.1),
            mtu: mtus.1, window: windows.1, burst, segment: 0, bytes: sizes.1,
        };
        let control = Control { take_after: times.0, splice_after: times.1, frozen_for: times.2, reads, again };
        transfer(client, server, Faults { lost, doubled, late }, control, seed);
    }
}
