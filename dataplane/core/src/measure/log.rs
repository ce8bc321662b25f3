//! The sender's half of what becomes of each packet: which paths it went out on, and for which set.

use std::collections::VecDeque;

const MOST: usize = 512;

/// Packets in a row that went out on the same paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: u64,
    packets: u64,
    set: Option<u8>,
    on: u16,
}

/// Of one lane of a session. Empty, and without memory, while nobody asks.
#[derive(Debug, Default)]
pub struct SentLog {
    runs: VecDeque<Run>,
}

impl SentLog {
    /// Packets from position `first` on went out on these paths; `set` is None for a probe. The oldest are forgotten when
    /// there are too many.
    pub fn add(&mut self, first: u64, packets: u64, set: Option<u8>, on: u16) {
        if let Some(last) = self.runs.back_mut() {
            if (last.set, last.on, last.first + last.packets) == (set, on, first) {
                last.packets += packets;
                return;
            }
        }
        if self.runs.len() >= MOST {
            self.runs.pop_front();
        } else if self.runs.capacity() == 0 {
            self.runs.reserve_exact(MOST);
        }
        self.runs.push_back(Run { first, packets, set, on });
    }

    /// Calls `each` with how many of these packets went on which paths, for which set. Those that are not known are left out.
    pub fn look_up(&self, first: u64, packets: u64, mut each: impl FnMut(u64, Option<u8>, u16)) {
        let end = first + packets;
        let begin = self.runs.partition_point(|run| run.first + run.packets <= first);
        for run in self.runs.range(begin..).take_while(|run| run.first < end) {
            let both = (run.first + run.packets).min(end) - run.first.max(first);
            each(both, run.set, run.on);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(log: &SentLog, first: u64, packets: u64) -> Vec<(u64, Option<u8>, u16)> {
        let mut found = Vec::new();
        log.look_up(first, packets, |count, set, on| found.push((count, set, on)));
        found
    }

    #[test]
    fn tells_the_parts_of_a_stretch_and_leaves_out_what_it_does_not_know() {
        let mut log = SentLog::default();
        log.add(5, 10, Some(2), 0b11);
        log.add(15, 5, Some(2), 0b11);
        log.add(20, 1, None, 0b111);
        log.add(30, 5, Some(16), 0b110);
        assert_eq!(log.runs.len(), 3);
        assert_eq!(found(&log, 1, 100), [(15, Some(2), 0b11), (1, None, 0b111), (5, Some(16), 0b110)]);
        assert_eq!(found(&log, 18, 4), [(2, Some(2), 0b11), (1, None, 0b111)]);
        assert_eq!(found(&log, 22, 8), []);
        assert_eq!(found(&log, 33, 1), [(1, Some(16), 0b110)]);
    }

    #[test]
    fn is_bounded() {
        let mut log = SentLog::default();
        for i in 0..3 * MOST as u64 {
            log.add(i, 1, Some(1), 1 << (i % 2));
        }
        assert_eq!(log.runs.len(), MOST);
        assert_eq!(found(&log, 0, 10), []);
        assert_eq!(found(&log, 3 * MOST as u64 - 1, 1).len(), 1);
    }
}
