//! The events of a node's shards, merged into those of one node: the control side decides about peers, not about shards.

use crate::event::Event;
use crate::session::PeerKey;
use hashbrown::HashMap;

/// What the shards have said of one peer, and what was passed on of it.
#[derive(Default)]
struct Standing {
    /// A bit for each shard in which the peer is up.
    up: u16,
    /// Epoch in use, who began it, and with which process, by shard.
    established: Vec<Option<(u8, bool, u64)>>,
    told_up: bool,
    told_epoch: Option<u8>,
    told_rekey: bool,
}

/// Up: every shard hears the peer. Down: one no longer does. Established: every shard hears the peer and uses the keys. Rekey:
/// the first shard asks for it. All others pass as they are. The events of one shard pass unchanged.
pub struct Merger {
    shards: usize,
    peers: HashMap<PeerKey, Standing>,
}

impl Merger {
    pub fn new(shards: u8) -> Merger {
        Merger { shards: usize::from(shards), peers: HashMap::new() }
    }

    /// What the node says now that this shard said so, in order.
    pub fn receive(&mut self, shard: usize, event: Event) -> impl Iterator<Item = Event> {
        let mut told = [None, None];
        if self.shards == 1 {
            told[0] = Some(event);
            return told.into_iter().flatten();
        }
        match event {
            Event::Up { peer, adjacent } => {
                let standing = self.standing((peer, adjacent));
                standing.up |= 1 << shard;
                told = self.settle((peer, adjacent));
            }
            Event::Down { peer, adjacent } => {
                let standing = self.standing((peer, adjacent));
                standing.up &= !(1 << shard);
                if std::mem::take(&mut standing.told_up) {
                    told[0] = Some(event);
                }
            }
            Event::Established { peer, adjacent, epoch, initiator, boot } => {
                let standing = self.standing((peer, adjacent));
                if let Some(slot) = standing.established.get_mut(shard) {
                    *slot = Some((epoch, initiator, boot));
                }
                told = self.settle((peer, adjacent));
            }
            Event::Rekey { peer, adjacent } => {
                let standing = self.standing((peer, adjacent));
                if !std::mem::replace(&mut standing.told_rekey, true) {
                    told[0] = Some(event);
                }
            }
            Event::Handshake { .. }
            | Event::Control { .. }
            | Event::Refused { .. }
            | Event::Losses(_)
            | Event::ServiceRequest(_)
            | Event::Held { .. }
            | Event::Ended { .. } => told[0] = Some(event),
        }
        told.into_iter().flatten()
    }

    /// All keys shared with a peer are destroyed.
    pub fn forget(&mut self, key: PeerKey) {
        self.peers.remove(&key);
    }

    fn standing(&mut self, key: PeerKey) -> &mut Standing {
        let shards = self.shards;
        self.peers.entry(key).or_insert_with(|| Standing { established: vec![None; shards], ..Standing::default() })
    }

    fn settle(&mut self, key: PeerKey) -> [Option<Event>; 2] {
        let ((peer, adjacent), all) = (key, ((1u32 << self.shards) - 1) as u16);
        let standing = self.standing(key);
        if standing.up != all {
            return [None, None];
        }
        let mut told = [None, None];
        if let Some((epoch, initiator, boot)) = standing.established[0] {
            let agreed = standing.established.iter().all(|said| said.is_some_and(|(said, ..)| said == epoch));
            if agreed && standing.told_epoch != Some(epoch) {
                (standing.told_epoch, standing.told_rekey) = (Some(epoch), false);
                told[0] = Some(Event::Established { peer, adjacent, epoch, initiator, boot });
            }
        }
        if !std::mem::replace(&mut standing.told_up, true) {
            told[1] = Some(Event::Up { peer, adjacent });
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UP: Event = Event::Up { peer: 21, adjacent: true };
    const DOWN: Event = Event::Down { peer: 21, adjacent: true };
    const REKEY: Event = Event::Rekey { peer: 21, adjacent: true };

    fn established(epoch: u8) -> Event {
        Event::Established { peer: 21, adjacent: true, epoch, initiator: true, boot: 7 }
    }

    fn told(merger: &mut Merger, shard: usize, event: Event) -> Vec<Event> {
        merger.receive(shard, event).collect()
    }

    #[test]
    fn a_session_is_there_when_all_shards_have_it_and_gone_when_one_has_not() {
        let mut merger = Merger::new(2);
        assert_eq!(told(&mut merger, 0, established(1)), []);
        assert_eq!(told(&mut merger, 0, UP), []);
        assert_eq!(told(&mut merger, 1, established(1)), [], "its port may be blocked");
        assert_eq!(told(&mut merger, 1, UP), [established(1), UP]);
        assert_eq!(told(&mut merger, 1, DOWN), [DOWN]);
        assert_eq!(told(&mut merger, 0, DOWN), [], "once");
        assert_eq!(told(&mut merger, 1, UP), []);
        assert_eq!(told(&mut merger, 0, UP), [UP]);
    }

    #[test]
    fn a_rekey_is_asked_for_and_done_once() {
        let mut merger = Merger::new(2);
        for shard in 0..2 {
            let _ = (told(&mut merger, shard, established(1)), told(&mut merger, shard, UP));
        }
        assert_eq!(told(&mut merger, 1, REKEY), [REKEY]);
        assert_eq!(told(&mut merger, 0, REKEY), []);
        assert_eq!(told(&mut merger, 1, established(2)), []);
        assert_eq!(told(&mut merger, 0, established(2)), [established(2)]);
        assert_eq!(told(&mut merger, 0, established(2)), []);
        assert_eq!(told(&mut merger, 0, REKEY), [REKEY]);
        merger.forget((21, true));
        assert_eq!(told(&mut merger, 0, UP), []);
        assert_eq!(told(&mut merger, 1, UP), [UP]);
    }

    proptest! {
        #[test]
        fn one_shard_passes_everything(steps in proptest::collection::vec(0usize..4, 0..20)) {
            let mut merger = Merger::new(1);
            for step in steps {
                let event = [UP, DOWN, REKEY, established(3)][step].clone();
                prop_assert_eq!(told(&mut merger, 0, event.clone()), [event]);
            }
        }

        #[test]
        fn up_and_down_take_turns_and_up_means_all(steps in proptest::collection::vec((0usize..4, any::<bool>()), 0..60)) {
            let mut merger = Merger::new(4);
            let (mut up, mut says) = ([false; 4], false);
            for (shard, is_up) in steps {
                if up[shard] == is_up {
                    continue;
                }
                up[shard] = is_up;
                for event in told(&mut merger, shard, if is_up { UP } else { DOWN }) {
                    prop_assert_eq!(event == UP, !says);
                    says = !says;
                }
                prop_assert_eq!(says, up == [true; 4]);
            }
        }
    }
}
