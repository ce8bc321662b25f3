//! Packets between the two gateways of `role/sibling.rs`: as they came from a client or a server, in the session of the two.

use crate::event::Outbox;
use crate::node::Node;
use crate::oversized::Destination;
use crate::role::sibling::{Copied, Took, Which};
use braid_fastpath::Held;
use braid_nat::Prefix;
use braid_packet::{partial_offsets, Ip, Sink, Time, VnetHdr};

/// Siblings are neighbours: one path, and one copy.
const DIRECT: u8 = 1;

/// Where a packet that came out of the overlay is from.
pub(crate) enum Origin {
    /// A client, by way of this edge.
    Client(u16),
    /// The same, and the sibling has passed it on.
    Passed(u16),
    /// Kept: the sibling got it from a server.
    Server,
    Nobody,
}

impl<O: Outbox> Node<O> {
    pub(crate) fn copy_flows(&mut self, pools: &[Prefix], which: Which, from: u32, since: Time, now: Time) -> Copied {
        let copied = self.gateway.as_mut().map(|gateway| gateway.copy_flows(pools, which, from, since, now));
        copied.unwrap_or_default()
    }

    pub(crate) fn take_flows(&mut self, piece: &[u8], now: Time) -> Took {
        self.gateway.as_mut().map(|gateway| gateway.take_flows(piece, now)).unwrap_or_default()
    }

    /// What the sender of a packet makes it.
    #[inline]
    pub(crate) fn origin(&mut self, packet: &[u8], partial: bool, peer: u16) -> Origin {
        match &self.gateway {
            Some(gateway) if gateway.siblings.contains(&peer) => self.origin_at_sibling(packet, partial),
            _ => Origin::Client(peer),
        }
    }

    #[cold]
    fn origin_at_sibling(&mut self, packet: &[u8], partial: bool) -> Origin {
        let (Some(gateway), Ok(ip)) = (&mut self.gateway, Ip::parse(packet)) else { return Origin::Nobody };
        if let Some(edge) = gateway.nat.edge_of(ip.destination) {
            return Origin::Passed(edge);
        }
        if !gateway.nat.is_answer(ip.source, ip.destination) {
            return Origin::Nobody;
        }
        gateway.passed.push((vnet_of(packet, partial), packet.to_vec()));
        Origin::Server
    }

    /// A packet that the sibling has passed on, from a server.
    pub(crate) fn receive_passed(&mut self, now: Time, sink: &mut impl Sink) {
        let passed = self.gateway.as_mut().map(|gateway| std::mem::take(&mut gateway.passed)).unwrap_or_default();
        for (vnet, mut packet) in passed {
            self.receive_from_server_here(vnet, &mut packet, now, sink);
        }
    }

    /// Gives a packet to the sibling, if that is to have it.
    pub(crate) fn pass_from_client(&mut self, packet: &[u8], partial: bool, now: Time, sink: &mut impl Sink) -> bool {
        let Some(peer) = self.gateway.as_mut().and_then(|gateway| gateway.elsewhere_for_client(packet, now)) else {
            return false;
        };
        self.pass(peer, vnet_of(packet, partial), packet, now, sink);
        true
    }

    /// The sibling has a connection, and gets what is held of it.
    pub(crate) fn leave(&mut self, connection: u64, now: Time, sink: &mut impl Sink) {
        let Some((peer, held)) = self.gateway.as_mut().and_then(|gateway| gateway.leave(connection)) else { return };
        for Held { vnet, packet, .. } in held {
            let vnet = if vnet.needs_csum { vnet_of(&packet, true) } else { vnet };
            self.pass(peer, vnet, &packet, now, sink);
        }
    }

    pub(crate) fn pass_from_server(&mut self, vnet: VnetHdr, packet: &[u8], now: Time, sink: &mut impl Sink) -> bool {
        let Some(peer) = self.gateway.as_mut().and_then(|gateway| gateway.elsewhere_for_server(packet, now)) else {
            return false;
        };
        self.pass(peer, vnet, packet, now, sink);
        true
    }

    fn pass(&mut self, peer: u16, vnet: VnetHdr, packet: &[u8], now: Time, sink: &mut impl Sink) {
        self.passed_on += 1;
        // Both have the same number of shards, and a flow the same one at each.
        let flow = self.place.index() as u32;
        if self.net.send_packet(peer, DIRECT, flow, vnet, packet, sink).is_err() {
            self.send_in_pieces(Destination { peer, set: DIRECT, flow }, vnet, packet, &[], now, sink);
        }
    }
}

/// It may be for a stack, or be finished on its way: where its checksum is has to be said.
fn vnet_of(packet: &[u8], partial: bool) -> VnetHdr {
    let (csum_start, csum_offset) = partial_offsets(packet).filter(|_| partial).unwrap_or_default();
    VnetHdr { needs_csum: partial, csum_start, csum_offset, ..VnetHdr::default() }
}
