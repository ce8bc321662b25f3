//! Frames under way, in the order of their time; equal times keep the order of arrival. Memory is bounded and reused.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// `K` says where the frame goes to.
#[derive(Debug)]
pub struct Schedule<K> {
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    slots: Vec<Option<(K, Vec<u8>)>>,
    free: Vec<usize>,
    spare: Vec<Vec<u8>>,
    arrivals: u64,
    bytes: usize,
    limit_bytes: usize,
}

/// Buffers kept for the next frames.
const SPARE: usize = 4096;

impl<K> Schedule<K> {
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            heap: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            spare: Vec::new(),
            arrivals: 0,
            bytes: 0,
            limit_bytes,
        }
    }

    /// An empty buffer, used before if possible.
    pub fn buffer(&mut self) -> Vec<u8> {
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer
    }

    pub fn give_back(&mut self, buffer: Vec<u8>) {
        if self.spare.len() < SPARE {
            self.spare.push(buffer);
        }
    }

    /// Gives the frame back when there is no room.
    pub fn push(&mut self, due: u64, key: K, frame: Vec<u8>) -> Result<(), Vec<u8>> {
        if self.bytes + frame.len() > self.limit_bytes {
            return Err(frame);
        }
        self.bytes += frame.len();
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                self.slots.len() - 1
            }
        };
        self.slots[slot] = Some((key, frame));
        self.heap.push(Reverse((due, self.arrivals, slot)));
        self.arrivals += 1;
        Ok(())
    }

    pub fn next_due(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((due, _, _))| *due)
    }

    /// The next frame whose time has come.
    pub fn pop(&mut self, now: u64) -> Option<(K, Vec<u8>)> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse((_, _, slot)) = self.heap.pop()?;
        self.free.push(slot);
        let (key, frame) = self.slots[slot].take()?;
        self.bytes -= frame.len();
        Some((key, frame))
    }

    pub fn len(&self) -> usize {
        self.heap.len()
    }

    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_leave_by_time_then_arrival(dues in proptest::collection::vec(0u64..50, 0..200)) {
            let mut schedule = Schedule::new(usize::MAX);
            for (arrival, due) in dues.iter().enumerate() {
                schedule.push(*due, arrival, vec![0; 3]).unwrap();
            }
            let mut expected: Vec<(u64, usize)> = dues.iter().copied().zip(0..).collect();
            expected.sort_unstable();
            let mut left = Vec::new();
            for now in 0..50 {
                while let Some((arrival, _)) = schedule.pop(now) {
                    prop_assert!(dues[arrival] == now);
                    left.push((now, arrival));
                }
            }
            prop_assert_eq!(left, expected);
            prop_assert_eq!(schedule.bytes, 0);
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut schedule = Schedule::new(100);
        schedule.push(1, (), vec![0; 60]).unwrap();
        assert_eq!(schedule.push(1, (), vec![0; 41]).unwrap_err().len(), 41);
        schedule.push(1, (), vec![0; 40]).unwrap();
        assert!(schedule.pop(1).is_some());
        schedule.push(2, (), vec![0; 60]).unwrap();
    }
}
