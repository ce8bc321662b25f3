//! Connections that a TCP stack has: their packets pass as they are, and what a splice needs is noted. While a connection
//! changes hands what comes for it is held.

use crate::hold::{Held, Kept, MOST_IN_BETWEEN};
use crate::note::{note_client, note_server};
use crate::options::Offer;
use crate::records::{mark, State};
use crate::segment::{options, parse};
use crate::server::LEAST_MSS;
use crate::verdict::{Side, Verdict};
use crate::window::{at_most, later};
use crate::{FastPath, Reason};
use braid_packet::{FlowId, Ip, Tcp, Time, VnetHdr};

/// A control side that does not say within this time what becomes of a held connection has changed its mind.
const LONGEST_HOLD: u64 = 7 * Time::SECOND / 2;
/// Acknowledgements that are older than this belong to another connection.
const OLDEST_ACKNOWLEDGEMENT: u32 = 1 << 30;
/// Options of a segment that only acknowledges: timestamps.
const MOST_PLAIN_OPTIONS: usize = 12;

impl FastPath {
    /// A client's packet, for the stack.
    pub(crate) fn receive_for_stack(
        &mut self,
        flow: FlowId,
        packet: &[u8],
        ip: &Ip,
        tcp: &Tcp,
        partial: bool,
        now: Time,
    ) -> Verdict {
        let Some(session) = self.table.get_mut(flow) else { return self.reject(Reason::NoSession) };
        if session.proxy.state != State::Normal {
            let vnet = VnetHdr { needs_csum: partial, ..VnetHdr::default() };
            return self.keep(flow, Side::Client, vnet, packet, ip, tcp, now);
        }
        let oldest = session.client.sender.acknowledged.wrapping_sub(OLDEST_ACKNOWLEDGEMENT);
        let fits = at_most(oldest, tcp.acknowledgement) && at_most(tcp.acknowledgement, session.proxy.sender.end);
        if tcp.has(Tcp::ACK) && !tcp.has(Tcp::SYN | Tcp::RST) && !fits {
            let session = *session;
            if self.reopens(&session, packet, ip, tcp, partial) {
                self.forget(flow);
                return Verdict::Reopened;
            }
            return Verdict::Stack;
        }
        note_client(session, packet, ip, tcp);
        // The stack acknowledges late what came right before.
        let exact = [session.proxy.sender.acknowledged, session.client.sender.end].contains(&tcp.sequence);
        let resets = tcp.has(Tcp::RST) && exact;
        let end = tcp.sequence.wrapping_add(tcp.payload as u32 + u32::from(tcp.has(Tcp::FIN)));
        session.client.sender.end = later(session.client.sender.end, end);
        if tcp.has(Tcp::ACK) {
            session.client.sender.acknowledged = later(session.client.sender.acknowledged, tcp.acknowledgement);
        }
        if tcp.has(Tcp::FIN) || resets {
            session.proxy.marks |= mark::CLIENT_END;
        }
        if resets || (tcp.has(Tcp::FIN) && session.proxy.has(mark::STACK_END)) {
            self.changed.push((flow, false));
        }
        Verdict::Stack
    }

    /// A server's packet for the stack, unchanged: in the server's addresses. `app` of the flow, if clients hear from this
    /// fast path what its servers take.
    pub fn receive_server_for_stack(
        &mut self,
        flow: FlowId,
        vnet: VnetHdr,
        packet: &[u8],
        app: Option<u16>,
        now: Time,
    ) -> Verdict {
        let (ip, tcp) = match parse(packet) {
            Ok(parsed) => parsed,
            Err(reason) => return self.reject(reason),
        };
        let Some(session) = self.table.get_mut(flow) else { return self.reject(Reason::NoSession) };
        if session.proxy.state != State::Normal {
            return match session.is_with_stack() {
                true => self.keep(flow, Side::Server, vnet, packet, &ip, &tcp, now),
                false => self.reject(Reason::NormalNoFlow),
            };
        }
        let answers = tcp.payload > 0 && session.proxy.has(mark::HOLDS) && !tcp.has(Tcp::SYN | Tcp::RST);
        if answers && self.hold(flow, now) {
            self.answered.push(flow);
            return self.keep(flow, Side::Server, vnet, packet, &ip, &tcp, now);
        }
        let Some(session) = self.table.get_mut(flow) else { return self.reject(Reason::NoSession) };
        note_server(session, packet, &ip, &tcp);
        if tcp.has(Tcp::FIN | Tcp::RST) {
            session.proxy.marks |= mark::SERVER_END;
        }
        if tcp.has(Tcp::SYN) {
            if self.take_second_answer(flow) {
                return Verdict::Taken;
            }
            let Some(offer) = Offer::read(options(packet, &ip, &tcp)) else { return Verdict::Stack };
            let mss = offer.mss.unwrap_or(LEAST_MSS).max(LEAST_MSS);
            if let Some(session) = self.table.get_mut(flow) {
                session.proxy.mss = mss;
            }
            if let Some(app) = app {
                self.learn(app, ip.v6, mss);
            }
        }
        Verdict::Stack
    }

    /// A packet that the stack sends on a connection. False: it is dropped, and counted.
    pub fn receive_from_stack(&mut self, flow: FlowId, to: Side, packet: &[u8]) -> bool {
        parse(packet).is_ok_and(|(_, tcp)| self.admit_from_stack(flow, to, &tcp))
    }

    pub(crate) fn admit_from_stack(&mut self, flow: FlowId, to: Side, tcp: &Tcp) -> bool {
        let Some(session) = self.table.get_mut(flow) else {
            self.counters.refuse(Reason::NormalNoFlow);
            return false;
        };
        let resets = tcp.has(Tcp::RST);
        match session.proxy.state {
            State::Normal => {}
            // What it had sent before it was frozen. It may stay the stack's, so it is noted.
            State::Held if !resets => {}
            State::Spliced | State::Waiting if !resets => return true,
            _ => {
                self.counters.refuse(Reason::NormalGuarded);
                return false;
            }
        }
        if to == Side::Server {
            if tcp.has(Tcp::FIN) || resets {
                session.proxy.marks |= mark::SERVER_END;
            }
            return true;
        }
        let end = tcp.sequence.wrapping_add(tcp.payload as u32 + u32::from(tcp.has(Tcp::FIN)));
        let sender = &mut session.proxy.sender;
        sender.end = later(sender.end, end);
        if tcp.has(Tcp::ACK) {
            sender.acknowledged = later(sender.acknowledged, tcp.acknowledgement);
        }
        if tcp.has(Tcp::FIN) || resets {
            session.proxy.marks |= mark::STACK_END;
        }
        if resets || (tcp.has(Tcp::FIN) && session.proxy.has(mark::CLIENT_END)) {
            self.changed.push((flow, false));
        }
        true
    }

    /// Keeps what comes for a connection from now on, of both sides. False if it is not the stack's, has begun to end, its client
    /// was told before its server was asked that it may send larger segments than the server takes, or has said nothing since
    /// it came back from another node.
    pub fn hold(&mut self, flow: FlowId, now: Time) -> bool {
        self.table.get(flow).is_some_and(|session| session.client.is_clock_known()) && self.begin_hold(flow, now)
    }

    pub(crate) fn begin_hold(&mut self, flow: FlowId, now: Time) -> bool {
        let Some(session) = self.table.get_mut(flow) else { return false };
        let turn = session.proxy.turn.wrapping_add(1);
        if session.proxy.state != State::Normal
            || session.proxy.has(mark::ENDS)
            || (session.proxy.mss != 0 && session.proxy.mss < session.client.told)
            || !self.timers.add(flow, turn, LONGEST_HOLD, now)
        {
            return false;
        }
        session.proxy.turn = turn;
        session.proxy.state = State::Held;
        session.proxy.held = 0;
        session.proxy.marks &= !mark::HOLDS;
        true
    }

    /// Whether a connection of the stack is to be held by itself, once, when its server sends the first bytes: the control side
    /// wants to see none of them. Look at `take_answered`.
    pub fn hold_at_answer(&mut self, flow: FlowId, holds: bool) {
        if let Some(session) = self.table.get_mut(flow) {
            session.proxy.marks = session.proxy.marks & !mark::HOLDS | if holds { mark::HOLDS } else { 0 };
        }
    }

    /// Connections that are held by themselves since the last call.
    pub fn take_answered(&mut self) -> Vec<FlowId> {
        std::mem::take(&mut self.answered)
    }

    pub(crate) fn release_hold(&mut self, flow: FlowId) {
        self.counters.refuse(Reason::NormalHoldExpired);
        self.released.push(flow);
    }

    /// Connections whose hold took too long: to be taken, as if the control side had said so.
    pub fn take_released(&mut self) -> Vec<FlowId> {
        std::mem::take(&mut self.released)
    }

    /// Connections that an end or a reset has gone through since the last call.
    pub fn take_ending(&mut self) -> Vec<FlowId> {
        std::mem::take(&mut self.ending)
    }

    /// Connections whose server has answered, and those of the stack that are over (false), since the last call.
    pub fn take_changed(&mut self) -> Vec<(FlowId, bool)> {
        std::mem::take(&mut self.changed)
    }

    /// Of one that an end or a reset has gone through: whether that was the last, and then whether it was a reset.
    pub fn is_over(&self, flow: FlowId) -> Option<bool> {
        let proxy = &self.table.get(flow)?.proxy;
        proxy.is_over().then_some(proxy.has(mark::RESET))
    }

    /// Whether any of what follows has something to say: `take_requests`, `take_answered`, `take_released`, `take_ending`,
    /// `take_changed`.
    #[inline]
    pub fn has_news(&self) -> bool {
        let told = self.requests.is_empty() && self.answered.is_empty() && self.changed.is_empty();
        !(told && self.released.is_empty() && self.ending.is_empty())
    }

    /// Counts what was refused before it came here.
    pub fn count(&mut self, reason: Reason) {
        self.counters.refuse(reason);
    }

    /// The end of a spliced connection is told. False if it was before.
    pub fn mark_told(&mut self, flow: FlowId) -> bool {
        match self.table.get_mut(flow) {
            Some(session) if session.proxy.has(mark::SERVED) && !session.proxy.has(mark::TOLD) => {
                session.proxy.marks |= mark::TOLD;
                true
            }
            _ => false,
        }
    }

    /// The server's side begins anew.
    pub fn forget_server(&mut self, flow: FlowId) {
        if let Some(session) = self.table.get_mut(flow) {
            session.proxy.marks &= !(mark::SERVER_END | mark::TWICE | mark::UNTOLD);
            (session.proxy.ts_recent, session.proxy.mss) = (0, 0);
        }
    }

    /// Packets that are held now, of all connections.
    pub fn held_now(&self) -> usize {
        self.hold.len()
    }

    #[allow(clippy::too_many_arguments)]
    pub(crate) fn keep(
        &mut self,
        flow: FlowId,
        from: Side,
        vnet: VnetHdr,
        packet: &[u8],
        ip: &Ip,
        tcp: &Tcp,
        now: Time,
    ) -> Verdict {
        let Some(session) = self.table.get_mut(flow) else { return self.reject(Reason::NoSession) };
        let plain = tcp.payload == 0
            && !tcp.has(Tcp::SYN | Tcp::FIN | Tcp::RST)
            && options(packet, ip, tcp).len() <= MOST_PLAIN_OPTIONS;
        if session.proxy.held >= MOST_IN_BETWEEN && !plain {
            return self.reject(Reason::HoldFull);
        }
        let whole = packet.get(..ip.total_len).unwrap_or(packet);
        match self.hold.keep_latest(flow, Held::new(from, tcp.sequence, vnet, whole, now), plain) {
            Kept::More => {
                session.proxy.held = session.proxy.held.saturating_add(1);
                self.counters.held += 1;
                Verdict::Taken
            }
            Kept::Instead => Verdict::Taken,
            Kept::Full => self.reject(Reason::HoldFull),
        }
    }
}
