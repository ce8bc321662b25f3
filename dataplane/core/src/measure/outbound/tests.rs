use super::*;
use crate::probe::MOST;

const TENTH: u64 = 100 * Time::MILLISECOND;
/// The receiver's clock less the sender's, in nanoseconds.
const AHEAD: u64 = 77 * 3600 * Time::SECOND + 123_456;

/// Two ends of which one sends copies on three paths, each with its loss pattern, and the other reports.
struct World {
    near: Outbound,
    near_in: Inbound,
    far: Inbound,
    far_out: Outbound,
    sent: [u64; PATHS],
    received: [u64; PATHS],
    sequence: u64,
    now: u64,
}

impl World {
    fn new() -> World {
        World {
            near: Outbound::default(),
            near_in: Inbound::default(),
            far: Inbound::default(),
            far_out: Outbound::default(),
            sent: [0; PATHS],
            received: [0; PATHS],
            sequence: 0,
            now: 1000 * Time::SECOND,
        }
    }

    fn at(&self) -> Time {
        Time(self.now + TENTH)
    }

    /// A tenth of a second: `copies` data on each path of `on`, then a probe, then the report. `lost` says which are.
    fn tick(&mut self, on: u16, copies: u64, delay: impl Fn(usize) -> u64, mut lost: impl FnMut(usize) -> bool) {
        self.now += TENTH;
        for path in paths(on) {
            self.sent[path] += copies;
            self.received[path] += (0..copies).filter(|_| !lost(path)).count() as u64;
        }
        for path in paths(on) {
            self.sent[path] += 1;
        }
        self.sequence += 1;
        let number = self.near.send(on, |path| self.sent[path] as u32);
        let probe = Probe { clock: self.now, number, sent: on, used: on, ..Probe::default() };
        let mut first = true;
        let mut order: Vec<usize> = paths(on).collect();
        order.sort_by_key(|&path| delay(path));
        let mut heard = 0;
        for path in order {
            if lost(path) {
                continue;
            }
            heard |= 1 << path;
            self.received[path] += 1;
            let at = Time(self.now + AHEAD + delay(path));
            if first {
                self.far.first(&probe, self.sequence, path as u8, self.received[path], at);
            } else {
                self.far.copy(self.sequence, path as u8, self.received[path], at);
            }
            first = false;
        }
        // The way back takes 5 ms.
        let back = self.far_out.send(1, |_| 0);
        let mut report = Probe {
            clock: self.now + AHEAD + 60 * Time::MILLISECOND,
            number: back,
            sent: 1,
            heard,
            ..Probe::default()
        };
        self.far.report(&mut report);
        let mut bytes = [0; MOST];
        let length = report.encode(&mut bytes);
        let report = Probe::decode(&bytes[..length]).unwrap();
        let now = Time(self.now + 65 * Time::MILLISECOND);
        self.near_in.first(&report, u64::from(back), 0, 0, now);
        self.near.receive(&report, now);
    }
}

fn ms(of: [u64; 3]) -> impl Fn(usize) -> u64 {
    move |path| of[path] * Time::MILLISECOND
}

#[test]
fn counts_every_lost_copy_of_a_path() {
    let mut world = World::new();
    let mut turn = 0u64;
    for _ in 0..100 {
        world.tick(0b11, 50, ms([10, 20, 0]), |path| {
            turn += 1;
            path == 1 && turn % 7 == 0
        });
    }
    let (clean, lossy) = (world.near.loss(0), world.near.loss(1));
    assert_eq!((clean.copies_lost, clean.probes_lost), (0, 0));
    assert!(lossy.copies > 4500, "{lossy:?}");
    let share = lossy.copies_lost as f64 / lossy.copies as f64;
    assert!((0.12..0.16).contains(&share), "{lossy:?}");
    // Fifteen probes are not settled yet.
    assert_eq!(clean.probes, 85);
}

#[test]
fn what_both_paths_lost_is_counted_once_per_probe() {
    let mut world = World::new();
    for turn in 0..200 {
        world.tick(0b111, 0, ms([10, 20, 30]), |path| match path {
            0 => turn % 10 < 2,
            1 => turn % 10 == 0,
            _ => false,
        });
    }
    let pairs: Vec<_> = world.near.pairs().collect();
    let of = |low, high| pairs.iter().find(|(a, b, _)| (*a, *b) == (low, high)).map(|(_, _, loss)| *loss).unwrap();
    assert_eq!(of(0, 1).probes, 185);
    assert_eq!((of(0, 1).both_lost, of(0, 2).both_lost, of(1, 2).both_lost), (19, 0, 0));
    assert_eq!(world.near.loss(0).probes_lost, 38);
}

#[test]
fn delays_add_up_whatever_the_clocks_say() {
    let mut world = World::new();
    for _ in 0..100 {
        world.tick(0b11, 1, ms([10, 30, 0]), |_| false);
    }
    assert_eq!(world.near.round_trip(0, &world.near_in, world.at()), Some(15_000));
    assert_eq!(world.near.round_trip(1, &world.near_in, world.at()), Some(35_000));
    // 10 and 5 ms: the clocks allow anything from 0 to 15, so the middle is 2.5 ms off, and 7.5 the bound.
    assert_eq!(world.near.one_way(0, &world.near_in, world.at()), Some((7_500, 7_500)));
    assert_eq!(world.near.one_way(1, &world.near_in, world.at()), Some((27_500, 7_500)));
}

#[test]
fn a_path_that_changed_and_a_peer_that_restarted_count_nothing_twice() {
    let mut world = World::new();
    for _ in 0..50 {
        world.tick(0b11, 10, ms([10, 20, 0]), |_| false);
    }
    world.near.forget(1);
    assert_eq!((world.near.loss(1), world.near.pairs().count()), (PathLoss::default(), 0));
    // The peer forgets all it counted.
    world.far = Inbound::default();
    world.received = [0; PATHS];
    for _ in 0..50 {
        world.tick(0b11, 10, ms([10, 20, 0]), |_| false);
    }
    assert_eq!((world.near.loss(0).copies_lost, world.near.loss(1).copies_lost), (0, 0));
    // Our own restart: the peer's window begins again.
    world.near = Outbound::default();
    world.sent = [0; PATHS];
    for _ in 0..50 {
        world.tick(0b11, 10, ms([10, 20, 0]), |_| false);
    }
    let loss = world.near.loss(0);
    assert_eq!((loss.copies_lost, loss.probes_lost), (0, 0));
    assert!(loss.copies > 300, "{loss:?}");
}

#[test]
fn what_was_overtaken_is_no_recent_loss() {
    let mut doubtful = [0; DOUBT];
    let settled = [0, 1000, -400, -600, 5, 0, 0, 0].map(|missing| settle(&mut doubtful, missing));
    assert_eq!(settled, [0, 0, 0, 0, 0, 0, 0, 5]);
    assert_eq!(doubtful, [0; DOUBT]);
    // What overtakes the probe comes too early, and is lacking next time.
    assert_eq!([-2, 2, 0, -1, 0, 1, 0, 0, 0].map(|missing| settle(&mut doubtful, missing)), [0; 9]);
}

#[test]
fn what_came_too_often_does_not_hide_what_is_lost_later() {
    let mut world = World::new();
    for _ in 0..10 {
        world.tick(0b1, 10, ms([10, 0, 0]), |_| false);
    }
    world.received[0] += 300;
    for _ in 0..10 {
        world.tick(0b1, 10, ms([10, 0, 0]), |_| false);
    }
    let mut turn = 0;
    for _ in 0..20 {
        world.tick(0b1, 10, ms([10, 0, 0]), |_| {
            turn += 1;
            turn % 10 == 0
        });
    }
    for _ in 0..5 {
        world.tick(0b1, 10, ms([10, 0, 0]), |_| false);
    }
    assert_eq!(world.near.loss(0).copies_lost, turn / 10);
}
