//! Neighbours: the nodes that may hand us datagrams, by underlay address, with the hop keys shared with each.

use crate::desired::NeighbourSpec;
use crate::hop::HopKey;
use braid_packet::Time;
use hashbrown::HashMap;
use std::net::SocketAddr;

pub struct Neighbour {
    pub number: u16,
    pub addresses: Vec<SocketAddr>,
    /// Where we send: the address it was last heard from, else the one tried last.
    pub active: SocketAddr,
    /// For sending, with its epoch (0..3).
    pub hop_tx: Option<(HopKey, u8)>,
    /// For receiving, by epoch modulo 4, with the epoch of the session that each belongs to.
    pub hop_rx: [Option<(HopKey, u8)>; 4],
    pub tx_datagrams: u64,
    pub rx_datagrams: u64,
    pub rtt: Option<u64>,
    pub heard: Option<Time>,
    /// Initiations since it was heard last.
    attempts: usize,
}

#[derive(Default)]
pub struct Links {
    neighbours: Vec<Neighbour>,
    by_address: HashMap<SocketAddr, usize>,
    by_number: HashMap<u16, usize>,
}

impl Links {
    /// Keeps the keys and counters of neighbours that stay; returns the numbers of those that left.
    pub fn configure(&mut self, specs: &[NeighbourSpec]) -> Vec<u16> {
        let mut old: HashMap<u16, Neighbour> = self.neighbours.drain(..).map(|n| (n.number, n)).collect();
        self.by_address.clear();
        self.by_number.clear();
        for spec in specs {
            let Some(&first) = spec.addresses.first() else { continue };
            let mut neighbour = old.remove(&spec.node).unwrap_or_else(|| Neighbour {
                number: spec.node,
                addresses: Vec::new(),
                active: first,
                hop_tx: None,
                hop_rx: [const { None }; 4],
                tx_datagrams: 0,
                rx_datagrams: 0,
                rtt: None,
                heard: None,
                attempts: 0,
            });
            neighbour.addresses.clone_from(&spec.addresses);
            if !neighbour.addresses.contains(&neighbour.active) {
                neighbour.active = first;
            }
            let index = self.neighbours.len();
            for &address in &neighbour.addresses {
                self.by_address.insert(address, index);
            }
            self.by_number.insert(neighbour.number, index);
            self.neighbours.push(neighbour);
        }
        old.into_keys().collect()
    }

    pub fn at(&self, address: &SocketAddr) -> Option<usize> {
        self.by_address.get(address).copied()
    }

    pub fn get_mut(&mut self, index: usize) -> Option<&mut Neighbour> {
        self.neighbours.get_mut(index)
    }

    pub fn numbered(&mut self, number: u16) -> Option<&mut Neighbour> {
        self.neighbours.get_mut(*self.by_number.get(&number)?)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Neighbour> {
        self.neighbours.iter()
    }
}

impl Neighbour {
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
