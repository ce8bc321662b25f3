use crate::flow::Flow;

const CHUNK: usize = 256;
const NONE: u32 = u32::MAX;

#[derive(Debug)]
enum Slot {
    Free { next: u32 },
    Used(Flow),
}

/// Flows by a number that stays while they live. Grows by chunks, so that growth never copies; never shrinks.
#[derive(Debug)]
pub(crate) struct Slab {
    chunks: Vec<Vec<Slot>>,
    free: u32,
    used: usize,
    slots: u32,
}

impl Slab {
    pub(crate) fn new() -> Slab {
        Slab { chunks: Vec::new(), free: NONE, used: 0, slots: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// Numbers ever given out are below this.
    pub(crate) fn slots(&self) -> u32 {
        self.slots
    }

    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot> {
        self.chunks.get_mut(index as usize / CHUNK)?.get_mut(index as usize % CHUNK)
    }

    pub(crate) fn get(&self, index: u32) -> Option<&Flow> {
        match self.chunks.get(index as usize / CHUNK)?.get(index as usize % CHUNK)? {
            Slot::Used(flow) => Some(flow),
            Slot::Free { .. } => None,
        }
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Flow> {
        match self.slot_mut(index)? {
            Slot::Used(flow) => Some(flow),
            Slot::Free { .. } => None,
        }
    }

    pub(crate) fn insert(&mut self, flow: Flow) -> u32 {
        self.used += 1;
        let index = self.free;
        if let Some(slot) = self.slot_mut(index) {
            if let Slot::Free { next } = std::mem::replace(slot, Slot::Used(flow)) {
                self.free = next;
            }
            return index;
        }
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(Slot::Used(flow)),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(Slot::Used(flow));
                self.chunks.push(chunk);
            }
        }
        self.slots += 1;
        self.slots - 1
    }

    pub(crate) fn remove(&mut self, index: u32) -> Option<Flow> {
        let next = self.free;
        let slot = self.slot_mut(index)?;
        if matches!(slot, Slot::Free { .. }) {
            return None;
        }
        let old = std::mem::replace(slot, Slot::Free { next });
        self.free = index;
        self.used -= 1;
        match old {
            Slot::Used(flow) => Some(flow),
            Slot::Free { .. } => None,
        }
    }

    /// Last number first: mostly the younger flows first.
    pub(crate) fn iter_back(&self) -> impl Iterator<Item = (u32, &Flow)> {
        let slots = self.chunks.iter().rev().flat_map(|chunk| chunk.iter().rev());
        (0..self.slots).rev().zip(slots).filter_map(|(index, slot)| match slot {
            Slot::Used(flow) => Some((index, flow)),
            Slot::Free { .. } => None,
        })
    }
}
