//! Copies that leave later than the first one of their packet, so that a short burst of loss which hits all paths at once
//! does not hit all copies. What is sealed waits here; bounded in bytes, and whoever finds it full sends at once.

use braid_packet::Time;
use std::collections::VecDeque;

/// At 1 Gbit/s that is 30 ms.
const MOST_BYTES: usize = 4 << 20;
const MOST_SPARE: usize = 16;

/// Sealed datagrams of one lane, back to back, for these paths (ids as bits) to a peer.
#[derive(Debug, PartialEq, Eq)]
pub struct Waiting {
    pub due: Time,
    pub peer: u16,
    pub paths: u16,
    pub lane: u8,
    pub segment: usize,
    pub datagrams: Vec<u8>,
}

#[derive(Default)]
pub struct Later {
    /// The one that is due first in front.
    queue: VecDeque<Waiting>,
    bytes: usize,
    spare: Vec<Vec<u8>>,
}

impl Later {
    /// False: there is no room.
    pub fn put(&mut self, due: Time, peer: u16, paths: u16, lane: u8, segment: usize, datagrams: &[u8]) -> bool {
        if self.bytes + datagrams.len() > MOST_BYTES {
            return false;
        }
        self.bytes += datagrams.len();
        let mut own = self.spare.pop().unwrap_or_default();
        own.clear();
        own.extend_from_slice(datagrams);
        // Sets may wait for different times, so another one may be due before those that are here.
        let at = self.queue.iter().rposition(|waiting| waiting.due <= due).map_or(0, |before| before + 1);
        self.queue.insert(at, Waiting { due, peer, paths, lane, segment, datagrams: own });
        true
    }

    pub fn next_timeout(&self) -> Option<Time> {
        self.queue.front().map(|waiting| waiting.due)
    }

    /// The next one whose time has come.
    pub fn take(&mut self, now: Time) -> Option<Waiting> {
        if self.queue.front()?.due > now {
            return None;
        }
        let waiting = self.queue.pop_front()?;
        self.bytes -= waiting.datagrams.len();
        Some(waiting)
    }

    /// Returns the memory of what was sent.
    pub fn recycle(&mut self, sent: Waiting) {
        if self.spare.len() < MOST_SPARE {
            self.spare.push(sent.datagrams);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_first_leaves_first_and_not_before() {
        let mut later = Later::default();
        for (due, peer) in [(20, 1), (30, 2), (10, 3), (20, 4)] {
            assert!(later.put(Time(due), peer, 0b10, 0, 5, &[peer as u8; 10]));
        }
        assert_eq!((later.next_timeout(), later.take(Time(9))), (Some(Time(10)), None));
        let mut left = Vec::new();
        for now in [10, 25, 40] {
            while let Some(waiting) = later.take(Time(now)) {
                assert_eq!(waiting.datagrams, [waiting.peer as u8; 10]);
                left.push((now, waiting.peer));
                later.recycle(waiting);
            }
        }
        assert_eq!(left, [(10, 3), (25, 1), (25, 4), (40, 2)]);
        assert_eq!((later.next_timeout(), later.bytes), (None, 0));
    }

    #[test]
    fn it_is_bounded() {
        let mut later = Later::default();
        let batch = vec![0; 60_000];
        while later.put(Time(1), 1, 1, 0, 1400, &batch) {}
        assert!(later.bytes <= MOST_BYTES && later.bytes > MOST_BYTES - batch.len());
        later.take(Time(1)).unwrap();
        assert!(later.put(Time(1), 1, 1, 0, 1400, &batch));
    }
}
