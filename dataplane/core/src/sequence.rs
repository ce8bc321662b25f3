//! Sequence recovery (IEEE 802.1CB 7.4, vector algorithm): which copy is the first.
//!
//! A ring of bits as in RFC 6479. `seen` before decryption costs one load; `commit` after authentication is the only
//! thing that moves the window, so a forgery cannot. How large the window is, `window` decides.

/// 802.1CB counters (9.x frerSeqRcvy...) plus what a snapshot derives from the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecoveryCounters {
    pub passed: u64,
    pub discarded: u64,
    /// Passed, and not next in sequence: after a gap, or behind a later one.
    pub out_of_order: u64,
    /// Too old for the window.
    pub rogue: u64,
    /// Without a sequence number, which no sender leaves out: refused.
    pub tagless: u64,
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
    /// A set bit: came, or is older than what is known.
    words: Box<[u64]>,
    highest: u64,
    /// The oldest sequence number of which it is known whether it came.
    oldest: u64,
    /// Sequence numbers that left the window without having come.
    gone: u64,
    /// Highest at the last few marks, oldest first: what is older than the first is not expected any more.
    marks: [u64; 4],
    pub counters: RecoveryCounters,
}

fn words(bits: usize) -> usize {
    (bits.max(128).next_power_of_two() / 64).max(2)
}

impl Recovery {
    /// A window of `bits`, which must be a power of two and at least 128; 64 of them are reserve. Sequences start at 1.
    pub fn new(bits: usize) -> Recovery {
        let mut words = vec![0; words(bits)].into_boxed_slice();
        // There is no sequence number 0.
        words[0] = 1;
        Recovery { words, highest: 0, oldest: 0, gone: 0, marks: [0; 4], counters: RecoveryCounters::default() }
    }

    fn word(&self, sequence: u64) -> usize {
        (sequence / 64) as usize & (self.words.len() - 1)
    }

    /// Sequences that can be told apart, the newest included. After a resize it takes that many for it to be so.
    pub fn window(&self) -> u64 {
        (self.words.len() as u64 - 1) * 64
    }

    /// What it was made with, or resized to.
    pub fn bits(&self) -> usize {
        self.words.len() * 64
    }

    pub fn highest(&self) -> u64 {
        self.highest
    }

    pub fn seen(&self, sequence: u64) -> Seen {
        if sequence > self.highest {
            return Seen::New;
        }
        if sequence < self.oldest {
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
        self.counters.out_of_order += u64::from(sequence != self.highest + 1);
        if sequence > self.highest {
            if sequence / 64 != self.highest / 64 {
                self.advance(sequence);
            }
            self.highest = sequence;
            self.oldest = self.oldest.max((sequence + 1).saturating_sub(self.window()));
        }
        self.counters.passed += 1;
        let word = self.word(sequence);
        self.words[word] |= 1 << (sequence % 64);
    }

    /// The highest number is about to be in another block: those up to it begin anew.
    #[inline(never)]
    fn advance(&mut self, sequence: u64) {
        let (from, to) = (self.highest / 64, sequence / 64);
        let count = self.words.len() as u64;
        for block in from + 1..=to.min(from + count) {
            let word = block as usize & (self.words.len() - 1);
            if block >= count {
                self.gone += u64::from(self.words[word].count_zeros());
            }
            self.words[word] = 0;
        }
        if to > from + count {
            // The skipped blocks were never in the ring.
            self.gone += (to - from - count) * 64;
        }
    }

    /// Another size, as in `new`. What a larger window knows from before stays known, and what it did not know it does not
    /// take for new; a smaller one forgets the oldest, and counts those of them as lost that have not come.
    pub fn resize(&mut self, bits: usize) {
        let (before, count) = (self.words.len() as u64, words(bits) as u64);
        let end = self.highest / 64 + 1;
        let mut resized = vec![u64::MAX; count as usize].into_boxed_slice();
        for block in end.saturating_sub(before)..end {
            let word = self.words[block as usize & (self.words.len() - 1)];
            if block + count >= end {
                resized[block as usize & (count as usize - 1)] = word;
            } else {
                self.gone += u64::from(word.count_zeros());
            }
        }
        self.words = resized;
        self.oldest = self.oldest.max((self.highest + 1).saturating_sub(self.window()));
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
            if block == settled / 64 {
                expected &= u64::MAX >> (63 - settled % 64);
            }
            let word = self.words[block as usize & (self.words.len() - 1)];
            missing += u64::from((expected & !word).count_ones());
        }
        self.gone + missing
    }
}

#[cfg(test)]
mod tests;
