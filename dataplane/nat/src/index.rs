//! From the hash of a key to the flows that may have it, one cache line per look-up.

/// A cache line: how many entries passed it by because it was full, 12 one-byte tags (0: free), 12 numbers.
const WORDS: usize = 16;
const ENTRIES: usize = 12;
const TAGS: usize = 1;
const NUMBERS: usize = 4;
/// Entries per line when the table is full: about one in 30 is then not in the line that its hash names.
const FILL: usize = 9;

/// The lowest, the highest and all other bits of each tag's byte.
const ONES: u128 = 0x0101_0101_0101_0101_0101_0101;
const HIGHS: u128 = ONES << 7;
const LOWS: u128 = HIGHS - ONES;

type Line = [u32; WORDS];

/// Numbers by hash, for a fixed number of entries, so that it never grows under traffic. The caller knows the keys.
///
/// Open addressing over lines. A removed entry leaves no mark: each line counts what had to go past it (Folly's F14).
#[derive(Debug)]
pub(crate) struct Index {
    /// Zeros as the system gives them: what was never used takes no memory.
    words: Vec<u32>,
    /// Where the first line begins, so that lines are cache lines.
    first: usize,
    lines: usize,
}

impl Index {
    pub(crate) fn new(most: usize) -> Index {
        let lines = most.div_ceil(FILL) + 1;
        let words = vec![0; (lines + 1) * WORDS];
        let first = words.as_ptr().align_offset(WORDS * size_of::<u32>());
        // `align_offset` may decline; then lines are only slower.
        Index { first: if first < WORDS { first } else { 0 }, words, lines }
    }

    /// By the upper half of the hash; tags are of the lower one.
    fn home(&self, hash: u64) -> usize {
        (((hash >> 32) * self.lines as u64) >> 32) as usize
    }

    fn after(&self, line: usize) -> usize {
        if line + 1 < self.lines {
            line + 1
        } else {
            0
        }
    }

    fn line(&self, line: usize) -> Option<&Line> {
        self.words.get(self.first + line * WORDS..)?.first_chunk()
    }

    fn line_mut(&mut self, line: usize) -> Option<&mut Line> {
        self.words.get_mut(self.first + line * WORDS..)?.first_chunk_mut()
    }

    /// The first number under this hash for which `is_it`.
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = self.home(hash);
        for _ in 0..self.lines {
            let line = self.line(at)?;
            let mut candidates = tagged(line, tag(hash));
            while let Some(entry) = next(&mut candidates) {
                let number = *line.get(NUMBERS + entry)?;
                if is_it(number) {
                    return Some(number);
                }
            }
            if line[0] == 0 {
                return None;
            }
            at = self.after(at);
        }
        None
    }

    /// False if there is no room, which cannot be with as many entries as it was made for.
    pub(crate) fn insert(&mut self, hash: u64, number: u32) -> bool {
        let home = self.home(hash);
        let mut at = home;
        for _ in 0..self.lines {
            let Some(line) = self.line_mut(at) else { return false };
            if let Some(entry) = next(&mut tagged(line, 0)) {
                set_tag(line, entry, tag(hash));
                line[NUMBERS + entry] = number;
                self.passed(home, at, 1);
                return true;
            }
            at = self.after(at);
        }
        false
    }

    pub(crate) fn remove(&mut self, hash: u64, number: u32) {
        let home = self.home(hash);
        let mut at = home;
        for _ in 0..self.lines {
            let Some(line) = self.line_mut(at) else { return };
            let mut candidates = tagged(line, tag(hash));
            while let Some(entry) = next(&mut candidates) {
                if line[NUMBERS + entry] == number {
                    set_tag(line, entry, 0);
                    self.passed(home, at, -1);
                    return;
                }
            }
            if line[0] == 0 {
                return;
            }
            at = self.after(at);
        }
    }

    /// An entry in line `at` passes those from `home` on, or no longer does.
    fn passed(&mut self, home: usize, at: usize, more: i32) {
        let mut line = home;
        while line != at {
            if let Some(words) = self.line_mut(line) {
                words[0] = words[0].wrapping_add_signed(more);
            }
            line = self.after(line);
        }
    }

    /// Reads the line of this hash; the value means nothing.
    pub(crate) fn touch(&self, hash: u64) -> u32 {
        self.line(self.home(hash)).map_or(0, |line| line[0])
    }

    /// The number most likely under this hash, or any.
    pub(crate) fn guess(&self, hash: u64) -> u32 {
        let line = self.line(self.home(hash));
        let number = line.and_then(|line| line.get(NUMBERS + next(&mut tagged(line, tag(hash)))?));
        number.copied().unwrap_or(0)
    }
}

fn tag(hash: u64) -> u8 {
    (hash as u8).max(1)
}

/// A set bit for each entry with this tag, at the top of its byte.
fn tagged(line: &Line, tag: u8) -> u128 {
    let tags = u128::from(line[TAGS]) | u128::from(line[TAGS + 1]) << 32 | u128::from(line[TAGS + 2]) << 64;
    let differing = tags ^ (ONES * u128::from(tag));
    // Without the carries from byte to byte of the shorter way, which takes some for equal that are not.
    !(((differing & LOWS) + LOWS) | differing | LOWS) & HIGHS
}

/// Takes the lowest entry out of what `tagged` found.
fn next(found: &mut u128) -> Option<usize> {
    let entry = found.trailing_zeros() as usize / 8;
    *found &= found.wrapping_sub(1);
    (entry < ENTRIES).then_some(entry)
}

fn set_tag(line: &mut Line, entry: usize, tag: u8) {
    let shift = entry % 4 * 8;
    let word = &mut line[TAGS + entry / 4];
    *word = *word & !(0xff << shift) | u32::from(tag) << shift;
}

#[cfg(test)]
mod tests;
