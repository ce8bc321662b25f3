//! Neighbours: the nodes that may hand us datagrams, by underlay address, with the hop keys shared with each.

use crate::desired::Desired;
use crate::hop::HopKey;
use crate::shard::{Lanes, Place, MOST_SHARDS};
use braid_packet::Time;
use hashbrown::HashMap;
use std::net::SocketAddr;

/// Lanes of a session at most.
pub const LANES: usize = MOST_SHARDS as usize;

pub struct Neighbour {
    pub number: u16,
    pub addresses: Vec<SocketAddr>,
    /// Where we send: the address it was last heard from, else the one tried last. The port is that of its first shard.
    pub active: SocketAddr,
    /// Its shards have as many ports, one after the other.
    shards: u8,
    /// For sending, with its epoch (0..3).
    pub hop_tx: Option<(HopKey, u8)>,
    /// For receiving, by epoch modulo 4, with the epoch of the session that each belongs to.
    pub hop_rx: [Option<(HopKey, u8)>; 4],
    pub tx_datagrams: u64,
    pub rx_datagrams: u64,
    /// The lanes of the session with it that this shard carries.
    pub lanes: Lanes,
    /// Datagrams with a hop tag by slot of these lanes, modulo 2^32.
    pub slot_tx: [u32; LANES],
    pub slot_rx: [u32; LANES],
    pub rtt: Option<u64>,
    pub heard: Option<Time>,
    /// Probes to it answer its own.
    pub answers: bool,
    /// Initiations since it was heard last.
    attempts: usize,
}

pub struct Links {
    place: Place,
    neighbours: Vec<Neighbour>,
    /// Every port of every shard: the neighbour, and the address of its first shard.
    by_address: HashMap<SocketAddr, (usize, SocketAddr)>,
    by_number: HashMap<u16, usize>,
}

impl Links {
    pub fn new(place: Place) -> Links {
        Links { place, neighbours: Vec::new(), by_address: HashMap::new(), by_number: HashMap::new() }
    }

    /// Keeps the keys and counters of neighbours that stay; returns the numbers of those that left.
    pub fn configure(&mut self, desired: &Desired) -> Vec<u16> {
        let mut old: HashMap<u16, Neighbour> = self.neighbours.drain(..).map(|n| (n.number, n)).collect();
        self.by_address.clear();
        self.by_number.clear();
        for spec in &desired.neighbours {
            let Some(&first) = spec.addresses.first() else { continue };
            let mut neighbour = old.remove(&spec.node).unwrap_or_else(|| Neighbour {
                number: spec.node,
                addresses: Vec::new(),
                active: first,
                shards: 1,
                hop_tx: None,
                hop_rx: [const { None }; 4],
                tx_datagrams: 0,
                rx_datagrams: 0,
                lanes: Lanes::ONE,
                slot_tx: [0; LANES],
                slot_rx: [0; LANES],
                rtt: None,
                heard: None,
                answers: false,
                attempts: 0,
            });
            neighbour.addresses.clone_from(&spec.addresses);
            neighbour.answers = spec.answers;
            neighbour.shards = desired.shards.get(&spec.node).copied().unwrap_or(1);
            neighbour.lanes = self.place.lanes(neighbour.shards);
            if !neighbour.addresses.contains(&neighbour.active) {
                neighbour.active = first;
            }
            let index = self.neighbours.len();
            for &address in &neighbour.addresses {
                for shard in 0..neighbour.shards {
                    self.by_address.insert(nth_port(address, shard), (index, address));
                }
            }
            self.by_number.insert(neighbour.number, index);
            self.neighbours.push(neighbour);
        }
        old.into_keys().collect()
    }

    /// Whose address this is, and where its first shard is.
    pub fn at(&self, address: &SocketAddr) -> Option<(usize, SocketAddr)> {
        self.by_address.get(address).copied()
    }

    pub fn get_mut(&mut self, index: usize) -> Option<&mut Neighbour> {
        self.neighbours.get_mut(index)
    }

    pub fn numbered(&mut self, number: u16) -> Option<&mut Neighbour> {
        self.neighbours.get_mut(*self.by_number.get(&number)?)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Neighbour> {
        self.neighbours.iter()
    }
}

fn nth_port(address: SocketAddr, shard: u8) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port().wrapping_add(u16::from(shard)))
}

impl Neighbour {
    /// Which of its shards takes a lane.
    pub fn shard(&self, lane: u8) -> u8 {
        lane & (self.shards - 1)
    }

    /// Datagrams of a lane, or of several that the same shard of the neighbour takes.
    pub fn count_sent(&mut self, lane: u8, datagrams: u64) {
        self.tx_datagrams += datagrams;
        let sent = &mut self.slot_tx[self.lanes.slot_among(lane)];
        *sent = sent.wrapping_add(datagrams as u32);
    }

    /// One that is expected to be lost now and then, and so tells nothing about loss.
    pub fn count_sent_aside(&mut self) {
        self.tx_datagrams += 1;
    }

    pub fn count_received_aside(&mut self) {
        self.rx_datagrams += 1;
    }

    pub fn count_received(&mut self, lane: u8) {
        self.rx_datagrams += 1;
        let received = &mut self.slot_rx[self.lanes.slot_among(lane)];
        *received = received.wrapping_add(1);
    }

    /// Where datagrams of a lane go.
    pub fn address(&self, lane: u8) -> SocketAddr {
        match self.shard(lane) {
            0 => self.active,
            shard => nth_port(self.active, shard),
        }
    }

    /// The session of this epoch is gone: so is its hop key.
    pub fn forget(&mut self, epoch: u8) {
        let slot = &mut self.hop_rx[usize::from(epoch & 3)];
        if slot.as_ref().is_some_and(|(_, of)| *of == epoch) {
            *slot = None;
        }
    }

    /// Before an initiation: while the neighbour is silent its addresses are tried in turn, the preferred one first.
    pub fn try_next(&mut self, heard: bool) {
        if heard {
            self.attempts = 0;
        } else {
            if let Some(&next) = self.addresses.get(self.attempts % self.addresses.len().max(1)) {
                self.active = next;
            }
            self.attempts += 1;
        }
    }
}
