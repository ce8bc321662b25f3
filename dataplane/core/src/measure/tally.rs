//! What became of the packets to one peer since the control side was last told.

use crate::probe::{paths, CopyReport, PATHS};
use braid_packet::Time;

/// Between tellings while nothing is lost, and for how long after a loss every report is told.
const QUIET_EVERY: u64 = Time::SECOND;
const LIVELY: u64 = 20 * Time::SECOND;
const MOST_STREAMS: usize = 32;

/// Packets of one set (None: probes) that went out on the same paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    pub set: Option<u8>,
    pub on: u16,
    pub packets: u64,
    /// Of which a copy was lost, but not all.
    pub repaired: u64,
    pub all_lost: u64,
}

/// Of one lane.
pub struct Tally {
    pub streams: Vec<Stream>,
    pub lost: [u32; PATHS],
    /// By `index`.
    both: Box<[u32; PATHS * (PATHS - 1) / 2]>,
    since: Time,
    last_loss: Option<Time>,
}

fn index(low: usize, high: usize) -> usize {
    high * (high - 1) / 2 + low
}

impl Tally {
    pub fn new(now: Time) -> Tally {
        Tally { streams: Vec::new(), lost: [0; PATHS], both: Box::new([0; 120]), since: now, last_loss: None }
    }

    /// These packets went out on the paths `on`, and their copies came on those of `came`.
    pub fn add(&mut self, packets: u64, set: Option<u8>, on: u16, came: u16, now: Time) {
        let known = self.streams.iter().position(|stream| (stream.set, stream.on) == (set, on));
        let at = known.unwrap_or(self.streams.len());
        if known.is_none() {
            if at >= MOST_STREAMS {
                return;
            }
            self.streams.push(Stream { set, on, packets: 0, repaired: 0, all_lost: 0 });
        }
        let stream = &mut self.streams[at];
        stream.packets += packets;
        let lost = on & !came;
        if lost == 0 {
            return;
        }
        *(if lost == on { &mut stream.all_lost } else { &mut stream.repaired }) += packets;
        self.last_loss = Some(now);
        for high in paths(lost) {
            self.lost[high] += packets as u32;
            for low in paths(lost).take_while(|&low| low < high) {
                self.both[index(low, high)] += packets as u32;
            }
        }
    }

    /// Whether it is time to tell: at once when something was lost, and for a while after it.
    pub fn is_due(&self, now: Time) -> bool {
        let lively = self.last_loss.is_some_and(|at| now.since(at) < LIVELY);
        !self.streams.is_empty() && (lively || now.since(self.since) >= QUIET_EVERY)
    }

    /// What was counted since the last time; counting begins anew.
    pub fn take(&mut self, now: Time) -> Tally {
        let anew = Tally { last_loss: self.last_loss, ..Tally::new(now) };
        std::mem::replace(self, anew)
    }

    /// For how long it was counted.
    pub fn nanoseconds(&self, now: Time) -> u64 {
        now.since(self.since)
    }

    /// Two paths, the lower id first, and how many packets both of them lost.
    pub fn both(&self) -> impl Iterator<Item = (u8, u8, u32)> + '_ {
        let pairs = (1..PATHS).flat_map(|high| (0..high).map(move |low| (low, high)));
        pairs.map(|(low, high)| (low as u8, high as u8, self.both[index(low, high)])).filter(|(_, _, lost)| *lost > 0)
    }
}

/// Takes in what the peer says came; `log` knows what was sent.
pub fn settle(tally: &mut Tally, log: &super::SentLog, report: &CopyReport, now: Time) {
    let mut first = report.first;
    for run in &report.runs[..report.count] {
        let packets = u64::from(run.packets);
        log.look_up(first, packets, |count, set, on| {
            if on != 0 {
                tally.add(count, set, on, run.came, now);
            }
        });
        first = first.saturating_add(packets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::SentLog;
    use crate::probe::Run;

    #[test]
    fn losses_are_counted_by_path_by_pair_and_by_set() {
        let mut log = SentLog::default();
        log.add(1, 100, Some(16), 0b011);
        log.add(101, 1, None, 0b111);
        log.add(102, 50, Some(2), 0b110);
        let mut report = CopyReport { epoch: 1, first: 1, count: 5, ..CopyReport::default() };
        let runs = [(90, 0b011), (6, 0b001), (4, 0), (1, 0b010), (60, 0b110)];
        for (slot, (packets, came)) in report.runs.iter_mut().zip(runs) {
            *slot = Run { packets, came };
        }
        let mut tally = Tally::new(Time(0));
        settle(&mut tally, &log, &report, Time(5));
        assert_eq!(
            tally.streams,
            [
                Stream { set: Some(16), on: 0b011, packets: 100, repaired: 6, all_lost: 4 },
                Stream { set: None, on: 0b111, packets: 1, repaired: 1, all_lost: 0 },
                Stream { set: Some(2), on: 0b110, packets: 50, repaired: 0, all_lost: 0 },
            ]
        );
        assert_eq!(tally.lost[..3], [5, 10, 1]);
        assert_eq!(tally.both().collect::<Vec<_>>(), [(0, 1, 4), (0, 2, 1)]);
        assert!(tally.is_due(Time(6)), "at once after a loss");
        assert_eq!(tally.take(Time(6)).streams.len(), 3);
        assert!(!tally.is_due(Time(7)) && tally.both().count() == 0);
    }

    #[test]
    fn quiet_is_told_once_a_second() {
        let mut tally = Tally::new(Time(0));
        tally.add(10, Some(16), 0b11, 0b11, Time(0));
        assert!(!tally.is_due(Time(Time::SECOND / 2)) && tally.is_due(Time(Time::SECOND)));
        assert_eq!(tally.nanoseconds(Time(Time::SECOND)), Time::SECOND);
    }
}
