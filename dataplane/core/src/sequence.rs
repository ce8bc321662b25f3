//! Sequence recovery (IEEE 802.1CB 7.4, vector algorithm): which copy is the first.
//!
//! A ring of bits as in RFC 6479. `seen` before decryption costs one load; `commit` after authentication is the only
//! thing that moves the window, so a forgery cannot.

/// 802.1CB counters (9.x frerSeqRcvy...) plus what a snapshot derives from the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecoveryCounters {
    pub passed: u64,
    pub discarded: u64,
    pub out_of_order: u64,
    /// Too old for the window.
    pub rogue: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    New,
    /// A copy of it came before.
    Copy,
    /// Left of the window: whether it came before is no longer known.
    TooOld,
}

pub struct Recovery {
    words: Box<[u64]>,
    highest: u64,
    /// Sequence numbers that left the window without having come.
    gone: u64,
    /// Highest at the last few marks, oldest first: what is older than the first is not expected any more.
    marks: [u64; 4],
    pub counters: RecoveryCounters,
}

impl Recovery {
    /// A window of `bits`, which must be a power of two and at least 128; 64 of them are reserve. Sequences start at 1.
    pub fn new(bits: usize) -> Recovery {
        let words = (bits.max(128).next_power_of_two() / 64).max(2);
        Recovery {
            words: vec![0; words].into_boxed_slice(),
            highest: 0,
            gone: 0,
            marks: [0; 4],
            counters: RecoveryCounters::default(),
        }
    }

    fn word(&self, sequence: u64) -> usize {
        (sequence / 64) as usize & (self.words.len() - 1)
    }

    /// Sequences that can still be told apart, the newest included.
    pub fn window(&self) -> u64 {
        (self.words.len() as u64 - 1) * 64
    }

    pub fn seen(&self, sequence: u64) -> Seen {
        if sequence > self.highest {
            return Seen::New;
        }
        if self.highest - sequence >= self.window() {
            return Seen::TooOld;
        }
        if self.words[self.word(sequence)] >> (sequence % 64) & 1 == 0 {
            Seen::New
        } else {
            Seen::Copy
        }
    }

    /// Marks an authenticated sequence number; `seen` must have said `New` for it.
    pub fn commit(&mut self, sequence: u64) {
        if sequence > self.highest {
            self.advance(sequence);
        } else {
            self.counters.out_of_order += 1;
        }
        self.counters.passed += 1;
        let word = self.word(sequence);
        self.words[word] |= 1 << (sequence % 64);
    }

    fn advance(&mut self, sequence: u64) {
        let (from, to) = (self.highest / 64, sequence / 64);
        let count = self.words.len() as u64;
        for block in from + 1..=to.min(from + count) {
            let word = block as usize & (self.words.len() - 1);
            if block >= count {
                self.gone += u64::from(self.words[word].count_zeros());
                // Sequence 0 does not exist and is no loss.
                if block == count {
                    self.gone -= 1;
                }
            }
            self.words[word] = 0;
        }
        if to > from + count {
            // The skipped blocks were never in the ring.
            self.gone += (to - from - count) * 64;
        }
        self.highest = sequence;
    }

    /// To be called at regular intervals: what was highest three calls ago counts as settled.
    pub fn mark(&mut self) {
        self.marks.rotate_left(1);
        self.marks[3] = self.highest;
    }

    /// Sequence numbers at or below the settled mark of which no copy came.
    pub fn lost(&self) -> u64 {
        let settled = self.marks[0];
        let first_block = (self.highest / 64 + 1).saturating_sub(self.words.len() as u64);
        let mut missing = 0;
        for block in first_block..=settled / 64 {
            let mut expected = u64::MAX;
            if block == 0 {
                expected &= !1;
            }
            if block == settled / 64 {
                expected &= u64::MAX >> (63 - settled % 64);
            }
            let word = self.words[block as usize & (self.words.len() - 1)];
            missing += u64::from((expected & !word).count_ones());
        }
        self.gone + if settled == 0 { 0 } else { missing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// The window by its definition.
    struct Model {
        came: BTreeSet<u64>,
        highest: u64,
        window: u64,
    }

    impl Model {
        fn seen(&self, sequence: u64) -> Seen {
            if self.came.contains(&sequence) && self.highest - sequence < self.window {
                Seen::Copy
            } else if sequence <= self.highest && self.highest - sequence >= self.window {
                Seen::TooOld
            } else {
                Seen::New
            }
        }
    }

    proptest! {
        #[test]
        fn equals_the_model(steps in proptest::collection::vec((0u64..600, 0u8..8), 1..400), jumps in proptest::collection::vec(0u64..2000, 0..8)) {
            let mut recovery = Recovery::new(256);
            let mut model = Model { came: BTreeSet::new(), highest: 0, window: recovery.window() };
            let mut base = 1;
            let mut jumps = jumps.into_iter();
            for (offset, action) in steps {
                if action == 0 {
                    base += jumps.next().unwrap_or(1);
                }
                let sequence = base + offset % 300;
                prop_assert_eq!(recovery.seen(sequence), model.seen(sequence));
                if model.seen(sequence) == Seen::New {
                    recovery.commit(sequence);
                    model.came.insert(sequence);
                    model.highest = model.highest.max(sequence);
                }
            }
            for _ in 0..4 {
                recovery.mark();
            }
            prop_assert_eq!(recovery.lost(), model.highest - model.came.len() as u64);
            prop_assert_eq!(recovery.counters.passed, model.came.len() as u64);
        }
    }

    #[test]
    fn not_yet_settled_is_not_lost() {
        let mut recovery = Recovery::new(65536);
        recovery.commit(1);
        recovery.commit(5);
        assert_eq!(recovery.lost(), 0);
        for _ in 0..4 {
            recovery.mark();
        }
        assert_eq!(recovery.lost(), 3);
        recovery.commit(3);
        assert_eq!(recovery.lost(), 2);
    }
}
