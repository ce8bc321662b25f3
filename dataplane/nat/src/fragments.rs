use crate::address::{widen, Wide};
use crate::table::Map;
use braid_packet::{Ip, Time};
use foldhash::fast::FixedState;
use std::collections::VecDeque;

const LIFETIME: u64 = 5 * Time::SECOND;
/// Datagrams whose first fragment passed.
const MOST_KNOWN: usize = 8192;
/// Datagrams whose first fragment is awaited; fragments of each; bytes of all.
const MOST_WAITING: usize = 64;
const MOST_FRAGMENTS: usize = 16;
const MOST_BYTES: usize = 64 * 1024;

/// Datagram of a fragment (RFC 791, RFC 8200 4.5: for IPv6 the protocol is no part of it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Datagram {
    source: Wide,
    destination: Wide,
    id: u32,
    protocol: u8,
}

impl Datagram {
    pub(crate) fn of(ip: &Ip) -> Datagram {
        Datagram {
            source: widen(ip.source),
            destination: widen(ip.destination),
            id: ip.fragment.id,
            protocol: if ip.v6 { 0 } else { ip.protocol },
        }
    }
}

/// Flow of a datagram, and the identification its fragments get: those of two clients behind one address
/// must not be equal (RFC 6864 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) index: u32,
    pub(crate) serial: u32,
    pub(crate) id: u32,
}

struct Waiting {
    datagram: Datagram,
    since: Time,
    bytes: usize,
    fragments: Vec<Vec<u8>>,
}

/// Virtual reassembly of one direction (RFC 2663, RFC 4787 REQ-14): later fragments find the flow of the first.
pub(crate) struct Fragments {
    known: Map<Datagram, (Time, Known)>,
    /// Of `known`, oldest first; may name some that have been replaced.
    ages: VecDeque<(Time, Datagram)>,
    waiting: Vec<Waiting>,
}

impl Fragments {
    pub(crate) fn new(seed: u64) -> Fragments {
        Fragments { known: Map::with_hasher(FixedState::with_seed(seed)), ages: VecDeque::new(), waiting: Vec::new() }
    }

    pub(crate) fn find(&self, datagram: &Datagram, now: Time) -> Option<Known> {
        let (since, known) = self.known.get(datagram)?;
        (now.since(*since) < LIFETIME).then_some(*known)
    }

    /// Keeps a fragment until the first one comes; false if there is no room.
    pub(crate) fn hold(&mut self, datagram: Datagram, fragment: &[u8], now: Time) -> bool {
        let held: usize = self.waiting.iter().map(|w| w.bytes).sum();
        if held + fragment.len() > MOST_BYTES {
            return false;
        }
        let at = match self.waiting.iter().position(|w| w.datagram == datagram) {
            Some(at) if self.waiting[at].fragments.len() >= MOST_FRAGMENTS => return false,
            Some(at) => at,
            None if !self.has_room_for(&datagram.source) => return false,
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
    fn has_room_for(&self, source: &Wide) -> bool {
        let own = self.waiting.iter().filter(|w| w.datagram.source == *source).count();
        self.waiting.len() < MOST_WAITING && own < MOST_WAITING / 4
    }

    /// The first fragment passed: returns those that waited for it.
    pub(crate) fn learn(&mut self, datagram: Datagram, known: Known, now: Time) -> Vec<Vec<u8>> {
        if self.ages.len() >= MOST_KNOWN {
            self.forget_oldest();
        }
        self.known.insert(datagram, (now, known));
        self.ages.push_back((now, datagram));
        self.take(&datagram)
    }

    /// The first fragment was refused: how many that waited for it are lost.
    pub(crate) fn refuse(&mut self, datagram: &Datagram) -> usize {
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
    pub(crate) fn expire(&mut self, now: Time, budget: usize) -> usize {
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

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let known = self.ages.front().map(|(since, _)| *since);
        let waiting = self.waiting.iter().map(|w| w.since).min();
        known.into_iter().chain(waiting).min().map(|since| since.after(LIFETIME))
    }
}

#[cfg(test)]
mod tests;
