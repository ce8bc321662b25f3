use super::*;
use crate::sequence::Seen;
use proptest::prelude::*;
use std::collections::VecDeque;

const MS: u64 = Time::MILLISECOND;
const TICK: u64 = 100 * MS;
const PLENTY: usize = 1 << 30;

/// A receiver of two paths, the second one slower by `skew`.
struct Receiver {
    recovery: Recovery,
    window: Window,
    skew: u64,
    measured: Option<u64>,
    spare: usize,
    now: Time,
    next: u64,
    tick: Time,
    /// Copies on the slower path, in order.
    under_way: VecDeque<(Time, u64)>,
    rejected: u64,
    resizes: usize,
}

impl Receiver {
    fn new(skew: u64) -> Receiver {
        let recovery = Recovery::new(LEAST);
        let (window, now) = (Window::new(&recovery), Time(1000 * Time::SECOND));
        Receiver {
            recovery,
            window,
            skew,
            measured: None,
            spare: PLENTY,
            now,
            next: 1,
            tick: now,
            under_way: VecDeque::new(),
            rejected: 0,
            resizes: 0,
        }
    }

    fn arrive(&mut self, sequence: u64) {
        match self.recovery.seen(sequence) {
            Seen::New => {
                if self.window.is_due(sequence) {
                    let needed = needed(self.measured);
                    let turned = self.window.turn(&mut self.recovery, sequence, needed, self.now, &mut self.spare);
                    self.resizes += usize::from(turned);
                }
                self.recovery.commit(sequence);
            }
            Seen::Copy => {}
            Seen::TooOld => {
                self.rejected += 1;
                return;
            }
        }
        self.window.accepted(self.recovery.highest() - sequence);
    }

    fn wait_until(&mut self, end: Time) {
        while let Some(&(due, sequence)) = self.under_way.front().filter(|(due, _)| *due <= end) {
            self.under_way.pop_front();
            self.now = due;
            self.tick();
            self.arrive(sequence);
        }
        self.now = end;
        self.tick();
    }

    fn tick(&mut self) {
        while self.tick <= self.now {
            let needed = needed(self.measured);
            let resized = self.window.handle_timeout(&mut self.recovery, needed, self.tick);
            self.resizes += usize::from(resized);
            self.tick = self.tick.after(TICK);
        }
    }

    /// `count` packets a second for a time; `lost` says which the quicker path loses.
    fn receive(&mut self, per_second: u64, nanoseconds: u64, lost: impl Fn(u64) -> bool) {
        let (begin, gap) = (self.now, Time::SECOND / per_second);
        for i in 0..nanoseconds / gap {
            self.wait_until(begin.after(i * gap));
            let sequence = self.next;
            self.next += 1;
            self.under_way.push_back((self.now.after(self.skew), sequence));
            if !lost(sequence) {
                self.arrive(sequence);
            }
        }
    }
}

/// The figure: 100 ms of skew at 250,000 packets a second.
#[test]
fn at_100_ms_skew_and_250_000_packets_a_second_no_first_copy_is_rejected() {
    for measured in [None, Some(100 * MS)] {
        let mut receiver = Receiver { measured, ..Receiver::new(100 * MS) };
        receiver.receive(10, 5 * Time::SECOND, |_| false);
        assert_eq!(receiver.recovery.bits(), LEAST, "an idle session");
        // At once, and the quicker path loses one in a hundred.
        receiver.receive(250_000, 2 * Time::SECOND, |n| n % 100 == 0);
        assert_eq!(receiver.recovery.bits() / 8, 8192, "bytes");
        let furthest = receiver.window.furthest();
        assert!((24_900..=25_100).contains(&furthest), "{furthest}");
        // Then 50 ms at a stretch.
        receiver.receive(250_000, Time::SECOND, |n| (600_000..612_500).contains(&n));
        receiver.wait_until(receiver.now.after(200 * MS));
        for _ in 0..4 {
            receiver.recovery.mark();
        }
        assert_eq!((receiver.rejected, receiver.recovery.lost()), (0, 0));
        assert!(receiver.recovery.bits() / 8 <= 16_384, "bytes");
    }
}

#[test]
fn a_burst_now_and_then_keeps_the_window_and_silence_gives_it_back() {
    let mut receiver = Receiver { measured: Some(40 * MS), ..Receiver::new(40 * MS) };
    receiver.receive(250_000, Time::SECOND, |n| n % 10 == 0);
    let (bits, resizes) = (receiver.recovery.bits(), receiver.resizes);
    assert_eq!(bits, 65_536);
    for _ in 0..5 {
        receiver.wait_until(receiver.now.after(6 * Time::SECOND));
        receiver.receive(250_000, Time::SECOND / 2, |n| n % 10 == 0);
    }
    assert_eq!((receiver.recovery.bits(), receiver.resizes, receiver.rejected), (bits, resizes, 0));
    receiver.receive(10, 60 * Time::SECOND, |_| false);
    assert_eq!((receiver.recovery.bits(), receiver.rejected), (LEAST, 0));
    assert_eq!(receiver.resizes, resizes + 4);
}

#[test]
fn a_path_that_becomes_slower_is_followed() {
    let mut receiver = Receiver { measured: Some(2 * MS), ..Receiver::new(2 * MS) };
    receiver.receive(200_000, Time::SECOND, |n| n % 50 == 0);
    assert_eq!(receiver.recovery.bits(), 65_536);
    // Probes see it before data has to take it.
    receiver.measured = Some(150 * MS);
    receiver.receive(200_000, Time::SECOND / 2, |_| false);
    receiver.skew = 150 * MS;
    receiver.receive(200_000, Time::SECOND, |n| n % 50 == 0);
    assert_eq!((receiver.rejected, receiver.recovery.bits()), (0, 131_072));
}

/// Probes at rest say 1 ms. Under load one relay's queue grows within less time than probes take to show it, and the quicker
/// path loses some.
#[test]
fn a_relay_that_falls_behind_under_load_is_waited_for() {
    let mut receiver = Receiver { measured: Some(MS), ..Receiver::new(MS) };
    receiver.receive(10, Time::SECOND, |_| false);
    for skew in [20, 50, 80, 120, 160, 200] {
        receiver.skew = skew * MS;
        receiver.receive(100_000, 100 * MS, |n| n % 50 == 0);
    }
    receiver.wait_until(receiver.now.after(Time::SECOND));
    assert_eq!(receiver.rejected, 0);
    assert!(receiver.recovery.bits() / 8 <= 4096, "bytes");
}

#[test]
fn what_a_jump_passes_over_is_waited_for() {
    let mut receiver = Receiver { measured: Some(20 * MS), ..Receiver::new(20 * MS) };
    receiver.receive(100, Time::SECOND, |_| false);
    // The quicker path fails for longer than the least window lasts.
    receiver.receive(500_000, 100 * MS, |n| n < 20_000);
    receiver.wait_until(receiver.now.after(100 * MS));
    assert_eq!(receiver.rejected, 0);
}

#[test]
fn neither_a_hostile_peer_nor_many_busy_ones_take_more_than_is_allowed() {
    let mut receiver = Receiver::new(0);
    for leap in 0..100u64 {
        receiver.arrive(leap << 40 | 1);
        receiver.arrive(leap << 40 | 9);
    }
    assert_eq!((receiver.recovery.bits(), receiver.window.capped), (MOST, true));
    assert_eq!(PLENTY - receiver.spare, (MOST - LEAST) / 8);
    let mut receiver = Receiver { spare: 2000, ..Receiver::new(0) };
    receiver.arrive(1 << 40);
    assert_eq!((receiver.recovery.bits(), receiver.spare, receiver.window.capped), (16_384, 2000 - 512 - 1024, true));
    receiver.receive(10, 30 * Time::SECOND, |_| false);
    assert_eq!((receiver.recovery.bits(), receiver.window.capped), (LEAST, false));
}

proptest! {
    /// Whatever the traffic, a copy that comes within twice the measured skew is told apart.
    #[test]
    fn nothing_that_may_still_come_is_forgotten(
        skew in 0u64..400,
        bursts in proptest::collection::vec((0u64..3000, 0u64..20_000, any::<bool>()), 1..60),
    ) {
        let mut receiver = Receiver { measured: Some(skew * MS / 2), ..Receiver::new(skew * MS) };
        for (size, pause_us, lost) in bursts {
            for _ in 0..size {
                let sequence = receiver.next;
                receiver.next += 1;
                receiver.under_way.push_back((receiver.now.after(receiver.skew), sequence));
                if !lost {
                    receiver.arrive(sequence);
                }
            }
            receiver.wait_until(receiver.now.after(pause_us * 1000));
        }
        receiver.wait_until(receiver.now.after(Time::SECOND));
        prop_assert_eq!(receiver.rejected, 0);
        prop_assert!(receiver.recovery.bits() <= MOST);
    }
}
