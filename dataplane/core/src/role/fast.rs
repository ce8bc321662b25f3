//! The fast path at the gateway: which packets it gets, and where go those that it makes. The NAT has its flows, their
//! targets and SNAT addresses; the fast path knows neither.

use crate::role::gateway::Gateway;
use braid_fastpath::{Ends, FastPath, Output, Seen, SessionInfo, Side, Stranger, Verdict};
use braid_nat::{FlowInfo, Forward, Reverse};
use braid_packet::ip::{ICMPV4, ICMPV6};
use braid_packet::{FlowId, Time, VnetHdr};

/// A flow, and what the fast path has about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    pub flow: FlowInfo,
    pub session: Option<SessionInfo>,
    /// Its number, of a proxied application's.
    pub connection: Option<u64>,
}

/// A packet for a target server, translated.
pub(crate) struct ToServer {
    /// Of its client.
    pub(crate) edge: u16,
    pub(crate) packet: Vec<u8>,
    pub(crate) partial: bool,
}

/// A packet for a client, by way of an edge.
pub(crate) struct ToClient {
    pub(crate) edge: u16,
    pub(crate) set: u8,
    pub(crate) packet: Vec<u8>,
}

/// What became of a packet from a client. Behind it, `Gateway::to_server` and `to_client` may have more.
pub(crate) enum Inward<'a> {
    /// Translated in place, or as it was for the stack: for the host.
    Pass,
    /// For the edge that it came from.
    Reply(&'a [u8]),
    Nothing,
}

/// What became of a packet from a server.
pub(crate) enum Outward<'a> {
    /// Translated in place.
    Pass {
        edge: u16,
        set: u8,
    },
    /// Translated, but not in place: `FastPath::take_grown`.
    Grown {
        edge: u16,
        set: u8,
    },
    /// Unchanged, for the stack that has the connection.
    Stack,
    /// For the host.
    Reply(&'a [u8]),
    Nothing,
}

impl Gateway {
    pub(crate) fn receive_from_client(
        &mut self,
        packet: &mut [u8],
        partial: bool,
        from_edge: u16,
        now: Time,
    ) -> Inward<'_> {
        if let Some(flow) = self.translated_error(packet) {
            if !self.fast.translate_error(flow, Side::Client, packet, partial) {
                return Inward::Nothing;
            }
        }
        match self.nat.forward(packet, partial, from_edge, now) {
            Forward::Pass => Inward::Pass,
            Forward::Reply => Inward::Reply(self.nat.reply()),
            Forward::Drop(_) | Forward::Held => Inward::Nothing,
            Forward::Stranger(app) => self.receive_stranger(packet, partial, from_edge, app, now),
            Forward::Fast(flow) => {
                let verdict = self.fast.receive_from_client(flow, packet, partial, now);
                match verdict {
                    Verdict::Pass if self.nat.pass(flow, packet, partial, now) => {
                        self.route(now);
                        self.follow(now);
                        return Inward::Pass;
                    }
                    Verdict::Stack => {
                        self.nat.count_normal(flow, true, packet.len(), now);
                        self.follow(now);
                        return Inward::Pass;
                    }
                    Verdict::Reply => return Inward::Reply(self.fast.answer()),
                    Verdict::Pass | Verdict::Grown | Verdict::Drop(_) => {}
                    Verdict::Taken | Verdict::End => self.settle(flow, verdict, now),
                    Verdict::Reopened => {
                        self.tell_reopened(flow);
                        self.nat.end_flow(flow);
                        return self.receive_from_client(packet, partial, from_edge, now);
                    }
                }
                Inward::Nothing
            }
        }
    }

    /// Cheap, for any packet.
    fn is_icmp(packet: &[u8]) -> bool {
        match packet.first().map(|first| first >> 4) {
            Some(4) => packet.get(9) == Some(&ICMPV4),
            _ => packet.get(6) == Some(&ICMPV6),
        }
    }

    /// The connection whose packets are translated here that a client's ICMP error is about.
    pub(crate) fn translated_error(&self, packet: &[u8]) -> Option<FlowId> {
        let about = Gateway::is_icmp(packet).then(|| self.nat.fast_error_from_client(packet)).flatten();
        about.filter(|&flow| !self.nat.is_normal(flow))
    }

    fn receive_stranger(
        &mut self,
        packet: &mut [u8],
        partial: bool,
        from_edge: u16,
        app: u16,
        now: Time,
    ) -> Inward<'_> {
        let admitted = match self.fast.receive_stranger(packet, partial, app, now) {
            Stranger::Reply => return Inward::Reply(self.fast.answer()),
            Stranger::Drop(_) => return Inward::Nothing,
            Stranger::Open(admitted) => admitted,
        };
        let at_once = self.proxied.at_once(app);
        let open = |fast: &mut FastPath, flow| match at_once {
            Some(at_once) => fast.accept(flow, admitted, packet, partial, at_once, now),
            None => fast.open(flow, admitted, packet, partial, now),
        };
        match self.nat.open_fast(packet, from_edge, now) {
            Ok(flow) if open(&mut self.fast, flow) => {
                if self.cookies_at_edge.contains(&app) {
                    self.fast.tell_edge(flow, packet);
                }
                self.settle(flow, Verdict::Taken, now);
                Inward::Nothing
            }
            Ok(flow) => {
                self.nat.end_flow(flow);
                match self.fast.turn_away(packet, now) {
                    true => Inward::Reply(self.fast.answer()),
                    false => Inward::Nothing,
                }
            }
            Err(Forward::Reply) => Inward::Reply(self.nat.reply()),
            Err(_) => Inward::Nothing,
        }
    }

    pub(crate) fn receive_from_server(&mut self, vnet: VnetHdr, packet: &mut [u8], now: Time) -> Outward<'_> {
        let (edge, set, app, fast) = match self.nat.reverse(packet, vnet.needs_csum, now) {
            Reverse::Pass { edge, set, app, fast } => (edge, set, app, fast),
            Reverse::Normal(flow) => return self.receive_for_stack(flow, vnet, packet, now),
            Reverse::Reply => return Outward::Reply(self.nat.reply()),
            Reverse::Drop(_) | Reverse::Held => return Outward::Nothing,
        };
        let Some(flow) = fast else { return Outward::Pass { edge, set } };
        if Gateway::is_icmp(packet) {
            return match self.fast.translate_error(flow, Side::Server, packet, vnet.needs_csum) {
                true => Outward::Pass { edge, set },
                false => Outward::Nothing,
            };
        }
        let verdict = self.fast.receive_from_server(flow, vnet, packet, app, now);
        match verdict {
            Verdict::Pass | Verdict::Grown => {
                self.route(now);
                self.follow(now);
                return match verdict {
                    Verdict::Grown => Outward::Grown { edge, set },
                    _ => Outward::Pass { edge, set },
                };
            }
            Verdict::Reply => {
                let mut packet = self.fast.answer().to_vec();
                if self.nat.pass(flow, &mut packet, false, now) {
                    self.to_server.push(ToServer { edge, packet, partial: false });
                }
            }
            Verdict::Drop(_) | Verdict::Reopened | Verdict::Stack => {}
            Verdict::Taken | Verdict::End => self.settle(flow, verdict, now),
        }
        Outward::Nothing
    }

    fn settle(&mut self, flow: FlowId, verdict: Verdict, now: Time) {
        self.route(now);
        self.follow(now);
        if verdict == Verdict::End {
            self.nat.end_flow(flow);
        }
    }

    /// Gives the packets that the fast path made their ways.
    pub(crate) fn route(&mut self, now: Time) {
        for Output { flow, to, mut packet, partial } in self.fast.take_outputs() {
            let Some((edge, set)) = self.nat.edge_and_set(flow) else { continue };
            match to {
                Side::Client => self.to_client.push(ToClient { edge, set, packet }),
                Side::Server => {
                    if self.nat.pass(flow, &mut packet, partial, now) {
                        self.to_server.push(ToServer { edge, packet, partial });
                    }
                }
            }
        }
    }

    pub(crate) fn handle_fast_timeout(&mut self, now: Time, budget: u32) {
        let nat = &self.nat;
        let ends = |flow| nat.client_and_vip(flow).map(|(client, vip)| Ends { client, vip });
        let ended = self.fast.handle_timeout(now, ends);
        for (flow, packet, partial) in self.fast.take_late(now) {
            if let Some((edge, _)) = self.nat.edge_and_set(flow) {
                self.to_server.push(ToServer { edge, packet, partial });
            }
        }
        let seen = |flow| nat.app_and_last(flow).map(|(app, last)| Seen { app, last });
        let untold = self.fast.sweep(budget, now, seen);
        self.route(now);
        self.follow(now);
        for flow in ended {
            self.tell_silent(flow);
            self.nat.end_flow(flow);
        }
        for flow in untold {
            self.tell_idle(flow);
        }
    }

    pub(crate) fn record(&self, flow: FlowInfo) -> FlowRecord {
        let session = flow.fast.and_then(|id| self.fast.session(id));
        let proxied = session.filter(SessionInfo::is_proxied).and(flow.fast);
        FlowRecord { connection: proxied.map(|id| self.number(id)), flow, session }
    }
}
