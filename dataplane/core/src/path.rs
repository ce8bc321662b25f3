//! Paths to end-to-end peers, in sets by number of copies.

use crate::desired::PathSet;
use crate::wire::Route;
use hashbrown::HashMap;

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
    pub bytes_sent: u64,
    /// Copies that could not be sent because the first hop had no session.
    pub unsent: u64,
    pub in_use: bool,
}

#[derive(Default)]
pub struct Paths {
    paths: Vec<Path>,
    sets: HashMap<(u16, u8), Vec<usize>>,
    widest: HashMap<u16, Vec<usize>>,
}

impl Paths {
    /// Counters of a (peer, id, route) that was known before are kept, also while it is in no set.
    pub fn configure(&mut self, sets: &[PathSet]) {
        self.sets.clear();
        self.widest.clear();
        for path in &mut self.paths {
            path.in_use = false;
        }
        for set in sets {
            let mut members = Vec::new();
            for spec in &set.paths {
                let Some((&first_hop, rest)) = spec.route.split_first() else { continue };
                let Some(route) = Route::new(rest) else { continue };
                let same = |p: &Path| p.peer == set.peer && p.id == spec.id && p.nodes == spec.route;
                let index = self.paths.iter().position(same).unwrap_or_else(|| {
                    self.paths.push(Path {
                        peer: set.peer,
                        id: spec.id,
                        nodes: spec.route.clone(),
                        first_hop,
                        route,
                        copies_sent: 0,
                        bytes_sent: 0,
                        unsent: 0,
                        in_use: true,
                    });
                    self.paths.len() - 1
                });
                self.paths[index].in_use = true;
                members.push(index);
            }
            let widest = self.widest.entry(set.peer).or_default();
            if members.len() > widest.len() {
                widest.clone_from(&members);
            }
            self.sets.insert((set.peer, set.copies), members);
        }
    }

    /// Calls `each` for every path of the set; the widest set of the peer stands in for one that is not configured.
    pub fn each(&mut self, peer: u16, copies: Option<u8>, mut each: impl FnMut(&mut Path)) -> usize {
        let chosen = copies.and_then(|copies| self.sets.get(&(peer, copies))).or_else(|| self.widest.get(&peer));
        let Some(members) = chosen else { return 0 };
        for &index in members {
            each(&mut self.paths[index]);
        }
        members.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter()
    }
}
