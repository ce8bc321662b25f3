//! What a receiver knows of one lane of a session: which packets came, in which order they go on, how far apart copies are.

use crate::measure::{Inbound, Outbound};
use crate::order::{Orderer, Skew};
use crate::sequence::Recovery;
use braid_packet::Time;

pub struct Lane {
    pub recovery: Recovery,
    pub order: Orderer,
    pub skew: Skew,
    /// How long holes are kept open now, in nanoseconds.
    pub wait: u64,
}

impl Lane {
    fn new(window: usize) -> Lane {
        Lane { recovery: Recovery::new(window), order: Orderer::default(), skew: Skew::default(), wait: 0 }
    }
}

/// The lanes that one shard receives of a session, by slot. The first lane of a session is ready at once; memory for another
/// is taken when the first packet of it has proved to be the peer's.
pub struct Received {
    window: usize,
    lanes: Box<[Option<Lane>]>,
}

impl Received {
    pub fn new(window: usize, slots: usize, has_first: bool) -> Received {
        let mut lanes: Box<[Option<Lane>]> = (0..slots).map(|_| None).collect();
        if let Some(first) = lanes.first_mut().filter(|_| has_first) {
            *first = Some(Lane::new(window));
        }
        Received { window, lanes }
    }

    /// Outer None: the session has no such lane here. Inner None: nothing of it has come yet.
    pub fn at(&mut self, slot: usize) -> Option<&mut Option<Lane>> {
        self.lanes.get_mut(slot)
    }

    /// Takes the memory for a lane, for the first authenticated packet of it.
    #[cold]
    pub fn begin(&mut self, slot: usize) -> Option<&mut Lane> {
        let window = self.window;
        Some(self.lanes.get_mut(slot)?.get_or_insert_with(|| Lane::new(window)))
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

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Lane> {
        self.lanes.iter_mut().flatten()
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
    pub heard: Time,
}

impl Arrival {
    /// Of the same path, in another lane.
    pub fn add(self, other: Arrival) -> Arrival {
        let newer = if other.heard > self.heard { other } else { self };
        Arrival { first: self.first + other.first, eliminated: self.eliminated + other.eliminated, ..newer }
    }
}

/// What is heard of a peer in one lane. Sessions come and go, this stays.
#[derive(Default)]
pub struct Hearing {
    pub heard: Option<Time>,
    /// When the peer said last that it hears us.
    pub acknowledged: Option<Time>,
    /// By path id of the sender.
    pub arrivals: [Option<Arrival>; 16],
    /// Of the peer's newest probe: its clock and when it came. Those that come late tell nothing new.
    pub clock: Option<(u64, Time)>,
    /// Our paths that the peer heard in this lane in the last second, and those it heard lately, by its newest probe.
    pub reported: Option<u16>,
    pub fresh: Option<u16>,
    /// The peer's paths that our last probe called fresh.
    pub told_fresh: u16,
    pub inbound: Inbound,
    pub outbound: Outbound,
}

impl Hearing {
    /// A later copy of a probe.
    #[cold]
    pub fn probe_copy(&mut self, sequence: u64, path: u8, now: Time) {
        let received = self.received_on(path);
        self.inbound.copy(sequence, path, received, now);
    }

    /// Copies that came on a path of the peer.
    pub fn received_on(&self, path: u8) -> u64 {
        self.arrivals[usize::from(path & 15)].map_or(0, |arrival| arrival.first + arrival.eliminated)
    }

    /// The peer's paths that were heard in the last `within` nanoseconds, as bits.
    pub fn heard_paths(&self, within: u64, now: Time) -> u16 {
        let heard = |arrival: &Option<Arrival>| arrival.is_some_and(|a| now.since(a.heard) < within);
        self.arrivals.iter().enumerate().filter(|(_, a)| heard(a)).fold(0, |bits, (id, _)| bits | 1 << id)
    }
}
