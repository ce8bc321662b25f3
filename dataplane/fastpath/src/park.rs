//! A connection comes back from the stack without a server, between two requests of its client. It is then as one whose cookie
//! came back and that has said nothing yet, with the numbers that its socket had: what its client says next is a service request.

use crate::cookie::Ends;
use crate::debt::Debt;
use crate::hold::Held;
use crate::records::{mark, ClientSession, ProxySession, Session, State, OUR_SCALE, OUR_WINDOW};
use crate::splice::MOST_OWED;
use crate::verdict::Side;
use crate::window::{at_most, later, Sender};
use crate::{FastPath, Reason};
use braid_packet::{FlowId, Tcp, TcpRecord, Time};

/// The client's side of a connection, as the stack's socket had it when it was frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Park {
    pub client: TcpRecord,
    /// What was to be written to the socket yet.
    pub to_client: Vec<u8>,
}

impl Park {
    fn owed(&self) -> Vec<u8> {
        [&self.client.unacknowledged[..], &self.client.unsent, &self.to_client].concat()
    }

    /// Whether this can be done at all; else why not, in a word.
    pub fn check(&self) -> Result<(), &'static str> {
        if !self.client.unread.is_empty() {
            return Err("not_quiet");
        }
        if self.owed().len() > MOST_OWED {
            return Err("too_much_queued");
        }
        if self.client.scales.is_some_and(|(_, ours)| ours != OUR_SCALE) {
            return Err("scale");
        }
        Ok(())
    }
}

impl FastPath {
    /// As `hold`, for a connection that is to be parked: whatever became of its last server says nothing about it any more.
    pub fn hold_alone(&mut self, flow: FlowId, now: Time) -> bool {
        let Some(session) = self.table.get(flow) else { return false };
        if session.proxy.state != State::Normal || session.proxy.has(mark::CLIENT_END | mark::STACK_END) {
            return false;
        }
        self.forget_server(flow);
        self.begin_hold(flow, now)
    }

    /// For a connection that is held. Returns what came meanwhile, to be received again, after `take_outputs`. None if it is not
    /// held.
    pub fn park(&mut self, flow: FlowId, park: &Park, ends: &Ends, now: Time) -> Option<Vec<Held>> {
        let Some(session) = self.table.get_mut(flow).filter(|session| session.proxy.state == State::Held) else {
            self.counters.refuse(Reason::NormalNotHeld);
            return None;
        };
        let (record, owed) = (&park.client, park.owed());
        let (from, received) = (record.unacknowledged_from(), record.receive_next);
        let said = from.wrapping_add(owed.len() as u32);
        // What the client was told it may send it may send.
        let promised = record.window.edge_from.wrapping_add(record.window.receive);
        let least = received.wrapping_add(u32::from(OUR_WINDOW));
        session.client = ClientSession {
            rcv_isn: received.wrapping_sub(1),
            snd_isn: said.wrapping_sub(1),
            // Its timestamps go on from here, one day; until then they stand still.
            ts_echo: record.timestamp.unwrap_or(0),
            sender: Sender {
                end: received,
                limit: later(least, promised),
                acknowledged: said,
                ..session.client.sender
            },
            ..session.client
        };
        session.proxy = ProxySession {
            sender: Sender { end: said, limit: said, window: u32::from(OUR_WINDOW), acknowledged: received },
            marks: session.proxy.marks & mark::SHARED,
            turn: session.proxy.turn.wrapping_add(1),
            ..ProxySession::new(State::Waiting)
        };
        let session = *session;
        self.late.forget(flow);
        self.counters.parked += 1;
        if !owed.is_empty() {
            let (sent, size) = (record.unacknowledged.len(), self.segment_size(&session, Side::Client, ends));
            self.owed.add(flow, Side::Client, Debt::new(from, owed, sent, record.window.send, said, size, now));
            self.pay(&session, Side::Client, ends, now);
            self.settle(flow, Side::Client);
        }
        Some(self.hold.take(flow))
    }

    /// What a waiting connection's client acknowledges of what it is owed. False if it is nothing that was said to it.
    pub(crate) fn note_paid(&mut self, session: &Session, ends: &Ends, tcp: &Tcp, now: Time) -> bool {
        let Session { flow, client, .. } = *session;
        let said = client.snd_isn.wrapping_add(1);
        let Some(debt) = self.owed.debts.get_mut(&crate::owed::key(flow, Side::Client)) else {
            return tcp.acknowledgement == said;
        };
        if !at_most(debt.at(0), tcp.acknowledgement) || !at_most(tcp.acknowledgement, said) {
            return false;
        }
        debt.acknowledge(tcp.acknowledgement, client.scaled(tcp.window), tcp.payload == 0, now);
        self.pay(session, Side::Client, ends, now);
        self.settle(flow, Side::Client);
        true
    }

    /// Whether a packet of a client brings nothing that a waiting connection has not had: it asks whether somebody is there, or is
    /// sent again, and is answered (RFC 9293 3.10.7.4).
    pub(crate) fn is_answered(&mut self, session: &Session, ends: &Ends, tcp: &Tcp, now: Time) -> bool {
        let first = session.client.rcv_isn.wrapping_add(1);
        let end = tcp.sequence.wrapping_add(tcp.payload as u32 + u32::from(tcp.has(Tcp::FIN)));
        let is_old = !at_most(first, tcp.sequence) && at_most(end, first);
        if session.proxy.state != State::Waiting || !is_old || tcp.has(Tcp::RST) || !tcp.has(Tcp::ACK) {
            return false;
        }
        self.note_paid(session, ends, tcp, now);
        if self.may_challenge(now) {
            self.acknowledge_to(session, Side::Client, ends, now);
        }
        true
    }
}
