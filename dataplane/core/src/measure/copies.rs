//! The receiver's half of what becomes of each packet: on which paths its copies came.
//!
//! A packet is settled when it is older than the paths differ in delay; what came of settled packets is told once, as runs
//! of packets of which the same copies came. Packets faster than can be told are counted in stretches, with gaps between;
//! so are those of times in which nearly every packet lost a copy, since old news of trouble would hold its end back.

use crate::probe::{CopyReport, Run, MOST_RUNS};
use braid_packet::Time;

/// Packets of a lane that are remembered; at 200 ms until they are told of, 20,000 per second.
const REMEMBERED: usize = 4096;
const MARKS: usize = 32;
/// Reports that what was settled may wait for; then it is left out.
const LATEST: usize = 5;

/// Of one lane of a session.
pub struct Copies {
    /// Paths as bits, by position modulo `REMEMBERED`, from `base` on.
    came: Box<[u16]>,
    base: u64,
    /// Packets from here on are not noted; it moves on with `base` unless packets are faster than that.
    limit: u64,
    /// What was the highest position at the last reports, newest last.
    marks: [(Time, u64); MARKS],
    /// Up to where all was settled at the last reports, newest last.
    settled: [u64; LATEST],
}

impl Copies {
    /// For packets after `highest`.
    pub fn new(highest: u64) -> Copies {
        Copies {
            came: vec![0; REMEMBERED].into_boxed_slice(),
            base: highest + 1,
            limit: highest + 1 + REMEMBERED as u64,
            marks: [(Time(0), highest); MARKS],
            settled: [highest; LATEST],
        }
    }

    /// A copy came, the first or a later one.
    pub fn note(&mut self, position: u64, path: u8) {
        if (self.base..self.limit).contains(&position) {
            self.came[position as usize % REMEMBERED] |= 1 << (path & 15);
        }
    }

    /// What came of packets that were here `patience` nanoseconds ago, or would have been. To be called at regular
    /// intervals; each packet is told of once.
    pub fn report(&mut self, epoch: u8, highest: u64, patience: u64, now: Time) -> Option<CopyReport> {
        self.marks.rotate_left(1);
        self.marks[MARKS - 1] = (now, highest);
        let (_, settled) = *self.marks.iter().rev().find(|(at, _)| now.since(*at) >= patience)?;
        let end = (settled + 1).min(self.limit);
        let too_old = (self.settled[0] + 1).min(end);
        self.settled.rotate_left(1);
        self.settled[LATEST - 1] = settled;
        let keeps_up = highest < self.limit;
        let mut report = CopyReport { epoch, first: self.base, ..CopyReport::default() };
        while self.base < end {
            let came = &mut self.came[self.base as usize % REMEMBERED];
            let last = report.count.checked_sub(1).map(|last| &mut report.runs[last]);
            match last {
                Some(run) if run.came == *came => run.packets += 1,
                _ if report.count == MOST_RUNS => break,
                _ => {
                    report.runs[report.count] = Run { packets: 1, came: *came };
                    report.count += 1;
                }
            }
            *came = 0;
            self.base += 1;
        }
        while self.base < too_old {
            self.came[self.base as usize % REMEMBERED] = 0;
            self.base += 1;
        }
        if self.base == self.limit {
            self.base = highest + 1;
        }
        if keeps_up || self.base > highest {
            self.limit = self.base + REMEMBERED as u64;
        }
        (report.count > 0).then_some(report)
    }

    /// Was all told that can be of a lane in which nothing comes any more?
    pub fn is_told(&self, highest: u64) -> bool {
        self.base > highest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: u64 = 100 * Time::MILLISECOND;

    fn told(report: Option<CopyReport>) -> (u64, Vec<(u16, u16)>) {
        report.map_or((0, vec![]), |r| (r.first, r.runs[..r.count].iter().map(|run| (run.packets, run.came)).collect()))
    }

    #[test]
    fn runs_of_settled_packets_are_told_once() {
        let mut copies = Copies::new(10);
        for position in 11..=20 {
            copies.note(position, 0);
            if position != 15 {
                copies.note(position, 2);
            }
        }
        copies.note(10, 1);
        assert_eq!(copies.report(3, 20, TICK, Time(TICK)), None, "the copies of some may be under way");
        copies.note(22, 2);
        let report = copies.report(3, 22, TICK, Time(2 * TICK));
        assert_eq!(report.unwrap().epoch, 3);
        assert_eq!(told(report), (11, vec![(4, 0b101), (1, 0b001), (5, 0b101)]));
        assert_eq!(
            told(copies.report(3, 22, TICK, Time(3 * TICK))),
            (21, vec![(1, 0), (1, 0b100)]),
            "21 came on no path"
        );
        assert_eq!(copies.report(3, 22, TICK, Time(4 * TICK)), None);
        assert!(copies.is_told(22) && !copies.is_told(23));
    }

    #[test]
    fn what_is_too_much_is_left_out_in_one_piece() {
        let mut copies = Copies::new(0);
        let (mut highest, mut counted) = (0, 0);
        for tick in 1..50 {
            for _ in 0..2 * REMEMBERED {
                highest += 1;
                copies.note(highest, 0);
            }
            let (_, runs) = told(copies.report(0, highest, TICK, Time(tick * TICK)));
            assert!(runs.iter().all(|(_, came)| *came == 1), "{runs:?}");
            counted += runs.iter().map(|(packets, _)| u64::from(*packets)).sum::<u64>();
        }
        assert!(counted > highest / 5, "{counted} of {highest}");
    }

    #[test]
    fn what_is_told_is_never_older_than_half_a_second() {
        let mut copies = Copies::new(0);
        let (mut highest, mut counted) = (0, 0);
        for tick in 1..200 {
            for _ in 0..150 {
                highest += 1;
                copies.note(highest, (highest % 2) as u8);
            }
            let (first, runs) = told(copies.report(0, highest, TICK, Time(tick * TICK)));
            assert!(runs.iter().all(|(packets, came)| (*packets, came.count_ones()) == (1, 1)), "{runs:?}");
            assert!(runs.is_empty() || highest - first < 8 * 150, "{first} of {highest}");
            counted += runs.len() as u64;
        }
        assert!(counted > highest * 2 / 5);
    }

    #[test]
    fn more_runs_than_fit_wait_for_the_next_report() {
        let mut copies = Copies::new(0);
        for position in 1..=200 {
            copies.note(position, (position % 2) as u8);
        }
        copies.report(0, 200, TICK, Time(TICK));
        let mut next = 1;
        for tick in 2..6 {
            let (first, runs) = told(copies.report(0, 200, TICK, Time(tick * TICK)));
            assert_eq!((first, runs.iter().all(|(packets, _)| *packets == 1)), (next, true));
            next += runs.len() as u64;
        }
        assert_eq!(next, 201);
    }
}
