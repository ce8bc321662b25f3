//! Byte streams through the fast path are equal to those that went in, whatever the network does and the ends negotiate.

use crate::world;

use braid_fastpath::Reason;
use proptest::prelude::*;
use world::end::{bytes, State};
use world::setting::Setting;
use world::{matrix, Faults, World};

fn setting(v6: bool) -> Setting {
    Setting {
        v6,
        timestamps: true,
        sack: true,
        scale: Some(7),
        mtu: 1500,
        window: 200_000,
        bytes: 30_000,
        burst: 1,
        segment: 0,
    }
}

fn transfer(client: Setting, server: Setting, mtu: u16, faults: Faults, seed: u64) -> World {
    let mut world = World::new(client, server, mtu, faults, seed);
    world.run(60_000);
    all_arrived(&world);
    world
}

fn all_arrived(world: &World) {
    let (client, server) = (world.client.setting, world.server.setting);
    assert_eq!((world.client.state, world.server.state), (State::Established, State::Established));
    assert!(world.client.received == bytes(2, server.bytes), "{} of {}", world.client.received.len(), server.bytes);
    assert!(world.server.received == bytes(1, client.bytes), "{} of {}", world.server.received.len(), client.bytes);
}

/// At the losses of these tests each of our four SYNs to the server is lost once in 30,000 connections.
fn was_given_up(world: &World) -> bool {
    world.fast.counters().refused(Reason::ServerSilent) > 0 && world.client.state == State::Reset
}

#[test]
fn every_pair_of_option_sets_works() {
    let base = setting(false);
    let faults = Faults { lost: 2, doubled: 1, late: 5 };
    for (n, (client, server)) in matrix::pairs(base, Setting { burst: 8, bytes: 120_000, ..base }).enumerate() {
        transfer(client, server, 1404, faults, (n as u64) << 32 | 77);
    }
}

#[test]
fn a_perfect_network_needs_no_retransmission_and_nothing_is_refused() {
    for timestamps in [true, false] {
        let server = Setting { timestamps, burst: 40, bytes: 400_000, ..setting(false) };
        let world = transfer(setting(false), server, 1404, Faults::default(), 5);
        let refused: u64 = world.fast.counters().all_refused().map(|(_, count)| count).sum();
        assert_eq!((refused, world.fast.counters().cookies, world.fast.counters().established), (0, 1, 1));
        assert!(!world.server.measured, "its first idea of the round trip is the client's");
    }
}

/// The client's bytes fill exactly the window that the cookie's answer told, so that its FIN goes alone; it overtakes data.
#[test]
fn an_end_that_goes_alone_and_overtakes_data_is_no_harm() {
    let client = Setting { scale: Some(0), mtu: 1280, window: 65_251, bytes: 14_600, ..setting(false) };
    let server = Setting { scale: None, mtu: 1280, window: 14_848, bytes: 60_931, ..setting(false) };
    let faults = Faults { lost: 7, doubled: 2, late: 15 };
    transfer(client, server, 1280, faults, 5_848_640_084_817_004_504);
}

/// Clients are told a window before their server has said what it has: in one segment, and in several with a gap.
#[test]
fn a_server_with_less_room_than_clients_were_told_takes_what_fits() {
    for (mtu, bytes, window, scale) in [(9000, 3002, 3000, Some(0)), (1280, 8461, 7232, None)] {
        let client = Setting { scale: Some(0), mtu, bytes, window: 3000, ..setting(false) };
        let server = Setting { scale, mtu: 1280, bytes: 0, window, ..setting(false) };
        transfer(client, server, 8904, Faults::default(), 0);
    }
}

proptest! {
    // What fails becomes a test with a name here; there is no file of seeds.
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn streams_are_equal(
        v6: bool,
        bits in 0u32..64,
        scales in (0u8..=14, 0u8..=14),
        mtus in (prop::sample::select(vec![1280u16, 1400, 1500, 9000]), prop::sample::select(vec![1280u16, 1404, 1500, 9000])),
        overlay in prop::sample::select(vec![1280u16, 1404, 1420, 8904]),
        windows in (3_000u32..2_000_000, 3_000u32..2_000_000),
        sizes in (0usize..40_000, 0usize..200_000),
        segments in (prop::sample::select(vec![0usize, 0, 1, 7, 100]), prop::sample::select(vec![0usize, 0, 1, 90])),
        burst in 1usize..45,
        lost in 0u32..12, doubled in 0u32..10, late in 0u32..30,
        seed: u64,
    ) {
        let client = Setting {
            v6, timestamps: bits & 1 == 0, sack: bits & 2 == 0, scale: (bits & 4 == 0).then_some(scales.0),
            mtu: mtus.0.min(overlay), window: windows.0, burst: 1, segment: segments.0,
            bytes: if segments.0 == 1 { sizes.0 / 40 } else { sizes.0 },
        };
        let server = Setting {
            v6, timestamps: bits & 8 == 0, sack: bits & 16 == 0, scale: (bits & 32 == 0).then_some(scales.1),
            mtu: mtus.1, window: windows.1, burst: if segments.1 > 0 { 1 } else { burst }, segment: segments.1,
            bytes: if segments.1 == 1 { sizes.1 / 100 } else { sizes.1 },
        };
        let mut world = World::new(client, server, overlay, Faults { lost, doubled, late }, seed);
        world.run(60_000);
        if !was_given_up(&world) {
            all_arrived(&world);
        }
    }
}
