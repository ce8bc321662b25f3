//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! A *sum* is the folded, not complemented ones'-complement sum; a *checksum* is its complement. A packet with
//! a partial checksum (`VnetHdr::needs_csum`) carries the sum of its pseudo-header where the checksum belongs.

/// Ones'-complement sum of `bytes` on top of `start` (from an earlier call or `pseudo_header`).
pub fn sum(bytes: &[u8], start: u16) -> u16 {
    // In native byte order and several lanes, so that the compiler makes vectors of it (RFC 1071 2).
    let mut lanes = [0_u64; 8];
    let mut chunks = bytes.chunks_exact(32);
    for chunk in &mut chunks {
        for (lane, word) in lanes.iter_mut().zip(chunk.chunks_exact(4)) {
            *lane += word_of(word);
        }
    }
    let mut total = u64::from(start.to_be()) + lanes.iter().sum::<u64>();
    let mut words = chunks.remainder().chunks_exact(4);
    for word in &mut words {
        total += word_of(word);
    }
    let rest = words.remainder();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    u16::from_be(fold(total + word_of(&last)))
}

/// The four bytes of `word` in native order.
fn word_of(word: &[u8]) -> u64 {
    u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))
}

fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// Sum of the TCP/UDP/ICMPv6 pseudo-header; the addresses are 4 or 16 bytes each.
pub fn pseudo_header(source: &[u8], destination: &[u8], protocol: u8, length: usize) -> u16 {
    // Without the lanes of `sum`, which so few bytes do not fill.
    let words = source.chunks_exact(4).chain(destination.chunks_exact(4));
    let addresses = u16::from_be(fold(words.map(word_of).sum()));
    fold(u64::from(addresses) + u64::from(protocol) + length as u64)
}

/// New *checksum* after a 16-bit aligned field changed (RFC 1624 eqn. 3).
pub fn update(checksum: u16, old: &[u8], new: &[u8]) -> u16 {
    !update_sum(!checksum, old, new)
}

/// New *sum* after a 16-bit aligned field changed: for partial checksums.
pub fn update_sum(folded: u16, old: &[u8], new: &[u8]) -> u16 {
    fold(u64::from(folded) + u64::from(!sum(old, 0)) + u64::from(sum(new, 0)))
}

/// What a change of 16-bit aligned fields does to a sum over them: for several sums over the same fields.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change(u64);

impl Change {
    /// Of one field; `N` is even.
    #[inline]
    pub fn of<const N: usize>(old: [u8; N], new: [u8; N]) -> Change {
        let word = |bytes: &[u8]| u16::from_be_bytes([bytes[0], bytes[1]]);
        let pairs = old.chunks_exact(2).zip(new.chunks_exact(2));
        Change(pairs.map(|(old, new)| u64::from(!word(old)) + u64::from(word(new))).sum())
    }

    /// Both changes.
    #[inline]
    pub fn and(self, other: Change) -> Change {
        Change(self.0 + other.0)
    }

    /// As `update_sum`.
    #[inline]
    pub fn of_sum(self, folded: u16) -> u16 {
        fold(u64::from(folded) + self.0)
    }

    /// As `update`.
    #[inline]
    pub fn of_checksum(self, checksum: u16) -> u16 {
        !self.of_sum(!checksum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc1071_example() {
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7], 0), 0xddf2);
    }

    proptest! {
        #[test]
        fn equals_the_definition(bytes in proptest::collection::vec(any::<u8>(), 0..200), start: u16) {
            let mut expected = u64::from(start);
            for word in bytes.chunks(2) {
                expected += u64::from(word[0]) << 8 | word.get(1).map_or(0, |b| u64::from(*b));
            }
            prop_assert_eq!(sum(&bytes, start), fold(expected));
        }

        #[test]
        fn sums_concatenate(a in proptest::collection::vec(any::<u8>(), 0..64), b in proptest::collection::vec(any::<u8>(), 0..64)) {
            let even = &a[..a.len() & !1];
            prop_assert_eq!(sum(&b, sum(even, 0)), sum(&[even, &b].concat(), 0));
        }

        #[test]
        fn update_equals_recomputing(mut bytes in proptest::collection::vec(any::<u8>(), 8..64), new in any::<[u8; 4]>()) {
            bytes[7] |= 1; // a sum of zero has two representations; real packets never have it
            let old: [u8; 4] = bytes[..4].try_into().unwrap();
            let before = !sum(&bytes, 0);
            bytes[..4].copy_from_slice(&new);
            prop_assert_eq!(update(before, &old, &new), !sum(&bytes, 0));
            let ([a, b, c, d], [e, f, g, h]) = (old, new);
            let change = Change::of([a, b], [e, f]).and(Change::of([c, d], [g, h]));
            prop_assert_eq!(change.of_checksum(before), !sum(&bytes, 0));
            prop_assert_eq!(Change::of(old, new).of_sum(!before), sum(&bytes, 0));
        }
    }
}
