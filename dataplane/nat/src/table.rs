use crate::address::Wide;
use crate::flow::Flow;
use crate::key::{Key, Keyed};
use crate::slab::Slab;
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};

pub(crate) type Map<K, V> = HashMap<K, V, FixedState>;

/// All flows, found from either side. Both keys are unique.
pub(crate) struct Table {
    slab: Slab,
    by_forward: HashTable<u32>,
    by_reverse: HashTable<u32>,
    /// Flows of each client, by the hash of its address: that of its /64 for IPv6.
    by_client: Map<u64, u32>,
    by_app: Map<u16, usize>,
    keyed: Keyed,
    most: usize,
}

impl Table {
    /// The indexes are made for `most` at once: they would stall all traffic if they grew under it.
    pub(crate) fn new(seed: u64, most: usize) -> Table {
        let most = most.min(u32::MAX as usize / 2);
        Table {
            slab: Slab::new(),
            by_forward: HashTable::with_capacity(most),
            by_reverse: HashTable::with_capacity(most),
            by_client: Map::with_hasher(FixedState::with_seed(seed)),
            by_app: Map::with_hasher(FixedState::with_seed(seed)),
            keyed: Keyed::new(seed),
            most,
        }
    }

    pub(crate) fn keyed(&self) -> &Keyed {
        &self.keyed
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(crate) fn slots(&self) -> u32 {
        self.slab.slots()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.most
    }

    /// Whether this client has all it may have: an eighth of the table once that is more than half full.
    pub(crate) fn has_its_share(&self, client: &Wide) -> bool {
        let share = (self.most / 8).max(1);
        let has = self.by_client.get(&self.client(client)).copied().unwrap_or(0);
        self.len() * 2 > self.most && has as usize >= share
    }

    fn client(&self, address: &Wide) -> u64 {
        let mut whole = *address;
        if whole[..12] != [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff] {
            whole[8..].fill(0);
        }
        self.keyed.hash_address(&whole)
    }

    pub(crate) fn find_forward(&self, key: &Key) -> Option<u32> {
        let equal = |&i: &u32| self.slab.get(i).is_some_and(|flow| flow.forward == *key);
        self.by_forward.find(self.keyed.hash(key), equal).copied()
    }

    pub(crate) fn find_reverse(&self, key: &Key) -> Option<u32> {
        let equal = |&i: &u32| self.slab.get(i).is_some_and(|flow| flow.reverse == *key);
        self.by_reverse.find(self.keyed.hash(key), equal).copied()
    }

    pub(crate) fn get(&self, index: u32) -> Option<&Flow> {
        self.slab.get(index)
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Flow> {
        self.slab.get_mut(index)
    }

    /// Neither key may be in the table, and the table not full.
    pub(crate) fn insert(&mut self, flow: Flow) -> u32 {
        let (forward, reverse) = (self.keyed.hash(&flow.forward), self.keyed.hash(&flow.reverse));
        *self.by_client.entry(self.client(&flow.forward.near)).or_insert(0) += 1;
        *self.by_app.entry(flow.app).or_insert(0) += 1;
        let index = self.slab.insert(flow);
        let (slab, keyed) = (&self.slab, &self.keyed);
        self.by_forward.insert_unique(forward, index, |&i| slab.get(i).map_or(0, |flow| keyed.hash(&flow.forward)));
        self.by_reverse.insert_unique(reverse, index, |&i| slab.get(i).map_or(0, |flow| keyed.hash(&flow.reverse)));
        index
    }

    pub(crate) fn remove(&mut self, index: u32) -> Option<Flow> {
        let flow = self.slab.remove(index)?;
        if let Ok(entry) = self.by_forward.find_entry(self.keyed.hash(&flow.forward), |&i| i == index) {
            entry.remove();
        }
        if let Ok(entry) = self.by_reverse.find_entry(self.keyed.hash(&flow.reverse), |&i| i == index) {
            entry.remove();
        }
        let client = self.client(&flow.forward.near);
        release(&mut self.by_client, client, |n| *n -= 1, |n| *n == 0);
        release(&mut self.by_app, flow.app, |n| *n -= 1, |n| *n == 0);
        Some(flow)
    }

    pub(crate) fn iter_back(&self) -> impl Iterator<Item = (u32, &Flow)> {
        self.slab.iter_back()
    }

    pub(crate) fn by_app(&self) -> Vec<(u16, usize)> {
        let mut all: Vec<_> = self.by_app.iter().map(|(&app, &flows)| (app, flows)).collect();
        all.sort_unstable();
        all
    }
}

fn release<K: std::hash::Hash + Eq, V>(map: &mut Map<K, V>, key: K, less: impl Fn(&mut V), gone: impl Fn(&V) -> bool) {
    if let hashbrown::hash_map::Entry::Occupied(mut entry) = map.entry(key) {
        less(entry.get_mut());
        if gone(entry.get()) {
            entry.remove();
        }
    }
}
