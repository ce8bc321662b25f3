//! Paths to end-to-end peers, in sets that applications name by number: which paths packets take now, and which stand by.
//!
//! The peer says in each probe which of our paths it heard in the last 230 ms. A path that it does not hear is replaced at
//! once by a spare one, or by nothing better; it comes back when it has been heard without a break for `HOLD`.

use crate::desired::{PathSet, PathSpec};
use crate::link::LANES;
use crate::mtu::{Search, BASE};
use crate::wire::Route;
use braid_packet::Time;
use hashbrown::{HashMap, HashSet};
use std::cmp::Reverse;

/// Time for a path's first probe to arrive and be reported.
const GRACE: u64 = 500 * Time::MILLISECOND;
/// Good news is believed after this.
const HOLD: u64 = 10 * Time::SECOND;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// The peer hears it, or has not had the time to.
    Passing,
    /// Heard again since then, but not for long enough.
    Returning(Time),
    /// The peer does not hear it.
    Silent,
}

#[derive(Clone, Debug)]
pub struct Path {
    pub peer: u16,
    pub id: u8,
    /// Node numbers from the first hop to the peer.
    pub nodes: Vec<u16>,
    pub first_hop: u16,
    /// What the first hop has to see.
    pub route: Route,
    pub copies_sent: u64,
    /// The same by lane, modulo 2^32.
    pub lane_sent: [u32; LANES],
    pub bytes_sent: u64,
    /// Copies that could not be sent because the first hop had no session.
    pub unsent: u64,
    pub in_use: bool,
    pub spare: bool,
    pub health: Health,
    /// Since its last change, or since it is probed.
    pub since: Option<Time>,
    pub search: Search,
    /// Bytes of the longest datagram since the search was told last.
    pub longest_sent: usize,
}

impl Path {
    pub fn count(&mut self, lane: u8, copies: u64) {
        self.copies_sent += copies;
        let sent = &mut self.lane_sent[usize::from(lane) % LANES];
        *sent = sent.wrapping_add(copies as u32);
    }

    /// Of what may be sent on it, the largest; nothing while it carries small packets only.
    fn mtu(&self) -> Option<u16> {
        self.search.carries().then(|| self.search.mtu())
    }

    /// Takes in what the peer says. True if its health changed.
    fn judge(&mut self, heard: bool, now: Time) -> bool {
        let probed = self.since.is_some_and(|since| now.since(since) >= GRACE);
        let next = match (self.health, heard) {
            (Health::Passing, false) if probed => Health::Silent,
            (Health::Returning(_), false) => Health::Silent,
            (Health::Silent, true) => Health::Returning(now),
            (Health::Returning(since), true) if now.since(since) >= HOLD => Health::Passing,
            (unchanged, _) => unchanged,
        };
        let changed = next != self.health;
        if changed {
            self.health = next;
            self.since = Some(now);
        }
        changed
    }
}

/// Which paths to a peer something goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Those that packets on the set with this number take now.
    Set(u8),
    Widest,
    /// Spare ones too.
    Candidates,
    /// Of those, the ones with these ids, as bits.
    Ids(u16),
}

/// What was sent on a set since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SentOn {
    pub set: u8,
    pub packets: u64,
    pub copies: u64,
    /// Of all copies but the first of each packet.
    pub copied_bytes: u64,
}

#[derive(Default)]
struct Set {
    members: Vec<usize>,
    spares: Vec<usize>,
    /// As many as members, those that pass first.
    active: Vec<usize>,
    /// The largest packet that all active ones carry.
    mtu: u16,
    measured: bool,
    /// Nanoseconds by which all copies but the first leave later.
    spread: u64,
    sent: SentOn,
}

pub struct Paths {
    /// The configured inner MTU.
    most: u16,
    /// Of the narrowest set.
    least: u16,
    paths: Vec<Path>,
    sets: HashMap<(u16, u8), Set>,
    /// Number of the peer's set with the most paths.
    widest: HashMap<u16, u8>,
    /// Peers to which some set is measured.
    measured: HashSet<u16>,
}

impl Paths {
    pub fn new(most: u16) -> Paths {
        Paths {
            most,
            least: most,
            paths: Vec::new(),
            sets: HashMap::new(),
            widest: HashMap::new(),
            measured: HashSet::new(),
        }
    }

    /// Counters and health of a (peer, id, route) that was known before are kept, also while it is in no set.
    /// Calls `renamed` for each (peer, id) that stands for another route than before.
    pub fn configure(&mut self, sets: &[PathSet], mut renamed: impl FnMut(u16, u8)) {
        let known = std::mem::take(&mut self.sets);
        self.widest.clear();
        self.measured = sets.iter().filter(|set| set.measured).map(|set| set.peer).collect();
        let before: Vec<(u16, u8, Vec<u16>)> =
            self.paths.iter().filter(|p| p.in_use || p.spare).map(|p| (p.peer, p.id, p.nodes.clone())).collect();
        for path in &mut self.paths {
            (path.in_use, path.spare) = (false, false);
        }
        for set in sets {
            let members: Vec<usize> = set.paths.iter().filter_map(|spec| self.find_or_add(set.peer, spec)).collect();
            let spares: Vec<usize> = set.spares.iter().filter_map(|spec| self.find_or_add(set.peer, spec)).collect();
            members.iter().for_each(|&index| self.paths[index].in_use = true);
            spares.iter().for_each(|&index| self.paths[index].spare = true);
            let most = self.widest.get(&set.peer).and_then(|&number| self.sets.get(&(set.peer, number)));
            if most.is_none_or(|most| members.len() > most.members.len()) {
                self.widest.insert(set.peer, set.set);
            }
            let sent = known.get(&(set.peer, set.set)).map_or(SentOn { set: set.set, ..SentOn::default() }, |s| s.sent);
            let spread = u64::from(set.spread_us) * 1000;
            let set_of =
                Set { members, spares, active: Vec::new(), mtu: self.most, measured: set.measured, spread, sent };
            self.sets.insert((set.peer, set.set), set_of);
        }
        for path in self.paths.iter_mut().filter(|p| !p.in_use && !p.spare) {
            (path.health, path.since) = (Health::Passing, None);
            path.search = Search::new(self.most);
        }
        for (peer, id, nodes) in before {
            if self.paths.iter().any(|p| (p.peer, p.id) == (peer, id) && (p.in_use || p.spare) && p.nodes != nodes) {
                renamed(peer, id);
            }
        }
        self.activate(|_| true);
    }

    /// Chooses the active paths of the sets to some peers anew.
    fn activate(&mut self, to: impl Fn(u16) -> bool) {
        let (paths, most) = (&self.paths, self.most);
        self.sets.iter_mut().filter(|((peer, _), _)| to(*peer)).for_each(|(_, set)| activate(paths, set, most));
        self.least = self.sets.values().map(|set| set.mtu).fold(most, u16::min);
    }

    fn find_or_add(&mut self, peer: u16, spec: &PathSpec) -> Option<usize> {
        let (&first_hop, rest) = spec.route.split_first()?;
        let route = Route::new(rest)?;
        let same = |p: &Path| p.peer == peer && p.id == spec.id && p.nodes == spec.route;
        Some(self.paths.iter().position(same).unwrap_or_else(|| {
            self.paths.push(Path {
                peer,
                id: spec.id,
                nodes: spec.route.clone(),
                first_hop,
                route,
                copies_sent: 0,
                lane_sent: [0; LANES],
                bytes_sent: 0,
                unsent: 0,
                in_use: false,
                spare: false,
                health: Health::Passing,
                since: None,
                search: Search::new(self.most),
                longest_sent: 0,
            });
            self.paths.len() - 1
        }))
    }

    /// Calls `each` for every path meant, and returns their number. The widest set of the peer stands in for one that is not
    /// configured.
    pub fn each(&mut self, peer: u16, over: Over, mut each: impl FnMut(&mut Path)) -> usize {
        let set = match over {
            Over::Set(number) => self.sets.get(&(peer, number)),
            Over::Widest => None,
            Over::Candidates => return self.candidates(peer).map(each).count(),
            Over::Ids(ids) => return self.candidates(peer).filter(|path| ids >> path.id & 1 == 1).map(each).count(),
        };
        let Some(set) = set.or_else(|| self.sets.get(&(peer, *self.widest.get(&peer)?))) else { return 0 };
        for &index in &set.active {
            each(&mut self.paths[index]);
        }
        set.active.len()
    }

    /// Of a set whose copies leave one after the other: by how much, on which path the first one goes, and on which all
    /// others, as bits.
    pub fn apart(&self, peer: u16, set: u8) -> Option<(u64, u16, u16)> {
        let set = self.sets.get(&(peer, set)).filter(|set| set.spread > 0)?;
        let bit = |&index: &usize| 1 << self.paths[index].id;
        let (first, others) = set.active.split_first().filter(|(_, others)| !others.is_empty())?;
        Some((set.spread, bit(first), others.iter().map(bit).fold(0, |bits, bit: u16| bits | bit)))
    }

    /// Packets went out on a set in so many copies.
    pub fn count_sent(&mut self, peer: u16, set: u8, packets: u64, bytes: u64, copies: u32) {
        if let Some(set) = self.sets.get_mut(&(peer, set)).filter(|set| set.measured) {
            set.sent.packets += packets;
            set.sent.copies += packets * u64::from(copies);
            set.sent.copied_bytes += bytes * u64::from(copies.saturating_sub(1));
        }
    }

    /// Does the control side want to know what comes of each packet to the peer?
    pub fn is_measured(&self, peer: u16) -> bool {
        self.measured.contains(&peer)
    }

    /// What was sent on each measured set of the peer since the last call.
    pub fn take_sent(&mut self, peer: u16) -> impl Iterator<Item = SentOn> + '_ {
        let sets = self.sets.iter_mut().filter(move |((to, _), set)| *to == peer && set.measured);
        sets.map(|(_, set)| {
            let anew = SentOn { set: set.sent.set, ..SentOn::default() };
            std::mem::replace(&mut set.sent, anew)
        })
    }

    /// Every path that is in a set or stands by: those that are probed.
    pub fn candidates(&mut self, peer: u16) -> impl Iterator<Item = &mut Path> {
        self.paths.iter_mut().filter(move |path| path.peer == peer && (path.in_use || path.spare))
    }

    /// The ids of all paths that packets to this peer take now, as bits.
    pub fn used(&self, peer: u16) -> u16 {
        let sets = self.sets.iter().filter(|((to, _), _)| *to == peer);
        sets.flat_map(|(_, set)| &set.active).fold(0, |bits, &index| bits | 1 << self.paths[index].id)
    }

    /// The peer hears these of our paths, as bits.
    pub fn judge(&mut self, peer: u16, heard: u16, now: Time) {
        let mut changed = false;
        for path in self.candidates(peer) {
            changed |= path.judge(heard >> path.id & 1 == 1, now);
        }
        if changed {
            self.activate(|to| to == peer);
        }
    }

    /// What a set carries: the MTU of the narrowest of its active paths.
    pub fn mtu(&self, peer: u16, set: u8) -> usize {
        let set = self.sets.get(&(peer, set)).or_else(|| self.sets.get(&(peer, *self.widest.get(&peer)?)));
        usize::from(set.map_or(self.most, |set| set.mtu))
    }

    /// What all sets to a peer carry.
    pub fn mtu_to(&self, peer: u16) -> u16 {
        self.sets.iter().filter(|((to, _), _)| *to == peer).map(|(_, set)| set.mtu).fold(self.most, u16::min)
    }

    /// What every set carries.
    pub fn least_mtu(&self) -> usize {
        usize::from(self.least)
    }

    /// Lets `turn` work on the search of a path, and chooses anew if that changed what the path carries.
    pub fn search(&mut self, index: usize, turn: impl FnOnce(&mut Path)) {
        let Some(path) = self.paths.get_mut(index) else { return };
        let before = path.mtu();
        turn(path);
        if path.mtu() != before {
            let peer = path.peer;
            self.activate(|to| to == peer);
        }
    }

    /// The places of all paths are below this.
    pub fn places(&self) -> usize {
        self.paths.len()
    }

    /// Peer and first hop of a path by its place, if it is one of those that are probed.
    pub fn probed(&self, index: usize) -> Option<(u16, u16)> {
        let path = self.paths.get(index).filter(|path| path.in_use || path.spare)?;
        Some((path.peer, path.first_hop))
    }

    /// Where a path that is probed is, for `search`.
    pub fn index(&self, peer: u16, id: u8) -> Option<usize> {
        self.paths.iter().position(|p| (p.peer, p.id) == (peer, id) && (p.in_use || p.spare))
    }

    /// Peer, number, MTU and the ids of the active paths of each set.
    pub fn sets(&self) -> impl Iterator<Item = (u16, u8, u16, impl Iterator<Item = u8> + '_)> {
        let ids = |set: &'_ Set| set.active.clone().into_iter().map(|index| self.paths[index].id);
        self.sets.iter().map(move |(&(peer, number), set)| (peer, number, set.mtu, ids(set)))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter()
    }
}

/// First those that pass; of them those that carry larger packets, so that a spare which carries all sizes takes the place
/// of a path that does not any more. Where there is none the set goes on with as many paths, and smaller packets.
fn activate(paths: &[Path], set: &mut Set, most: u16) {
    let rank = |&index: &usize| {
        let health = match paths[index].health {
            Health::Passing => 0,
            Health::Returning(_) => 1,
            Health::Silent => 2,
        };
        (health, Reverse(paths[index].mtu()))
    };
    set.active.clear();
    set.active.extend(set.members.iter().chain(&set.spares));
    set.active.sort_by_key(rank);
    set.active.truncate(set.members.len());
    // A path that carries small packets only gets no others, whatever the set's MTU: it does not lower it.
    let narrowest = set.active.iter().filter_map(|&index| paths[index].mtu()).min();
    set.mtu = narrowest.unwrap_or(if set.active.is_empty() { most } else { BASE });
}

#[cfg(test)]
mod tests;
