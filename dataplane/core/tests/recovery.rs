//! Whole nodes in memory: each counter of the sequence recovery function counts what IEEE 802.1CB means by its name.

use braid_core::handshake::{derive, NewSession};
use braid_core::hop::HopKey;
use braid_core::seal::Suite;
use braid_core::wire::{Header, Route};
use braid_core::{rewrite, Command};
use braid_packet::Time;
use braid_testbed::{udp, Braid, Sent, EDGE, GATEWAY, RELAYS, VIP};
use serde_json::Value;
use std::collections::BTreeMap;

const NAMES: [&str; 8] = ["passed", "discarded", "out_of_order", "rogue", "lost", "tagless", "resets", "latent_errors"];

type Counts = BTreeMap<&'static str, u64>;

/// At the gateway, of what comes from the edge.
fn counts(braid: &mut Braid) -> Counts {
    let sessions = braid.snapshot(GATEWAY)["sessions"].clone();
    let session = |s: &&Value| s["peer"] == EDGE && s["adjacent"] == false;
    let recovery = sessions.as_array().unwrap().iter().find(session).unwrap()["recovery"].clone();
    assert_eq!(recovery.as_object().unwrap().len(), NAMES.len());
    NAMES.iter().map(|name| (*name, recovery[*name].as_u64().unwrap())).collect()
}

/// What has changed, and by how much.
fn grown(braid: &mut Braid, before: &Counts) -> Counts {
    let after = counts(braid);
    after.into_iter().map(|(name, count)| (name, count - before[name])).filter(|(_, grown)| *grown > 0).collect()
}

fn request(braid: &mut Braid, number: u32) {
    braid.client(&udp("10.91.1.10", 4000, VIP, 53, &number.to_be_bytes()));
}

/// Time passes without a probe.
fn send(braid: &mut Braid, numbers: std::ops::Range<u32>, fate: impl Fn(u32, &Sent) -> bool) {
    for number in numbers {
        request(braid, number);
        braid.settle_with(|sent| if fate(number, &sent) { vec![sent] } else { vec![] });
    }
}

fn of(expected: &[(&'static str, u64)]) -> Counts {
    expected.iter().copied().collect()
}

#[test]
fn passed_and_discarded_are_first_and_later_copies() {
    let mut braid = Braid::up();
    let before = counts(&mut braid);
    send(&mut braid, 0..10, |_, _| true);
    assert_eq!(grown(&mut braid, &before), of(&[("passed", 10), ("discarded", 10)]));
    send(&mut braid, 10..15, |_, sent| sent.to != RELAYS[0]);
    assert_eq!(grown(&mut braid, &before), of(&[("passed", 15), ("discarded", 10)]));
}

#[test]
fn out_of_order_is_after_a_gap_and_behind_a_later_one_and_lost_what_never_comes() {
    let mut braid = Braid::up();
    let before = counts(&mut braid);
    let mut held = None;
    for number in 0..10 {
        request(&mut braid, number);
        braid.settle_with(|sent| match number {
            // On neither path.
            3 if sent.from == EDGE => vec![],
            // On one, late.
            6 if sent.from == EDGE => {
                held = Some(sent);
                vec![]
            }
            _ => vec![sent],
        });
    }
    let expected = |out_of_order, passed| of(&[("passed", passed), ("discarded", 8), ("out_of_order", out_of_order)]);
    assert_eq!(grown(&mut braid, &before), expected(2, 8), "4 and 7 came after a gap");
    braid.arrive(&held.unwrap());
    braid.settle();
    assert_eq!(grown(&mut braid, &before), expected(3, 9));
    braid.advance(Time::SECOND);
    assert_eq!(grown(&mut braid, &before)["lost"], 1);
}

#[test]
fn rogue_is_behind_the_window() {
    let mut braid = Braid::up();
    send(&mut braid, 0..1, |_, _| true);
    let first = braid.recorded.iter().rfind(|sent| sent.to == GATEWAY).unwrap().clone();
    for _ in 0..50 {
        // Slowly, so that the window stays small.
        send(&mut braid, 0..100, |_, _| true);
        braid.advance(Time::SECOND);
    }
    let before = counts(&mut braid);
    braid.arrive(&first);
    assert_eq!(grown(&mut braid, &before), of(&[("rogue", 1)]));
    assert_eq!(braid.drops(GATEWAY, "too_old"), 1);
}

#[test]
fn tagless_is_without_a_sequence_number_whoever_signed_it() {
    let mut braid = Braid::up();
    send(&mut braid, 0..1, |_, _| true);
    let mut sent = braid.recorded.iter().rfind(|s| s.from == RELAYS[0] && s.to == GATEWAY).unwrap().clone();
    let neighbours = braid.snapshot(GATEWAY)["sessions"].clone();
    let epoch = neighbours.as_array().unwrap().iter().find(|s| s["peer"] == RELAYS[0]).unwrap()["epoch"].clone();
    let epoch = epoch.as_u64().unwrap() as u8 + 1;
    let keys = || derive(&[7; 32]).unwrap();
    let session = NewSession {
        peer: RELAYS[0],
        adjacent: true,
        initiator: false,
        local_index: 77,
        remote_index: 77,
        local_epoch: epoch,
        remote_epoch: epoch,
        remote_boot: 1,
        suite: Suite::preferred(),
        tx: keys(),
        rx: keys(),
    };
    braid.command(GATEWAY, Command::Install { session: session.into(), answer: None, taken: None });
    let header = Header::decode(&sent.bytes).unwrap();
    rewrite(&mut sent.bytes, header.path, epoch & 3, header.ttl, Route::default());
    sent.bytes[8..16].fill(0);
    HopKey::new(&keys().hop).sign(&mut sent.bytes);
    let before = counts(&mut braid);
    braid.arrive(&sent);
    assert_eq!(grown(&mut braid, &before), of(&[("tagless", 1)]));
    assert_eq!(braid.drops(GATEWAY, "tagless"), 1);
}

#[test]
fn resets_are_new_keys_and_restarts_of_the_peer() {
    let mut braid = Braid::up();
    braid.initiate(EDGE, GATEWAY, false);
    braid.settle();
    assert_eq!(counts(&mut braid)["resets"], 1);
    braid.boot(EDGE);
    braid.connect();
    send(&mut braid, 0..1, |_, _| true);
    assert_eq!(counts(&mut braid)["resets"], 2);
}

#[test]
fn latent_errors_are_periods_in_which_a_path_in_use_brings_nothing() {
    let mut braid = Braid::up();
    braid.advance(10 * Time::SECOND);
    assert_eq!(counts(&mut braid)["latent_errors"], 0);
    braid.advance_with(10 * Time::SECOND, |sent| if sent.from == RELAYS[1] { vec![] } else { vec![sent] });
    let found = counts(&mut braid)["latent_errors"];
    assert!((4..=5).contains(&found), "{found}");
    braid.advance(3 * Time::SECOND);
    let healed = counts(&mut braid)["latent_errors"];
    braid.advance(10 * Time::SECOND);
    assert_eq!(counts(&mut braid)["latent_errors"], healed);
}
