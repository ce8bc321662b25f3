/// Large enough that the list of chunks stays in the nearest cache.
const CHUNK: usize = 4096;
const NONE: u32 = u32::MAX;

#[derive(Debug)]
enum Slot<T> {
    Free { next: u32 },
    Used(T),
}

/// Things by a number that stays while they live. Grows by chunks, so that growth never copies; never shrinks.
/// Numbers depend only on the order of calls: two slabs that are always used alike give the same ones.
#[derive(Debug)]
pub struct Slab<T> {
    chunks: Vec<Vec<Slot<T>>>,
    free: u32,
    used: usize,
    slots: u32,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab::new()
    }
}

impl<T> Slab<T> {
    /// What a thing takes.
    pub const EACH: usize = size_of::<Slot<T>>();

    pub fn new() -> Slab<T> {
        Slab { chunks: Vec::new(), free: NONE, used: 0, slots: 0 }
    }

    pub fn len(&self) -> usize {
        self.used
    }

    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Numbers ever given out are below this.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot<T>> {
        self.chunks.get_mut(index as usize / CHUNK)?.get_mut(index as usize % CHUNK)
    }

    pub fn get(&self, index: u32) -> Option<&T> {
        match self.chunks.get(index as usize / CHUNK)?.get(index as usize % CHUNK)? {
            Slot::Used(thing) => Some(thing),
            Slot::Free { .. } => None,
        }
    }

    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        match self.slot_mut(index)? {
            Slot::Used(thing) => Some(thing),
            Slot::Free { .. } => None,
        }
    }

    pub fn insert(&mut self, thing: T) -> u32 {
        self.used += 1;
        let index = self.free;
        if let Some(slot) = self.slot_mut(index) {
            if let Slot::Free { next } = std::mem::replace(slot, Slot::Used(thing)) {
                self.free = next;
            }
            return index;
        }
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(Slot::Used(thing)),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(Slot::Used(thing));
                self.chunks.push(chunk);
            }
        }
        self.slots += 1;
        self.slots - 1
    }

    pub fn remove(&mut self, index: u32) -> Option<T> {
        let next = self.free;
        let slot = self.slot_mut(index)?;
        if matches!(slot, Slot::Free { .. }) {
            return None;
        }
        let old = std::mem::replace(slot, Slot::Free { next });
        self.free = index;
        self.used -= 1;
        match old {
            Slot::Used(thing) => Some(thing),
            Slot::Free { .. } => None,
        }
    }
}
