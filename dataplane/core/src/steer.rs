//! From the TUN queue that a packet was read from to the shard that owns its flow.
//!
//! At an edge a flow's owner follows from its hash, as its lane does; at a gateway from the SNAT port, of which each shard has
//! its own. The kernel learns a flow's queue when its owner writes to the TUN, so most packets are read by their owner, and
//! the others are handed over. Fragments are gathered where the first one's ports can be looked up: in the shard that the two
//! addresses name.

use crate::config::Role;
use crate::event::Outbox;
use crate::node::Node;
use braid_packet::affinity::{flow_hash, has_ports, host_hash, local_port};
use braid_packet::{Datagram, Fragments, Handed, Ip, Sink, Time, VnetHdr};

/// Fragments whose time is over that are looked at per tick.
const EXPIRY_BUDGET: usize = 1024;

/// What fragments were seen, each by the number of its flow.
pub(crate) struct Pieces {
    /// From the TUN: those whose first is not here yet are kept.
    pub(crate) read: Fragments<u32>,
    /// On their way into the overlay.
    pub(crate) sent: Fragments<u32>,
}

impl Pieces {
    pub(crate) fn new(seed: u64) -> Pieces {
        Pieces { read: Fragments::new(seed), sent: Fragments::new(seed) }
    }

    /// How many fragments are lost.
    pub(crate) fn expire(&mut self, now: Time) -> usize {
        self.read.expire(now, EXPIRY_BUDGET) + self.sent.expire(now, EXPIRY_BUDGET)
    }
}

impl<O: Outbox> Node<O> {
    /// A packet from this shard's own queue.
    pub(crate) fn steer(&mut self, vnet: VnetHdr, packet: &mut [u8], now: Time, sink: &mut impl Sink) {
        let Ok(ip) = Ip::parse(packet) else {
            self.net.drops.count("malformed");
            return;
        };
        if !(ip.is_fragment() && has_ports(ip.protocol)) {
            self.pass_on(self.number(&ip, packet), vnet, packet, now, sink);
            return;
        }
        let gatherer = self.place.owner(host_hash(&ip));
        if gatherer == self.place.index() {
            self.gather(&ip, vnet, packet, now, sink);
        } else {
            sink.hand_over(gatherer, Handed::Fragment, vnet, packet);
        }
    }

    /// A packet that another shard read.
    pub(crate) fn take_over(
        &mut self,
        handed: Handed,
        vnet: VnetHdr,
        packet: &mut [u8],
        now: Time,
        sink: &mut impl Sink,
    ) {
        match (handed, Ip::parse(packet)) {
            (Handed::Owned(flow), _) => self.receive_owned(flow, vnet, packet, now, sink),
            (Handed::Fragment, Ok(ip)) => self.gather(&ip, vnet, packet, now, sink),
            (Handed::Fragment, Err(_)) => self.net.drops.count("malformed"),
            (Handed::Said(gateway), _) => self.obey(gateway, packet, now, sink),
        }
    }

    fn number(&self, ip: &Ip, packet: &[u8]) -> u32 {
        match self.config.role {
            Role::Gateway => self.number_at_gateway(ip, packet),
            Role::Edge | Role::Intermediate | Role::Dns | Role::Content => flow_hash(ip, packet),
        }
    }

    /// By the SNAT port. What the stack sends to a client goes where that one's packets arrive.
    fn number_at_gateway(&self, ip: &Ip, packet: &[u8]) -> u32 {
        let Some(gateway) = self.gateway.as_ref().filter(|gateway| !gateway.proxied.is_empty()) else {
            return u32::from(local_port(ip, packet));
        };
        if gateway.proxied.owner(&ip.source).is_some() {
            return flow_hash(ip, packet);
        }
        match ip.ports() {
            Some((source, _)) if gateway.is_from_stack_to_server(ip) => u32::from(source),
            _ => u32::from(local_port(ip, packet)),
        }
    }

    /// Gives a fragment to the owner of its flow, with those that waited for it; keeps it when the first is not here yet.
    fn gather(&mut self, ip: &Ip, vnet: VnetHdr, packet: &mut [u8], now: Time, sink: &mut impl Sink) {
        let datagram = Datagram::of(ip);
        if ip.is_first() {
            let flow = self.number(ip, packet);
            let waiting = self.pieces.read.learn(datagram, flow, now);
            self.pass_on(flow, vnet, packet, now, sink);
            for mut later in waiting {
                self.pass_on(flow, VnetHdr::default(), &mut later, now, sink);
            }
        } else if let Some(flow) = self.pieces.read.find(&datagram, now) {
            self.pass_on(flow, vnet, packet, now, sink);
        } else if !self.pieces.read.hold(datagram, packet.get(..ip.total_len).unwrap_or(packet), now) {
            self.net.drops.count("fragments_full");
        }
    }

    fn pass_on(&mut self, flow: u32, vnet: VnetHdr, packet: &mut [u8], now: Time, sink: &mut impl Sink) {
        let owner = self.place.owner(flow);
        if owner == self.place.index() {
            self.receive_owned(flow, vnet, packet, now, sink);
        } else {
            sink.hand_over(owner, Handed::Owned(flow), vnet, packet);
        }
    }

    fn receive_owned(&mut self, flow: u32, vnet: VnetHdr, packet: &mut [u8], now: Time, sink: &mut impl Sink) {
        match self.config.role {
            Role::Edge => self.receive_from_client(flow, vnet, packet, now, sink),
            Role::Gateway | Role::Content => self.receive_from_server(vnet, packet, now, sink),
            Role::Intermediate | Role::Dns => self.net.drops.count("no_tun_role"),
        }
    }

    /// The number of the flow, as the client sees it, that a gateway's packet towards a client belongs to.
    pub(crate) fn flow_towards_client(&mut self, packet: &[u8], now: Time) -> u32 {
        if !self.net.sessions.has_several_lanes() {
            return 0;
        }
        let Ok(ip) = Ip::parse(packet) else { return 0 };
        if !(ip.is_fragment() && has_ports(ip.protocol)) {
            return flow_hash(&ip, packet);
        }
        let datagram = Datagram::of(&ip);
        if ip.is_first() {
            let flow = flow_hash(&ip, packet);
            self.pieces.sent.learn(datagram, flow, now);
            return flow;
        }
        // The NAT lets later fragments pass behind their first one only.
        self.pieces.sent.find(&datagram, now).unwrap_or(0)
    }
}
