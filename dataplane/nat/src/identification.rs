//! Identifications of the datagrams whose fragments a gateway sends on (RFC 791, RFC 8200 4.5).

use crate::key::mix;

const ROUNDS: u64 = 4;

/// Those that one shard gives in one direction. None comes again before all others were given, 65,536 for IPv4, of which each
/// shard has an equal part: with numbers drawn at random two datagrams under way at once would now and then have the same one,
/// and their receiver would make one of both (RFC 6864 4). Nobody who does not know the seed can tell the next one (RFC 7739).
#[derive(Clone, Debug)]
pub(crate) struct Identifications {
    seed: u64,
    next: u32,
    step: u32,
}

impl Identifications {
    /// For shard `index` of `shards`, a power of two. `seed` is the same in all of them, and hard to guess.
    pub(crate) fn new(seed: u64, (index, shards): (u8, u8)) -> Identifications {
        Identifications { seed, next: u32::from(index), step: u32::from(shards) }
    }

    pub(crate) fn next(&mut self, v6: bool) -> u32 {
        let at = self.next;
        self.next = at.wrapping_add(self.step);
        self.permuted(at, if v6 { 16 } else { 8 })
    }

    /// A Feistel network over numbers of twice `half` bits (Luby and Rackoff 1988): different ones for different ones.
    fn permuted(&self, number: u32, half: u32) -> u32 {
        let mask = (1 << half) - 1;
        let ends = (number >> half & mask, number & mask);
        let (left, right) = (0..ROUNDS).fold(ends, |(left, right), round| {
            (right, left ^ mix(&[self.seed, round, u64::from(half), u64::from(right)]) as u32 & mask)
        });
        left << half | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn shards_together_give_each_one_once(seed: u64, doublings in 0u32..=4) {
            let shards = 1u8 << doublings;
            for v6 in [false, true] {
                let all: HashSet<u32> = (0..shards)
                    .flat_map(|index| {
                        let mut given = Identifications::new(seed, (index, shards));
                        (0..65_536 / u32::from(shards)).map(move |_| given.next(v6))
                    })
                    .collect();
                prop_assert_eq!(all.len(), 65_536);
                prop_assert!(v6 || all.iter().all(|id| *id < 65_536));
            }
        }
    }

    #[test]
    fn they_do_not_follow_each_other() {
        for v6 in [false, true] {
            let mut given = Identifications::new(7, (0, 1));
            let some: Vec<u32> = (0..1000).map(|_| given.next(v6)).collect();
            assert!(some.windows(2).filter(|two| two[0].abs_diff(two[1]) < 16).count() < 10);
        }
        let first = |seed| Identifications::new(seed, (0, 1)).next(true);
        assert_ne!(first(1), first(2));
    }
}
