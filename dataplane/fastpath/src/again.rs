//! Spliced connections that are to be asked about again: the next request of a client, or the end of its server, is the control
//! side's. It waits until all before it is said and acknowledged, and the other side hears nothing of it.

use crate::cookie::Ends;
use crate::hold::{Held, Kept, MOST_SEGMENTS};
use crate::note::note_end;
use crate::records::{mark, Session};
use crate::verdict::{Arrived, Side, Verdict};
use crate::window::{at_most, Sender, Span};
use crate::{FastPath, Reason};
use braid_packet::{FlowId, Ip, Tcp, Time, VnetHdr};

impl FastPath {
    /// A packet of the client of a spliced connection, admitted. Some if it does not go on to the server.
    pub(crate) fn follow_client(
        &mut self,
        flow: FlowId,
        arrived: Arrived,
        span: &Span,
        kept: bool,
        now: Time,
    ) -> Option<Verdict> {
        let Arrived { packet, ip, tcp, partial } = arrived;
        let session = self.table.get_mut(flow)?;
        if !kept {
            if tcp.has(Tcp::FIN | Tcp::RST) {
                note_end(session, mark::CLIENT_END, tcp, at_most(session.client.sender.end, span.sequence));
                self.ending.push(flow);
            }
            self.ask_if_answered(flow, now);
            return None;
        }
        let mut verdict = Verdict::Taken;
        if span.length > 0 && !self.hold.has(flow, tcp.sequence, ip.total_len) {
            let vnet = VnetHdr { needs_csum: partial, ..VnetHdr::default() };
            let held = Held::new(Side::Client, tcp.sequence, vnet, packet.get(..ip.total_len).unwrap_or(packet), now);
            if session.proxy.held >= MOST_SEGMENTS || self.hold.keep_latest(flow, held, false) == Kept::Full {
                verdict = Verdict::Drop(Reason::HoldFull);
                self.counters.refuse(Reason::HoldFull);
            } else {
                session.proxy.held += 1;
                self.counters.held += 1;
            }
        }
        let session = *session;
        let end = session.client.sender.end;
        // Also of one that there is no room for: its acknowledgement may be the last that was waited for.
        self.tell_server(&session, arrived, (span.sequence, end), now);
        self.ask_if_answered(flow, now);
        Some(verdict)
    }

    /// Nothing but the end of a server's connection that is to be asked about again; admitted, and noted. The server says it
    /// again until the stack, which has the connection then, acknowledges it.
    pub(crate) fn keep_end(&mut self, flow: FlowId, ip: &Ip, tcp: &Tcp, now: Time) -> Verdict {
        let Some(&session) = self.table.get(flow) else { return self.reject(Reason::NoSession) };
        self.acknowledge_to(&session, Side::Client, &Ends::to_client(ip, tcp), now);
        self.ask_if_answered(flow, now);
        Verdict::Taken
    }

    /// Tells the server what a packet that it does not get acknowledges. Who sends again may put old bytes and new ones
    /// into one segment: the old ones it gets. `sequence` of the packet, and where its sender's known bytes end.
    fn tell_server(
        &mut self,
        session: &Session,
        Arrived { packet, ip, tcp, .. }: Arrived,
        (sequence, end): (u32, u32),
        now: Time,
    ) {
        let start = ip.header_len + tcp.header_len;
        let known = match at_most(sequence, end) {
            true => (end.wrapping_sub(sequence) as usize).min(tcp.payload),
            false => 0,
        };
        let bytes = packet.get(start..start + known).unwrap_or(&[]);
        self.tell(session, Side::Server, &Ends::from_client(ip, tcp), sequence, bytes, now);
    }

    /// Asks the control side about a spliced connection for which something waits, be it that its server has ended, if nothing
    /// else is under way.
    fn ask_if_answered(&mut self, flow: FlowId, now: Time) {
        let Some(session) = self.table.get_mut(flow) else { return };
        let waits = session.proxy.held > 0 || session.proxy.has(mark::SERVER_END);
        let due = session.proxy.has(mark::AGAIN) && waits && is_quiet(session);
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

/// Whether a server's segment is an end that the client is not to hear of: behind the whole answer. An earlier one cuts the
/// answer off.
pub(crate) fn is_servers_own_end(session: &Session, tcp: &Tcp) -> bool {
    tcp.has(Tcp::FIN)
        && session.proxy.has(mark::AGAIN)
        && !session.proxy.has(mark::CLIENT_END)
        && at_most(session.proxy.until, tcp.sequence.wrapping_add(tcp.payload as u32))
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

/// Whether the server has said all that it had to, and all is acknowledged both ways.
fn is_quiet(session: &Session) -> bool {
    let (client, proxy) = (&session.client, &session.proxy);
    !proxy.has(mark::OWES | mark::CLIENT_END)
        && at_most(proxy.until, client.sender.acknowledged)
        && proxy.sender.acknowledged == client.sender.end
        && client.sender.acknowledged == proxy.sender.end
}
