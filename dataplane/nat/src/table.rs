use crate::address::{as_v4, widen_v4, Wide};
use crate::flow::{Details, Flow, Opening, Service};
use crate::index::Index;
use crate::key::{Key, Keyed};
use crate::pages::Pages;
use crate::shares::Shares;
use crate::side::Side;
use braid_packet::{Ip, Slab, Tcp, Time, Transport};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::hint::black_box;

pub(crate) type Map<K, V> = HashMap<K, V, FixedState>;

/// All flows, found from either side. Both keys are unique.
pub(crate) struct Table {
    flows: Slab<Flow>,
    /// Under the same numbers, of those that need them.
    details: Pages<Details>,
    /// Of IPv6 flows.
    addresses: Slab<[Wide; 4]>,
    by_forward: Index,
    by_reverse: Index,
    shares: Shares,
    by_app: Map<u16, usize>,
    keyed: Keyed,
    most: usize,
    /// Another gateway sees packets of the same connections.
    pub(crate) loose: bool,
}

impl Table {
    /// The indexes are made for `most` at once: they would stall all traffic if they grew under it.
    pub(crate) fn new(seed: u64, most: usize) -> Table {
        let most = most.min(u32::MAX as usize / 2);
        Table {
            flows: Slab::new(),
            details: Pages::new(most),
            addresses: Slab::new(),
            by_forward: Index::new(most),
            by_reverse: Index::new(most),
            shares: Shares::new(),
            by_app: Map::with_hasher(FixedState::with_seed(seed)),
            keyed: Keyed::new(seed),
            most,
            loose: false,
        }
    }

    pub(crate) fn keyed(&self) -> &Keyed {
        &self.keyed
    }

    pub(crate) fn len(&self) -> usize {
        self.flows.len()
    }

    pub(crate) fn slots(&self) -> u32 {
        self.flows.slots()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.most
    }

    /// Whether this client has all it may have: an eighth of the table once that is more than half full.
    pub(crate) fn has_its_share(&self, client: Wide) -> bool {
        let share = (self.most / 8).max(1);
        self.len() * 2 > self.most && self.shares.of(self.client(client)) as usize >= share
    }

    /// One client is one IPv4 address or one IPv6 /64.
    fn client(&self, address: Wide) -> u64 {
        let whole = if as_v4(address).is_some() { address } else { address >> 64 << 64 };
        self.keyed.hash_address(whole)
    }

    pub(crate) fn find_forward(&self, key: &Key) -> Option<u32> {
        let narrow = key.narrow();
        self.by_forward.find(self.keyed.hash(key), |index| self.has(index, Side::Client, key, narrow))
    }

    /// Whether this is the flow that `find_forward` finds; cheaper, for who has a guess.
    pub(crate) fn is_forward(&self, index: u32, key: &Key) -> bool {
        self.has(index, Side::Client, key, key.narrow())
    }

    pub(crate) fn find_reverse(&self, key: &Key) -> Option<u32> {
        let narrow = key.narrow();
        self.by_reverse.find(self.keyed.hash(key), |index| self.has(index, Side::Server, key, narrow))
    }

    /// `narrow` is that of `key`.
    fn has(&self, index: u32, side: Side, key: &Key, narrow: Option<[u32; 2]>) -> bool {
        let Some(flow) = self.flows.get(index) else { return false };
        if flow.ports(side) != [key.near_port, key.far_port] || flow.protocol != key.protocol {
            return false;
        }
        match flow.elsewhere() {
            None => narrow.is_some() && flow.narrow(side) == narrow,
            Some(_) => self.wide(flow, side) == Some([key.near, key.far]),
        }
    }

    fn wide(&self, flow: &Flow, side: Side) -> Option<[Wide; 2]> {
        let [client, vip, target, snat] = *self.addresses.get(flow.elsewhere()?)?;
        Some(match side {
            Side::Client => [client, vip],
            Side::Server => [target, snat],
        })
    }

    /// What packets of this side have.
    pub(crate) fn key(&self, flow: &Flow, side: Side) -> Option<Key> {
        let [near, far] = match flow.narrow(side) {
            Some(addresses) => addresses.map(widen_v4),
            None => self.wide(flow, side)?,
        };
        let [near_port, far_port] = flow.ports(side);
        Some(Key { near, far, near_port, far_port, protocol: flow.protocol })
    }

    pub(crate) fn get(&self, index: u32) -> Option<&Flow> {
        self.flows.get(index)
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Flow> {
        self.flows.get_mut(index)
    }

    pub(crate) fn details(&self, index: u32) -> Option<&Details> {
        self.details.get(index)
    }

    /// Also of a flow that has none yet.
    pub(crate) fn make_details(&mut self, index: u32) -> Option<&mut Details> {
        self.details.make(index)
    }

    /// Takes a packet into the flow's TCP state, which the fast path has of its own, its counters and its clock.
    pub(crate) fn observe(&mut self, index: u32, packet: &[u8], ip: &Ip, from: Side, now: Time) {
        if let Transport::Tcp(tcp) = ip.transport {
            let start = ip.header_len + 20;
            let options = match tcp.has(Tcp::SYN) {
                true => packet.get(start..ip.header_len + tcp.header_len).unwrap_or(&[]),
                false => &[],
            };
            let flow = self.flows.get_mut(index).filter(|flow| !flow.is_fast());
            if let (Some(flow), Some(details)) = (flow, self.details.get_mut(index)) {
                details.track.observe(from, &tcp, options, self.loose);
                flow.settled = details.track.is_established();
            }
        }
        self.count(index, from, ip.total_len, now);
    }

    pub(crate) fn count(&mut self, index: u32, from: Side, bytes: usize, now: Time) {
        let carry = self.flows.get_mut(index).and_then(|flow| flow.count(from, bytes, now));
        if let Some(carry) = carry {
            if let Some(details) = self.details.make(index) {
                details.carry(carry);
            }
        }
    }

    /// Neither key may be in the table, and the table not full.
    pub(crate) fn insert(&mut self, opening: &Opening) -> u32 {
        let forward = self.keyed.hash(&opening.forward);
        self.shares.add(self.client(opening.forward.near));
        *self.by_app.entry(opening.app).or_insert(0) += 1;
        let addresses = &mut self.addresses;
        let index = self.flows.insert(Flow::new(opening, |wide| addresses.insert(wide)));
        // A flow of the fast path makes none, but its place may have had one.
        let is_fast = opening.way != Service::Nat;
        if let Some(details) = if is_fast { self.details.get_mut(index) } else { self.details.make(index) } {
            *details = Details::default();
        }
        self.by_forward.insert(forward, index);
        if !opening.reverse.is_nothing() {
            self.by_reverse.insert(self.keyed.hash(&opening.reverse), index);
        }
        index
    }

    /// Gives a flow another target and source, a key that is not in the table.
    pub(crate) fn set_reverse(&mut self, index: u32, reverse: &Key) {
        let Some(before) = self.flows.get(index).and_then(|flow| self.key(flow, Side::Server)) else { return };
        if !before.is_nothing() {
            self.by_reverse.remove(self.keyed.hash(&before), index);
        }
        if let Some(flow) = self.flows.get_mut(index) {
            flow.set_reverse(reverse);
            if let Some(wide) = flow.elsewhere().and_then(|wide| self.addresses.get_mut(wide)) {
                wide[2..].copy_from_slice(&[reverse.near, reverse.far]);
            }
        }
        if !reverse.is_nothing() {
            self.by_reverse.insert(self.keyed.hash(reverse), index);
        }
    }

    /// False if there is none.
    pub(crate) fn remove(&mut self, index: u32) -> bool {
        let Some(flow) = self.flows.get(index) else { return false };
        let app = flow.app;
        let (forward, reverse) = (self.key(flow, Side::Client), self.key(flow, Side::Server));
        if let Some(forward) = forward {
            self.by_forward.remove(self.keyed.hash(&forward), index);
            self.shares.release(self.client(forward.near));
        }
        if let Some(reverse) = reverse.filter(|reverse| !reverse.is_nothing()) {
            self.by_reverse.remove(self.keyed.hash(&reverse), index);
        }
        if let Some(wide) = self.flows.remove(index).and_then(|flow| flow.elsewhere()) {
            self.addresses.remove(wide);
        }
        if let Some(flows) = self.by_app.get_mut(&app) {
            *flows -= 1;
            if *flows == 0 {
                self.by_app.remove(&app);
            }
        }
        true
    }

    /// Guesses the places of flows by the hashes of their forward keys, and brings them into the cache. One look-up has
    /// to wait for the index before it knows the flow; of many at once the waits overlap, as long as nothing in a loop
    /// needs what it waits for.
    pub(crate) fn fetch(&self, hashes: &[u64], places: &mut Vec<u32>) {
        black_box(hashes.iter().fold(0, |sum, &hash| sum ^ self.by_forward.touch(hash)));
        places.clear();
        places.extend(hashes.iter().map(|&hash| self.by_forward.guess(hash)));
        let flows = places.iter().filter_map(|&index| self.flows.get(index));
        black_box(flows.fold(0, |sum, flow| sum ^ flow.serial));
    }

    pub(crate) fn by_app(&self) -> Vec<(u16, usize)> {
        let mut all: Vec<_> = self.by_app.iter().map(|(&app, &flows)| (app, flows)).collect();
        all.sort_unstable();
        all
    }
}
