//! Whole nodes in memory: a link that loses half of what comes back carries all that goes there, also while keys are renewed.

use braid_core::Event;
use braid_packet::Time;
use braid_testbed::{Braid, Sent, EDGE, RELAYS};
use std::collections::VecDeque;

const MS: u64 = Time::MILLISECOND;
const RELAY: u16 = RELAYS[0];
const THERE: u64 = 70 * MS;
const BACK: u64 = 15 * MS;
/// Between initiations that are not answered, as `braid.session` lets them pass.
const PAUSES: [u64; 4] = [250 * MS, 500 * MS, 1000 * MS, 1000 * MS];
const RENEWED_AFTER: u64 = 20 * Time::SECOND;

/// The link between the edge and a relay, and the edge's control side as far as keys of that link go.
struct Link {
    braid: Braid,
    /// When it arrives.
    there: VecDeque<(Time, Sent)>,
    back: VecDeque<(Time, Sent)>,
    random: u64,
    initiates: Time,
    attempts: usize,
}

impl Link {
    fn new(seed: u64) -> Link {
        let mut braid = Braid::up();
        braid.advance(Time::SECOND);
        let initiates = braid.now.after(RENEWED_AFTER / 4);
        Link { braid, there: VecDeque::new(), back: VecDeque::new(), random: seed, initiates, attempts: 0 }
    }

    fn is_lost(&mut self) -> bool {
        self.random = self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        self.random >> 63 == 1
    }

    fn pass(&mut self) {
        let now = self.braid.now;
        let mut left = Vec::new();
        self.braid.advance_with(5 * MS, |sent| match (sent.from, sent.to) {
            (EDGE, RELAY) | (RELAY, EDGE) => {
                left.push(sent);
                vec![]
            }
            _ => vec![sent],
        });
        for sent in left {
            match sent.from {
                EDGE => self.there.push_back((now.after(THERE), sent)),
                _ if self.is_lost() => {}
                _ => self.back.push_back((now.after(BACK), sent)),
            }
        }
        for way in [&mut self.there, &mut self.back] {
            while way.front().is_some_and(|(due, _)| *due <= self.braid.now) {
                let (_, sent) = way.pop_front().unwrap();
                self.braid.arrive(&sent);
            }
        }
        self.braid.recorded.clear();
        self.control();
    }

    /// Keys are renewed in time, and when nothing is heard.
    fn control(&mut self) {
        let now = self.braid.now;
        for event in self.braid.heard(EDGE) {
            match event {
                Event::Down { peer: RELAY, adjacent: true } => (self.initiates, self.attempts) = (now, 0),
                Event::Established { peer: RELAY, adjacent: true, .. } => {
                    (self.initiates, self.attempts) = (now.after(RENEWED_AFTER), 0);
                }
                _ => {}
            }
        }
        if now >= self.initiates {
            self.braid.initiate(EDGE, RELAY, true);
            self.initiates = now.after(PAUSES[self.attempts.min(PAUSES.len() - 1)]);
            self.attempts += 1;
        }
    }
}

/// A responder that has no room for new keys must not answer: who is answered sends with them.
#[test]
fn what_is_lost_on_the_way_back_loses_nothing_on_the_way_there() {
    let mut refused = 0;
    for seed in 0..16 {
        let mut link = Link::new(seed * 77 + 1);
        let end = link.braid.now.after(60 * Time::SECOND);
        while link.braid.now < end {
            link.pass();
        }
        let neighbours = link.braid.snapshot(EDGE)["neighbours"].clone();
        let seen = neighbours.as_array().unwrap().iter().find(|each| each["node"] == RELAY).unwrap().clone();
        assert!(seen["reported"].as_u64().unwrap() > 1000, "{seen}");
        assert_eq!((seen["lost"].as_u64(), link.braid.drops(RELAY, "hop_tag")), (Some(0), 0), "{seed}");
        refused += link.braid.drops(RELAY, "handshake_crowded");
    }
    assert!(refused > 0, "answers in a row were lost");
}
