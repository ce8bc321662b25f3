//! Between the overlay and the host: first copies out to the TUN, packets from the TUN into the overlay.

use crate::event::Outbox;
use crate::node::Node;
use crate::oversized::Destination;
use crate::receive::Delivery;
use crate::role::edge::{Choice, Reply};
use crate::role::fast::{Inward, Outward, ToClient, ToServer};
use crate::sibling::Origin;
use braid_fastpath::Passage;
use braid_nat::{Direction, Released};
use braid_offload::{Delivered, Limits};
use braid_packet::affinity::flow_hash;
use braid_packet::{clamp_mss, icmp, Datagrams, Ip, Sink, Time, Unreachable, VnetHdr};

/// A packet that passed the role's check and goes out to the TUN.
enum Passed {
    InPlace { batch: usize, start: usize, length: usize, partial: bool },
    Own { bytes: Vec<u8>, partial: bool },
}

impl<O: Outbox> Node<O> {
    /// Hands the packets that pass the role's check to the TUN, in order, coalesced. Empties `deliveries`.
    pub(crate) fn deliver(
        &mut self,
        batches: &mut [Datagrams<'_>],
        deliveries: &mut Vec<Delivery>,
        now: Time,
        sink: &mut impl Sink,
    ) {
        if deliveries.is_empty() {
            return;
        }
        self.worked = now;
        if let Some(gateway) = &mut self.gateway {
            let packets = deliveries.iter().map(|delivery| match delivery {
                Delivery::InPlace { batch, start, length, .. } => &batches[*batch].bytes[*start..*start + *length],
                Delivery::Held { held, .. } => &held.bytes[..],
            });
            gateway.nat.look_ahead(packets.filter(|packet| !packet.is_empty()));
        }
        let mut passed = Vec::with_capacity(deliveries.len());
        for delivery in deliveries.drain(..) {
            match delivery {
                Delivery::InPlace { batch, start, length, partial, peer } => {
                    let packet = &mut batches[batch].bytes[start..start + length];
                    if self.admit(packet, partial, peer, now, sink) {
                        passed.push(Passed::InPlace { batch, start, length, partial });
                    }
                }
                Delivery::Held { mut held, peer, session, slot } => {
                    if !held.bytes.is_empty() && self.admit(&mut held.bytes, held.partial, peer, now, sink) {
                        let bytes = std::mem::take(&mut held.bytes);
                        passed.push(Passed::Own { bytes, partial: held.partial });
                    } else if let Some(session) = self.net.sessions.get_mut(session) {
                        if let Some(lane) = session.received.get_mut(slot) {
                            lane.order.recycle(held);
                        }
                    }
                }
            }
            if let Some(gateway) = &mut self.gateway {
                passed.extend(gateway.to_server.drain(..).map(|ToServer { edge, mut packet, partial }| {
                    self.net.clamp_answers(edge, &mut packet, partial);
                    Passed::Own { bytes: packet, partial }
                }));
                passed.extend(gateway.nat.take_released().filter_map(|released| match released.direction {
                    Direction::Forward => Some(Passed::Own { bytes: released.packet, partial: false }),
                    Direction::Reverse { .. } => None,
                }));
            }
        }
        self.receive_passed(now, sink);
        self.send_made(now, sink);
        let packets: Vec<Delivered<'_>> = passed
            .iter()
            .map(|packet| match packet {
                Passed::InPlace { batch, start, length, partial } => {
                    Delivered { bytes: &batches[*batch].bytes[*start..*start + *length], partial: *partial }
                }
                Passed::Own { bytes, partial } => Delivered { bytes, partial: *partial },
            })
            .collect();
        let takes = sink.super_packets();
        let limits = Limits { tcp: self.config.coalesce_tcp && takes.tcp, udp: self.config.coalesce_udp && takes.udp };
        self.coalescer.deliver(&packets, limits, sink);
    }

    /// Checks and translates one packet that came out of the overlay from `peer`.
    pub(crate) fn admit(
        &mut self,
        packet: &mut [u8],
        partial: bool,
        peer: u16,
        now: Time,
        sink: &mut impl Sink,
    ) -> bool {
        let (peer, passed) = match self.origin(packet, partial, peer) {
            Origin::Client(peer) => (peer, false),
            Origin::Passed(edge) => (edge, true),
            Origin::Server => return false,
            Origin::Nobody => {
                self.net.drops.count("passed_astray");
                return false;
            }
        };
        if let Some(passes) = self.admit_owned(packet, partial, peer, now, sink) {
            return passes;
        }
        if let Some(passes) = self.admit_to_stack(packet, partial, peer) {
            return passes;
        }
        if !passed && self.pass_from_client(packet, partial, now, sink) {
            return false;
        }
        match (&mut self.gateway, &mut self.edge) {
            (Some(gateway), _) => match gateway.receive_from_client(packet, partial, peer, now) {
                Inward::Pass => {
                    self.net.clamp_answers(peer, packet, partial);
                    true
                }
                Inward::Reply(reply) => {
                    let flow = Ip::parse(reply).map_or(0, |ip| flow_hash(&ip, reply));
                    if self.net.send_packet(peer, u8::MAX, flow, VnetHdr::default(), reply, sink).is_err() {
                        self.net.drops.count("too_big");
                    }
                    false
                }
                Inward::Nothing => false,
            },
            (None, Some(edge)) => {
                let reply = match Ip::parse(packet) {
                    Ok(ip) if edge.is_gateway(peer) => edge.admit_reply(&ip, peer, now),
                    _ => Reply::Refused,
                };
                match reply {
                    Reply::Pass => self.net.clamp_answers(peer, packet, partial),
                    Reply::Refused => self.net.drops.count("not_a_reply"),
                    Reply::Taken => {}
                }
                reply == Reply::Pass
            }
            (None, None) => {
                self.net.drops.count("no_tun_role");
                false
            }
        }
    }

    /// For a packet to a VIP whose connections end in the gateway's own stack; None for all others.
    fn admit_to_stack(&mut self, packet: &mut [u8], partial: bool, peer: u16) -> Option<bool> {
        let gateway = self.gateway.as_ref()?;
        let proxied = &gateway.proxied;
        if proxied.is_empty() || gateway.translated_error(packet).is_some() {
            return None;
        }
        let verdict = proxied.admit(&Ip::parse(packet).ok()?, peer)?;
        match verdict {
            Ok(()) => self.net.clamp_answers(peer, packet, partial),
            Err(reason) => self.net.drops.count(reason),
        }
        Some(verdict.is_ok())
    }

    /// A packet of the gateway's own stack: from a VIP it goes to the edge that has it, from the SNAT pool back to the host, which
    /// knows the way to the server. False for all others.
    fn receive_from_stack(&mut self, vnet: VnetHdr, packet: &mut [u8], now: Time, sink: &mut impl Sink) -> bool {
        let Some(gateway) = self.gateway.as_mut().filter(|gateway| !gateway.proxied.is_empty()) else { return false };
        let Ok(ip) = Ip::parse(packet) else { return false };
        let Some(owner) = gateway.proxied.owner(&ip.source) else {
            if !gateway.is_from_stack_to_server(&ip) {
                return false;
            }
            let round_trip = |edge| self.net.sessions.round_trip(edge, self.net.paths.used(edge), now);
            match gateway.admit_to_server(&ip, packet, vnet.needs_csum, round_trip, now) {
                Passage::Once => sink.tun(vnet, &[packet]),
                Passage::Twice => {
                    sink.tun(vnet, &[packet]);
                    sink.tun(vnet, &[packet]);
                }
                Passage::Nothing => {}
            }
            return true;
        };
        let Some((peer, set)) = gateway.admit_from_stack(&ip, packet, owner, now) else { return true };
        clamp_mss(packet, vnet.needs_csum, u16::try_from(self.config.mtu).unwrap_or(u16::MAX));
        let flow = self.flow_towards_client(packet, now);
        if self.net.send_packet(peer, set, flow, vnet, packet, sink).is_err() {
            self.send_in_pieces(Destination { peer, set, flow }, vnet, packet, packet, now, sink);
        }
        true
    }

    /// A packet of a flow that the edge's host routed to a VIP.
    pub(crate) fn receive_from_client(
        &mut self,
        flow: u32,
        vnet: VnetHdr,
        packet: &mut [u8],
        now: Time,
        sink: &mut impl Sink,
    ) {
        let (Some(_), Ok(ip)) = (&self.edge, Ip::parse(packet)) else {
            self.net.drops.count("malformed");
            return;
        };
        if self.send_to_owner(&ip, flow, vnet, packet, now, sink) {
            return;
        }
        let Some(edge) = &mut self.edge else { return };
        let sessions = &self.net.sessions;
        let usable = |gateway| sessions.usable((gateway, false));
        let why = match edge.choose(&ip, now, usable, |gateway| sessions.answers((gateway, false), now)) {
            Choice::Send { gateway, set } => {
                clamp_mss(packet, vnet.needs_csum, u16::try_from(self.config.mtu).unwrap_or(u16::MAX));
                if self.net.send_packet(gateway, set, flow, vnet, packet, sink).is_err() {
                    self.send_in_pieces(Destination { peer: gateway, set, flow }, vnet, packet, packet, now, sink);
                }
                return;
            }
            Choice::Answer { gateway, app } => {
                match edge.cookies.answer(gateway, packet, vnet.needs_csum, app, now) {
                    Ok(answer) => {
                        self.net.clamp_answers(gateway, answer, false);
                        sink.tun(VnetHdr::default(), &[answer]);
                    }
                    Err(reason) => self.net.drops.count(reason),
                }
                return;
            }
            Choice::UnknownVip => ("unknown_vip", Unreachable::Host),
            Choice::Refused => ("port_refused", Unreachable::Port),
            Choice::NoGateway => ("no_gateway", Unreachable::Host),
        };
        let (reason, code) = why;
        self.net.drops.count(reason);
        if icmp::unreachable(&mut self.icmp, packet, ip.destination, code).is_some() {
            self.answer(now, sink);
        }
    }

    pub(crate) fn answer(&mut self, now: Time, sink: &mut impl Sink) {
        if self.icmp_rate.allow(now) {
            sink.tun(VnetHdr::default(), &[&self.icmp]);
        } else {
            self.net.drops.count("icmp_rate");
        }
    }

    /// A packet that the gateway's host routed to a SNAT address, or that comes from its own stack.
    pub(crate) fn receive_from_server(&mut self, vnet: VnetHdr, packet: &mut [u8], now: Time, sink: &mut impl Sink) {
        if self.is_guarded(packet, now) {
            return;
        }
        if self.receive_from_stack(vnet, packet, now, sink) {
            self.send_made(now, sink);
            return;
        }
        if !self.pass_from_server(vnet, packet, now, sink) {
            self.receive_from_server_here(vnet, packet, now, sink);
        }
    }

    /// The same, whoever else might have its flow.
    pub(crate) fn receive_from_server_here(
        &mut self,
        vnet: VnetHdr,
        packet: &mut [u8],
        now: Time,
        sink: &mut impl Sink,
    ) {
        let before = self.remember(packet);
        let Some(gateway) = &mut self.gateway else { return };
        match gateway.receive_from_server(vnet, packet, now) {
            Outward::Pass { edge, set } => {
                clamp_mss(packet, vnet.needs_csum, u16::try_from(self.config.mtu).unwrap_or(u16::MAX));
                let flow = self.flow_towards_client(packet, now);
                if self.net.send_packet(edge, set, flow, vnet, packet, sink).is_err() {
                    self.send_in_pieces(Destination { peer: edge, set, flow }, vnet, packet, &before, now, sink);
                }
            }
            Outward::Grown { edge, set } => {
                let grown = gateway.fast.take_grown();
                for (vnet, packet) in grown.packets() {
                    let flow = self.flow_towards_client(packet, now);
                    if self.net.send_packet(edge, set, flow, *vnet, packet, sink).is_err() {
                        self.send_in_pieces(Destination { peer: edge, set, flow }, *vnet, packet, &before, now, sink);
                    }
                }
                if let Some(gateway) = &mut self.gateway {
                    gateway.fast.put_back(grown);
                }
            }
            Outward::Stack => sink.tun(vnet, &[packet]),
            Outward::Reply(reply) => sink.tun(VnetHdr::default(), &[reply]),
            Outward::Nothing => {}
        }
        self.before = before;
        self.send_made(now, sink);
        let Some(gateway) = &mut self.gateway else { return };
        let released: Vec<Released> = gateway.nat.take_released().collect();
        for released in released {
            if let Direction::Reverse { edge, set, .. } = released.direction {
                let (flow, vnet) = (self.flow_towards_client(&released.packet, now), VnetHdr::default());
                if self.net.send_packet(edge, set, flow, vnet, &released.packet, sink).is_err() {
                    let to = Destination { peer: edge, set, flow };
                    self.send_in_pieces(to, vnet, &released.packet, &[], now, sink);
                }
            }
        }
    }
    /// What the fast path made beside the packets that it was given.
    pub(crate) fn send_made(&mut self, now: Time, sink: &mut impl Sink) {
        let Some(gateway) = &mut self.gateway else { return };
        gateway.take_news(false).for_each(|event| self.outbox.event(event));
        if gateway.to_client.is_empty() && gateway.to_server.is_empty() {
            return;
        }
        let to_client = std::mem::take(&mut gateway.to_client);
        let mut to_server = std::mem::take(&mut gateway.to_server);
        for ToClient { edge, set, packet } in to_client {
            let flow = self.flow_towards_client(&packet, now);
            if self.net.send_packet(edge, set, flow, VnetHdr::default(), &packet, sink).is_err() {
                self.net.drops.count("too_big");
            }
        }
        for made in &mut to_server {
            self.net.clamp_answers(made.edge, &mut made.packet, made.partial);
        }
        let packets: Vec<Delivered<'_>> =
            to_server.iter().map(|made| Delivered { bytes: &made.packet, partial: made.partial }).collect();
        self.coalescer.deliver(&packets, Limits::default(), sink);
    }
}
