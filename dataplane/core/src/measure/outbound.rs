//! The sender's half: what the peer's reports say of the copies and probes that went out on each path.

use super::{Delay, Inbound, REMEMBERED};
use crate::probe::{paths, Probe, PATHS};
use braid_packet::Time;

#[derive(Clone, Copy, Default)]
struct Sent {
    number: u32,
    paths: u16,
    /// Copies sent on each path until then, the probe included, modulo 2^32.
    copies: [u32; PATHS],
}

/// Of one path. Copies are data and probes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathLoss {
    pub copies: u64,
    pub copies_lost: u64,
    pub probes: u64,
    pub probes_lost: u64,
    /// Times that one or more probes in a row were lost.
    pub bursts: u64,
}

/// Of two paths that the same probes went out on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PairLoss {
    pub probes: u32,
    /// Probes that came on neither.
    pub both_lost: u32,
}

/// What is left of the weight of earlier copies after a report: they count less by e after 50 of them (5 s).
const FADE: f64 = 0.98;
/// Reports for which a loss is held back: what was only overtaken is there by then.
const DOUBT: usize = 3;

/// The last probe reported of a path, and the copies sent and received until then, modulo 2^32.
struct Last {
    number: u32,
    sent: u32,
    received: u32,
}

#[derive(Default)]
struct Path {
    last: Option<Last>,
    copies: u64,
    /// For good: more that comes than went makes up for what is in doubt, but not for what is lost later.
    lost: u64,
    /// Copies that the last reports lack, or have too many, oldest first.
    doubtful: [i64; DOUBT],
    /// Copies and lost ones, old ones counting less.
    recent: (f64, f64),
    probes: u64,
    probes_lost: u64,
    bursts: u64,
    last_was_lost: bool,
    delay: Option<Delay>,
}

/// Towards one peer.
pub struct Outbound {
    next: u32,
    /// By number modulo `REMEMBERED`.
    sent: [Sent; REMEMBERED],
    paths: [Option<Box<Path>>; PATHS],
    /// Empty until a probe goes out on two paths.
    pairs: Vec<PairLoss>,
    settled: u32,
}

impl Default for Outbound {
    fn default() -> Outbound {
        Outbound {
            next: 1,
            sent: [Sent::default(); REMEMBERED],
            paths: Default::default(),
            pairs: Vec::new(),
            settled: 0,
        }
    }
}

/// Where the pair of two different paths is counted.
fn pair(a: usize, b: usize) -> usize {
    let (low, high) = (a.min(b), a.max(b));
    high * (high - 1) / 2 + low
}

/// Takes in how many copies a report lacks (below zero: how many it has too many); returns what is lost for good. Reports
/// even each other out while they are in doubt, whichever comes first; what is left over of too many is forgotten.
fn settle(doubtful: &mut [i64; DOUBT], missing: i64) -> u64 {
    let mut rest = missing;
    for doubt in doubtful.iter_mut() {
        let sign = rest.signum();
        if doubt.signum() == -sign {
            let evened = doubt.abs().min(rest.abs());
            *doubt += sign * evened;
            rest -= sign * evened;
        }
    }
    let lost = doubtful[0].max(0).unsigned_abs();
    doubtful.rotate_left(1);
    doubtful[DOUBT - 1] = rest;
    lost
}

impl Outbound {
    /// A probe goes out: its number. `copies` sent on each path of `on` until then, modulo 2^32, count it already.
    pub fn send(&mut self, on: u16, copies: impl Fn(usize) -> u32) -> u32 {
        let number = self.next;
        self.next += 1;
        let mut sent = Sent { number, paths: on, copies: [0; PATHS] };
        for path in paths(on) {
            sent.copies[path] = copies(path);
        }
        self.sent[number as usize % REMEMBERED] = sent;
        number
    }

    fn sent(&self, number: u32) -> Option<&Sent> {
        let sent = &self.sent[number as usize % REMEMBERED];
        (number != 0 && sent.number == number).then_some(sent)
    }

    /// The path with this id is another one from now on.
    pub fn forget(&mut self, path: usize) {
        self.paths[path] = None;
        for other in (0..PATHS).filter(|&other| other != path) {
            if let Some(pair) = self.pairs.get_mut(pair(path, other)) {
                *pair = PairLoss::default();
            }
        }
        for sent in &mut self.sent {
            sent.paths &= !(1 << path);
        }
    }

    /// The peer's newest report. Older ones must not follow.
    pub fn receive(&mut self, probe: &Probe, now: Time) {
        for path in paths(probe.heard) {
            self.receive_report(path, probe, now);
        }
        // Those already counted are left out; those forgotten meanwhile too.
        for (back, &outcome) in probe.outcomes.iter().rev().enumerate().rev() {
            let number = probe.settled.saturating_sub(back as u32);
            if number > self.settled {
                self.count(number, outcome);
            }
        }
        self.settled = self.settled.max(probe.settled.min(self.next - 1));
    }

    fn receive_report(&mut self, path: usize, probe: &Probe, now: Time) {
        let report = probe.reports[path];
        let Some(sent) = self.sent(report.number).filter(|sent| sent.paths >> path & 1 == 1) else { return };
        let sent = sent.copies[path];
        let state = self.paths[path].get_or_insert_default();
        if state.last.as_ref().is_some_and(|last| last.number >= report.number) {
            return;
        }
        if let Some(last) = &state.last {
            let (went, came) = (sent.wrapping_sub(last.sent), report.received.wrapping_sub(last.received));
            // The peer's count begins anew when it forgets us: such a step back says nothing.
            if came < 1 << 31 {
                state.copies += u64::from(went);
                let lost = settle(&mut state.doubtful, i64::from(went) - i64::from(came));
                state.lost += lost;
                let (sent, before) = state.recent;
                state.recent = (sent * FADE + f64::from(went), before * FADE + lost as f64);
            }
        }
        state.last = Some(Last { number: report.number, sent, received: report.received });
        match &mut state.delay {
            Some(delay) => delay.add(report.delay, now),
            none => *none = Some(Delay::new(report.delay, now)),
        }
    }

    fn count(&mut self, number: u32, outcome: u16) {
        let Some(on) = self.sent(number).map(|sent| sent.paths) else { return };
        if on.count_ones() > 1 && self.pairs.is_empty() {
            self.pairs = vec![PairLoss::default(); PATHS * (PATHS - 1) / 2];
        }
        for path in paths(on) {
            let lost = outcome >> path & 1 == 0;
            let state = self.paths[path].get_or_insert_default();
            state.probes += 1;
            state.probes_lost += u64::from(lost);
            let begins = !std::mem::replace(&mut state.last_was_lost, lost);
            state.bursts += u64::from(lost && begins);
            for other in paths(on).take_while(|&other| other < path) {
                let Some(both) = self.pairs.get_mut(pair(path, other)) else { continue };
                both.probes += 1;
                both.both_lost += u32::from(lost && outcome >> other & 1 == 0);
            }
        }
    }

    pub fn loss(&self, path: usize) -> PathLoss {
        let Some(state) = &self.paths[path] else { return PathLoss::default() };
        PathLoss {
            copies: state.copies,
            copies_lost: state.lost,
            probes: state.probes,
            probes_lost: state.probes_lost,
            bursts: state.bursts,
        }
    }

    /// Copies sent, and lost, in the last 5 s or so: older ones count less and less.
    pub fn recent(&self, path: usize) -> (f64, f64) {
        self.paths[path].as_ref().map_or((0.0, 0.0), |state| state.recent)
    }

    pub fn delay(&self, path: usize) -> Option<&Delay> {
        self.paths[path].as_ref()?.delay.as_ref()
    }

    /// Pairs of paths, lower id first, that common probes went out on.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, usize, PairLoss)> + '_ {
        (1..PATHS).flat_map(|high| (0..high).map(move |low| (low, high))).filter_map(|(low, high)| {
            let loss = *self.pairs.get(pair(low, high))?;
            (loss.probes > 0).then_some((low, high, loss))
        })
    }

    /// Microseconds: out on this path, and back on the quickest of the peer's.
    pub fn round_trip(&self, path: usize, back: &Inbound, now: Time) -> Option<u32> {
        let out = self.delay(path)?.smoothed();
        back.delays(now).map(|(_, delay)| out.wrapping_add(delay.smoothed())).min()
    }

    /// Microseconds that this path takes one way, and by how much that may be wrong: the clocks differ by an amount that
    /// is only known to lie between two that the quickest round trip allows.
    pub fn one_way(&self, path: usize, back: &Inbound, now: Time) -> Option<(u32, u32)> {
        let smoothed = self.delay(path)?.smoothed();
        let (out, round_trip) = (0..PATHS)
            .filter_map(|id| Some(self.delay(id)?.least()))
            .flat_map(|out| back.delays(now).map(move |(_, delay)| (out, out.wrapping_add(delay.least()))))
            .min_by_key(|(_, round_trip)| *round_trip)?;
        let error = round_trip / 2;
        Some((smoothed.wrapping_sub(out).wrapping_add(error), error))
    }
}

#[cfg(test)]
mod tests;
