//! How far apart the copies of one packet arrive, and so how long a hole waits for another copy.

use crate::peak::Peak;
use braid_packet::Time;

/// The longest delay between a first copy and a later one, over the last one to two `MEMORY`. A time and not a number of
/// packets: a stall of this node delivers many copies at once, and must not wipe out what is known of the paths.
pub struct Skew {
    /// When the first copy of every so many packets came, in units of 1024 ns, 0 where it did not; as many as the window spans.
    stamps: Box<[u32]>,
    stride: u64,
    longest: Peak,
    last_copy: Option<Time>,
}

const STAMPS: u64 = 256;
const MEMORY: u64 = Time::SECOND;
pub const SHORTEST_WAIT: u64 = Time::MILLISECOND;
const LONGEST_WAIT: u64 = 120 * Time::MILLISECOND;

fn stamp(now: Time) -> u32 {
    ((now.0 >> 10) as u32).max(1)
}

impl Skew {
    /// For a window of so many bits, a power of two.
    pub fn new(bits: usize) -> Skew {
        let stamps = vec![0; STAMPS as usize].into();
        Skew { stamps, stride: (bits as u64 / STAMPS).max(1), longest: Peak::default(), last_copy: None }
    }

    /// Where nothing waits for copies.
    pub fn unused() -> Skew {
        // No sequence number is a multiple of that.
        Skew { stamps: Box::new([]), stride: 1 << 63, longest: Peak::default(), last_copy: None }
    }

    fn slot(&self, sequence: u64) -> Option<usize> {
        (sequence & (self.stride - 1) == 0).then(|| (sequence / self.stride % STAMPS) as usize)
    }

    /// The window has another size now; `highest` is its newest number.
    pub fn resize(&mut self, bits: usize, highest: u64) {
        let stride = (bits as u64 / STAMPS).max(1);
        let before =
            std::mem::replace(self, Skew { longest: self.longest, last_copy: self.last_copy, ..Skew::new(bits) });
        let newest = highest / before.stride;
        for nth in (newest + 1).saturating_sub(STAMPS)..=newest {
            let sequence = nth * before.stride;
            if sequence % stride == 0 && highest - sequence < bits as u64 {
                self.stamps[(sequence / stride % STAMPS) as usize] = before.stamps[(nth % STAMPS) as usize];
            }
        }
    }

    pub fn first(&mut self, sequence: u64, now: Time) {
        if let Some(stamped) = self.slot(sequence).and_then(|slot| self.stamps.get_mut(slot)) {
            *stamped = stamp(now);
        }
    }

    /// A later copy of a sequence number that the window still holds.
    pub fn copy(&mut self, sequence: u64, now: Time) {
        self.last_copy = Some(now);
        let stamped = self.slot(sequence).and_then(|slot| self.stamps.get(slot));
        if let Some(&stamped) = stamped.filter(|&&stamped| stamped != 0) {
            let lag = u64::from(stamp(now).wrapping_sub(stamped)) << 10;
            // Beyond what a hole waits for it is of no use; a replay must not make holes wait longer.
            self.longest.add(if lag <= LONGEST_WAIT { lag } else { 0 }, MEMORY, now);
        }
    }

    pub fn longest(&self) -> u64 {
        self.longest.last()
    }

    /// How long a hole may wait for a later copy, in nanoseconds; 0 when no second path delivers.
    pub fn wait(&self, now: Time) -> u64 {
        match self.last_copy {
            Some(last) if now.since(last) < Time::SECOND => {
                let longest = self.longest();
                (longest + longest / 4 + SHORTEST_WAIT / 2).clamp(SHORTEST_WAIT, LONGEST_WAIT)
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_follows_the_skew_and_ends_with_the_second_path() {
        let mut skew = Skew::new(32 * STAMPS as usize);
        assert_eq!(skew.wait(Time(0)), 0);
        skew.first(32, Time(0));
        skew.copy(32, Time(20 * Time::MILLISECOND));
        assert!(skew.wait(Time(20 * Time::MILLISECOND)) >= 25 * Time::MILLISECOND);
        assert_eq!(skew.wait(Time(2 * Time::SECOND)), 0);
    }

    #[test]
    fn a_burst_of_simultaneous_copies_does_not_wipe_out_the_skew() {
        let mut skew = Skew::new(32 * STAMPS as usize);
        let at = |ms: u64| Time(ms * Time::MILLISECOND);
        skew.first(32, at(5000));
        skew.copy(32, at(5020));
        for sequence in 2..500 {
            skew.first(sequence * 32, at(5050));
            skew.copy(sequence * 32, at(5050));
        }
        assert_eq!(skew.longest() >> 10, (20 * Time::MILLISECOND) >> 10);
        for (sequence, ms) in [(501, 6100), (502, 7200)] {
            skew.first(sequence * 32, at(ms));
            skew.copy(sequence * 32, at(ms));
        }
        assert_eq!(skew.longest(), 0);
    }

    #[test]
    fn stamps_outlive_another_size_of_the_window() {
        let at = |ms: u64| Time(ms * Time::MILLISECOND);
        for bits in [16_384, 65_536, 4096] {
            let mut skew = Skew::new(8192);
            (1..=10_000).for_each(|sequence| skew.first(sequence, at(sequence)));
            skew.resize(bits, 10_000);
            let copied = 10_000 - 10_000 % 256;
            skew.copy(copied, at(copied + 70));
            assert_eq!(skew.longest() / 1_000_000, 69, "{bits}");
        }
    }
}
