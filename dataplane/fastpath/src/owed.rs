//! What a spliced connection owes one of its sides: bytes that the other side had acknowledged to it by the stack, and that this
//! one has not acknowledged yet. They are sent, and sent again, until it has.
//!
//! Numbers are those of the side that they are owed to.

use crate::cookie::Ends;
use crate::debt::Debt;
use crate::options::{timestamps_option, TIMESTAMPS_ROOM};
use crate::records::{clock, mark, Session, OUR_SCALE};
use crate::translate::Terms;
use crate::verdict::{Output, Side, Verdict};
use crate::window::{admit, at_most, later, Span};
use crate::{FastPath, Reason};
use braid_packet::{FlowId, Ip, Segment, Tcp, Time};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Least that a segment of ours carries, whatever a peer asked for, with its timestamps.
const LEAST_SIZE: usize = 88;
const PSH: u8 = 8;

type Key = (u32, u32, bool);

fn key(flow: FlowId, to: Side) -> Key {
    (flow.index, flow.serial, to == Side::Client)
}

#[derive(Debug, Default)]
pub(crate) struct Owed {
    debts: BTreeMap<Key, Debt>,
    due: BinaryHeap<Reverse<(Time, Key)>>,
}

impl Owed {
    pub(crate) fn add(&mut self, flow: FlowId, to: Side, debt: Debt) {
        self.due.push(Reverse((debt.due(), key(flow, to))));
        self.debts.insert(key(flow, to), debt);
    }

    pub(crate) fn forget(&mut self, flow: FlowId) {
        self.debts.remove(&key(flow, Side::Client));
        self.debts.remove(&key(flow, Side::Server));
    }

    /// Behind the last byte.
    fn end(&self, flow: FlowId, to: Side) -> Option<u32> {
        self.debts.get(&key(flow, to)).map(Debt::end)
    }

    /// Of all connections.
    pub(crate) fn bytes(&self) -> usize {
        self.debts.values().map(Debt::open).sum()
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    fn take_due(&mut self, now: Time) -> Option<Key> {
        let &Reverse((due, key)) = self.due.peek()?;
        if due > now {
            return None;
        }
        self.due.pop();
        Some(key)
    }
}

impl FastPath {
    /// A client's packet of a connection that owes something. Takes note of it; says what the server is told, or what became
    /// of the packet if it does not go on.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn receive_owing_from_client(
        &mut self,
        flow: FlowId,
        packet: &[u8],
        ip: &Ip,
        tcp: &Tcp,
        span: &Span,
        partial: bool,
        now: Time,
    ) -> Result<Terms, Verdict> {
        let ends = crate::stranger::ends(ip, tcp);
        match self.receive_owing(flow, Side::Client, &ends, tcp, span, now) {
            Err(Verdict::Drop(reason)) => {
                let Some(&session) = self.table.get(flow) else { return Err(Verdict::Drop(reason)) };
                Err(self.misfit(&session, packet, ip, tcp, partial, reason))
            }
            told => told,
        }
    }

    pub(crate) fn receive_owing_from_server(
        &mut self,
        flow: FlowId,
        ip: &Ip,
        tcp: &Tcp,
        span: &Span,
        now: Time,
    ) -> Result<Terms, Verdict> {
        let ends = crate::server::ends(ip, tcp);
        self.receive_owing(flow, Side::Server, &ends, tcp, span, now)
    }

    /// `span` is in the server's numbers.
    fn receive_owing(
        &mut self,
        flow: FlowId,
        from: Side,
        ends: &Ends,
        tcp: &Tcp,
        span: &Span,
        now: Time,
    ) -> Result<Terms, Verdict> {
        let Some(session) = self.table.get_mut(flow) else { return Err(self.reject(Reason::NoSession)) };
        let to = if from == Side::Client { Side::Server } else { Side::Client };
        let shift = session.proxy.shift;
        // In the server's numbers: where what the sender is owed ends, and where its own bytes begin for the other side.
        let in_common = |end: u32, owed_to: Side| if owed_to == Side::Client { end.wrapping_add(shift) } else { end };
        let owed = self.owed.end(flow, from).map(|end| in_common(end, from));
        let begin = self.owed.end(flow, to).map(|end| in_common(end, to));
        let missing = match (owed, span.acknowledgement) {
            (Some(end), Some(number)) if !at_most(end, number) => end.wrapping_sub(number),
            _ => 0,
        };
        let known = Span {
            acknowledgement: span.acknowledgement.map(|number| number.wrapping_add(missing)),
            window: span.window.saturating_sub(missing),
            ..*span
        };
        let (own, other) = match from {
            Side::Client => (&mut session.client.sender, &mut session.proxy.sender),
            Side::Server => (&mut session.proxy.sender, &mut session.client.sender),
        };
        if let Err(reason) = admit(own, other, &known, self.loose) {
            return Err(self.reject(reason));
        }
        let session = *session;
        let plain = tcp.payload == 0 && !tcp.has(Tcp::FIN | Tcp::RST);
        if let (Some(debt), Some(_)) = (self.owed.debts.get_mut(&key(flow, from)), span.acknowledgement) {
            debt.acknowledge(tcp.acknowledgement, span.window, plain, now);
            if debt.is_paid() {
                self.owed.debts.remove(&key(flow, from));
                self.clear(flow, if from == Side::Client { mark::OWES_CLIENT } else { mark::OWES_SERVER });
            } else {
                self.pay(&session, from, ends, now);
            }
        }
        if begin.is_some_and(|begin| tcp.payload > 0 && !at_most(begin, span.sequence)) {
            // The stack has acknowledged that: what stands there for the other side may be something else.
            self.acknowledge_to(&session, from, ends, now);
            return Err(Verdict::Taken);
        }
        if missing > 0 && plain {
            return Err(Verdict::Taken);
        }
        let number = known.acknowledgement.unwrap_or(0);
        let (acknowledgement, scale) = match from {
            Side::Client => (number, session.proxy.told),
            Side::Server => {
                (number.wrapping_sub(session.proxy.client_shift), session.client.scale.map_or(0, |_| OUR_SCALE))
            }
        };
        Ok(Terms {
            acknowledgement: if span.acknowledgement.is_some() { acknowledgement } else { tcp.acknowledgement },
            window: u16::try_from(known.window >> scale).unwrap_or(u16::MAX),
            sack: session.client.sack && session.proxy.sack && missing == 0,
        })
    }

    /// Sends what may be sent now of what is owed to a side.
    pub(crate) fn pay(&mut self, session: &Session, to: Side, ends: &Ends, now: Time) {
        let flow = session.flow;
        let header = self.header(session, to, ends, now);
        let Some(debt) = self.owed.debts.get_mut(&key(flow, to)) else { return };
        while let Some((from, until)) = debt.next() {
            let segment = Segment {
                sequence: debt.at(from),
                flags: Tcp::ACK | if debt.is_whole(until) { PSH } else { 0 },
                options: header.options(),
                ..header.segment
            };
            let mut packet = Vec::new();
            if debt.bytes(from, until).and_then(|bytes| segment.write_with(bytes, &mut packet)).is_some() {
                self.outputs.push(Output { flow, to, packet, partial: false });
            }
        }
    }

    /// Tells a side how far the other one is.
    pub(crate) fn acknowledge_to(&mut self, session: &Session, to: Side, ends: &Ends, now: Time) {
        self.tell(session, to, ends, 0, &[], now);
    }

    /// The same, with bytes of the other one that begin at `sequence`.
    pub(crate) fn tell(&mut self, session: &Session, to: Side, ends: &Ends, sequence: u32, bytes: &[u8], now: Time) {
        let header = self.header(session, to, ends, now);
        let mut segment = Segment { options: header.options(), ..header.segment };
        if bytes.is_empty() {
            self.output(session.flow, to, &segment);
            return;
        }
        segment.sequence = sequence;
        for piece in bytes.chunks(self.segment_size(session, to, ends)) {
            let mut packet = Vec::new();
            if segment.write_with(piece, &mut packet).is_some() {
                self.outputs.push(Output { flow: session.flow, to, packet, partial: false });
            }
            segment.sequence = segment.sequence.wrapping_add(piece.len() as u32);
        }
    }

    /// Bytes that a segment of ours may carry.
    pub(crate) fn segment_size(&self, session: &Session, to: Side, ends: &Ends) -> usize {
        let headers = if ends.client.is_ipv6() { 60 } else { 40 };
        let (mss, timestamps) = match to {
            Side::Client => (session.client.mss(), session.client.timestamps),
            Side::Server => (session.proxy.mss, session.proxy.timestamps),
        };
        let room = if timestamps { TIMESTAMPS_ROOM } else { 0 };
        usize::from(mss.min(self.mtu.saturating_sub(headers))).max(LEAST_SIZE) - room
    }

    /// Of a packet of our own.
    fn header(&self, session: &Session, to: Side, ends: &Ends, now: Time) -> Header {
        let Session { flow, client, proxy } = session;
        let (from, receiver) = match to {
            Side::Client => (ends.vip, ends.client),
            Side::Server => (ends.client, ends.vip),
        };
        let (sequence, acknowledgement, window, timestamps) = match to {
            Side::Client => {
                let owed = self.owed.end(*flow, Side::Server).unwrap_or(proxy.sender.acknowledged);
                let acknowledged = later(proxy.sender.acknowledged, owed);
                let window = room(client.sender.limit, acknowledged) >> client.scale.map_or(0, |_| OUR_SCALE);
                let value = if proxy.timestamps { proxy.ts_recent } else { clock(now) };
                (
                    proxy.sender.end.wrapping_sub(proxy.shift),
                    acknowledged.wrapping_sub(proxy.client_shift),
                    window,
                    client.timestamps.then_some((value.wrapping_add(proxy.ts_shift), client.ts_recent)),
                )
            }
            Side::Server => {
                let owed = self.owed.end(*flow, Side::Client).map(|end| end.wrapping_add(proxy.shift));
                let acknowledged = later(client.sender.acknowledged, owed.unwrap_or(client.sender.acknowledged));
                (
                    client.sender.end,
                    acknowledged,
                    room(proxy.sender.limit, acknowledged) >> proxy.told,
                    proxy.timestamps.then_some((client.ts_recent.wrapping_add(proxy.client_ts_shift), proxy.ts_recent)),
                )
            }
        };
        Header {
            segment: Segment {
                from,
                to: receiver,
                sequence,
                acknowledgement,
                flags: Tcp::ACK,
                window: u16::try_from(window).unwrap_or(u16::MAX),
                options: &[],
            },
            timestamps: timestamps.map(|(value, echo)| timestamps_option(value, echo)),
        }
    }

    /// Sends again what was not acknowledged in time. Flows whose connection is given up join `ended`.
    pub(crate) fn send_owed(&mut self, now: Time, ends: impl Fn(FlowId) -> Option<Ends>, ended: &mut Vec<FlowId>) {
        while let Some(due) = self.owed.take_due(now) {
            let Some(debt) = self.owed.debts.get_mut(&due) else { continue };
            let (index, serial, to_client) = due;
            let flow = FlowId { index, serial };
            if debt.due() > now {
                self.owed.due.push(Reverse((debt.due(), due)));
                continue;
            }
            let lives = debt.handle_timeout(now);
            let again = debt.due();
            let (Some(ends), Some(&session)) = (ends(flow), self.table.get(flow)) else {
                self.forget(flow);
                self.owed.forget(flow);
                continue;
            };
            if lives {
                self.owed.due.push(Reverse((again, due)));
                self.counters.owed_resent += 1;
                self.pay(&session, if to_client { Side::Client } else { Side::Server }, &ends, now);
            } else {
                self.dismiss(flow, &ends, Reason::NormalOwed, now);
                ended.push(flow);
            }
        }
    }

    /// Bytes that are owed by all connections.
    pub fn owed_bytes(&self) -> usize {
        self.owed.bytes()
    }

    fn clear(&mut self, flow: FlowId, marks: u16) {
        if let Some(session) = self.table.get_mut(flow) {
            session.proxy.marks &= !marks;
        }
    }
}

/// All but what differs from packet to packet of the same moment.
struct Header {
    segment: Segment<'static>,
    timestamps: Option<[u8; TIMESTAMPS_ROOM]>,
}

impl Header {
    fn options(&self) -> &[u8] {
        self.timestamps.as_ref().map_or(&[], |option| option)
    }
}

fn room(limit: u32, from: u32) -> u32 {
    if at_most(from, limit) {
        limit.wrapping_sub(from)
    } else {
        0
    }
}
