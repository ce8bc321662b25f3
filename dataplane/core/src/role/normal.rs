//! Connections of proxied applications at the gateway, between the fast path and the host's TCP stack: what the control side is
//! told of them, and what it says. A connection has a number: shard, place and serial of its flow.

use crate::event::{Event, ServiceRequest};
use crate::role::fast::{Inward, Outward, ToClient, ToServer};
use crate::role::gateway::Gateway;
use crate::role::proxied::Owner;
use braid_fastpath::{Ends, Held, Park, Passage, Reason, Side, Splice, Verdict};
use braid_packet::ip::TCP;
use braid_packet::{FlowId, Ip, Time, VnetHdr};
use std::net::SocketAddr;

const SHARD_AT: u32 = 60;
const INDEX_AT: u32 = 32;
/// Ends that wait to be told together.
const MOST_LATE: usize = 64;
const MOST_INDEX: u32 = (1 << (SHARD_AT - INDEX_AT)) - 1;

/// The shard that has a connection.
pub fn shard_of(connection: u64) -> usize {
    (connection >> SHARD_AT) as usize
}

pub(crate) fn flow_of(connection: u64) -> FlowId {
    FlowId { index: (connection >> INDEX_AT) as u32 & MOST_INDEX, serial: connection as u32 }
}

impl Gateway {
    pub(crate) fn number(&self, flow: FlowId) -> u64 {
        (self.place.index() as u64) << SHARD_AT
            | u64::from(flow.index & MOST_INDEX) << INDEX_AT
            | u64::from(flow.serial)
    }

    fn ends(&self, flow: FlowId) -> Option<Ends> {
        self.nat.client_and_vip(flow).map(|(client, vip)| Ends { client, vip })
    }

    /// A packet of a server, whose connection the stack has or is to get.
    pub(crate) fn receive_for_stack(
        &mut self,
        flow: FlowId,
        vnet: VnetHdr,
        packet: &[u8],
        now: Time,
    ) -> Outward<'static> {
        // An ICMP error about a packet of the stack's is its own.
        let is_tcp = Ip::parse(packet).is_ok_and(|ip| ip.protocol == TCP);
        // Where edges answer SYNs, clients do not hear of servers what is learned here.
        let app = self.nat.app(flow).filter(|app| !self.cookies_at_edge.contains(app));
        let goes_on = !is_tcp || self.fast.receive_server_for_stack(flow, vnet, packet, app, now) == Verdict::Stack;
        self.follow(now);
        if goes_on {
            Outward::Stack
        } else {
            Outward::Nothing
        }
    }

    /// A packet that the stack sends from a VIP: the edge and set that it goes to; None: dropped, and counted.
    pub(crate) fn admit_from_stack(&mut self, ip: &Ip, packet: &[u8], owner: Owner, now: Time) -> Option<(u16, u8)> {
        if !owner.is_accepted(ip) {
            return Some((owner.edge, owner.set));
        }
        let Some(flow) = self.nat.find_from_stack(ip, true, now) else {
            self.fast.count(Reason::NormalNoFlow);
            return None;
        };
        if !self.fast.receive_from_stack(flow, Side::Client, packet) {
            return None;
        }
        self.nat.count_normal(flow, false, ip.total_len, now);
        self.follow(now);
        self.nat.edge_and_set(flow)
    }

    /// Whether a packet comes from an address of the SNAT pool, which is then the stack's, or from a client's own that the
    /// stack has taken.
    pub(crate) fn is_from_stack_to_server(&self, ip: &Ip) -> bool {
        self.proxied.accepts() && (self.nat.is_snat(ip.source) || self.nat.is_transparent(ip.destination))
    }

    /// Whether such a packet may go on to its server, and how often. `round_trip` to an edge, in nanoseconds.
    pub(crate) fn admit_to_server(
        &mut self,
        ip: &Ip,
        packet: &mut [u8],
        partial: bool,
        round_trip: impl FnOnce(u16) -> Option<u64>,
        now: Time,
    ) -> Passage {
        let Some(flow) = self.nat.find_from_stack(ip, false, now) else {
            self.fast.count(Reason::NormalNoFlow);
            return Passage::Nothing;
        };
        if !self.nat.app(flow).is_some_and(|app| self.proxied.splices(app)) {
            return match self.fast.receive_from_stack(flow, Side::Server, packet) {
                true => Passage::Once,
                false => Passage::Nothing,
            };
        }
        let nat = &self.nat;
        let round_trip = || nat.edge_and_set(flow).and_then(|(edge, _)| round_trip(edge));
        self.fast.receive_from_stack_to_server(flow, packet, partial, round_trip, now)
    }

    /// Sees to what happened to connections with the last packets, and notes what the control side has to hear.
    pub(crate) fn follow(&mut self, now: Time) {
        if !self.fast.has_news() {
            return;
        }
        for request in self.fast.take_requests() {
            let flow = request.flow;
            self.nat.set_normal(flow, true);
            let (Some(ends), Some((edge, _)), Some(app)) =
                (self.ends(flow), self.nat.edge_and_set(flow), self.nat.app(flow))
            else {
                continue;
            };
            let server = self.nat.server_and_snat(flow);
            let Some((client, server)) = self.fast.records(flow, &ends, server, now) else { continue };
            self.news.push(Event::ServiceRequest(Box::new(ServiceRequest {
                connection: self.number(flow),
                app,
                edge,
                client: client.encode(),
                server: server.map(|server| server.encode()),
                held: request.held,
                held_at: request.held_at,
                shared: self.fast.is_shared(flow),
            })));
        }
        for flow in self.fast.take_answered() {
            self.news.push(Event::Held { connection: self.number(flow), at: now });
        }
        for (flow, open) in self.fast.take_changed() {
            self.nat.set_open(flow, open, false);
        }
        for flow in self.fast.take_ending() {
            let Some(reset) = self.fast.is_over(flow) else { continue };
            self.nat.set_open(flow, false, reset);
            if self.fast.mark_told(flow) {
                let end = self.end(flow, if reset { "reset" } else { "closed" });
                self.late_news.push(end);
            }
        }
        for flow in self.fast.take_released() {
            self.give_to_stack(flow, now);
        }
    }

    fn end(&self, flow: FlowId, why: &'static str) -> Event {
        let (bytes_in, bytes_out) = self.nat.bytes(flow);
        Event::Ended { connection: self.number(flow), why, bytes_in, bytes_out }
    }

    fn tell_end(&mut self, flow: FlowId, why: &'static str) {
        let end = self.end(flow, why);
        self.news.push(end);
    }

    /// What the control side is to hear now, oldest first. `all`: also what can wait for something that cannot.
    pub(crate) fn take_news(&mut self, all: bool) -> impl Iterator<Item = Event> + '_ {
        let due = all || !self.news.is_empty() || self.late_news.len() >= MOST_LATE;
        self.late_news.drain(..if due { self.late_news.len() } else { 0 }).chain(self.news.drain(..))
    }

    /// For a connection that was given up, while its flow lives.
    pub(crate) fn tell_silent(&mut self, flow: FlowId) {
        if self.nat.app(flow).is_some_and(|app| self.proxied.at_once(app).is_some()) {
            self.tell_end(flow, "silent");
        }
    }

    /// For one whose client has begun another one with the same ports: the stack may still have a socket.
    pub(crate) fn tell_reopened(&mut self, flow: FlowId) {
        if self.nat.app(flow).is_some_and(|app| self.proxied.at_once(app).is_some()) {
            self.tell_end(flow, "reset");
        }
    }

    /// For one that the control side may know, and that another gateway has now.
    pub(crate) fn tell_moved(&mut self, flow: FlowId) {
        if self.is_proxied(flow) {
            self.tell_end(flow, "moved");
        }
    }

    /// For a spliced connection whose flow is gone.
    pub(crate) fn tell_idle(&mut self, flow: FlowId) {
        self.tell_end(flow, "idle");
    }

    /// The stack has a connection: what was held goes to it.
    pub(crate) fn take(&mut self, connection: u64, now: Time) {
        let flow = flow_of(connection);
        if !self.nat.is_live(flow) || !self.give_to_stack(flow, now) {
            self.tell_end(flow, "gone");
        }
    }

    fn give_to_stack(&mut self, flow: FlowId, now: Time) -> bool {
        let Some(held) = self.fast.take(flow) else { return false };
        self.nat.set_normal(flow, true);
        self.nat.set_open(flow, true, false);
        self.receive_held(flow, held, now);
        true
    }

    /// Refuses a connection.
    pub(crate) fn reset(&mut self, connection: u64, now: Time) {
        let flow = flow_of(connection);
        if let Some(ends) = self.ends(flow).filter(|_| self.is_proxied(flow)) {
            self.fast.dismiss(flow, &ends, Reason::NormalRefused, now);
            self.route(now);
            self.nat.end_flow(flow);
        }
    }

    fn is_proxied(&self, flow: FlowId) -> bool {
        self.fast.session(flow).is_some_and(|session| session.is_proxied())
    }

    /// Gives a connection a server; the address that it is to be talked to from. `hold`: it is held at the server's first bytes.
    pub(crate) fn open_server(
        &mut self,
        connection: u64,
        server: SocketAddr,
        hold: bool,
        now: Time,
    ) -> Option<SocketAddr> {
        let flow = flow_of(connection);
        let mode = self.fast.session(flow).filter(|session| session.is_proxied())?.mode();
        if mode == "spliced" {
            return None;
        }
        let ends = self.ends(flow)?;
        self.fast.reset_server(flow, &ends);
        self.route(now);
        self.fast.forget_server(flow);
        self.fast.hold_at_answer(flow, hold);
        self.nat.lease(flow, server, now)
    }

    /// Keeps the packets of both sides from the stack. False if the connection has to stay there.
    pub(crate) fn hold(&mut self, connection: u64, now: Time) -> bool {
        let flow = flow_of(connection);
        self.nat.server_and_snat(flow).is_some() && self.fast.hold(flow, now)
    }

    /// Takes a held connection back from the stack.
    pub(crate) fn splice(&mut self, connection: u64, splice: &Splice, now: Time) {
        let flow = flow_of(connection);
        let held = self.ends(flow).and_then(|ends| self.fast.splice(flow, splice, &ends, now));
        if held.is_some() {
            self.nat.set_normal(flow, false);
        }
        self.came_back(flow, held, now);
    }

    /// The same, and that it has no server.
    pub(crate) fn hold_alone(&mut self, connection: u64, now: Time) -> bool {
        let flow = flow_of(connection);
        let held = self.nat.is_live(flow) && self.fast.hold_alone(flow, now);
        if held {
            self.nat.release(flow);
        }
        held
    }

    /// Takes a held connection back from the stack that has no server now.
    pub(crate) fn park(&mut self, connection: u64, park: &Park, now: Time) {
        let flow = flow_of(connection);
        let held = self.ends(flow).and_then(|ends| self.fast.park(flow, park, &ends, now));
        self.came_back(flow, held, now);
    }

    /// With what was held of it; None: it was gone by then.
    fn came_back(&mut self, flow: FlowId, held: Option<Vec<Held>>, now: Time) {
        let Some(held) = held else { return self.tell_end(flow, "gone") };
        self.route(now);
        self.receive_held(flow, held, now);
    }

    fn receive_held(&mut self, flow: FlowId, held: Vec<Held>, now: Time) {
        let Some((edge, set)) = self.nat.edge_and_set(flow) else { return };
        for Held { from, vnet, mut packet, .. } in held {
            if from == Side::Server {
                self.again.push((vnet, packet));
                continue;
            }
            let partial = vnet.needs_csum;
            match self.receive_from_client(&mut packet, partial, edge, now) {
                Inward::Pass => self.to_server.push(ToServer { edge, packet, partial }),
                Inward::Reply(reply) => {
                    let packet = reply.to_vec();
                    self.to_client.push(ToClient { edge, set, packet });
                }
                Inward::Nothing => {}
            }
        }
    }
}
