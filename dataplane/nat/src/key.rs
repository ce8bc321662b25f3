use crate::address::{as_v4, Wide};
pub(crate) use braid_packet::mix;
use foldhash::quality::FoldHasher;
use foldhash::SharedSeed;
use std::hash::Hasher;

/// What a packet is looked up by, as seen from one side: `near` is who sends on this side (client or target),
/// `far` is whom it takes for its peer (VIP or SNAT address). An ICMP identifier is the port of the client's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) near: Wide,
    pub(crate) far: Wide,
    pub(crate) near_port: u16,
    pub(crate) far_port: u16,
    pub(crate) protocol: u8,
}

impl Key {
    /// Of a flow that has no target yet.
    pub(crate) const NOTHING: Key = Key { near: 0, far: 0, near_port: 0, far_port: 0, protocol: 0 };

    pub(crate) fn is_nothing(&self) -> bool {
        self.far == 0 || as_v4(self.far) == Some(0)
    }

    /// Near and far address if they are IPv4 ones.
    pub(crate) fn narrow(&self) -> Option<[u32; 2]> {
        Some([as_v4(self.near)?, as_v4(self.far)?])
    }
}

/// Keyed, so that nobody outside can choose addresses that collide.
#[derive(Clone, Debug)]
pub(crate) struct Keyed {
    seed: u64,
    shared: SharedSeed,
}

impl Keyed {
    pub(crate) fn new(seed: u64) -> Keyed {
        // As it is, a seed that equals half an address would make all with that half alike.
        Keyed { seed: mix(&[seed, 2]), shared: SharedSeed::from_u64(mix(&[seed])) }
    }

    #[inline]
    pub(crate) fn hash(&self, key: &Key) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        match key.narrow() {
            Some([near, far]) => hasher.write_u64(u64::from(near) << 32 | u64::from(far)),
            None => {
                hasher.write_u128(key.near);
                hasher.write_u128(key.far);
            }
        }
        hasher.write_u64(u64::from(key.near_port) << 32 | u64::from(key.far_port) << 16 | u64::from(key.protocol));
        hasher.finish()
    }

    pub(crate) fn hash_address(&self, address: Wide) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        hasher.write_u128(address);
        mix(&[hasher.finish()])
    }
}

/// SplitMix64: spreads source ports; protects no secret.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(mix(&[seed, 1]))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(&[self.0])
    }

    /// Below `bound`, which is above zero.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        (((self.next() >> 32) * u64::from(bound.max(1))) >> 32) as u32
    }
}
