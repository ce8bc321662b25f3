//! Connections of the stack that another node takes over, and that come back: a content proxy has them meanwhile. What is kept of
//! one that was given away is no more than what makes a late packet of it known.

use crate::cookie::Carried;
use crate::records::{mark, ClientSession, ProxySession, Session, State};
use crate::window::{later, Sender};
use crate::FastPath;
use braid_packet::{FlowId, TcpRecord};

impl FastPath {
    /// The stack has given a connection away. Its server's side may yet end. False if it is not the stack's.
    pub fn give_away(&mut self, flow: FlowId) -> bool {
        match self.table.get_mut(flow) {
            Some(session) if session.proxy.state == State::Normal => {
                session.proxy.marks &= !mark::HOLDS;
                session.proxy.marks |= mark::CLIENT_END | mark::STACK_END | mark::GIVEN;
                true
            }
            _ => false,
        }
    }

    /// The stack has built a socket of a connection that another node had: it is the stack's, without a server. `guest`: another
    /// gateway has had it before.
    pub fn adopt(&mut self, flow: FlowId, record: &TcpRecord, guest: bool) {
        // Of one that was given away here: what no record says.
        let known = self.table.get(flow).copied();
        let carried = Carried::new(record.mss, record.scales.map(|(theirs, _)| theirs), record.sack);
        let (received, said) = (record.receive_next, record.send_next);
        let promised = record.window.edge_from.wrapping_add(record.window.receive);
        let client = ClientSession {
            rcv_isn: received.wrapping_sub(1),
            snd_isn: said.wrapping_sub(1),
            ts_recent: known.map_or(0, |known| known.client.ts_recent),
            ts_echo: record.timestamp.unwrap_or(0),
            sender: Sender {
                end: received,
                limit: later(received, promised),
                window: record.window.most.max(1),
                acknowledged: record.unacknowledged_from(),
            },
            window: known.map_or(0, |known| known.client.window),
            mss: carried.mss,
            told: known.map_or_else(|| self.most_told(record.local.is_ipv6()), |known| known.client.told),
            scale: carried.scale,
            timestamps: record.timestamp.is_some(),
            sack: carried.sack,
        };
        let shared = known.map_or(0, |known| known.proxy.marks & mark::SHARED) | if guest { mark::SHARED } else { 0 };
        let proxy = ProxySession {
            sender: Sender { end: said, limit: said, window: record.window.receive.max(1), acknowledged: received },
            marks: shared,
            turn: known.map_or(0, |known| known.proxy.turn.wrapping_add(1)),
            ..ProxySession::new(State::Normal)
        };
        self.late.forget(flow);
        self.table.insert(Session { flow, client, proxy });
        self.counters.taken += 1;
    }
}

impl ClientSession {
    /// Whether the client's clock has been read, where it has one: a server is told how it goes on.
    pub(crate) fn is_clock_known(&self) -> bool {
        !self.timestamps || self.ts_recent != 0
    }
}
