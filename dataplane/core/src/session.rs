//! Sessions: which keys are used to send to a peer, which are still good to receive, and whether the peer is heard.
//!
//! A responder's new keys become current when the first packet opens with them; until then the old ones send. Replaced keys
//! receive for `LINGER` more. So a rekey loses nothing and a replayed initiation replaces nothing.

use crate::handshake::NewSession;
use crate::hop::HopKey;
use crate::order::{Orderer, Skew};
use crate::seal::{Opener, Sealer};
use crate::sequence::{Recovery, RecoveryCounters};
use braid_packet::Time;
use hashbrown::HashMap;

/// How long replaced keys are good for receiving: three times the longest path skew, and more.
const LINGER: u64 = 30 * Time::SECOND;
/// An unconfirmed session is forgotten after this.
const CONFIRM_WITHIN: u64 = 10 * Time::SECOND;
const WINDOW_END_TO_END: usize = 65_536;
const WINDOW_ADJACENT: usize = 1024;

/// A peer as seen from here: (number, adjacent).
pub type PeerKey = (u16, bool);

pub struct Session {
    pub key: PeerKey,
    pub initiator: bool,
    pub local_epoch: u8,
    pub remote_epoch: u8,
    pub remote_index: u32,
    pub sealer: Sealer,
    pub opener: Opener,
    pub recovery: Recovery,
    pub order: Orderer,
    pub skew: Skew,
    /// How long holes are kept open now, in nanoseconds.
    pub wait: u64,
    pub hop_tx: Option<HopKey>,
    pub installed: Time,
    pub confirmed: bool,
    pub retired: Option<Time>,
    pub tx_bytes: u64,
    pub aead_failures: u64,
    pub rekey_asked: bool,
}

/// What went through the keys shared with a peer, those that are gone included.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub received: RecoveryCounters,
    pub lost: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub given_up: u64,
    pub late: u64,
}

impl Totals {
    fn add(&mut self, session: &Session) {
        let counters = session.recovery.counters;
        self.received.passed += counters.passed;
        self.received.discarded += counters.discarded;
        self.received.out_of_order += counters.out_of_order;
        self.received.rogue += counters.rogue;
        self.lost += session.recovery.lost();
        self.tx_packets += session.sealer.sealed();
        self.tx_bytes += session.tx_bytes;
        self.given_up += session.order.given_up;
        self.late += session.order.late;
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Arrival {
    /// Number of the neighbour it comes through.
    pub via: u16,
    pub first: u64,
    pub eliminated: u64,
    pub heard: Time,
}

#[derive(Default)]
pub struct Peer {
    /// Local index of the session that sends.
    pub current: Option<u32>,
    pub up: bool,
    pub heard: Option<Time>,
    /// By path id of the sender.
    pub arrivals: [Option<Arrival>; 16],
    pub sessions_made: u64,
    /// Of sessions that are gone.
    past: Totals,
    /// For the keepalive's echo: the peer's last stamp and when it came.
    pub stamp: Option<(u64, Time)>,
    /// Our paths that the peer hears, by its last keepalive.
    pub reported: Option<u16>,
}

impl Peer {
    /// The peer's paths that were heard in the last second, as bits.
    pub fn heard_paths(&self, now: Time) -> u16 {
        let heard = |arrival: &Option<Arrival>| arrival.is_some_and(|a| now.since(a.heard) < Time::SECOND);
        self.arrivals.iter().enumerate().filter(|(_, a)| heard(a)).fold(0, |bits, (id, _)| bits | 1 << id)
    }
}

#[derive(Default)]
pub struct Sessions {
    by_index: HashMap<u32, Session>,
    peers: HashMap<PeerKey, Peer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstallError {
    /// The AEAD refused the key, or the index is taken.
    Key,
    /// Too many unconfirmed sessions of this peer: a replay, or it never confirms.
    Crowded,
}

impl Sessions {
    /// Adds keys. An initiator's are current at once, a responder's when the peer proves to have them.
    pub fn install(&mut self, new: &NewSession, now: Time) -> Result<(), InstallError> {
        let key = (new.peer, new.adjacent);
        let waiting = |s: &Session| s.key == key && !s.confirmed;
        if !new.initiator && self.by_index.values().filter(|s| waiting(s)).count() >= 3 {
            return Err(InstallError::Crowded);
        }
        let window = if new.adjacent { WINDOW_ADJACENT } else { WINDOW_END_TO_END };
        let session = Session {
            key,
            initiator: new.initiator,
            local_epoch: new.local_epoch,
            remote_epoch: new.remote_epoch,
            remote_index: new.remote_index,
            sealer: Sealer::new(new.suite, &new.tx).ok_or(InstallError::Key)?,
            opener: Opener::new(new.suite, &new.rx).ok_or(InstallError::Key)?,
            recovery: Recovery::new(window),
            order: Orderer::default(),
            skew: Skew::default(),
            wait: 0,
            hop_tx: new.adjacent.then(|| HopKey::new(&new.tx.hop)),
            installed: now,
            confirmed: new.initiator,
            retired: None,
            tx_bytes: 0,
            aead_failures: 0,
            rekey_asked: false,
        };
        if self.by_index.contains_key(&new.local_index) {
            return Err(InstallError::Key);
        }
        self.by_index.insert(new.local_index, session);
        self.peers.entry(key).or_default().sessions_made += 1;
        Ok(())
    }

    /// Makes a session the one that sends; the one before it lingers.
    pub fn promote(&mut self, index: u32, now: Time) {
        let Some(session) = self.by_index.get_mut(&index) else { return };
        session.confirmed = true;
        let key = session.key;
        let peer = self.peers.entry(key).or_default();
        let before = peer.current.replace(index).filter(|&b| b != index);
        if let Some(old) = before.and_then(|before| self.by_index.get_mut(&before)) {
            old.retired = Some(now);
        }
    }

    pub fn get(&self, index: u32) -> Option<&Session> {
        self.by_index.get(&index)
    }

    pub fn get_mut(&mut self, index: u32) -> Option<&mut Session> {
        self.by_index.get_mut(&index)
    }

    pub fn current(&mut self, key: PeerKey) -> Option<(u32, &mut Session)> {
        let index = self.peers.get(&key)?.current?;
        self.by_index.get_mut(&index).map(|s| (index, s))
    }

    pub fn usable(&self, key: PeerKey) -> bool {
        self.peers.get(&key).is_some_and(|p| p.up && p.current.is_some())
    }

    pub fn peer_mut(&mut self, key: PeerKey) -> &mut Peer {
        self.peers.entry(key).or_default()
    }

    pub fn both(&mut self, index: u32) -> Option<(&mut Session, &mut Peer)> {
        let session = self.by_index.get_mut(&index)?;
        let peer = self.peers.entry(session.key).or_default();
        Some((session, peer))
    }

    pub fn peers(&self) -> impl Iterator<Item = (&PeerKey, &Peer)> {
        self.peers.iter()
    }

    pub fn peers_mut(&mut self) -> impl Iterator<Item = (&PeerKey, &mut Peer)> {
        self.peers.iter_mut()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&u32, &mut Session)> {
        self.by_index.iter_mut()
    }

    /// Destroys all keys shared with a peer.
    pub fn close(&mut self, key: PeerKey) {
        self.by_index.retain(|_, s| s.key != key);
        self.peers.remove(&key);
    }

    /// Destroys sessions whose time is over; `gone` hears of each, by peer and our epoch.
    pub fn expire(&mut self, now: Time, mut gone: impl FnMut(PeerKey, u8)) {
        let peers = &mut self.peers;
        self.by_index.retain(|_, session| {
            let keep = match session.retired {
                Some(since) => now.since(since) < LINGER,
                None => session.confirmed || now.since(session.installed) < CONFIRM_WITHIN,
            };
            if !keep {
                peers.entry(session.key).or_default().past.add(session);
                gone(session.key, session.local_epoch);
            }
            keep
        });
    }

    pub fn totals(&self, key: PeerKey) -> Totals {
        let mut totals = self.peers.get(&key).map(|peer| peer.past).unwrap_or_default();
        self.by_index.values().filter(|session| session.key == key).for_each(|session| totals.add(session));
        totals
    }
}
