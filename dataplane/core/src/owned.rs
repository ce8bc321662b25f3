//! Packets of transferred connections (`role/owners.rs`): past the role's usual check, to whoever has the connection.

use crate::config::Role;
use crate::event::Outbox;
use crate::node::Node;
use crate::oversized::Destination;
use crate::role::ends::Ends;
use crate::role::owners::{Holder, Inbound, Kept, Owner, Voice};
use braid_offload::{Delivered, Limits};
use braid_packet::affinity::flow_hash;
use braid_packet::{clamp_mss, partial_offsets, tcp_reset, Ip, Sink, Time, VnetHdr};

/// Edges and content proxies are neighbours: one path, and one copy.
const DIRECT: u8 = 1;
/// As long since an owner was heard its gateway may take to go on in its place. TCP repeats what is dropped meanwhile.
const GRACE: u64 = 3 * Time::SECOND;
/// The same where another process of the owner is there: less than `role/connections.rs` asks its clients for.
const GRACE_ANEW: u64 = 2 * Time::SECOND;

impl<O: Outbox> Node<O> {
    /// Whether an owner was changed.
    pub(crate) fn own(
        &mut self,
        ends: Ends,
        owner: Option<Owner>,
        by: Option<u16>,
        now: Time,
        sink: &mut impl Sink,
    ) -> bool {
        let may = by.is_none_or(|gateway| self.may_steer(&ends, gateway));
        if let (Some(edge), Some(gateway)) = (&mut self.edge, by) {
            let node = if let Some(Owner::Node(node)) = owner { node } else { gateway };
            if !may || (owner.is_some() && !edge.may_own(&ends, node)) {
                self.net.drops.count("steering_refused");
                return false;
            }
            if owner.is_none() {
                edge.moved(&ends, gateway);
            }
        }
        let before = self.owners.of(&ends);
        let owner = match (self.config.role, before, owner) {
            (Role::Edge, Some(Owner::Node(node) | Owner::Left(node)), None) => Some(Owner::Left(node)),
            _ => owner,
        };
        let boot = if let Some(Owner::Node(node)) = owner { self.net.sessions.boot((node, false)) } else { None };
        let by = by.map(|gateway| (gateway, self.net.sessions.boot((gateway, false))));
        let Ok(kept) = self.owners.set(ends, owner, boot, by, now) else {
            self.net.drops.count("owners_full");
            return false;
        };
        if matches!(owner, Some(Owner::Left(node)) if !self.net.sessions.usable((node, false))) {
            self.owners.remember(&ends, now);
        }
        if let (Some(gateway), Some(Owner::Away), Role::Gateway) = (&mut self.gateway, owner, self.config.role) {
            gateway.part(&ends, now);
            // An edge that starts again sends its client's packets here until it is told who has them. The control side says when
            // the connection is over.
            self.owners.remember(&ends, now);
        }
        match owner {
            Some(Owner::Here) => self.release(&kept, sink),
            None if self.config.role == Role::Gateway => self.receive_kept(kept, now, sink),
            _ => {
                for Kept { mut packet, partial } in kept {
                    self.pass_on_late(&mut packet, partial, now, sink);
                }
            }
        }
        true
    }

    /// A client's packet of a connection that is no longer here: back to its edge, which knows who has it.
    fn pass_on_late(&mut self, packet: &mut [u8], partial: bool, now: Time, sink: &mut impl Sink) {
        let Ok(ip) = Ip::parse(packet) else { return };
        let Some(owner) = self.gateway.as_ref().and_then(|gateway| gateway.proxied.owner(&ip.destination)) else {
            self.net.drops.count("transferred_away");
            return;
        };
        self.owners.passed_on += 1;
        let (peer, set, flow) = (owner.edge, owner.set, flow_hash(&ip, packet));
        let vnet = vnet_of(packet, partial);
        if self.net.send_packet(peer, set, flow, vnet, packet, sink).is_err() {
            self.send_in_pieces(Destination { peer, set, flow }, vnet, packet, packet, now, sink);
        }
    }

    /// At an edge: a client's packet that another node passes on, because it came there when the connection had gone. A gateway may
    /// if it decides about the connection, a content proxy if it had it. None: it is none.
    fn receive_late(
        &mut self,
        ip: &Ip,
        packet: &mut [u8],
        partial: bool,
        peer: u16,
        now: Time,
        sink: &mut impl Sink,
    ) -> Option<()> {
        let (ends, _) = Ends::inward(ip)?;
        match self.owners.of(&ends)? {
            Owner::Node(node) if node != peer && self.may_steer(&ends, peer) => {}
            Owner::Left(node) if node == peer => {}
            _ => return None,
        }
        self.receive_from_client(flow_hash(ip, packet), vnet_of(packet, partial), packet, now, sink);
        Some(())
    }

    /// At an edge: whether that gateway says who has the connection of a packet towards a client.
    fn decides(&self, ip: &Ip, gateway: u16) -> bool {
        Ends::outward(ip).is_some_and(|(ends, _)| self.may_steer(&ends, gateway))
    }

    /// Who gave a connection to the node that has it may take it back, also where another gateway serves the client by now.
    fn may_steer(&self, ends: &Ends, gateway: u16) -> bool {
        let usable = |gateway| self.net.sessions.usable((gateway, false));
        let by = self.owners.holder(ends).and_then(|holder| holder.by);
        let gave = by == Some((gateway, self.net.sessions.boot((gateway, false))));
        self.edge.as_ref().is_some_and(|edge| gave || edge.may_steer(ends, gateway, usable))
    }

    /// Whether the process that has a connection is there: another one of the same node has nothing of it.
    pub(crate) fn is_there(&self, node: u16, holder: Holder) -> bool {
        let key = (node, false);
        self.net.sessions.usable(key) && (holder.boot.is_none() || holder.boot == self.net.sessions.boot(key))
    }

    /// Whether the gateway is gone that was to tell the owner to begin.
    fn never_begins(&self, holder: Holder) -> bool {
        let gone = |(gateway, boot)| {
            let key = (gateway, false);
            !self.net.sessions.usable(key) || self.net.sessions.boot(key) != boot
        };
        !holder.spoken && holder.by.is_some_and(gone)
    }

    /// Whether its gateway may yet go on in the place of a process that is not there.
    fn may_be_followed(&self, node: u16, holder: Holder, now: Time) -> bool {
        let (key, sessions) = ((node, false), &self.net.sessions);
        let lately = |since: Time, grace: u64| now.since(since) < grace;
        match sessions.since(key).filter(|_| sessions.usable(key)) {
            Some(since) => lately(since, GRACE_ANEW),
            None => sessions.heard_within(key, now, GRACE) || lately(holder.since, GRACE),
        }
    }

    fn release(&mut self, kept: &[Kept], sink: &mut impl Sink) {
        let packets: Vec<Delivered<'_>> =
            kept.iter().map(|kept| Delivered { bytes: &kept.packet, partial: kept.partial }).collect();
        self.coalescer.deliver(&packets, Limits::default(), sink);
    }

    /// Packets that waited are received as if they came now: whoever follows the connection has not seen them.
    fn receive_kept(&mut self, kept: Vec<Kept>, now: Time, sink: &mut impl Sink) {
        if kept.is_empty() {
            return;
        }
        let mut passed = Vec::with_capacity(kept.len());
        for mut kept in kept {
            let edge = Ip::parse(&kept.packet).ok().and_then(|ip| self.edge_of(&ip));
            if edge.is_some_and(|edge| self.admit(&mut kept.packet, kept.partial, edge, now, sink)) {
                passed.push(kept);
            }
        }
        self.release(&passed, sink);
        self.send_made(now, sink);
    }

    /// At a gateway: the edge that a client's packet came from.
    fn edge_of(&self, ip: &Ip) -> Option<u16> {
        let gateway = self.gateway.as_ref()?;
        let stacks = gateway.proxied.owner(&ip.destination).map(|owner| owner.edge);
        stacks.or_else(|| gateway.nat.edge_of(ip.destination))
    }

    /// For a packet out of the overlay: whether it may go to the TUN. None: as if nothing had been transferred.
    pub(crate) fn admit_owned(
        &mut self,
        packet: &mut [u8],
        partial: bool,
        peer: u16,
        now: Time,
        sink: &mut impl Sink,
    ) -> Option<bool> {
        let role = self.config.role;
        if self.owners.is_empty() && role != Role::Content {
            return None;
        }
        let ip = Ip::parse(packet).ok()?;
        if role == Role::Edge && self.receive_late(&ip, packet, partial, peer, now, sink).is_some() {
            return Some(false);
        }
        let passes = match role {
            Role::Edge => match self.owners.reply_from(&ip, peer, || self.net.sessions.boot((peer, false)), now)? {
                // What it still has of the connection, or its end, is not for the client: another one goes on.
                (Owner::Left(node), _) if node == peer => Err("not_the_owner"),
                (Owner::Left(_), _) => return None,
                (Owner::Node(node), voice) if node == peer => {
                    if let (Some(edge), Some((ends, _))) = (&mut self.edge, Ends::outward(&ip)) {
                        if voice == Voice::First {
                            edge.moved(&ends, peer);
                        }
                        edge.note_reply(&ip, peer, now);
                    }
                    Ok(())
                }
                // It was asked to give the connection away before it knew that another one takes it, and may yet keep it.
                (Owner::Node(_), Voice::Silent) if self.decides(&ip, peer) => return None,
                _ => Err("not_the_owner"),
            },
            Role::Gateway => match self.owners.receive(&ip, packet, partial, true, now) {
                Inbound::Free | Inbound::Here | Inbound::Node(..) | Inbound::Reset(..) => return None,
                Inbound::Away => {
                    self.pass_on_late(packet, partial, now, sink);
                    return Some(false);
                }
                inbound => refusal(inbound),
            },
            Role::Content => match self.gateway.as_ref()?.proxied.admit(&ip, peer) {
                None => Err("no_flow"),
                Some(Err(reason)) => Err(reason),
                Some(Ok(())) => match self.owners.receive(&ip, packet, partial, false, now) {
                    Inbound::Here => Ok(()),
                    Inbound::Away => {
                        self.pass_on_late(packet, partial, now, sink);
                        return Some(false);
                    }
                    inbound => refusal(inbound),
                },
            },
            Role::Intermediate | Role::Dns => return None,
        };
        match passes {
            Ok(()) => self.net.clamp_answers(peer, packet, partial),
            Err("") => {}
            Err(reason) => self.net.drops.count(reason),
        }
        Some(passes.is_ok())
    }

    /// Whether a packet of our own stack must not leave: its connection is not ours, or not any more.
    pub(crate) fn is_guarded(&mut self, packet: &[u8], now: Time) -> bool {
        let content = self.config.role == Role::Content;
        if self.owners.is_empty() && !content {
            return false;
        }
        let Ok(ip) = Ip::parse(packet) else { return content };
        let guarded = match self.owners.reply(&ip, now) {
            Some(Owner::Here | Owner::Held) => false,
            Some(Owner::Away | Owner::Node(_) | Owner::Left(_)) => true,
            None => content,
        };
        if guarded {
            self.net.drops.count("not_the_owner");
        }
        guarded
    }

    /// At an edge: sends a client's packet to the node that has its connection. False: the client's gateway is to get it.
    pub(crate) fn send_to_owner(
        &mut self,
        ip: &Ip,
        flow: u32,
        vnet: VnetHdr,
        packet: &mut [u8],
        now: Time,
        sink: &mut impl Sink,
    ) -> bool {
        if self.owners.is_empty() {
            return false;
        }
        let (peer, holder) = match self.owners.receive(ip, packet, vnet.needs_csum, false, now) {
            Inbound::Node(peer, holder) => (peer, holder),
            Inbound::Reset(peer, holder) => {
                if self.is_there(peer, holder) {
                    let _ = self.net.send_packet(peer, DIRECT, flow, vnet, packet, sink);
                }
                return false;
            }
            _ => return false,
        };
        if self.never_begins(holder) {
            // The next gateway, or the next process of that one, tells the client that its connection is lost.
            return false;
        }
        if !self.is_there(peer, holder) {
            // Its state is lost with the process that had it: its gateway goes on, or the client is to begin anew.
            self.net.drops.count("owner_gone");
            if self.may_be_followed(peer, holder, now) {
                return true;
            }
            if tcp_reset(&mut self.icmp, packet).is_some() {
                self.answer(now, sink);
            }
            return true;
        }
        clamp_mss(packet, vnet.needs_csum, u16::try_from(self.config.mtu).unwrap_or(u16::MAX));
        if self.net.send_packet(peer, DIRECT, flow, vnet, packet, sink).is_err() {
            self.send_in_pieces(Destination { peer, set: DIRECT, flow }, vnet, packet, packet, now, sink);
        }
        true
    }
}

fn vnet_of(packet: &[u8], partial: bool) -> VnetHdr {
    let (csum_start, csum_offset) = partial_offsets(packet).unwrap_or_default();
    VnetHdr { needs_csum: partial, csum_start, csum_offset, ..VnetHdr::default() }
}

/// Why a packet does not go on; empty when it waits.
fn refusal(inbound: Inbound) -> Result<(), &'static str> {
    Err(match inbound {
        Inbound::Kept => "",
        Inbound::Full => "hold_full",
        Inbound::Free | Inbound::Here | Inbound::Node(..) | Inbound::Reset(..) | Inbound::Away => "not_transferred",
    })
}
