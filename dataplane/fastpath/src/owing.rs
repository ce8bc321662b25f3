//! Packets of a spliced connection that owes something, or whose sides were promised more room than there is.
//!
//! The stack has promised each side room, more than the other one may have: a right edge that moved left would leave an end
//! with bytes under way that nobody takes, and with acknowledgements that bear the number of that edge, which its peer may have
//! passed. So what comes within the promise is owed as well, until the side that it is for has as much room itself; and what
//! acknowledges bears a number that its receiver looks at.
//!
//! While another gateway has the connection too, each of them sees some of the acknowledgements only, and knows neither what there
//! is room for nor what has come. So all passes as it is then.

use crate::cookie::Ends;
use crate::note::{note_client, note_server};
use crate::owed::{key, room};
use crate::records::{mark, OUR_SCALE};
use crate::translate::Terms;
use crate::verdict::{Arrived, Side, Verdict};
use crate::window::{admit, at_most, later, Sender, Span};
use crate::{FastPath, Reason};
use braid_packet::{tcp_checksum_is_good, FlowId, Tcp, Time};

/// What becomes of a segment that has been admitted.
enum Way {
    /// To the other side, with this number of the server's.
    On(u32),
    /// No further. Its sender may have to be told how far it is.
    Here {
        tell_sender: bool,
    },
    Nowhere(Reason),
}

impl FastPath {
    /// A client's packet of a connection that owes something. Takes note of it; says what the server is told, or what became
    /// of the packet if it does not go on.
    pub(crate) fn receive_owing_from_client(
        &mut self,
        flow: FlowId,
        arrived: Arrived,
        span: &Span,
        now: Time,
    ) -> Result<Terms, Verdict> {
        let Arrived { packet, ip, tcp, partial } = arrived;
        match self.receive_owing(flow, Side::Client, &Ends::from_client(ip, tcp), arrived, span, now) {
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
        arrived: Arrived,
        span: &Span,
        now: Time,
    ) -> Result<Terms, Verdict> {
        let ends = Ends::to_client(arrived.ip, arrived.tcp);
        self.receive_owing(flow, Side::Server, &ends, arrived, span, now)
    }

    /// `span` is in the server's numbers.
    fn receive_owing(
        &mut self,
        flow: FlowId,
        from: Side,
        ends: &Ends,
        arrived: Arrived,
        span: &Span,
        now: Time,
    ) -> Result<Terms, Verdict> {
        let Arrived { packet, ip, tcp, .. } = arrived;
        let Some(session) = self.table.get_mut(flow) else { return Err(self.reject(Reason::NoSession)) };
        let to = if from == Side::Client { Side::Server } else { Side::Client };
        let shift = session.proxy.shift;
        // In the server's numbers: where what the sender is owed ends, and what the other side was promised.
        let in_common = |number: u32| if from == Side::Client { number.wrapping_add(shift) } else { number };
        let owing = self.owed.debts.get(&key(flow, from));
        let owed = owing.map(|debt| in_common(debt.end()));
        let promised = owing.filter(|debt| debt.is_promised()).map(|debt| in_common(debt.promised()));
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
        let told = |own: &Sender, other: &Sender| {
            (owed.map_or(own.acknowledged, |end| later(end, own.acknowledged)), other.limit)
        };
        let before = told(own, other);
        if let Err(reason) = admit(own, other, &known, self.loose) {
            return Err(self.reject(reason));
        }
        let is_news = told(own, other) != before;
        // Before anything is answered: what echoes an older timestamp says that what was sent again was sent for nothing.
        match from {
            Side::Client => note_client(session, packet, ip, tcp),
            Side::Server => note_server(session, packet, ip, tcp),
        }
        let session = *session;
        let is_shared = self.loose && session.proxy.has(mark::SHARED) && !session.proxy.has(mark::OWES);
        let plain = tcp.payload == 0 && !tcp.has(Tcp::FIN | Tcp::RST);
        if let (Some(debt), Some(_)) = (self.owed.debts.get_mut(&key(flow, from)), span.acknowledgement) {
            debt.acknowledge(tcp.acknowledgement, span.window, plain, now);
            self.pay(&session, from, ends, now);
            self.settle(flow, from);
        }
        let way = match plain {
            _ if is_shared => Way::On(span.sequence),
            true => self.way_of_acknowledgement(flow, to, shift, span.sequence, missing > 0),
            false => self.way_of_bytes(flow, to, shift, arrived, span, now),
        };
        let sequence = match way {
            Way::On(number) if to == Side::Client => number.wrapping_sub(shift),
            Way::On(number) => number,
            Way::Here { tell_sender } => {
                let has_told = self.pay(&session, to, ends, now);
                self.settle(flow, to);
                if tell_sender {
                    self.acknowledge_to(&session, from, ends, now);
                }
                if is_news && !has_told {
                    self.acknowledge_to(&session, to, ends, now);
                }
                return Err(Verdict::Taken);
            }
            Way::Nowhere(reason) => return Err(self.reject(reason)),
        };
        let number = known.acknowledgement.unwrap_or(0);
        let (acknowledgement, scale) = match from {
            Side::Client => (number, session.proxy.told),
            Side::Server => {
                (number.wrapping_sub(session.proxy.client_shift), session.client.scale.map_or(0, |_| OUR_SCALE))
            }
        };
        let window = known.window.max(promised.map_or(0, |promised| room(promised, number)));
        Ok(Terms {
            sequence,
            acknowledgement: if span.acknowledgement.is_some() { acknowledgement } else { tcp.acknowledgement },
            window: u16::try_from(window >> scale).unwrap_or(u16::MAX),
            sack: session.client.sack && session.proxy.sack && missing == 0,
        })
    }

    /// What becomes of a segment that only acknowledges. Its number must be one that its receiver takes, whatever its sender
    /// was promised. `is_behind`: it acknowledges less than its receiver knows to have arrived.
    fn way_of_acknowledgement(&self, flow: FlowId, to: Side, shift: u32, sequence: u32, is_behind: bool) -> Way {
        let in_common = |number: u32| if to == Side::Client { number.wrapping_add(shift) } else { number };
        let Some(debt) = self.owed.debts.get(&key(flow, to)) else {
            return if is_behind { Way::Here { tell_sender: false } } else { Way::On(sequence) };
        };
        // Before what is acknowledged to it a sender only asks for an answer, as to whether there is room again. Whoever is owed
        // nothing is asked: what it said when it had room may be lost.
        let asks = !at_most(in_common(debt.end()), sequence);
        let edge = in_common(debt.edge());
        match (asks, debt.is_paid()) {
            (true, true) => Way::On(sequence),
            (true, false) => Way::Here { tell_sender: true },
            (false, _) if is_behind => Way::Here { tell_sender: false },
            (false, _) => Way::On(if at_most(sequence, edge) { sequence } else { edge }),
        }
    }

    /// What becomes of a segment with bytes, or an end: it goes on where there is room for it and nothing before it is ours to
    /// deliver. Otherwise its bytes are owed from now on, or its sender says them again.
    fn way_of_bytes(
        &mut self,
        flow: FlowId,
        to: Side,
        shift: u32,
        Arrived { packet, ip, tcp, partial }: Arrived,
        span: &Span,
        now: Time,
    ) -> Way {
        let Some(debt) = self.owed.debts.get_mut(&key(flow, to)) else { return Way::On(span.sequence) };
        let own = |number: u32| if to == Side::Client { number.wrapping_sub(shift) } else { number };
        let (sequence, end) = (own(span.sequence), own(span.sequence.wrapping_add(span.length)));
        let follows = at_most(debt.end(), sequence);
        let fits = follows && at_most(end, debt.edge());
        let waits = !debt.is_paid() && debt.is_promised() && !tcp.has(Tcp::FIN);
        if span.reset || span.length == 0 || (fits && !waits) {
            return Way::On(span.sequence);
        }
        if tcp.payload > 0 && debt.is_promised() && !at_most(end, debt.end()) && at_most(sequence, debt.end()) {
            if !partial && !tcp_checksum_is_good(packet, ip) {
                return Way::Nowhere(Reason::Checksum);
            }
            let start = ip.header_len + tcp.header_len;
            if debt.join(sequence, packet.get(start..start + tcp.payload).unwrap_or(&[]), now) {
                self.owed.set_timer(key(flow, to));
            }
        }
        Way::Here { tell_sender: true }
    }

    /// Takes note of what a side is owed and the other one was promised, after either has changed.
    pub(crate) fn settle(&mut self, flow: FlowId, to: Side) {
        let (owes, settles) = match to {
            Side::Client => (mark::OWES_CLIENT, mark::SETTLES_CLIENT),
            Side::Server => (mark::OWES_SERVER, mark::SETTLES_SERVER),
        };
        let (owed, settled) = match self.owed.debts.get(&key(flow, to)) {
            Some(debt) => (!debt.is_paid(), debt.is_paid() && !debt.is_promised()),
            None => (false, true),
        };
        if settled {
            self.owed.debts.remove(&key(flow, to));
        }
        if let Some(session) = self.table.get_mut(flow) {
            session.proxy.marks &= !(owes | settles);
            session.proxy.marks |= if owed { owes } else { 0 } | if settled { 0 } else { settles };
        }
    }
}
