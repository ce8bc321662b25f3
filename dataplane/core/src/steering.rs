//! What gateways say of the owners of an edge's connections, and what the edge answers: `STEER` and `STEERED`, whose pictures
//! are in `braid/transfer.py`. A gateway repeats what it says until it is answered, and what it said later may overtake a
//! repetition: of two messages about one connection the one with the later order counts.
//!
//! A client's request waits meanwhile, so the data plane does and answers it itself, in the turn in which it came: the shard that
//! the connection's packets meet, to which the one hands it that heard it.

use crate::config::Role;
use crate::event::Outbox;
use crate::node::Node;
use crate::role::ends::Ends;
use crate::role::owners::Owner;
use crate::role::seen::Seen;
use crate::transmit::Over;
use crate::wire::Kind;
use braid_packet::{Handed, Sink, Time, VnetHdr};
use hashbrown::HashMap;
use std::net::{IpAddr, SocketAddr};

const VERSION: u8 = 1;
const STEER: u8 = 25;
const STEERED: u8 = 26;
/// In place of a node: the gateway itself again, if the node that has the connection is gone.
const IF_GONE: u16 = u16::MAX;
/// For as long an order is known, to tell a repetition that was overtaken.
const REMEMBER: u64 = 10 * Time::SECOND;
const MOST: usize = 10_000;

#[derive(Debug, PartialEq, Eq)]
struct Steer {
    id: [u8; 16],
    order: u32,
    /// None: the gateway itself again.
    node: Option<u16>,
    /// Both of one family.
    ends: Ends,
}

impl Steer {
    fn parse(message: &[u8]) -> Option<Steer> {
        let (head, hosts) = message.split_first_chunk::<30>()?;
        let number = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        if head[0] != VERSION || head[1] != STEER || usize::from(number(2)) != message.len() {
            return None;
        }
        let (client, vip) = hosts.split_at(hosts.len() / 2);
        let ends = Ends::new(SocketAddr::new(host(client)?, number(26)), SocketAddr::new(host(vip)?, number(28)));
        let node = Some(number(24)).filter(|&node| node != 0);
        Some(Steer {
            id: head[4..20].try_into().ok()?,
            order: u32::from_be_bytes(head[20..24].try_into().ok()?),
            node,
            ends,
        })
    }

    fn answer(&self, done: bool, seen: Option<Seen>) -> Vec<u8> {
        let mut out = [&[VERSION, STEERED, 0, 25], &self.id[..], &self.order.to_be_bytes(), &[done.into()]].concat();
        if let Some(Seen { spoken, client, owner }) = seen {
            out.push(u8::from(spoken) | u8::from(client.is_some()) << 1 | u8::from(owner.is_some()) << 2);
            out.extend([client, owner].iter().flat_map(|number| number.unwrap_or(0).to_be_bytes()));
            out[3] = out.len() as u8;
        }
        out
    }
}

fn host(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[derive(Default)]
pub(crate) struct Steering {
    /// By connection: from which gateway, its latest order, and when.
    heard: HashMap<Ends, (u16, u32, Time)>,
    /// Came in this batch, and from whom.
    came: Vec<(u16, Vec<u8>)>,
}

impl Steering {
    /// Whether a control message of a peer is one of these; it is kept then until `Node::receive_said`.
    pub(crate) fn takes(&mut self, role: Role, peer: u16, message: &[u8]) -> bool {
        let takes = role == Role::Edge && message.get(1) == Some(&STEER);
        if takes {
            self.came.push((peer, message.to_vec()));
        }
        takes
    }

    /// Not if something later was heard from that gateway of the same connection, or too much of others.
    fn is_new(&mut self, gateway: u16, steer: &Steer, now: Time) -> bool {
        let full = self.heard.len() >= MOST;
        match self.heard.get_mut(&steer.ends) {
            Some((sender, order, at)) => {
                let overtaken = *sender == gateway && now.since(*at) < REMEMBER && later(*order, steer.order);
                if !overtaken {
                    (*sender, *order, *at) = (gateway, steer.order, now);
                }
                !overtaken
            }
            None if full => false,
            None => {
                self.heard.insert(steer.ends, (gateway, steer.order, now));
                true
            }
        }
    }

    pub(crate) fn expire(&mut self, now: Time) {
        self.heard.retain(|_, (_, _, at)| now.since(*at) < REMEMBER);
    }
}

/// Orders wrap.
fn later(one: u32, than: u32) -> bool {
    one != than && one.wrapping_sub(than) < 1 << 31
}

impl<O: Outbox> Node<O> {
    /// What came of gateways in a batch and is decided here.
    pub(crate) fn receive_said(&mut self, now: Time, sink: &mut impl Sink) {
        self.receive_asked(now, sink);
        for (gateway, message) in std::mem::take(&mut self.steering.came) {
            self.obey(gateway, &message, now, sink);
        }
    }

    pub(crate) fn obey(&mut self, gateway: u16, message: &[u8], now: Time, sink: &mut impl Sink) {
        let Some(steer) = Steer::parse(message) else {
            self.net.drops.count("steering_bad");
            return;
        };
        let shard = self.place.owner(steer.ends.flow());
        if shard != self.place.index() {
            sink.hand_over(shard, Handed::Said(gateway), VnetHdr::default(), message);
            return;
        }
        if !self.steering.is_new(gateway, &steer, now) {
            self.net.drops.count("steering_stray");
            return;
        }
        let owner = steer.node.filter(|&node| node != IF_GONE).map(Owner::Node);
        let may = steer.node != Some(IF_GONE) || !self.is_reached(&steer.ends);
        let done = may && self.own(steer.ends, owner, Some(gateway), now, sink);
        let seen = self.owners.seen(&steer.ends).filter(|_| done && owner.is_none());
        self.net.send_sealed((gateway, false), 0, Kind::Control, Over::Widest, &steer.answer(done, seen), sink);
    }

    /// Whether another node has a connection, and its process is there.
    fn is_reached(&self, ends: &Ends) -> bool {
        let Some(Owner::Node(node)) = self.owners.of(ends) else { return false };
        self.owners.holder(ends).is_some_and(|holder| self.is_there(node, holder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steer(order: u32, port: u16) -> Steer {
        let ends = Ends::new(SocketAddr::new([10, 0, 0, 1].into(), port), SocketAddr::new([10, 0, 0, 2].into(), 80));
        Steer { id: [7; 16], order, node: Some(51), ends }
    }

    fn seconds(count: u64) -> Time {
        Time(count * Time::SECOND)
    }

    #[test]
    fn messages_have_the_pictures_that_gateways_know() {
        let text = include_str!("../../../tests/vectors/transfer.txt");
        let bytes = |name: &str| -> Vec<u8> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap();
            let digits: Vec<u8> = line.bytes().filter(|byte| *byte != b' ').collect();
            let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
            digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
        };
        let found = Steer::parse(&bytes("steer")).unwrap();
        let ends = Ends::new("10.91.1.10:4000".parse().unwrap(), "10.91.1.130:80".parse().unwrap());
        assert_eq!((found.order, found.node, found.ends), (1, Some(51), ends));
        assert_eq!(found.answer(true, None), bytes("steered"));
        let seen = Seen { spoken: true, client: Some(0x0102_0304), owner: None };
        assert_eq!(found.answer(true, Some(seen)), bytes("steered_seen"));
        let six = Steer::parse(&bytes("steer_v6")).unwrap();
        assert_eq!((six.order, six.node), (2, None));
        assert_eq!(six.ends.client, "fd91::a".parse::<IpAddr>().unwrap());
        for length in 0..bytes("steer").len() {
            assert_eq!(Steer::parse(&bytes("steer")[..length]), None);
        }
        assert_eq!(Steer::parse(&bytes("steered")), None);
    }

    #[test]
    fn what_was_said_later_counts_whenever_it_comes() {
        let mut steering = Steering::default();
        assert!(steering.is_new(31, &steer(1, 4000), seconds(0)));
        assert!(steering.is_new(31, &steer(1, 4000), seconds(0)), "a repetition is answered again");
        assert!(steering.is_new(31, &steer(2, 4000), seconds(1)));
        assert!(!steering.is_new(31, &steer(1, 4000), seconds(2)));
        assert!(steering.is_new(31, &steer(1, 4001), seconds(2)), "another connection");
        assert!(steering.is_new(31, &steer(1, 4000), seconds(11)), "forgotten");
        steering.expire(seconds(21));
        assert!(steering.heard.is_empty());
    }

    #[test]
    fn orders_wrap() {
        let mut steering = Steering::default();
        assert!(steering.is_new(31, &steer(u32::MAX, 1), seconds(0)));
        assert!(steering.is_new(31, &steer(0, 1), seconds(0)));
        assert!(!steering.is_new(31, &steer(u32::MAX, 1), seconds(0)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut steering = Steering::default();
        for port in 0..MOST as u16 {
            assert!(steering.is_new(31, &steer(1, port), seconds(0)));
        }
        assert!(!steering.is_new(31, &steer(1, MOST as u16), seconds(0)));
    }
}
