//! Packets of clients that have a connection.

use crate::again::{is_request, only_known};
use crate::cookie::Ends;
use crate::hold::{Held, MOST_SEGMENTS};
use crate::note::{is_revived, note_client, note_end};
use crate::recent::Mark;
use crate::records::{mark, Session, State};
use crate::segment::parse;
use crate::translate::{to_server, Terms};
use crate::verdict::{Arrived, Side, Verdict};
use crate::window::{admit, at_most, Span};
use crate::{FastPath, Reason};
use braid_packet::{tcp_checksum_is_good, FlowId, Ip, Segment, Tcp, Time, VnetHdr};

impl FastPath {
    /// A client's packet, still in the client's addresses. On `Pass` the NAT carries it on to the server.
    pub fn receive_from_client(&mut self, flow: FlowId, packet: &mut [u8], partial: bool, now: Time) -> Verdict {
        let (ip, tcp) = match parse(packet) {
            Ok(parsed) => parsed,
            Err(reason) => return self.reject(reason),
        };
        let Some(session) = self.table.get_mut(flow) else { return self.reject(Reason::NoSession) };
        if session.is_with_stack() {
            return self.receive_for_stack(flow, packet, &ip, &tcp, partial, now);
        }
        let decides = tcp.has(Tcp::SYN | Tcp::RST) || !session.is_open();
        if decides && !partial && !tcp_checksum_is_good(packet, &ip) {
            return self.reject(Reason::Checksum);
        }
        if tcp.has(Tcp::SYN) {
            let session = *session;
            return self.challenge(&session, &ip, &tcp, now);
        }
        if !session.is_open() {
            let session = *session;
            return match self.receive_while_opening(flow, packet, &ip, &tcp, partial, now) {
                Verdict::Drop(reason) => self.misfit(&session, packet, &ip, &tcp, partial, reason),
                verdict => verdict,
            };
        }
        let span = Span {
            sequence: tcp.sequence.wrapping_add(session.proxy.client_shift),
            length: tcp.payload as u32 + u32::from(tcp.has(Tcp::FIN)),
            acknowledgement: tcp.has(Tcp::ACK).then(|| tcp.acknowledgement.wrapping_add(session.proxy.shift)),
            window: session.client.scaled(tcp.window),
            reset: tcp.has(Tcp::RST),
        };
        let mut terms = Terms::for_server(session, &tcp);
        let kept = is_request(session, &span, &tcp);
        let told = if session.proxy.has(mark::AGAIN) { only_known(&session.client.sender, &span, kept) } else { span };
        let session = if session.proxy.has(mark::SETTLES) {
            match self.receive_owing_from_client(flow, Arrived { packet, ip: &ip, tcp: &tcp, partial }, &told, now) {
                Ok(changed) => terms = changed,
                Err(verdict) => return verdict,
            }
            let Some(session) = self.table.get_mut(flow) else { return self.reject(Reason::NoSession) };
            session
        } else {
            if let Err(reason) = admit(&mut session.client.sender, &mut session.proxy.sender, &told, self.loose) {
                let session = *session;
                self.counters.refuse(reason);
                return self.misfit(&session, packet, &ip, &tcp, partial, reason);
            }
            session
        };
        note_client(session, packet, &ip, &tcp);
        if session.proxy.has(mark::RESET) && is_revived(session, mark::CLIENT_END, &tcp) {
            self.changed.push((flow, true));
        }
        let session = if session.proxy.state == State::Spliced {
            if let Some(verdict) =
                self.follow_client(flow, Arrived { packet, ip: &ip, tcp: &tcp, partial }, &span, kept, now)
            {
                return verdict;
            }
            let Some(session) = self.table.get_mut(flow) else { return self.reject(Reason::NoSession) };
            session
        } else {
            if tcp.has(Tcp::FIN | Tcp::RST) {
                note_end(session, mark::CLIENT_END, &tcp, at_most(session.client.sender.end, span.sequence));
                self.ending.push(flow);
            }
            session
        };
        match to_server(session, packet, &ip, &tcp, partial, &terms) {
            Ok(()) => Verdict::Pass,
            Err(reason) => self.reject(reason),
        }
    }

    /// A packet that was refused, and counted.
    #[cold]
    pub(crate) fn misfit(
        &mut self,
        session: &Session,
        packet: &[u8],
        ip: &Ip,
        tcp: &Tcp,
        partial: bool,
        reason: Reason,
    ) -> Verdict {
        if !self.reopens(session, packet, ip, tcp, partial) {
            return Verdict::Drop(reason);
        }
        self.forget(session.flow);
        Verdict::Reopened
    }

    /// The server has not answered: what carries something is kept, within bounds.
    pub(crate) fn receive_while_opening(
        &mut self,
        flow: FlowId,
        packet: &[u8],
        ip: &Ip,
        tcp: &Tcp,
        partial: bool,
        now: Time,
    ) -> Verdict {
        let Some(session) = self.table.get_mut(flow) else { return self.reject(Reason::NoSession) };
        let (known, ends) = (*session, Ends::from_client(ip, tcp));
        let first = known.client.rcv_isn.wrapping_add(1);
        let length = tcp.payload as u32 + u32::from(tcp.has(Tcp::FIN));
        let end = tcp.sequence.wrapping_add(length);
        if self.is_answered(&known, &ends, tcp, now) {
            return Verdict::Taken;
        }
        // What was sent again may have grown.
        let newest = if known.is_unserved() && length > 0 { end.wrapping_sub(1) } else { tcp.sequence };
        if !at_most(first, newest) || !at_most(end, known.client.sender.limit.wrapping_add(1)) {
            return self.reject(Reason::Window);
        }
        if tcp.has(Tcp::RST) {
            // The server is told when it answers: there is no flow for it then.
            self.end_opening(flow, &ends, now);
            self.counters.refuse(Reason::ClientReset);
            return Verdict::End;
        }
        if !tcp.has(Tcp::ACK) || !self.note_paid(&known, &ends, tcp, now) {
            return self.reject(Reason::Acknowledgement);
        }
        let Some(session) = self.table.get_mut(flow) else { return self.reject(Reason::NoSession) };
        note_client(session, packet, ip, tcp);
        let asks = session.proxy.state == State::Waiting && !session.proxy.has(mark::OWES);
        if length == 0 || self.hold.has(flow, tcp.sequence, ip.total_len) {
            if asks && session.proxy.held > 0 {
                // Too many were asked about when it came first, or something was owed then.
                self.ask(flow, now);
            }
            return Verdict::Taken;
        }
        let whole = packet.get(..ip.total_len).unwrap_or(packet);
        let held =
            Held::new(Side::Client, tcp.sequence, VnetHdr { needs_csum: partial, ..VnetHdr::default() }, whole, now);
        if session.proxy.held >= MOST_SEGMENTS || !self.hold.keep(flow, held) {
            return self.reject(Reason::HoldFull);
        }
        session.proxy.held += 1;
        self.counters.held += 1;
        if asks {
            self.ask(flow, now);
        }
        Verdict::Taken
    }

    /// A SYN on a connection (RFC 5961 4): a client that has forgotten it resets it by the number that it is told.
    fn challenge(&mut self, session: &Session, ip: &Ip, tcp: &Tcp, now: Time) -> Verdict {
        self.counters.refuse(Reason::StraySyn);
        let ends = Ends::from_client(ip, tcp);
        let first = session.client.rcv_isn.wrapping_add(1);
        // Never more than the server has: what it lacks the client must be able to send again.
        let (sent, acknowledged) = match session.is_open() {
            true => (
                session.proxy.sender.end.wrapping_sub(session.proxy.shift),
                session.proxy.sender.acknowledged.wrapping_sub(session.proxy.client_shift),
            ),
            false => (session.client.snd_isn.wrapping_add(1), first),
        };
        let written = self.write_answer(&Segment {
            from: ends.vip,
            to: ends.client,
            sequence: sent,
            acknowledgement: acknowledged,
            flags: Tcp::ACK,
            window: 0,
            options: &[],
        });
        match written && self.may_challenge(now) {
            true => Verdict::Reply,
            false => Verdict::Drop(Reason::StraySyn),
        }
    }

    /// Forgets a connection whose server has not answered, but for the cookie: a late segment must not ask once more.
    pub(crate) fn end_opening(&mut self, flow: FlowId, ends: &Ends, now: Time) {
        if let Some(session) = self.table.get(flow) {
            self.recent.note(Mark::Spent, ends, session.client.snd_isn.wrapping_add(1), now);
        }
        self.forget(flow);
    }

    /// Drops the records of a connection and what is held of it.
    pub(crate) fn forget(&mut self, flow: FlowId) {
        if let Some(session) = self.table.get(flow) {
            if session.proxy.held > 0 {
                self.hold.take(flow);
            }
            if session.proxy.has(mark::SETTLES) {
                self.owed.forget(flow);
            }
        }
        self.late.forget(flow);
        self.table.remove(flow);
    }

    pub(crate) fn reject(&mut self, reason: Reason) -> Verdict {
        self.counters.refuse(reason);
        Verdict::Drop(reason)
    }
}
