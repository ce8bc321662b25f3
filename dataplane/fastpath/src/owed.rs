//! What a connection that came back from the stack owes one of its sides: bytes that the other side had acknowledged to it by the
//! stack, and that this one has not acknowledged yet. They are sent, and sent again, until it has.
//!
//! Numbers are those of the side that they are owed to.

use crate::cookie::Ends;
use crate::debt::Debt;
use crate::options::{timestamps_option, TIMESTAMPS_ROOM};
use crate::records::{clock, Session, OUR_SCALE};
use crate::verdict::{Output, Side};
use crate::window::{at_most, later};
use crate::{FastPath, Reason};
use braid_packet::{FlowId, Segment, Tcp, Time};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Least that a segment of ours carries, whatever a peer asked for, with its timestamps.
const LEAST_SIZE: usize = 88;
const PSH: u8 = 8;

pub(crate) type Key = (u32, u32, bool);

pub(crate) fn key(flow: FlowId, to: Side) -> Key {
    (flow.index, flow.serial, to == Side::Client)
}

#[derive(Debug, Default)]
pub(crate) struct Owed {
    pub(crate) debts: BTreeMap<Key, Debt>,
    due: BinaryHeap<Reverse<(Time, Key)>>,
}

impl Owed {
    pub(crate) fn add(&mut self, flow: FlowId, to: Side, debt: Debt) {
        self.debts.insert(key(flow, to), debt);
        self.set_timer(key(flow, to));
    }

    pub(crate) fn set_timer(&mut self, key: Key) {
        if let Some(debt) = self.debts.get_mut(&key) {
            if debt.set_timer() {
                self.due.push(Reverse((debt.due(), key)));
            }
        }
    }

    /// Behind the last byte that a side itself has room for.
    pub(crate) fn edge(&self, flow: FlowId, of: Side) -> Option<u32> {
        self.debts.get(&key(flow, of)).map(Debt::edge)
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
    /// Sends what may be sent now of what is owed to a side.
    /// Whether there was any.
    pub(crate) fn pay(&mut self, session: &Session, to: Side, ends: &Ends, now: Time) -> bool {
        let flow = session.flow;
        let header = self.header(session, to, ends, now);
        let Some(debt) = self.owed.debts.get_mut(&key(flow, to)) else { return false };
        let before = self.outputs.len();
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
        self.outputs.len() > before
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
                let ours = if session.is_unserved() { client.ts_echo } else { value.wrapping_add(proxy.ts_shift) };
                let end = proxy.sender.end.wrapping_sub(proxy.shift);
                (
                    self.owed.edge(*flow, to).map_or(end, |edge| if at_most(end, edge) { end } else { edge }),
                    acknowledged.wrapping_sub(proxy.client_shift),
                    window,
                    client.timestamps.then_some((ours, client.ts_recent)),
                )
            }
            Side::Server => {
                let owed = self.owed.end(*flow, Side::Client).map(|end| end.wrapping_add(proxy.shift));
                let acknowledged = later(client.sender.acknowledged, owed.unwrap_or(client.sender.acknowledged));
                let end = client.sender.end;
                (
                    self.owed.edge(*flow, to).map_or(end, |edge| if at_most(end, edge) { end } else { edge }),
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
            debt.timer_is_over();
            if debt.is_paid() {
                continue;
            }
            if debt.due() > now {
                self.owed.set_timer(due);
                continue;
            }
            let lives = debt.handle_timeout(now);
            let (Some(ends), Some(&session)) = (ends(flow), self.table.get(flow)) else {
                self.forget(flow);
                self.owed.forget(flow);
                continue;
            };
            if lives {
                self.owed.set_timer(due);
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

/// From one number to another; none if that is before it.
pub(crate) fn room(limit: u32, from: u32) -> u32 {
    if at_most(from, limit) {
        limit.wrapping_sub(from)
    } else {
        0
    }
}
