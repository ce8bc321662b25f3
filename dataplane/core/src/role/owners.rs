//! Connections that were transferred, or are about to be: who has each. At an edge a node that its client's packets go to, at a
//! gateway that they are held or no longer its own, at a content proxy that its stack has them.
//!
//! An entry is set in one command, before which and behind which every packet meets another owner. It goes when the connection
//! has ended, a moment later, so that the last acknowledgements find their way.

use crate::role::ends::Ends;
use crate::role::seen::{advance, Seen};
use braid_packet::{Ip, Tcp, Time};
use hashbrown::HashMap;

const MOST: usize = 65_536;
/// As long as a gateway remembers an idle connection (RFC 5382: 2 h 4 min), and a little.
const LIFETIME: u64 = 7500 * Time::SECOND;
/// After FIN both ways, or RST.
const LINGER: u64 = 10 * Time::SECOND;
/// As long as packets of a connection that was given away may be under way to its owner before.
const LEFT: u64 = 10 * Time::SECOND;
/// As long as its stack may be about to speak on it.
const AWAY: u64 = 60 * Time::SECOND;
/// Whoever holds packets decides within two seconds; then they are left to TCP's repetition.
const HOLD: u64 = 3 * Time::SECOND;
/// Of one connection.
const MOST_HELD: usize = 64;
const MOST_HELD_BYTES: usize = 131_072;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The client's packets wait here.
    Held,
    /// This node's own stack.
    Here,
    Node(u16),
    /// It was here: what still comes is late, and what the stack says is wrong.
    Away,
    /// At an edge: nobody in particular has it again. That node had it, and passes on what still comes there.
    Left(u16),
}

/// A client's packet that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub packet: Vec<u8>,
    pub partial: bool,
}

struct Entry {
    owner: Owner,
    kept: Vec<Kept>,
    bytes: usize,
    /// FIN of the client, and of the other end.
    ended: [bool; 2],
    /// What passed since another node had it, at an edge.
    seen: Seen,
    holder: Holder,
    until: Time,
}

/// The process of a node that has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// None: whichever is met there first.
    pub boot: Option<u64>,
    /// When the node got the connection.
    pub since: Time,
    /// It has sent the client something. Before that it may never begin, should the gateway be gone that is to tell it.
    pub spoken: bool,
    /// The gateway that gave it the connection, and which process of it.
    pub by: Option<(u16, Option<u64>)>,
}

/// What the owner of a connection has sent its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    Silent,
    /// This is the first.
    First,
    Heard,
}

/// What becomes of a packet from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// The connection is nobody's in particular.
    Free,
    Here,
    Node(u16, Holder),
    /// The same, and the client has just reset it, before the node has spoken: whoever gave it away may still have it, too.
    Reset(u16, Holder),
    Away,
    /// It waits now.
    Kept,
    /// It would wait, but there is no room.
    Full,
}

#[derive(Default)]
pub struct Owners {
    by_ends: HashMap<Ends, Entry>,
    /// Packets that came after their connection had gone, and went after it.
    pub passed_on: u64,
}

impl Owners {
    pub fn is_empty(&self) -> bool {
        self.by_ends.is_empty()
    }

    pub fn of(&self, ends: &Ends) -> Option<Owner> {
        self.by_ends.get(ends).map(|entry| entry.owner)
    }

    /// Of a connection that another node has, or had a moment ago.
    pub fn seen(&self, ends: &Ends) -> Option<Seen> {
        let entry = self.by_ends.get(ends)?;
        matches!(entry.owner, Owner::Node(_) | Owner::Left(_)).then_some(entry.seen)
    }

    /// In which process another node has it.
    pub fn holder(&self, ends: &Ends) -> Option<Holder> {
        self.by_ends.get(ends).map(|entry| entry.holder)
    }

    /// Says who has a connection from now on; None: nobody in particular. `boot`: of the process that the owner is, if that is
    /// known; `by`: of `Holder`. What was held comes back, in order. Err: no room.
    pub fn set(
        &mut self,
        ends: Ends,
        owner: Option<Owner>,
        boot: Option<u64>,
        by: Option<(u16, Option<u64>)>,
        now: Time,
    ) -> Result<Vec<Kept>, ()> {
        let Some(owner) = owner else {
            return Ok(self.by_ends.remove(&ends).map(|entry| entry.kept).unwrap_or_default());
        };
        if self.by_ends.len() >= MOST && !self.by_ends.contains_key(&ends) {
            return Err(());
        }
        let lifetime = owner.lifetime();
        let until = now.after(lifetime);
        let (kept, seen) = (Vec::new(), Seen::default());
        let holder = Holder { boot, since: now, spoken: false, by };
        let fresh = Entry { owner, kept, bytes: 0, ended: [false; 2], seen, holder, until };
        let entry = self.by_ends.entry(ends).or_insert(fresh);
        if matches!(owner, Owner::Node(_)) {
            if entry.owner != owner {
                (entry.seen, entry.holder) = (seen, holder);
            }
            // Another gateway may decide about it from now on.
            entry.holder.by = by;
        }
        (entry.owner, entry.until) = (owner, until);
        if owner == Owner::Held {
            return Ok(Vec::new());
        }
        entry.bytes = 0;
        Ok(std::mem::take(&mut entry.kept))
    }

    /// A packet from a client, which is kept if its connection is held. `resets`: those do not wait, where a frozen socket is to
    /// hear them at once, so that the client's next connection need not wait for it.
    #[inline]
    pub fn receive(&mut self, ip: &Ip, packet: &[u8], partial: bool, resets: bool, now: Time) -> Inbound {
        let Some((ends, tcp)) = Ends::inward(ip) else { return Inbound::Free };
        let Some(entry) = self.by_ends.get_mut(&ends) else { return Inbound::Free };
        if tcp.has(Tcp::SYN) && !tcp.has(Tcp::ACK) {
            // Another connection, of the same ends.
            self.by_ends.remove(&ends);
            return Inbound::Free;
        }
        let over = entry.ended == [true; 2];
        entry.follow(0, &tcp, now);
        match entry.owner {
            Owner::Here => Inbound::Here,
            Owner::Node(node) if tcp.has(Tcp::RST) && !over && !entry.seen.spoken => Inbound::Reset(node, entry.holder),
            Owner::Node(node) => {
                advance(&mut entry.seen.client, &tcp);
                Inbound::Node(node, entry.holder)
            }
            Owner::Held if resets && tcp.has(Tcp::RST) => Inbound::Free,
            Owner::Away => Inbound::Away,
            Owner::Left(_) => Inbound::Free,
            Owner::Held if entry.kept.len() < MOST_HELD && entry.bytes + packet.len() <= MOST_HELD_BYTES => {
                entry.bytes += packet.len();
                entry.kept.push(Kept { packet: packet.to_vec(), partial });
                Inbound::Kept
            }
            Owner::Held => Inbound::Full,
        }
    }

    /// Who has the connection of a packet towards a client.
    #[inline]
    pub fn reply(&mut self, ip: &Ip, now: Time) -> Option<Owner> {
        let (ends, tcp) = Ends::outward(ip)?;
        let entry = self.by_ends.get_mut(&ends)?;
        entry.follow(1, &tcp, now);
        Some(entry.owner)
    }

    /// The same of one from another node, and whether the owner has begun to speak. `boot` says which process of that node
    /// speaks; it is the one that has the connection.
    #[inline]
    pub fn reply_from(
        &mut self,
        ip: &Ip,
        node: u16,
        boot: impl FnOnce() -> Option<u64>,
        now: Time,
    ) -> Option<(Owner, Voice)> {
        let (ends, tcp) = Ends::outward(ip)?;
        let entry = self.by_ends.get_mut(&ends)?;
        entry.follow(1, &tcp, now);
        let mut voice = if entry.seen.spoken { Voice::Heard } else { Voice::Silent };
        if entry.owner == Owner::Node(node) {
            if !std::mem::replace(&mut entry.seen.spoken, true) {
                (entry.holder.boot, entry.holder.spoken) = (boot(), true);
                voice = Voice::First;
            }
            advance(&mut entry.seen.owner, &tcp);
        }
        Some((entry.owner, voice))
    }

    /// Of a connection that another node has, or may still think that it has: it is known as long as one may be idle.
    pub fn remember(&mut self, ends: &Ends, now: Time) {
        if let Some(entry) = self.by_ends.get_mut(ends) {
            entry.until = now.after(LIFETIME);
        }
    }

    /// Forgets what is over. How many packets waited too long, and are lost.
    pub fn expire(&mut self, now: Time) -> usize {
        let mut lost = 0;
        self.by_ends.retain(|_, entry| {
            let keep = entry.until > now;
            lost += if keep { 0 } else { entry.kept.len() };
            keep
        });
        lost
    }

    /// Keeps the entries that `matters` says so of.
    pub fn retain(&mut self, mut matters: impl FnMut(&Ends, Owner) -> bool) {
        self.by_ends.retain(|ends, entry| matters(ends, entry.owner));
    }

    /// How many are held, and how many owned; and how many packets were passed on.
    pub fn counts(&self) -> (usize, usize, u64) {
        let count = |is: fn(Owner) -> bool| self.by_ends.values().filter(|entry| is(entry.owner)).count();
        let held = count(|owner| owner == Owner::Held);
        (held, count(|owner| !matches!(owner, Owner::Held | Owner::Left(_))), self.passed_on)
    }
}

impl Owner {
    fn lifetime(self) -> u64 {
        match self {
            Owner::Held => HOLD,
            Owner::Here | Owner::Node(_) => LIFETIME,
            Owner::Away => AWAY,
            Owner::Left(_) => LEFT,
        }
    }
}

impl Entry {
    fn follow(&mut self, side: usize, tcp: &Tcp, now: Time) {
        let over = self.ended == [true; 2];
        self.ended[side] |= tcp.has(Tcp::FIN);
        if tcp.has(Tcp::RST) {
            self.ended = [true; 2];
        }
        match self.owner {
            Owner::Held | Owner::Away | Owner::Left(_) => {}
            Owner::Here | Owner::Node(_) if over => {}
            Owner::Here | Owner::Node(_) if self.ended == [true; 2] => self.until = now.after(LINGER),
            Owner::Here | Owner::Node(_) => self.until = now.after(LIFETIME),
        }
    }
}

#[cfg(test)]
mod tests;
