//! Spliced connections that are to be asked about again: the next request of a client, or the end of its server, is the control
//! side's. It waits until all before it is said and acknowledged, and the other side hears nothing of it.

use crate::client::note_end;
use crate::cookie::Ends;
use crate::hold::{Held, Kept, MOST_SEGMENTS};
use crate::records::{mark, Session};
use crate::stranger::ends;
use crate::verdict::{Side, Verdict};
use crate::window::{at_most, Sender, Span};
use crate::{FastPath, Reason};
use braid_packet::{FlowId, Ip, Tcp, Time, VnetHdr};

impl FastPath {
    /// A packet of the client of a spliced connection, admitted. Some if it does not go on to the server.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn follow_client(
        &mut self,
        flow: FlowId,
        packet: &[u8],
        ip: &Ip,
        tcp: &Tcp,
        span: &Span,
        kept: bool,
        partial: bool,
        now: Time,
    ) -> Option<Verdict> {
        let session = self.table.get_mut(flow)?;
        if !kept {
            if tcp.has(Tcp::FIN | Tcp::RST) {
                note_end(session, mark::CLIENT_END, tcp, at_most(session.client.sender.end, span.sequence));
                self.ending.push(flow);
            }
            self.ask_if_answered(flow, now);
            return None;
        }
        if span.length > 0 && !self.hold.has(flow, tcp.sequence, ip.total_len) {
            let vnet = VnetHdr { needs_csum: partial, ..VnetHdr::default() };
            let held = Held::new(Side::Client, tcp.sequence, vnet, packet.get(..ip.total_len).unwrap_or(packet), now);
            if session.proxy.held >= MOST_SEGMENTS || self.hold.keep_latest(flow, held, false) == Kept::Full {
                return Some(self.reject(Reason::HoldFull));
            }
            session.proxy.held += 1;
            self.counters.held += 1;
        }
        let session = *session;
        let end = session.client.sender.end;
        self.tell_known(&session, Side::Server, &ends(ip, tcp), (packet, ip, tcp), (span.sequence, end), now);
        self.ask_if_answered(flow, now);
        Some(Verdict::Taken)
    }

    /// A server ends a connection that was to be asked about again; admitted.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn keep_end(
        &mut self,
        flow: FlowId,
        vnet: VnetHdr,
        packet: &[u8],
        ip: &Ip,
        tcp: &Tcp,
        span: &Span,
        now: Time,
    ) -> Verdict {
        let Some(session) = self.table.get_mut(flow) else { return self.reject(Reason::NoSession) };
        let is_new = !session.proxy.has(mark::SERVER_END);
        session.proxy.marks |= mark::SERVER_END;
        let session = *session;
        let kept = match is_new {
            true => self.keep(flow, Side::Server, vnet, packet, ip, tcp, now),
            false => Verdict::Taken,
        };
        if kept != Verdict::Taken {
            if let Some(session) = self.table.get_mut(flow) {
                session.proxy.marks &= !mark::SERVER_END;
            }
        }
        let numbers = (span.sequence, session.proxy.sender.end);
        self.tell_known(&session, Side::Client, &crate::server::ends(ip, tcp), (packet, ip, tcp), numbers, now);
        self.ask_if_answered(flow, now);
        kept
    }

    /// Tells the other side what a packet that it does not get acknowledges. Who sends again may put old bytes and new ones
    /// into one segment: the old ones it gets. `sequence` of the packet, and where its sender's known bytes end.
    fn tell_known(
        &mut self,
        session: &Session,
        to: Side,
        ends: &Ends,
        (packet, ip, tcp): (&[u8], &Ip, &Tcp),
        (sequence, end): (u32, u32),
        now: Time,
    ) {
        let start = ip.header_len + tcp.header_len;
        let known = match at_most(sequence, end) {
            true => (end.wrapping_sub(sequence) as usize).min(tcp.payload),
            false => 0,
        };
        let shift = if to == Side::Client { session.proxy.shift } else { 0 };
        let bytes = packet.get(start..start + known).unwrap_or(&[]);
        self.tell(session, to, ends, sequence.wrapping_sub(shift), bytes, now);
    }

    /// Asks the control side about a spliced connection for which something waits, if nothing else is under way.
    fn ask_if_answered(&mut self, flow: FlowId, now: Time) {
        let Some(session) = self.table.get_mut(flow) else { return };
        let due = session.proxy.has(mark::AGAIN) && session.proxy.held > 0 && is_quiet(session);
        if !due || !self.ask(flow, now) {
            return;
        }
        if let Some(session) = self.table.get_mut(flow) {
            session.proxy.marks &= !(mark::AGAIN | mark::SERVER_END);
            self.counters.again += 1;
        }
    }
}

/// Whether a segment of the client, in the server's numbers, brings something new, or is behind something that did.
pub(crate) fn is_request(session: &Session, span: &Span, tcp: &Tcp) -> bool {
    let is_new = !at_most(span.sequence.wrapping_add(span.length), session.client.sender.end);
    session.proxy.has(mark::AGAIN) && !span.reset && is_new && (tcp.payload > 0 || session.proxy.held > 0)
}

/// Whether a server's segment is an end that the client is not to hear of.
pub(crate) fn is_servers_own_end(session: &Session, tcp: &Tcp) -> bool {
    tcp.has(Tcp::FIN) && session.proxy.has(mark::AGAIN) && !session.proxy.has(mark::CLIENT_END)
}

/// A segment as the other side is told of it: `kept`, or nothing but an acknowledgement. Behind something that waits its
/// sender goes on with numbers that the other side has not seen.
pub(crate) fn only_known(sender: &Sender, span: &Span, kept: bool) -> Span {
    let is_ahead = !at_most(span.sequence, sender.end) && at_most(span.sequence, sender.limit);
    match (kept, span.length) {
        _ if span.reset => *span,
        (true, _) if at_most(span.sequence, sender.limit) => Span { sequence: sender.end, length: 0, ..*span },
        (false, 0) if is_ahead => Span { sequence: sender.end, ..*span },
        _ => *span,
    }
}

/// Whether the server has said all that it had to, or ends, and all is acknowledged both ways.
fn is_quiet(session: &Session) -> bool {
    let (client, proxy) = (&session.client, &session.proxy);
    !proxy.has(mark::OWES | mark::CLIENT_END)
        && (proxy.has(mark::SERVER_END) || at_most(proxy.until, client.sender.acknowledged))
        && proxy.sender.acknowledged == client.sender.end
        && client.sender.acknowledged == proxy.sender.end
}
