//! What the first fragment of a datagram says, remembered for the later ones, which have no ports (RFC 2663).

use crate::{Ip, Time};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::net::IpAddr;

const LIFETIME: u64 = 5 * Time::SECOND;
/// Datagrams whose first fragment passed.
const MOST_KNOWN: usize = 8192;
/// Datagrams whose first fragment is awaited; fragments of each; bytes of all.
const MOST_WAITING: usize = 64;
const MOST_FRAGMENTS: usize = 16;
const MOST_BYTES: usize = 64 * 1024;

/// Datagram of a fragment (RFC 791, RFC 8200 4.5: for IPv6 the protocol is no part of it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Datagram {
    source: IpAddr,
    destination: IpAddr,
    id: u32,
    protocol: u8,
}

impl Datagram {
    pub fn of(ip: &Ip) -> Datagram {
        Datagram {
            source: ip.source,
            destination: ip.destination,
            id: ip.fragment.id,
            protocol: if ip.v6 { 0 } else { ip.protocol },
        }
    }
}

struct Waiting {
    datagram: Datagram,
    since: Time,
    bytes: usize,
    fragments: Vec<Vec<u8>>,
}

/// Virtual reassembly of one direction (RFC 4787 REQ-14): later fragments find what is known by the first.
pub struct Fragments<K> {
    known: HashMap<Datagram, (Time, K), FixedState>,
    /// Of `known`, oldest first; may name some that have been replaced.
    ages: VecDeque<(Time, Datagram)>,
    waiting: Vec<Waiting>,
}

// Not inlined: fragments are rare, and their code must not make that of other packets slower.
impl<K: Copy> Fragments<K> {
    /// `seed` must be hard to guess: it keys the table's hash.
    pub fn new(seed: u64) -> Fragments<K> {
        let known = HashMap::with_hasher(FixedState::with_seed(seed));
        Fragments { known, ages: VecDeque::new(), waiting: Vec::new() }
    }

    #[inline(never)]
    pub fn find(&self, datagram: &Datagram, now: Time) -> Option<K> {
        let (since, known) = self.known.get(datagram)?;
        (now.since(*since) < LIFETIME).then_some(*known)
    }

    /// Keeps a fragment until the first one comes; false if there is no room.
    #[inline(never)]
    pub fn hold(&mut self, datagram: Datagram, fragment: &[u8], now: Time) -> bool {
        let held: usize = self.waiting.iter().map(|w| w.bytes).sum();
        if held + fragment.len() > MOST_BYTES {
            return false;
        }
        let at = match self.waiting.iter().position(|w| w.datagram == datagram) {
            Some(at) if self.waiting[at].fragments.len() >= MOST_FRAGMENTS => return false,
            Some(at) => at,
            None if !self.has_room_for(datagram.source) => return false,
            None => {
                self.waiting.push(Waiting { datagram, since: now, bytes: 0, fragments: Vec::new() });
                self.waiting.len() - 1
            }
        };
        let waiting = &mut self.waiting[at];
        waiting.bytes += fragment.len();
        waiting.fragments.push(fragment.to_vec());
        true
    }

    /// One sender gets no more than a quarter.
    fn has_room_for(&self, source: IpAddr) -> bool {
        let own = self.waiting.iter().filter(|w| w.datagram.source == source).count();
        self.waiting.len() < MOST_WAITING && own < MOST_WAITING / 4
    }

    /// The first fragment passed: returns those that waited for it.
    #[inline(never)]
    pub fn learn(&mut self, datagram: Datagram, known: K, now: Time) -> Vec<Vec<u8>> {
        if self.ages.len() >= MOST_KNOWN {
            self.forget_oldest();
        }
        self.known.insert(datagram, (now, known));
        self.ages.push_back((now, datagram));
        self.take(&datagram)
    }

    /// The first fragment was refused: how many that waited for it are lost.
    #[inline(never)]
    pub fn refuse(&mut self, datagram: &Datagram) -> usize {
        self.take(datagram).len()
    }

    fn take(&mut self, datagram: &Datagram) -> Vec<Vec<u8>> {
        match self.waiting.iter().position(|w| w.datagram == *datagram) {
            Some(at) => self.waiting.remove(at).fragments,
            None => Vec::new(),
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((since, datagram)) = self.ages.pop_front() {
            if self.known.get(&datagram).is_some_and(|(at, _)| *at == since) {
                self.known.remove(&datagram);
            }
        }
    }

    /// Gives up what is too old; how many fragments are lost by it.
    #[inline(never)]
    pub fn expire(&mut self, now: Time, budget: usize) -> usize {
        for _ in 0..budget {
            match self.ages.front() {
                Some((since, _)) if now.since(*since) >= LIFETIME => self.forget_oldest(),
                _ => break,
            }
        }
        let mut lost = 0;
        self.waiting.retain(|w| {
            let keep = now.since(w.since) < LIFETIME;
            lost += if keep { 0 } else { w.fragments.len() };
            keep
        });
        lost
    }

    pub fn next_timeout(&self) -> Option<Time> {
        let known = self.ages.front().map(|(since, _)| *since);
        let waiting = self.waiting.iter().map(|w| w.since).min();
        known.into_iter().chain(waiting).min().map(|since| since.after(LIFETIME))
    }
}

#[cfg(test)]
mod tests;
