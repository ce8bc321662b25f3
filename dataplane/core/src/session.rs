//! Sessions: which keys are used to send to a peer, which are still good to receive, and whether the peer is heard.
//!
//! A responder's new keys become current when the first packet opens with them; until then the old ones send. Replaced keys
//! receive for `LINGER` more. So a rekey loses nothing and a replayed initiation replaces nothing. Where both ends initiate at
//! once, each may take the other's keys for the newer ones: the end with the higher number then follows the other.

use crate::handshake::NewSession;
use crate::hop::HopKey;
use crate::lane::{Hearing, Received};
use crate::measure::SentLog;
use crate::probe::PATHS;
use crate::seal::{Opener, Sealer};
use crate::sequence::RecoveryCounters;
use crate::shard::{Lanes, Place};
use crate::window::LEAST;
use braid_packet::Time;
use hashbrown::HashMap;
use std::collections::BTreeMap;

/// How long replaced keys are good for receiving: three times the longest path skew, and more.
const LINGER: u64 = 30 * Time::SECOND;
/// A peer that still sends with keys replaced so long ago has other ones in use than we have.
const APART: u64 = 3 * Time::SECOND;
/// An unconfirmed session is forgotten after this.
const CONFIRM_WITHIN: u64 = 10 * Time::SECOND;
/// A peer that was not heard for this long on any path gets nobody new: that costs nothing where it is a false alarm.
const QUIET: u64 = 500 * Time::MILLISECOND;

/// A peer as seen from here: (number, adjacent).
pub type PeerKey = (u16, bool);

pub struct Session {
    pub key: PeerKey,
    pub initiator: bool,
    pub local_epoch: u8,
    pub remote_epoch: u8,
    pub remote_index: u32,
    pub remote_boot: u64,
    pub sealer: Sealer,
    pub opener: Opener,
    pub lanes: Lanes,
    pub received: Received,
    /// By slot: what was sent on which paths, while the peer is measured.
    pub sent: Box<[SentLog]>,
    /// Datagrams of a generation of keys that this is not, and such without a sequence number.
    pub rogue: u64,
    pub tagless: u64,
    pub hop_tx: Option<HopKey>,
    pub installed: Time,
    pub confirmed: bool,
    pub retired: Option<Time>,
    pub tx_bytes: u64,
    pub aead_failures: u64,
    pub rekey_asked: bool,
}

impl Session {
    /// Something came with these keys: do they have to be ours again, lest they end here while the peer sends with them?
    /// Of the two ends one alone follows.
    #[inline]
    pub fn is_to_follow(&self, own_number: u16, now: Time) -> bool {
        own_number > self.key.0 && self.retired.is_some_and(|since| now.since(since) >= APART)
    }

    /// Notes on which paths packets went out; `measure::SentLog::add` says what the arguments are.
    pub fn log(&mut self, slot: usize, first: u64, packets: u64, set: Option<u8>, on: u16) {
        if let Some(log) = self.sent.get_mut(slot) {
            log.add(first, packets, set, on);
        }
    }
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
        for lane in session.received.iter() {
            let counters = lane.recovery.counters;
            self.received.passed += counters.passed;
            self.received.discarded += counters.discarded;
            self.received.out_of_order += counters.out_of_order;
            self.received.rogue += counters.rogue;
            self.lost += lane.recovery.lost();
            self.given_up += lane.order.given_up;
            self.late += lane.order.late;
        }
        self.received.rogue += session.rogue;
        self.received.tagless += session.tagless;
        self.tx_packets += session.sealer.sealed();
        self.tx_bytes += session.tx_bytes;
    }
}

#[derive(Default)]
pub struct Peer {
    /// Local index of the session that sends.
    pub current: Option<u32>,
    /// Heard in all lanes that this shard carries; if the session has several, heard both ways.
    pub up: bool,
    both_ways: bool,
    /// Up in the eyes of every shard of the node, as the control side says; of a node with one shard nobody asks.
    pub admitted: bool,
    /// By slot.
    pub lanes: Vec<Hearing>,
    pub sessions_made: u64,
    /// Of sessions that are gone.
    past: Totals,
}

impl Peer {
    /// When the lane was heard that has been silent for longest; None when one never was.
    pub fn heard(&self) -> Option<Time> {
        self.lanes.iter().map(|lane| lane.heard).min().flatten()
    }

    /// Our paths that the peer hears in every lane. None while it has said nothing about one.
    pub fn reported(&self) -> Option<u16> {
        let mut all = self.lanes.iter().map(|lane| lane.reported);
        all.try_fold(u16::MAX, |bits, reported| Some(bits & reported?)).filter(|_| !self.lanes.is_empty())
    }

    /// Our paths that the peer heard lately in every lane.
    pub fn fresh(&self) -> Option<u16> {
        self.lanes.iter().try_fold(u16::MAX, |bits, lane| Some(bits & lane.fresh?)).filter(|_| !self.lanes.is_empty())
    }

    pub fn has_several_lanes(&self) -> bool {
        self.both_ways
    }

    /// With several lanes a peer that does not hear us in one of them is as good as silent: the port may be blocked, or the
    /// peer may have another number of shards than we believe.
    pub fn is_silent(&self, now: Time, limit: u64) -> bool {
        self.silent_from(limit).is_none_or(|from| now >= from)
    }

    /// When that will be if nothing more is heard. None: it always was.
    pub fn silent_from(&self, limit: u64) -> Option<Time> {
        let since = |lane: &Hearing| if self.both_ways { lane.heard.min(lane.acknowledged) } else { lane.heard };
        Some(self.lanes.iter().map(since).min()??.after(limit))
    }
}

pub struct Sessions {
    place: Place,
    /// Of nodes that have more than one.
    shards: BTreeMap<u16, u8>,
    /// Whether some session may have several lanes in this shard.
    several: bool,
    by_index: HashMap<u32, Session>,
    peers: HashMap<PeerKey, Peer>,
}

fn count(shards: &BTreeMap<u16, u8>, node: u16) -> u8 {
    shards.get(&node).copied().unwrap_or(1)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstallError {
    /// The AEAD refused the key, or the index is taken.
    Key,
    /// Too many unconfirmed sessions of this peer: a replay, or it never confirms.
    Crowded,
}

impl Sessions {
    pub fn new(place: Place) -> Sessions {
        Sessions { place, shards: BTreeMap::new(), several: false, by_index: HashMap::new(), peers: HashMap::new() }
    }

    /// Numbers of shards of the nodes that have more than one; returns the nodes for which that is news.
    pub fn set_shards(&mut self, shards: &BTreeMap<u16, u8>) -> Vec<u16> {
        self.several = shards.values().any(|&shards| shards > self.place.count());
        let before = std::mem::replace(&mut self.shards, shards.clone());
        let known = self.peers.keys().map(|(node, _)| *node);
        let mut changed: Vec<u16> = known.filter(|node| count(&before, *node) != count(&self.shards, *node)).collect();
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    pub fn has_several_lanes(&self) -> bool {
        self.several
    }

    /// Adds keys. A responder's become current when the peer proves to have them; an initiator's when `promote` is called,
    /// which is when all shards have them.
    pub fn install(&mut self, new: &NewSession, now: Time) -> Result<(), InstallError> {
        let key = (new.peer, new.adjacent);
        let waiting = |s: &Session| s.key == key && !s.confirmed;
        if !new.initiator && self.by_index.values().filter(|s| waiting(s)).count() >= 3 {
            return Err(InstallError::Crowded);
        }
        let lanes = self.place.lanes(count(&self.shards, new.peer));
        let mut received = Received::new(lanes.slots());
        if self.place.index() == 0 {
            let first = self.peers.get(&key).and_then(|peer| peer.lanes.first());
            received.begin(0, (!new.adjacent).then(|| first.map_or(LEAST, |first| first.window)));
        }
        let session = Session {
            key,
            initiator: new.initiator,
            local_epoch: new.local_epoch,
            remote_epoch: new.remote_epoch,
            remote_index: new.remote_index,
            remote_boot: new.remote_boot,
            sealer: Sealer::new(new.suite, &new.tx, lanes).ok_or(InstallError::Key)?,
            opener: Opener::new(new.suite, &new.rx).ok_or(InstallError::Key)?,
            lanes,
            received,
            sent: (0..lanes.slots()).map(|_| SentLog::default()).collect(),
            rogue: 0,
            tagless: 0,
            hop_tx: new.adjacent.then(|| HopKey::new(&new.tx.hop)),
            installed: now,
            confirmed: new.initiator && self.place.is_alone(),
            retired: None,
            tx_bytes: 0,
            aead_failures: 0,
            rekey_asked: false,
        };
        if self.by_index.contains_key(&new.local_index) {
            return Err(InstallError::Key);
        }
        self.by_index.insert(new.local_index, session);
        let peer = self.peers.entry(key).or_default();
        peer.both_ways = lanes.total() > 1;
        peer.lanes.reserve_exact(lanes.slots().saturating_sub(peer.lanes.len()));
        peer.lanes.resize_with(lanes.slots(), Hearing::default);
        // The peer's clock may have begun anew.
        peer.lanes.iter_mut().for_each(|lane| lane.clock = None);
        peer.sessions_made += 1;
        Ok(())
    }

    /// Makes a session the one that sends; the one before it lingers.
    pub fn promote(&mut self, index: u32, now: Time) {
        let Some(session) = self.by_index.get_mut(&index) else { return };
        (session.confirmed, session.retired) = (true, None);
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
        let admitted = |peer: &Peer| peer.admitted || self.place.is_alone();
        self.peers.get(&key).is_some_and(|p| p.up && p.current.is_some() && admitted(p))
    }

    /// Whether anything was heard of a peer lately.
    pub fn heard_within(&self, key: PeerKey, now: Time, limit: u64) -> bool {
        self.peers.get(&key).is_some_and(|peer| !peer.is_silent(now, limit))
    }

    /// Of the peer's process, by its current session.
    pub fn boot(&self, key: PeerKey) -> Option<u64> {
        Some(self.by_index.get(&self.peers.get(&key)?.current?)?.remote_boot)
    }

    /// When the keys were made that are used to send.
    pub fn since(&self, key: PeerKey) -> Option<Time> {
        Some(self.by_index.get(&self.peers.get(&key)?.current?)?.installed)
    }

    /// Usable, and heard a moment ago.
    pub fn answers(&self, key: PeerKey, now: Time) -> bool {
        self.usable(key) && self.peers.get(&key).is_some_and(|peer| !peer.is_silent(now, QUIET))
    }

    pub fn admit(&mut self, key: PeerKey, usable: bool) {
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.admitted = usable;
        }
    }

    pub fn peer(&self, key: PeerKey) -> Option<&Peer> {
        self.peers.get(&key)
    }

    /// To the other end of paths, bits by their ids, and back, in nanoseconds, by the quickest; None before it was measured.
    pub fn round_trip(&self, peer: u16, paths: u16, now: Time) -> Option<u64> {
        let lane = self.peer((peer, false))?.lanes.first()?;
        let used = (0..PATHS).filter(|path| paths >> path & 1 == 1);
        let least = used.filter_map(|path| lane.outbound.round_trip(path, &lane.inbound, now)).min();
        least.map(|least| u64::from(least) * 1000)
    }

    pub fn peer_mut(&mut self, key: PeerKey) -> &mut Peer {
        self.peers.entry(key).or_default()
    }

    pub fn both(&mut self, index: u32) -> Option<(&mut Session, &mut Peer)> {
        let session = self.by_index.get_mut(&index)?;
        let peer = self.peers.entry(session.key).or_default();
        Some((session, peer))
    }

    /// All sessions with a peer: the current one, and those that it replaces.
    pub fn with_peer(&mut self, key: PeerKey) -> impl Iterator<Item = &mut Session> {
        self.by_index.values_mut().filter(move |session| session.key == key)
    }

    /// The session of ours whose packets the peer receives under this epoch.
    pub fn sent_under(&mut self, key: PeerKey, epoch: u8) -> Option<(&Session, &mut Peer)> {
        let sessions = self.by_index.values().filter(|session| (session.key, session.remote_epoch) == (key, epoch));
        Some((sessions.max_by_key(|session| session.installed)?, self.peers.get_mut(&key)?))
    }

    /// What was sent on which paths is of no use any more.
    pub fn forget_sent(&mut self, key: PeerKey) {
        for session in self.with_peer(key) {
            session.sent.iter_mut().for_each(|log| *log = SentLog::default());
        }
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.lanes.iter_mut().for_each(|lane| lane.tally = None);
        }
    }

    pub fn peers(&self) -> impl Iterator<Item = (&PeerKey, &Peer)> {
        self.peers.iter()
    }

    pub fn peers_mut(&mut self) -> impl Iterator<Item = (&PeerKey, &mut Peer)> {
        self.peers.iter_mut()
    }

    pub fn each(&mut self, mut visit: impl FnMut(&mut Session, &mut Peer)) {
        for session in self.by_index.values_mut() {
            visit(session, self.peers.entry(session.key).or_default());
        }
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
