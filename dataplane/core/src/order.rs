//! Ordering of first copies (packet ordering function, RFC 9550): a hole left by one path waits for the other path's copy.
//!
//! Without holes nothing is held and nothing is copied. A hole is given up after the measured skew of the paths, so a loss on
//! all paths costs the packets behind it that much delay once; if waiting helps nobody again and again, holes are given up
//! sooner. Bounded in packets; when full, the oldest hole is given up.

use crate::skew::SHORTEST_WAIT;
use braid_packet::Time;
use std::collections::VecDeque;

const MOST_HELD: usize = 4096;
const MOST_SPARE: usize = 256;
const MOST_HALVINGS: u32 = 6;

/// A packet waiting for an earlier one. An empty one stands for a sequence number that carries no packet.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub bytes: Vec<u8>,
    pub partial: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Next in order: deliver, then drain `ready`.
    Deliver,
    /// Behind a hole: give it to `hold`.
    Hold,
    /// Its place was given up or ordering was off: deliver at once, later ones are out already.
    Late,
}

pub struct Orderer {
    expected: u64,
    held: VecDeque<Option<(Held, Time)>>,
    count: usize,
    spare: Vec<Vec<u8>>,
    /// Holes in a row for which waiting was in vain; each halves the wait.
    in_vain: u32,
    /// Holes given up, and packets that came after theirs was.
    pub given_up: u64,
    pub late: u64,
}

impl Default for Orderer {
    fn default() -> Self {
        Orderer { expected: 1, held: VecDeque::new(), count: 0, spare: Vec::new(), in_vain: 0, given_up: 0, late: 0 }
    }
}

impl Orderer {
    /// `wait` is how long holes are kept open in nanoseconds; 0 turns ordering off.
    pub fn offer(&mut self, sequence: u64, wait: u64) -> Offer {
        if sequence < self.expected {
            self.late += 1;
            self.in_vain = 0;
            return Offer::Late;
        }
        if sequence == self.expected {
            if self.count > 0 {
                self.in_vain = 0;
            }
            self.expected += 1;
            self.held.pop_front();
            return Offer::Deliver;
        }
        if wait == 0 && self.count == 0 {
            self.expected = sequence + 1;
            self.held.clear();
            return Offer::Deliver;
        }
        Offer::Hold
    }

    /// Keeps a copy of `bytes`. Frees its place beforehand, when needed, by giving up holes: drain `ready` after it too.
    pub fn hold(&mut self, sequence: u64, bytes: &[u8], partial: bool, now: Time) {
        while sequence - self.expected >= MOST_HELD as u64 && self.count > 0 && self.head_is_hole() {
            self.give_up();
        }
        if sequence - self.expected >= MOST_HELD as u64 && self.count == 0 {
            self.expected = sequence;
            self.held.clear();
        }
        let at = (sequence - self.expected) as usize;
        if self.held.len() <= at {
            self.held.resize_with(at + 1, || None);
        }
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(bytes);
        if self.held[at].replace((Held { bytes: buffer, partial }, now)).is_none() {
            self.count += 1;
        }
    }

    fn head_is_hole(&self) -> bool {
        matches!(self.held.front(), None | Some(None))
    }

    /// The next packet in order, if it is here.
    pub fn ready(&mut self) -> Option<Held> {
        if self.head_is_hole() {
            return None;
        }
        let (held, _) = self.held.pop_front()??;
        self.expected += 1;
        self.count -= 1;
        Some(held)
    }

    /// Returns a delivered packet's buffer for reuse.
    pub fn recycle(&mut self, held: Held) {
        if self.spare.len() < MOST_SPARE {
            self.spare.push(held.bytes);
        }
    }

    fn give_up(&mut self) {
        while self.head_is_hole() && self.count > 0 {
            self.held.pop_front();
            self.expected += 1;
            self.given_up += 1;
        }
    }

    /// When the oldest hole is to be given up.
    pub fn next_timeout(&self, wait: u64) -> Option<Time> {
        if self.count == 0 {
            return None;
        }
        let (_, arrived) = self.held.iter().flatten().next()?;
        let shortest = wait.min(SHORTEST_WAIT);
        Some(arrived.after((wait >> self.in_vain).max(shortest)))
    }

    /// Gives up the oldest hole if its time has come; true: drain `ready`, then call again.
    pub fn handle_timeout(&mut self, now: Time, wait: u64) -> bool {
        match self.next_timeout(wait) {
            Some(due) if due <= now => {
                self.give_up();
                self.in_vain = (self.in_vain + 1).min(MOST_HALVINGS);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WAIT: u64 = 10 * Time::MILLISECOND;

    fn drain(orderer: &mut Orderer, out: &mut Vec<u64>) {
        while let Some(held) = orderer.ready() {
            out.push(u64::from_be_bytes(held.bytes[..].try_into().unwrap()));
            orderer.recycle(held);
        }
    }

    fn push(orderer: &mut Orderer, sequence: u64, now: Time, out: &mut Vec<u64>) {
        match orderer.offer(sequence, WAIT) {
            Offer::Deliver | Offer::Late => out.push(sequence),
            Offer::Hold => orderer.hold(sequence, &sequence.to_be_bytes(), false, now),
        }
        drain(orderer, out);
    }

    proptest! {
        #[test]
        fn delivers_each_once_and_in_order_if_all_come_in_time(order in Just((1u64..200).collect::<Vec<_>>()).prop_shuffle()) {
            let (mut orderer, mut out) = (Orderer::default(), Vec::new());
            for &sequence in &order {
                push(&mut orderer, sequence, Time(0), &mut out);
            }
            prop_assert_eq!(out, (1..200).collect::<Vec<_>>());
            prop_assert_eq!(orderer.next_timeout(WAIT), None);
        }

        #[test]
        fn holes_are_given_up_in_time_and_nothing_is_lost_or_doubled(gaps in proptest::collection::vec(1u64..6000, 1..60)) {
            let (mut orderer, mut out, mut sent) = (Orderer::default(), Vec::new(), Vec::new());
            let mut sequence = 0;
            for (i, gap) in gaps.iter().enumerate() {
                sequence += gap;
                sent.push(sequence);
                let now = Time(i as u64 * Time::MILLISECOND);
                while orderer.handle_timeout(now, WAIT) {
                    drain(&mut orderer, &mut out);
                }
                push(&mut orderer, sequence, now, &mut out);
            }
            let end = Time(gaps.len() as u64 * Time::MILLISECOND + WAIT);
            while orderer.handle_timeout(end, WAIT) {
                drain(&mut orderer, &mut out);
            }
            prop_assert_eq!(out, sent);
        }
    }

    #[test]
    fn a_copy_after_its_hole_was_given_up_is_late_not_lost() {
        let (mut orderer, mut out) = (Orderer::default(), Vec::new());
        push(&mut orderer, 2, Time(0), &mut out);
        assert_eq!(orderer.next_timeout(WAIT), Some(Time(WAIT)));
        assert!(orderer.handle_timeout(Time(WAIT), WAIT));
        drain(&mut orderer, &mut out);
        push(&mut orderer, 1, Time(WAIT), &mut out);
        assert_eq!((out, orderer.late, orderer.given_up), (vec![2, 1], 1, 1));
    }

    #[test]
    fn waiting_in_vain_gets_shorter_until_it_helps_again() {
        let wait = 64 * Time::MILLISECOND;
        let (mut orderer, mut now) = (Orderer::default(), Time(0));
        let mut waits = Vec::new();
        for hole in 0..8u64 {
            orderer.offer(3 * hole + 1, wait);
            assert_eq!(orderer.offer(3 * hole + 3, wait), Offer::Hold);
            orderer.hold(3 * hole + 3, &[], false, now);
            let due = orderer.next_timeout(wait).unwrap();
            waits.push(due.since(now) / Time::MILLISECOND);
            now = due;
            assert!(orderer.handle_timeout(now, wait));
            assert!(orderer.ready().is_some());
        }
        assert_eq!(waits, [64, 32, 16, 8, 4, 2, 1, 1]);
        assert_eq!(orderer.offer(2, wait), Offer::Late);
        orderer.hold(30, &[], false, now);
        assert_eq!(orderer.next_timeout(wait).unwrap().since(now), wait);
    }
}
