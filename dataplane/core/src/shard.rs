//! Shards and lanes: which of a node's data threads handles which packets.
//!
//! A session has as many lanes as the one of its two nodes with more shards; both counts are powers of two. Lane `l` belongs
//! to shard `l mod shards` at either end and at every node between, so no two threads of a node ever meet over a packet.

/// Shards of a node, and so lanes of a session, at most.
pub const MOST_SHARDS: u8 = 16;

/// Which one of how many shards an engine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    index: u8,
    count: u8,
}

impl Place {
    pub const ALONE: Place = Place { index: 0, count: 1 };

    /// None unless `count` is a power of two up to `MOST_SHARDS`, and `index` below it.
    pub fn new(index: u8, count: u8) -> Option<Place> {
        (is_shard_count(count) && index < count).then_some(Place { index, count })
    }

    pub fn index(self) -> usize {
        usize::from(self.index)
    }

    pub fn count(self) -> u8 {
        self.count
    }

    pub fn is_alone(self) -> bool {
        self.count == 1
    }

    pub fn carries(self, lane: u8) -> bool {
        lane < MOST_SHARDS && lane & (self.count - 1) == self.index
    }

    /// The shard of this node that a flow's number falls to.
    pub fn owner(self, flow: u32) -> usize {
        (flow & u32::from(self.count - 1)) as usize
    }

    /// What this shard carries of the sessions with a node of so many shards.
    pub fn lanes(self, peer_shards: u8) -> Lanes {
        let total = self.count.max(if is_shard_count(peer_shards) { peer_shards } else { 1 });
        Lanes { first: self.index, shift: self.count.trailing_zeros() as u8, total }
    }
}

pub fn is_shard_count(count: u8) -> bool {
    count.is_power_of_two() && count <= MOST_SHARDS
}

/// The lanes of a session that one shard carries. A slot is the place of a lane among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanes {
    first: u8,
    shift: u8,
    total: u8,
}

impl Lanes {
    /// Those of a session between two nodes of one shard each.
    pub const ONE: Lanes = Lanes { first: 0, shift: 0, total: 1 };

    /// Lanes of the session, those of other shards included.
    pub fn total(self) -> u8 {
        self.total
    }

    pub fn slots(self) -> usize {
        usize::from(self.total >> self.shift)
    }

    /// For a lane that the shard carries; not below `slots` if the session has no such lane.
    pub fn slot(self, lane: u8) -> usize {
        usize::from(lane >> self.shift)
    }

    /// For any lane that passes through the shard, of whatever session: the slot of the one that goes the same way.
    pub fn slot_among(self, lane: u8) -> usize {
        usize::from((lane & (self.total - 1)) >> self.shift)
    }

    pub fn lane(self, slot: usize) -> u8 {
        (slot as u8) << self.shift | self.first
    }

    /// Where a flow goes; the shard must own it.
    pub fn slot_of(self, flow: u32) -> usize {
        (flow & u32::from(self.total - 1)) as usize >> self.shift
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTS: [u8; 5] = [1, 2, 4, 8, 16];

    #[test]
    fn each_lane_of_a_session_has_one_shard_and_one_slot() {
        for own in COUNTS {
            for other in COUNTS {
                let mut lanes = Vec::new();
                for index in 0..own {
                    let place = Place::new(index, own).unwrap();
                    let carried = place.lanes(other);
                    assert_eq!(carried.total(), own.max(other));
                    for slot in 0..carried.slots() {
                        let lane = carried.lane(slot);
                        assert!(place.carries(lane));
                        assert_eq!(carried.slot(lane), slot);
                        lanes.push(lane);
                    }
                }
                lanes.sort_unstable();
                assert_eq!(lanes, (0..own.max(other)).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn both_ends_put_a_flow_into_one_lane_and_its_owners_carry_it() {
        for flow in (0..10_000u32).map(|n| n.wrapping_mul(2_654_435_761)) {
            for one in COUNTS {
                for other in COUNTS {
                    let at = |own: u8, peer: u8| {
                        let owner = Place::new(0, own).unwrap().owner(flow) as u8;
                        let place = Place::new(owner, own).unwrap();
                        let lanes = place.lanes(peer);
                        let lane = lanes.lane(lanes.slot_of(flow));
                        assert!(place.carries(lane));
                        lane
                    };
                    assert_eq!(at(one, other), at(other, one));
                }
            }
        }
    }

    #[test]
    fn counts_are_powers_of_two_up_to_the_most() {
        let good: Vec<u8> = (0..=255).filter(|&count| is_shard_count(count)).collect();
        assert_eq!(good, COUNTS);
        assert_eq!(Place::new(2, 2), None);
        assert_eq!(Place::new(0, 3), None);
        assert!(!Place::ALONE.carries(16), "no lane beyond the most");
    }
}
