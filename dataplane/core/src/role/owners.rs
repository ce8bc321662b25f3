//! Connections that were transferred, or are about to be: who has each. At an edge a node that its client's packets go to, at a
//! gateway that they are held or no longer its own, at a content proxy that its stack has them.
//!
//! An entry is set in one command, before which and behind which every packet meets another owner. It goes when the connection
//! has ended, a moment later, so that the last acknowledgements find their way.

use crate::role::ends::Ends;
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

/// How far a connection has come that another node has, as its edge saw it pass: whoever goes on when that node is gone goes
/// on from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The owner has sent the client something.
    pub spoken: bool,
    /// The client has everything before.
    pub client: Option<u32>,
    /// The owner has everything before, and has told the client so.
    pub owner: Option<u32>,
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

/// Segments overtake each other.
fn advance(number: &mut Option<u32>, tcp: &Tcp) {
    let later = |before: u32| (tcp.acknowledgement.wrapping_sub(before) as i32) > 0;
    if tcp.has(Tcp::ACK) && !tcp.has(Tcp::RST) && number.is_none_or(later) {
        *number = Some(tcp.acknowledgement);
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
mod tests {
    use super::*;
    use std::net::SocketAddr;

    const CLIENT: &str = "10.91.1.10:4000";
    const VIP: &str = "10.91.1.130:80";
    const THEIRS: Holder = Holder { boot: None, since: Time(0), spoken: false, by: None };

    fn packet(from: &str, to: &str, flags: u8) -> Vec<u8> {
        let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
        let mut out = Vec::new();
        let segment =
            braid_packet::Segment { from, to, sequence: 1, acknowledgement: 2, flags, window: 100, options: &[] };
        segment.write(&mut out).unwrap();
        out
    }

    fn ends() -> Ends {
        Ends::new(CLIENT.parse().unwrap(), VIP.parse().unwrap())
    }

    fn inward(owners: &mut Owners, flags: u8, now: Time) -> Inbound {
        let packet = packet(CLIENT, VIP, flags);
        owners.receive(&Ip::parse(&packet).unwrap(), &packet, false, true, now)
    }

    fn outward(owners: &mut Owners, flags: u8, now: Time) -> Option<Owner> {
        owners.reply(&Ip::parse(&packet(VIP, CLIENT, flags)).unwrap(), now)
    }

    fn seconds(count: u64) -> Time {
        Time(count * Time::SECOND)
    }

    #[test]
    fn packets_wait_while_a_connection_is_held_and_come_back_in_order() {
        let mut owners = Owners::default();
        assert_eq!(inward(&mut owners, Tcp::ACK, Time(0)), Inbound::Free);
        owners.set(ends(), Some(Owner::Held), None, None, Time(0)).unwrap();
        assert_eq!(inward(&mut owners, Tcp::ACK, Time(0)), Inbound::Kept);
        assert_eq!(inward(&mut owners, Tcp::ACK | 8, Time(0)), Inbound::Kept);
        assert_eq!(outward(&mut owners, Tcp::ACK, Time(0)), Some(Owner::Held), "the stack may speak");
        assert_eq!(owners.counts(), (1, 0, 0));
        let kept = owners.set(ends(), None, None, None, Time(0)).unwrap();
        assert_eq!(kept.iter().map(|kept| kept.packet[33]).collect::<Vec<_>>(), [Tcp::ACK, Tcp::ACK | 8]);
        assert!(owners.is_empty());
    }

    #[test]
    fn what_waits_is_bounded_and_does_not_wait_for_ever() {
        let mut owners = Owners::default();
        owners.set(ends(), Some(Owner::Held), None, None, Time(0)).unwrap();
        for _ in 0..MOST_HELD {
            assert_eq!(inward(&mut owners, Tcp::ACK, Time(0)), Inbound::Kept);
        }
        assert_eq!(inward(&mut owners, Tcp::ACK, Time(0)), Inbound::Full);
        assert_eq!(owners.expire(seconds(2)), 0);
        assert_eq!(owners.expire(seconds(3)), MOST_HELD);
        assert!(owners.is_empty());
    }

    #[test]
    fn an_owner_is_forgotten_a_moment_after_both_have_ended() {
        for flags in [Tcp::FIN | Tcp::ACK, Tcp::RST] {
            let mut owners = Owners::default();
            owners.set(ends(), Some(Owner::Node(51)), None, None, Time(0)).unwrap();
            let first = if flags == Tcp::RST { Inbound::Reset(51, THEIRS) } else { Inbound::Node(51, THEIRS) };
            assert_eq!(inward(&mut owners, flags, seconds(100)), first);
            if flags != Tcp::RST {
                owners.expire(seconds(1000));
                assert_eq!(outward(&mut owners, Tcp::FIN | Tcp::ACK, seconds(100)), Some(Owner::Node(51)));
            }
            owners.expire(seconds(109));
            assert_eq!(
                inward(&mut owners, Tcp::ACK, seconds(109)),
                Inbound::Node(51, THEIRS),
                "the last acknowledgement"
            );
            owners.expire(seconds(110));
            assert!(owners.is_empty());
        }
    }

    #[test]
    fn an_idle_connection_and_one_given_away_are_forgotten_in_their_time() {
        let mut owners = Owners::default();
        owners.set(ends(), Some(Owner::Here), None, None, Time(0)).unwrap();
        assert_eq!(outward(&mut owners, Tcp::ACK, seconds(1000)), Some(Owner::Here));
        owners.expire(seconds(8499));
        assert_eq!(owners.counts(), (0, 1, 0));
        owners.set(ends(), Some(Owner::Away), None, None, seconds(8499)).unwrap();
        assert_eq!(inward(&mut owners, Tcp::ACK, seconds(8540)), Inbound::Away);
        owners.expire(seconds(8559));
        assert!(owners.is_empty());
    }

    #[test]
    fn how_far_a_connection_came_is_known_while_another_node_has_it_and_a_moment_longer() {
        let (mut owners, node) = (Owners::default(), Some(Owner::Node(51)));
        let segment = |from: &str, to: &str, acknowledgement: u32| {
            let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
            let (flags, window, options) = (Tcp::ACK, 100, &[][..]);
            let mut out = Vec::new();
            let segment = braid_packet::Segment { from, to, sequence: 1, acknowledgement, flags, window, options };
            segment.write(&mut out).unwrap();
            out
        };
        owners.set(ends(), node, None, None, Time(0)).unwrap();
        assert_eq!(owners.seen(&ends()), Some(Seen::default()));
        let client = |owners: &mut Owners, number| {
            let packet = segment(CLIENT, VIP, number);
            owners.receive(&Ip::parse(&packet).unwrap(), &packet, false, true, Time(0))
        };
        let reply = |owners: &mut Owners, node, number| {
            owners.reply_from(&Ip::parse(&segment(VIP, CLIENT, number)).unwrap(), node, || Some(3), Time(0))
        };
        for number in [u32::MAX - 9, 10, u32::MAX] {
            client(&mut owners, number);
        }
        reply(&mut owners, 31, 99);
        assert_eq!(owners.seen(&ends()), Some(Seen { spoken: false, client: Some(10), owner: None }));
        reply(&mut owners, 51, 7);
        let seen = Some(Seen { spoken: true, client: Some(10), owner: Some(7) });
        assert_eq!(owners.seen(&ends()), seen);
        owners.set(ends(), node, None, None, Time(0)).unwrap();
        owners.set(ends(), Some(Owner::Left(51)), None, None, Time(0)).unwrap();
        client(&mut owners, 20);
        reply(&mut owners, 51, 8);
        assert_eq!(owners.seen(&ends()), seen, "of the node that had it");
        owners.set(ends(), Some(Owner::Node(52)), None, None, Time(0)).unwrap();
        assert_eq!(owners.seen(&ends()), Some(Seen::default()));
    }

    #[test]
    fn another_gateway_that_gives_a_connection_to_the_same_node_decides_about_it_from_then_on() {
        let mut owners = Owners::default();
        owners.set(ends(), Some(Owner::Node(51)), Some(7), Some((31, Some(1))), Time(0)).unwrap();
        let reply = packet(VIP, CLIENT, Tcp::ACK);
        owners.reply_from(&Ip::parse(&reply).unwrap(), 51, || Some(7), Time(0));
        let seen = owners.seen(&ends());
        owners.set(ends(), Some(Owner::Node(51)), Some(8), Some((32, Some(2))), seconds(5)).unwrap();
        let holder = Holder { boot: Some(7), since: Time(0), spoken: true, by: Some((32, Some(2))) };
        assert_eq!((owners.holder(&ends()), owners.seen(&ends())), (Some(holder), seen), "all else is as it was");
    }

    #[test]
    fn who_gave_a_connection_away_hears_once_that_its_client_has_reset_it_before_the_node_spoke() {
        let mut owners = Owners::default();
        owners.set(ends(), Some(Owner::Node(51)), None, None, Time(0)).unwrap();
        assert_eq!(inward(&mut owners, Tcp::RST, Time(0)), Inbound::Reset(51, THEIRS));
        assert_eq!(inward(&mut owners, Tcp::RST, Time(0)), Inbound::Node(51, THEIRS), "it may come back");
        let mut owners = Owners::default();
        owners.set(ends(), Some(Owner::Node(51)), None, None, Time(0)).unwrap();
        let reply = packet(VIP, CLIENT, Tcp::ACK);
        owners.reply_from(&Ip::parse(&reply).unwrap(), 51, || None, Time(0));
        assert!(matches!(inward(&mut owners, Tcp::RST, Time(0)), Inbound::Node(51, _)), "it is the node's alone");
    }

    #[test]
    fn a_reset_waits_only_where_no_socket_is_to_hear_it() {
        let mut owners = Owners::default();
        owners.set(ends(), Some(Owner::Held), None, None, Time(0)).unwrap();
        let reset = packet(CLIENT, VIP, Tcp::RST);
        let mut receive = |resets| owners.receive(&Ip::parse(&reset).unwrap(), &reset, false, resets, Time(0));
        assert_eq!((receive(true), receive(false)), (Inbound::Free, Inbound::Kept));
        assert_eq!(owners.counts().0, 1, "a forged one ends nothing");
    }

    #[test]
    fn a_syn_is_another_connection() {
        let mut owners = Owners::default();
        owners.set(ends(), Some(Owner::Away), None, None, Time(0)).unwrap();
        assert_eq!(inward(&mut owners, Tcp::SYN, Time(0)), Inbound::Free);
        assert!(owners.is_empty());
    }
}
