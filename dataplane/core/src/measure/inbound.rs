//! The receiver's half: on which paths each probe came and when, and how many copies came before it.

use super::{Delay, REMEMBERED};
use crate::peak::Peak;
use crate::probe::{Probe, Report, OUTCOMES, PATHS};
use braid_packet::Time;

/// A probe has this many successors before what came of it is reported: 1.5 s, longer than paths differ.
const SETTLED_AFTER: u32 = 15;
const _: () = assert!(SETTLED_AFTER as usize + OUTCOMES <= REMEMBERED, "what is reported must be remembered");
const LATELY: u64 = 3 * Time::SECOND;
/// The skew is the longest of the last one to two of these.
const SKEW_OVER: u64 = 10 * Time::SECOND;

#[derive(Clone, Copy, Default)]
struct Came {
    number: u32,
    sequence: u64,
    /// When it was sent, by the sender's clock, and when the first copy came: microseconds modulo 2^32.
    clock: u32,
    at: u32,
    paths: u16,
}

struct Path {
    report: Report,
    delay: Delay,
    heard: Time,
}

/// Of one peer.
pub struct Inbound {
    /// By number modulo `REMEMBERED`.
    came: [Came; REMEMBERED],
    highest: u32,
    /// Of the peer's last probe: the paths its data takes now.
    used: u16,
    skew: Peak,
    paths: [Option<Box<Path>>; PATHS],
}

impl Default for Inbound {
    fn default() -> Inbound {
        Inbound {
            came: [Came::default(); REMEMBERED],
            highest: 0,
            used: u16::MAX,
            skew: Peak::default(),
            paths: Default::default(),
        }
    }
}

impl Inbound {
    /// Does the peer's data take this path? All, while it has not said so.
    pub fn uses(&self, path: u8) -> bool {
        self.used >> (path & 15) & 1 == 1
    }

    /// The same, None while it has not said so.
    pub fn used(&self) -> Option<u16> {
        (self.highest != 0).then_some(self.used)
    }

    /// The first copy of a probe came, on `path` as the `received`-th copy.
    pub fn first(&mut self, probe: &Probe, sequence: u64, path: u8, received: u64, now: Time) {
        if probe.number > self.highest {
            self.highest = probe.number;
            self.used = probe.used;
        } else if self.highest - probe.number >= REMEMBERED as u32 {
            if probe.number > SETTLED_AFTER {
                return;
            }
            // It counts from 1 again: a new process.
            *self = Inbound { highest: probe.number, used: probe.used, ..Inbound::default() };
        }
        let slot = &mut self.came[probe.number as usize % REMEMBERED];
        let (clock, at) = ((probe.clock / 1000) as u32, (now.0 / 1000) as u32);
        *slot = Came { number: probe.number, sequence, clock, at, paths: 0 };
        self.arrived(probe.number, path, received, now);
    }

    /// A later copy of something came; if it was a probe it counts for its path.
    pub fn copy(&mut self, sequence: u64, path: u8, received: u64, now: Time) {
        if let Some(number) = self.probe(sequence).map(|came| came.number) {
            self.arrived(number, path, received, now);
        }
    }

    fn probe(&self, sequence: u64) -> Option<&Came> {
        self.came.iter().find(|came| came.sequence == sequence && came.number != 0)
    }

    /// Was this a probe that has not come on this path yet?
    pub fn awaits(&self, sequence: u64, path: u8) -> bool {
        self.probe(sequence).is_some_and(|came| came.paths >> (path & 15) & 1 == 0)
    }

    /// The longest lately, of all paths, that a later copy of a probe came behind the first, in nanoseconds. None: no probe
    /// came on two paths lately.
    pub fn skew(&self, now: Time) -> Option<u64> {
        self.skew.now(SKEW_OVER, now)
    }

    fn arrived(&mut self, number: u32, path: u8, received: u64, now: Time) {
        let came = &mut self.came[number as usize % REMEMBERED];
        let (at, bit) = ((now.0 / 1000) as u32, 1 << (path & 15));
        if came.paths & !bit != 0 && came.paths & bit == 0 {
            self.skew.add(u64::from(at.wrapping_sub(came.at)) * 1000, SKEW_OVER, now);
        }
        came.paths |= bit;
        let delay = at.wrapping_sub(came.clock);
        let report = Report { number, delay, received: received as u32 };
        match &mut self.paths[usize::from(path & 15)] {
            Some(path) if path.report.number < number => {
                path.report = report;
                path.delay.add(delay, now);
                path.heard = now;
            }
            Some(_) => {}
            none => *none = Some(Box::new(Path { report, delay: Delay::new(delay, now), heard: now })),
        }
    }

    /// Fills in what a probe to this peer reports, for the paths in `heard`.
    pub fn report(&self, probe: &mut Probe) {
        for (report, path) in probe.reports.iter_mut().zip(&self.paths) {
            *report = path.as_ref().map(|path| path.report).unwrap_or_default();
        }
        probe.settled = self.highest.saturating_sub(SETTLED_AFTER);
        for (back, outcome) in probe.outcomes.iter_mut().rev().enumerate() {
            let number = probe.settled.saturating_sub(back as u32);
            let came = &self.came[number as usize % REMEMBERED];
            *outcome = if number != 0 && came.number == number { came.paths } else { 0 };
        }
    }

    /// The way here on each path that was heard lately.
    pub fn delays(&self, now: Time) -> impl Iterator<Item = (usize, &Delay)> {
        let heard = self.paths.iter().enumerate().filter_map(|(id, path)| Some((id, path.as_ref()?)));
        heard.filter(move |(_, path)| now.since(path.heard) < LATELY).map(|(id, path)| (id, &path.delay))
    }
}
