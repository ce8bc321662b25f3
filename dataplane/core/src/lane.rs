//! What a receiver knows of one lane of a session: which packets came, in which order they go on, how far apart copies are.

use crate::latent::Latent;
use crate::measure::{Copies, Inbound, Outbound, Tally};
use crate::order::Orderer;
use crate::sequence::Recovery;
use crate::skew::Skew;
use crate::window::{needed, Window, LEAST};
use braid_packet::Time;

/// Neighbours send nothing twice: there only what overtakes must be told apart.
const WINDOW_ADJACENT: usize = 1024;
const WINDOW_ASIDE: usize = 256;

pub struct Lane {
    pub recovery: Recovery,
    pub window: Window,
    /// Of what is numbered aside.
    pub aside: Recovery,
    pub order: Orderer,
    pub skew: Skew,
    /// How long holes are kept open now, in nanoseconds.
    pub wait: u64,
    /// While the peer asks what came of its packets.
    pub copies: Option<Copies>,
}

impl Lane {
    /// `bits`: the size of its recovery window to begin with; None with a neighbour.
    fn new(bits: Option<usize>) -> Lane {
        let recovery = Recovery::new(bits.unwrap_or(WINDOW_ADJACENT));
        let window = if bits.is_some() { Window::new(&recovery) } else { Window::fixed() };
        let skew = bits.map_or_else(Skew::unused, Skew::new);
        let aside = Recovery::new(WINDOW_ASIDE);
        Lane { recovery, window, aside, order: Orderer::default(), skew, wait: 0, copies: None }
    }

    /// Marks an authenticated first copy. The window may grow for it by up to `spare` bytes.
    #[inline]
    pub fn commit(&mut self, position: u64, hearing: &mut Hearing, now: Time, spare: &mut usize) {
        if self.window.is_due(position) {
            self.turn(position, hearing, now, spare);
        }
        self.recovery.commit(position);
        self.window.accepted(self.recovery.highest() - position);
    }

    #[cold]
    fn turn(&mut self, position: u64, hearing: &mut Hearing, now: Time, spare: &mut usize) {
        let needed = needed(self.apart(hearing, now));
        if self.window.turn(&mut self.recovery, position, needed, now, spare) {
            self.resized(hearing);
        }
    }

    /// A later copy came.
    #[inline]
    pub fn discard(&mut self, position: u64) {
        self.recovery.counters.discarded += 1;
        self.window.accepted(self.recovery.highest() - position);
    }

    /// To be called at each tick of a session that is not replaced.
    pub fn handle_timeout(&mut self, hearing: &mut Hearing, now: Time) {
        let needed = needed(self.apart(hearing, now));
        if self.window.handle_timeout(&mut self.recovery, needed, now) {
            self.resized(hearing);
        }
    }

    /// How far apart copies come, by probes, or by data where copies are sent one after the other.
    pub fn apart(&self, hearing: &Hearing, now: Time) -> Option<u64> {
        Some(hearing.inbound.skew(now)?.max(self.skew.longest()))
    }

    fn resized(&mut self, hearing: &mut Hearing) {
        hearing.window = self.recovery.bits();
        self.skew.resize(self.recovery.bits(), self.recovery.highest());
    }
}

/// The lanes that one shard receives of a session, by slot. The first lane of a session is ready at once; memory for another
/// is taken when the first packet of it has proved to be the peer's.
pub struct Received {
    lanes: Box<[Option<Lane>]>,
}

impl Received {
    pub fn new(slots: usize) -> Received {
        Received { lanes: (0..slots).map(|_| None).collect() }
    }

    /// Outer None: the session has no such lane here. Inner None: nothing of it has come yet.
    pub fn at(&mut self, slot: usize) -> Option<&mut Option<Lane>> {
        self.lanes.get_mut(slot)
    }

    /// Takes the memory for a lane. Its window begins as large as the one before it became; None: it is a neighbour's.
    #[cold]
    pub fn begin(&mut self, slot: usize, bits: Option<usize>) -> Option<&mut Lane> {
        Some(self.lanes.get_mut(slot)?.get_or_insert_with(|| Lane::new(bits)))
    }

    pub fn get(&self, slot: usize) -> Option<&Lane> {
        self.lanes.get(slot)?.as_ref()
    }

    pub fn get_mut(&mut self, slot: usize) -> Option<&mut Lane> {
        self.lanes.get_mut(slot)?.as_mut()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.iter().flatten()
    }

    /// With their slots.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Lane)> {
        self.lanes.iter_mut().enumerate().filter_map(|(slot, lane)| Some((slot, lane.as_mut()?)))
    }

    /// The longest skew of all lanes.
    pub fn longest_skew(&self) -> u64 {
        self.iter().map(|lane| lane.skew.longest()).max().unwrap_or(0)
    }
}

/// How one path of a peer arrives in one lane.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arrival {
    /// Number of the neighbour it comes through.
    pub via: u16,
    pub first: u64,
    pub eliminated: u64,
    /// Copies that came behind a later one of the same path (RFC 4737).
    pub reordered: u64,
    pub heard: Time,
    /// The highest number that came this way, and under which keys.
    highest: u64,
    epoch: u8,
}

impl Arrival {
    /// A copy came, the first of its packet or a later one.
    #[inline]
    pub fn note(&mut self, first: bool, via: u16, epoch: u8, position: u64, now: Time) {
        (self.via, self.heard) = (via, now);
        if first {
            self.first += 1;
        } else {
            self.eliminated += 1;
        }
        if position > self.highest || epoch != self.epoch {
            (self.highest, self.epoch) = (position, epoch);
        } else {
            self.reordered += 1;
        }
    }

    /// Of the same path, in another lane.
    pub fn add(self, other: Arrival) -> Arrival {
        let newer = if other.heard > self.heard { other } else { self };
        Arrival {
            first: self.first + other.first,
            eliminated: self.eliminated + other.eliminated,
            reordered: self.reordered + other.reordered,
            ..newer
        }
    }
}

/// What is heard of a peer in one lane. Sessions come and go, this stays.
pub struct Hearing {
    /// Bits of the recovery window, as the newest lane's became: the next session needs as many.
    pub window: usize,
    pub heard: Option<Time>,
    /// When the peer said last that it hears us.
    pub acknowledged: Option<Time>,
    /// By path id of the sender.
    pub arrivals: [Option<Arrival>; 16],
    /// Of the peer's newest probe: its clock and when it came. Those that come late tell nothing new.
    pub clock: Option<(u64, Time)>,
    /// When our last probe went out.
    pub probed: Option<Time>,
    /// Our paths that the peer heard in this lane in the last second, and those it heard lately, by its newest probe.
    pub reported: Option<u16>,
    pub fresh: Option<u16>,
    /// The peer's paths that our last probe called fresh.
    pub told_fresh: u16,
    pub inbound: Inbound,
    pub outbound: Outbound,
    pub latent: Latent,
    /// When the peer asked last what came of its packets.
    pub asked: Option<Time>,
    /// What came of ours, while the control side wants to know.
    pub tally: Option<Box<Tally>>,
}

impl Default for Hearing {
    fn default() -> Hearing {
        Hearing {
            window: LEAST,
            heard: None,
            acknowledged: None,
            arrivals: [None; 16],
            clock: None,
            probed: None,
            reported: None,
            fresh: None,
            told_fresh: 0,
            inbound: Inbound::default(),
            outbound: Outbound::default(),
            latent: Latent::default(),
            asked: None,
            tally: None,
        }
    }
}

impl Hearing {
    /// A later copy of a probe.
    #[cold]
    pub fn probe_copy(&mut self, sequence: u64, path: u8, now: Time) {
        let received = self.received_on(path);
        self.inbound.copy(sequence, path, received, now);
    }

    /// To be called at each tick: looks whether a path that should bring copies brings none.
    pub fn detect_latent_errors(&mut self, now: Time) {
        let copies = |path| received_on(&self.arrivals, path);
        self.latent.handle_timeout(self.inbound.used().unwrap_or(0), copies, now);
    }

    /// Copies that came on a path of the peer.
    pub fn received_on(&self, path: u8) -> u64 {
        received_on(&self.arrivals, path)
    }

    /// The peer's paths that were heard in the last `within` nanoseconds, as bits.
    pub fn heard_paths(&self, within: u64, now: Time) -> u16 {
        let heard = |arrival: &Option<Arrival>| arrival.is_some_and(|a| now.since(a.heard) < within);
        self.arrivals.iter().enumerate().filter(|(_, a)| heard(a)).fold(0, |bits, (id, _)| bits | 1 << id)
    }
}

fn received_on(arrivals: &[Option<Arrival>; 16], path: u8) -> u64 {
    arrivals[usize::from(path & 15)].map_or(0, |arrival| arrival.first + arrival.eliminated)
}
