//! The state machine of one path (RFC 8899, 5.2), with answers and time in, probes out.
//!
//! | state | what is believed | what goes out |
//! |---|---|---|
//! | Base | the configured size passes, as the operator said; not proved yet | one probe of it; lost: a trial against `BASE` |
//! | Searching | `low` passes, `high` does not | trials of the middle against `low` |
//! | Complete | `low` passes | one probe of it now and then, each 200 ms while packets are that large; lost: a trial. Below the configured size also larger ones |
//! | Error | `BASE` does not pass, something smaller does | one probe of `BASE` each second |
//!
//! Any answer moves `low` up, however late it comes. Nothing but a lost trial, or the host's refusal, moves it down.

use super::trial::{Trial, Verdict, MOST_PAIRS};
use braid_packet::Time;

/// IPv6 has no smaller MTU (RFC 8200, 5): a path that does not carry this is of no use to it.
pub const BASE: u16 = 1280;
/// What is compared with `BASE`.
const SMALL: u16 = 64;
/// The search ends when what passes and what does not are so near.
const STEP: u16 = 4;

/// How often the size in use is confirmed while packets of such a size are sent, and while they are not.
const CONFIRM: u64 = 200 * Time::MILLISECOND;
const CONFIRM_IDLE: u64 = 10 * Time::SECOND;
/// How often a larger size is tried, the largest and a slightly larger one in turn (RFC 8899: PMTU_RAISE_TIMER, 600 s).
const RAISE: u64 = 5 * Time::SECOND;
/// After something that told nothing.
const PAUSE: u64 = 500 * Time::MILLISECOND;
const RETRY: u64 = Time::SECOND;

/// To lower the size in use: eight pairs on a path that loses nothing.
const SURE: f64 = 1e-4;
/// To go on searching below: three pairs; a mistake is made good by the next larger probe.
const LIKELY: f64 = 0.06;

const REMEMBERED: usize = 2 * MOST_PAIRS;
const TIMEOUT_UNKNOWN: u64 = 500 * Time::MILLISECOND;
const TIMEOUT_LEAST: u64 = 100 * Time::MILLISECOND;
const TIMEOUT_MOST: u64 = Time::SECOND;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Base,
    Searching,
    Complete,
    Error,
}

#[derive(Clone, Debug)]
enum Doing {
    Rest,
    Lone { size: u16, at: Time },
    Trial(Box<Trial>),
}

#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    number: u32,
    size: u16,
    at: Time,
}

#[derive(Clone, Debug)]
pub struct Search {
    most: u16,
    state: State,
    low: u16,
    /// `most + 1` when nothing is known not to pass.
    high: u16,
    doing: Doing,
    /// Rest lasts until then.
    next: Time,
    /// When `low` proved to pass.
    confirmed: Time,
    raise: Time,
    raise_a_little: bool,
    /// Packets larger than `BASE` were sent since the last probe.
    large: bool,
    number: u32,
    /// By number modulo `REMEMBERED`; without size: answered.
    sent: [Sent; REMEMBERED],
    round_trip: Option<u64>,
    /// Since when it carries packets of all sizes, or does not; None before the first probe.
    since: Option<Time>,
    probes: u64,
    bytes: u64,
}

impl Search {
    /// `most`: the configured inner MTU, at least `BASE`.
    pub fn new(most: u16) -> Search {
        let most = most.max(BASE);
        Search {
            most,
            state: State::Base,
            low: most,
            high: most + 1,
            doing: Doing::Rest,
            next: Time(0),
            confirmed: Time(0),
            raise: Time(0),
            raise_a_little: false,
            large: false,
            number: 0,
            sent: [Sent::default(); REMEMBERED],
            round_trip: None,
            since: None,
            probes: 0,
            bytes: 0,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// The largest packet that may be sent on this path; never below `BASE`.
    pub fn mtu(&self) -> u16 {
        self.low
    }

    /// False: not even `BASE` passes.
    pub fn carries(&self) -> bool {
        self.state != State::Error
    }

    pub fn since(&self) -> Option<Time> {
        self.since
    }

    /// Probes sent, and the sizes of all of them together.
    pub fn cost(&self) -> (u64, u64) {
        (self.probes, self.bytes)
    }

    /// A packet larger than `BASE` went out on this path.
    pub fn carried_large(&mut self) {
        self.large = true;
    }

    /// The peer hears nothing on this path: what is lost says nothing about sizes.
    pub fn pause(&mut self, now: Time) {
        (self.doing, self.next) = (Doing::Rest, now.after(PAUSE));
    }

    pub fn next_timeout(&self) -> Time {
        match &self.doing {
            Doing::Rest => self.rest_ends(),
            Doing::Lone { at, .. } => at.after(self.timeout()),
            Doing::Trial(trial) => trial.next_timeout(self.timeout()),
        }
    }

    /// Calls `send` with number and size of each probe that is to go out now.
    pub fn handle_timeout(&mut self, now: Time, mut send: impl FnMut(u32, u16)) {
        self.since.get_or_insert(now);
        let full = self.is_full();
        // Each turn ends something; more than these never end at once.
        for _ in 0..4 {
            let goes_on = match self.doing {
                Doing::Rest if now < self.rest_ends() => false,
                Doing::Rest => {
                    self.start(now, &mut send);
                    true
                }
                Doing::Lone { at, .. } if now < at.after(self.timeout()) => false,
                Doing::Lone { size, .. } => {
                    self.lone_is_lost(size, now);
                    true
                }
                Doing::Trial(_) => self.go_on_trying(now, &mut send),
            };
            if !goes_on {
                break;
            }
        }
        self.note(full, now);
    }

    fn is_full(&self) -> bool {
        self.low == self.most && self.carries()
    }

    fn note(&mut self, was_full: bool, now: Time) {
        if was_full != self.is_full() {
            self.since = Some(now);
        }
    }

    /// The peer received the probe with this number.
    pub fn receive_answer(&mut self, number: u32, now: Time) {
        let slot = &mut self.sent[number as usize % REMEMBERED];
        if slot.number != number || slot.size == 0 {
            return;
        }
        let Sent { size, at, .. } = std::mem::take(slot);
        let took = now.since(at);
        self.round_trip = Some(match self.round_trip {
            Some(before) if took < before => (7 * before + took) / 8,
            _ => took,
        });
        if let Doing::Trial(trial) = &mut self.doing {
            trial.receive_answer(number);
        }
        let full = self.is_full();
        self.passes(size, now);
        self.note(full, now);
    }

    /// The host did not send a packet of this size towards the first hop: its link does not carry it.
    pub fn receive_refusal(&mut self, size: u16, now: Time) {
        if size >= self.high || self.state == State::Error {
            return;
        }
        let full = self.is_full();
        if size <= BASE {
            self.fail(now);
        } else if size <= self.low {
            self.search_below(size, now);
        } else {
            self.high = size;
            if self.state == State::Searching {
                (self.doing, self.next) = (Doing::Rest, now);
            }
        }
        self.note(full, now);
    }

    fn timeout(&self) -> u64 {
        let wanted = self.round_trip.map_or(TIMEOUT_UNKNOWN, |rtt| 2 * rtt + TIMEOUT_LEAST / 2);
        wanted.clamp(TIMEOUT_LEAST, TIMEOUT_MOST)
    }

    fn rest_ends(&self) -> Time {
        if self.state != State::Complete {
            return self.next;
        }
        let due = if self.low < self.most { self.confirm_at().min(self.raise) } else { self.confirm_at() };
        due.max(self.next)
    }

    fn confirm_at(&self) -> Time {
        self.confirmed.after(if self.large { CONFIRM } else { CONFIRM_IDLE })
    }

    fn start(&mut self, now: Time, send: &mut impl FnMut(u32, u16)) {
        match self.state {
            State::Searching if self.high - self.low <= STEP => self.complete(now),
            State::Searching => {
                let middle = self.low + (self.high - self.low) / 2;
                let size = if self.high > self.most { self.most } else { middle };
                self.doing = Doing::Trial(Box::new(Trial::new(size, self.low, LIKELY, now)));
            }
            State::Complete if now < self.confirm_at() => {
                self.raise = now.after(RAISE);
                let size = if self.raise_a_little { self.most.min(self.low + STEP) } else { self.most };
                self.raise_a_little = !self.raise_a_little;
                self.send_lone(size, now, send);
            }
            State::Base | State::Complete => {
                self.large = false;
                self.send_lone(self.low, now, send);
            }
            State::Error => self.send_lone(BASE, now, send),
        }
    }

    fn lone_is_lost(&mut self, size: u16, now: Time) {
        match self.state {
            State::Base | State::Complete if size <= self.low => self.doubt(self.low, now),
            State::Complete | State::Base => self.doing = Doing::Rest,
            State::Searching | State::Error => (self.doing, self.next) = (Doing::Rest, now.after(RETRY)),
        }
    }

    /// Does the size in use still pass?
    fn doubt(&mut self, size: u16, now: Time) {
        let control = if size > BASE { BASE } else { SMALL };
        self.doing = Doing::Trial(Box::new(Trial::new(size, control, SURE, now)));
    }

    /// False: it waits.
    fn go_on_trying(&mut self, now: Time, send: &mut impl FnMut(u32, u16)) -> bool {
        let timeout = self.timeout();
        let Doing::Trial(trial) = &mut self.doing else { return true };
        let (size, control, verdict) = (trial.size, trial.control, trial.verdict(timeout, now));
        match verdict {
            Verdict::Open if trial.wants_pair(now) => {
                trial.sent(self.number.wrapping_add(1), now);
                self.send(size, now, send);
                self.send(control, now, send);
                return false;
            }
            Verdict::Open => return false,
            Verdict::Lost if size <= BASE => self.fail(now),
            Verdict::Lost if size > self.low => {
                self.high = size;
                (self.doing, self.next) = (Doing::Rest, now);
            }
            Verdict::Lost => self.search_below(size, now),
            Verdict::Nothing if control >= BASE => {
                if self.state == State::Searching {
                    self.low = BASE;
                }
                self.doubt(BASE, now);
            }
            Verdict::Nothing | Verdict::Undecided => self.pause(now),
        }
        true
    }

    fn passes(&mut self, size: u16, now: Time) {
        if size < BASE {
            return;
        }
        if self.state == State::Error {
            (self.low, self.high) = (size, self.most + 1);
            self.enter(State::Searching, now);
        }
        let in_use = size >= self.low;
        if size >= self.high {
            self.high = self.most + 1;
        }
        if in_use {
            self.confirmed = now;
        }
        if size > self.low {
            self.low = size;
            if self.state == State::Complete {
                self.high = self.most + 1;
                self.enter(State::Searching, now);
            }
        }
        if self.low == self.most && self.state != State::Complete && in_use {
            self.complete(now);
        }
        let answered = match &self.doing {
            Doing::Rest => false,
            Doing::Lone { size: asked, .. } => *asked <= size,
            Doing::Trial(trial) => trial.size <= size,
        };
        if answered {
            self.doing = Doing::Rest;
            // What was in doubt is asked about again, soon: only the smaller size has proved to pass.
            self.next = if in_use { now } else { now.after(PAUSE) };
        }
    }

    fn complete(&mut self, now: Time) {
        (self.doing, self.next) = (Doing::Rest, now);
        self.raise = now.after(RAISE);
        self.confirmed = now;
        if self.low == self.most {
            self.high = self.most + 1;
        }
        self.state = State::Complete;
    }

    fn search_below(&mut self, size: u16, now: Time) {
        (self.low, self.high) = (BASE, size);
        self.enter(State::Searching, now);
    }

    fn fail(&mut self, now: Time) {
        self.low = BASE;
        self.enter(State::Error, now);
        self.next = now.after(RETRY);
    }

    fn enter(&mut self, state: State, now: Time) {
        (self.state, self.doing, self.next) = (state, Doing::Rest, now);
    }

    fn send_lone(&mut self, size: u16, now: Time, send: &mut impl FnMut(u32, u16)) {
        self.doing = Doing::Lone { size, at: now };
        self.send(size, now, send);
    }

    fn send(&mut self, size: u16, now: Time, send: &mut impl FnMut(u32, u16)) {
        self.number = self.number.wrapping_add(1);
        self.sent[self.number as usize % REMEMBERED] = Sent { number: self.number, size, at: now };
        self.probes += 1;
        self.bytes += u64::from(size);
        send(self.number, size);
    }
}

#[cfg(test)]
mod tests;
