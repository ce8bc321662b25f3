//! TCP connections at an edge, and which gateway has their state: what is needed to end them when that gateway is gone, or
//! has started again and forgotten.
//!
//! A client that sends is told by the next gateway, which does not know the connection and resets it. One that only receives
//! would wait for ever. So it gets a keep-alive segment in the server's name: it has to answer that (RFC 9293 3.8.4), and its
//! answer goes the way of all that it sends. Where the gateway has the connection after all, nothing comes of it.
//!
//! Only what opens or ends a connection is looked at. Bounded; a connection beyond that waits for its client to send.

use crate::role::ends::Ends;
use braid_packet::{Ip, Segment, Tcp, Time};
use hashbrown::HashMap;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

const MOST: usize = 131_072;
/// As long as a gateway remembers an idle connection (RFC 5382: 2 h 4 min), and a little.
const LIFETIME: u64 = 7500 * Time::SECOND;
/// A gateway that is back sooner, and not another process, has its state.
const GONE_AFTER: u64 = 2 * Time::SECOND;
/// Between the first three questions to the same client, which has to be asked again if a packet is lost; then the pauses double.
/// A gateway that was drained notices only after seconds that its sibling is gone, and passes on the answers until then.
const AGAIN: u64 = Time::SECOND;
const MOST_TRIES: u8 = 6;
/// As often as the pauses grow, and one more.
const SLOWEST: u8 = 4;

/// How a gateway is seen now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub usable: bool,
    /// Of its process, if there is a session with it.
    pub boot: Option<u64>,
}

/// What is known of a gateway that has, or had, connections.
#[derive(Default)]
struct Gateway {
    boot: Option<u64>,
    /// How often it has started again. Connections of an earlier life are lost.
    life: u8,
    /// Not usable: when it counts as gone.
    gone: Option<Time>,
    /// How often clients of earlier lives are still to be asked.
    rounds: u8,
    /// How often clients were asked since it is gone, or back in another life.
    asked: u8,
    /// When clients may be asked again.
    next: Time,
}

struct Connection {
    gateway: u16,
    life: u8,
    tries: u8,
    /// The server's initial sequence number and the client's next one: what a keep-alive before any data says.
    sequence: u32,
    acknowledgement: u32,
    opened: Time,
}

#[derive(Default)]
pub struct Connections {
    by_ends: HashMap<Ends, Connection>,
    gateways: BTreeMap<u16, Gateway>,
    to_ask: VecDeque<Ends>,
}

impl Connections {
    /// A packet that comes from a gateway for a client.
    #[inline]
    pub fn receive_reply(&mut self, ip: &Ip, gateway: u16, now: Time) {
        if let Some((ends, tcp)) = Ends::outward(ip) {
            if tcp.has(Tcp::SYN | Tcp::FIN | Tcp::RST) {
                self.follow(ends, &tcp, gateway, now);
            }
        }
    }

    #[cold]
    fn follow(&mut self, ends: Ends, tcp: &Tcp, gateway: u16, now: Time) {
        if tcp.has(Tcp::FIN | Tcp::RST) {
            // The client has nothing more to wait for.
            self.by_ends.remove(&ends);
        } else if tcp.has(Tcp::ACK) && (self.by_ends.len() < MOST || self.by_ends.contains_key(&ends)) {
            let (sequence, acknowledgement) = (tcp.sequence, tcp.acknowledgement);
            let life = self.gateways.entry(gateway).or_default().life;
            self.by_ends.insert(ends, Connection { gateway, life, tries: 0, sequence, acknowledgement, opened: now });
        }
    }

    /// Another node has a connection now.
    pub fn moved(&mut self, ends: &Ends, node: u16) {
        let life = self.gateways.entry(node).or_default().life;
        if let Some(connection) = self.by_ends.get_mut(ends) {
            (connection.gateway, connection.life, connection.tries) = (node, life, 0);
        }
    }

    /// Another gateway has all connections of this one now.
    pub fn moved_all(&mut self, from: u16, to: u16) {
        let life = self.gateways.entry(to).or_default().life;
        for connection in self.by_ends.values_mut().filter(|connection| connection.gateway == from) {
            (connection.gateway, connection.life, connection.tries) = (to, life, 0);
        }
    }

    /// To be called at each tick. `served`: whether somebody answers for connections of a VIP that this node had.
    pub fn handle_timeout(
        &mut self,
        now: Time,
        standing: impl Fn(u16) -> Standing,
        served: impl Fn(u16, IpAddr) -> bool,
    ) {
        for (&number, gateway) in &mut self.gateways {
            let is_gone = gateway.look(standing(number), now);
            let is_back = gateway.gone.is_none() && gateway.rounds > 0;
            if !(is_gone || is_back) || now < gateway.next {
                continue;
            }
            gateway.rounds = gateway.rounds.saturating_sub(u8::from(is_back));
            let (life, to_ask) = (gateway.life, &mut self.to_ask);
            let waiting = to_ask.len();
            self.by_ends.retain(|ends, connection| {
                let lost = connection.gateway == number && (is_gone || connection.life != life);
                if !lost || !served(number, ends.vip) {
                    return true;
                }
                let ask = connection.tries < MOST_TRIES;
                if ask {
                    to_ask.push_back(*ends);
                    connection.tries += 1;
                }
                ask
            });
            // Where nobody serves them clients are not asked, and it does not count.
            let asked = is_back || to_ask.len() > waiting;
            gateway.next = now.after(AGAIN << if asked { gateway.asked.saturating_sub(1) } else { 0 });
            gateway.asked = (gateway.asked + u8::from(asked)).min(SLOWEST);
        }
    }

    /// Writes the next keep-alive that is due, from a VIP to a client; None: no more.
    pub fn ask(&mut self, out: &mut Vec<u8>) -> Option<()> {
        loop {
            let ends = self.to_ask.pop_front()?;
            // It may have ended since.
            if let Some(&Connection { sequence, acknowledgement, .. }) = self.by_ends.get(&ends) {
                let from = SocketAddr::new(ends.vip, ends.port);
                let to = SocketAddr::new(ends.client, ends.client_port);
                let (flags, window) = (Tcp::ACK, u16::MAX);
                return Segment { from, to, sequence, acknowledgement, flags, window, options: &[] }.write(out);
            }
        }
    }

    pub fn expire(&mut self, now: Time) {
        self.by_ends.retain(|_, connection| now.since(connection.opened) < LIFETIME);
    }
}

impl Gateway {
    /// Whether it is gone.
    fn look(&mut self, standing: Standing, now: Time) -> bool {
        if let Some(boot) = standing.boot {
            if self.boot.replace(boot).is_some_and(|before| before != boot) {
                self.life = self.life.wrapping_add(1);
                self.rounds = MOST_TRIES;
                (self.next, self.asked) = (now, 0);
            }
        }
        match standing.usable {
            true => {
                if self.gone.take().is_some() {
                    (self.next, self.asked) = (now, 0);
                }
            }
            false => {
                self.gone.get_or_insert(now.after(GONE_AFTER));
            }
        }
        self.gone.is_some_and(|gone| gone <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use braid_packet::Transport;

    const VIP: &str = "10.91.1.130";

    /// As if from the server: flags, and the client's port.
    fn reply(flags: u8, port: u16) -> Ip {
        let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 91, 1, 130, 10, 91, 1, 10, 0, 80];
        packet.extend_from_slice(&port.to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0, 7, 0, 0, 0, 9, 0x50, flags, 0, 1, 0, 0, 0, 0]);
        Ip::parse(&packet).unwrap()
    }

    fn opened(ports: std::ops::Range<u16>) -> Connections {
        let mut connections = Connections::default();
        ports.for_each(|port| connections.receive_reply(&reply(Tcp::SYN | Tcp::ACK, port), 31, Time(0)));
        connections
    }

    /// Ports of clients that are asked at this tick.
    fn asked(connections: &mut Connections, ms: u64, usable: bool, served: bool) -> Vec<u16> {
        asked_of(connections, ms, Standing { usable, boot: Some(1) }, served)
    }

    fn asked_of(connections: &mut Connections, ms: u64, standing: Standing, served: bool) -> Vec<u16> {
        connections.handle_timeout(Time(ms * Time::MILLISECOND), |_| standing, |_, _| served);
        drained(connections)
    }

    fn drained(connections: &mut Connections) -> Vec<u16> {
        let (mut out, mut ports) = (Vec::new(), Vec::new());
        while connections.ask(&mut out).is_some() {
            let ip = Ip::parse(&out).unwrap();
            assert_eq!(ip.source, VIP.parse::<IpAddr>().unwrap());
            let Transport::Tcp(tcp) = ip.transport else { panic!("no TCP") };
            assert_eq!((tcp.sequence, tcp.acknowledgement, tcp.flags), (7, 9, Tcp::ACK));
            ports.push(tcp.destination);
        }
        ports.sort_unstable();
        ports
    }

    #[test]
    fn clients_of_a_lost_gateway_are_asked_until_their_connection_ends_and_not_for_ever() {
        let mut connections = opened(1..4);
        assert_eq!(asked(&mut connections, 0, true, true), [0u16; 0]);
        connections.receive_reply(&reply(Tcp::FIN | Tcp::ACK, 3), 31, Time(0));
        connections.receive_reply(&reply(Tcp::ACK, 2), 31, Time(0));
        assert_eq!(asked(&mut connections, 1000, false, true), [0u16; 0], "it may come back");
        assert_eq!(asked(&mut connections, 2900, false, true), [0u16; 0]);
        assert_eq!(asked(&mut connections, 3000, false, true), [1, 2]);
        assert_eq!(asked(&mut connections, 3900, false, true), [0u16; 0]);
        connections.receive_reply(&reply(Tcp::RST, 1), 32, Time(0));
        let later = (40..400).filter(|tenth| !asked(&mut connections, tenth * 100, false, true).is_empty());
        assert_eq!(later.collect::<Vec<_>>(), [40, 50, 70, 110, 190], "six times in all");
        assert!(connections.by_ends.is_empty());
    }

    #[test]
    fn where_nobody_serves_them_connections_are_kept_for_a_gateway_that_comes_back() {
        let mut connections = opened(1..3);
        for tenth in 0..100 {
            assert_eq!(asked(&mut connections, tenth * 100, false, false), [0u16; 0]);
        }
        assert_eq!(asked(&mut connections, 10_000, true, true), [0u16; 0], "it has not started again");
        let other = Standing { usable: true, boot: Some(2) };
        assert_eq!(asked_of(&mut connections, 10_100, other, true), [1, 2], "it has forgotten them");
    }

    #[test]
    fn clients_of_a_gateway_that_has_started_again_are_asked_even_if_it_was_never_missed() {
        let mut connections = opened(1..3);
        assert_eq!(asked(&mut connections, 0, true, true), [0u16; 0]);
        let other = Standing { usable: true, boot: Some(2) };
        assert_eq!(asked_of(&mut connections, 100, other, true), [1, 2]);
        connections.receive_reply(&reply(Tcp::SYN | Tcp::ACK, 3), 31, Time(0));
        connections.receive_reply(&reply(Tcp::RST, 2), 31, Time(0));
        assert_eq!(asked_of(&mut connections, 1000, other, true), [0u16; 0]);
        let later = (11..400).flat_map(|tenth| asked_of(&mut connections, tenth * 100, other, true));
        assert_eq!(later.collect::<Vec<_>>(), [1, 1, 1, 1, 1], "six times in all, and never one of its new life");
        let without = Standing { usable: false, boot: None };
        assert_eq!(asked_of(&mut connections, 40_000, without, true), [0u16; 0]);
        assert_eq!(asked_of(&mut connections, 40_100, other, true), [0u16; 0], "no session for a moment");
    }

    #[test]
    fn connections_through_other_gateways_are_left_alone_and_all_are_bounded() {
        let mut connections = opened(1..2);
        connections.receive_reply(&reply(Tcp::SYN | Tcp::ACK, 2), 32, Time(0));
        for (tenth, expected) in [(0, vec![]), (30, vec![1])] {
            let standing = |gateway| Standing { usable: gateway == 32, boot: Some(1) };
            connections.handle_timeout(Time(tenth * 100 * Time::MILLISECOND), standing, |_, _| true);
            assert_eq!(drained(&mut connections), expected);
        }
        let mut connections = opened(0..u16::MAX);
        for client in 0..4u8 {
            for port in 0..u16::MAX {
                let ip = Ip { destination: IpAddr::from([10, 0, 0, client]), ..reply(Tcp::SYN | Tcp::ACK, port) };
                connections.receive_reply(&ip, 31, Time(0));
            }
        }
        assert_eq!(connections.by_ends.len(), MOST);
        connections.expire(Time(LIFETIME));
        assert!(connections.by_ends.is_empty());
    }
}
