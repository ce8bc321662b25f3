//! A connection comes back from the stack: from the records of both its sockets, numbers, windows and timestamps of one side are
//! put into the other's terms from now on, and what neither socket could finish is owed.

use crate::cookie::Ends;
use crate::debt::Debt;
use crate::hold::Held;
use crate::records::{clock, mark, State, OUR_SCALE};
use crate::verdict::Side;
use crate::window::{at_most, later, Sender};
use crate::{FastPath, Reason};
use braid_packet::{FlowId, TcpRecord, Time};

/// Bytes that a connection may owe to each side.
pub(crate) const MOST_OWED: usize = 128 << 10;
/// Bytes of an answer that can be followed by numbers that wrap.
const MOST_UNTIL: u32 = 1 << 30;

/// Both sides of a connection, as the stack's sockets had it when they were frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splice {
    pub client: TcpRecord,
    pub server: TcpRecord,
    /// What was read from one socket and not yet written to the other.
    pub to_client: Vec<u8>,
    pub to_server: Vec<u8>,
    /// How many bytes the server has still to send until all is answered: what the client sends then is a service request,
    /// and waits until then. None: never again.
    pub until: Option<u32>,
}

impl Splice {
    fn owed_to_client(&self) -> Vec<u8> {
        [&self.client.unacknowledged[..], &self.client.unsent, &self.to_client, &self.server.unread].concat()
    }

    fn owed_to_server(&self) -> Vec<u8> {
        [&self.server.unacknowledged[..], &self.server.unsent, &self.to_server, &self.client.unread].concat()
    }

    /// Bytes that the side that is owed more is owed.
    pub fn owed(&self) -> usize {
        let lengths = [&self.client, &self.server].map(|record| record.unacknowledged.len() + record.unsent.len());
        let to_client = lengths[0] + self.to_client.len() + self.server.unread.len();
        let to_server = lengths[1] + self.to_server.len() + self.client.unread.len();
        to_client.max(to_server)
    }

    /// Whether this can be done at all; else why not, in a word.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.owed() > MOST_OWED {
            return Err("too_much_queued");
        }
        if self.server.timestamp.is_some() && self.client.timestamp.is_none() {
            return Err("timestamps_of_the_server_alone");
        }
        if self.client.scales.is_some_and(|(_, ours)| ours != OUR_SCALE) {
            return Err("scale");
        }
        if self.until.is_some_and(|bytes| bytes > MOST_UNTIL) {
            return Err("too_long");
        }
        if self.until.is_some() && !self.client.unread.is_empty() {
            // A request, which is the control side's: its server would get it, and answer beyond `until`.
            return Err("not_quiet");
        }
        Ok(())
    }
}

impl FastPath {
    /// For a connection that is held. Returns what came meanwhile, to be received again, after `take_outputs`. None if it is not
    /// held.
    pub fn splice(&mut self, flow: FlowId, splice: &Splice, ends: &Ends, now: Time) -> Option<Vec<Held>> {
        let Some(session) = self.table.get_mut(flow).filter(|session| session.proxy.state == State::Held) else {
            self.counters.refuse(Reason::NormalNotHeld);
            return None;
        };
        let (client, server) = (&splice.client, &splice.server);
        let (owed_to_client, owed_to_server) = (splice.owed_to_client(), splice.owed_to_server());
        let (to_client, to_server) = (client.unacknowledged_from(), server.unacknowledged_from());
        // The next byte of each side stands behind what the other one is owed.
        let next = to_server.wrapping_add(owed_to_server.len() as u32);
        let client_shift = next.wrapping_sub(client.receive_next);
        let shift = server.receive_next.wrapping_sub(to_client.wrapping_add(owed_to_client.len() as u32));
        // What a side was told it may send it may send from now on, though the other one has less room; its windows are rounded
        // down then.
        let promised = |record: &TcpRecord, edge: u32, shift: u32| {
            let edge_told = record.window.edge_from.wrapping_add(record.window.receive).wrapping_add(shift);
            let unit = record.scales.map_or(1, |(_, ours)| 1 << ours);
            if at_most(edge_told, edge) {
                edge_told
            } else {
                edge_told.wrapping_add(unit - 1)
            }
        };
        let edge_of_server = to_server.wrapping_add(server.window.send);
        let edge_of_client = to_client.wrapping_add(client.window.send).wrapping_add(shift);
        let promised_to_client = promised(client, edge_of_server, client_shift);
        let promised_to_server = promised(server, edge_of_client, 0);
        // What a side sends again may be as old as the window that the stack gave it, though the other side's is smaller.
        session.client.sender = Sender {
            end: next,
            limit: later(later(next, promised_to_client), edge_of_server),
            window: client.window.most.max(server.window.receive).max(1),
            acknowledged: to_client.wrapping_add(shift),
        };
        let proxy = &mut session.proxy;
        proxy.sender = Sender {
            end: server.receive_next,
            limit: later(later(server.receive_next, promised_to_server), edge_of_client),
            window: server.window.most.max(client.window.receive).max(1),
            acknowledged: to_server,
        };
        (proxy.shift, proxy.client_shift) = (shift, client_shift);
        if proxy.mss == 0 {
            proxy.mss = server.mss;
        }
        proxy.scale = server.scales.map(|(theirs, _)| theirs);
        proxy.told = server.scales.map_or(0, |(_, ours)| ours);
        proxy.sack = server.sack;
        proxy.timestamps = client.timestamp.is_some() && server.timestamp.is_some();
        // Each side's timestamps go on from the last that it was told.
        let from = if proxy.timestamps { proxy.ts_recent } else { clock(now) };
        proxy.ts_shift = client.timestamp.unwrap_or(0).wrapping_sub(from);
        proxy.client_ts_shift = server.timestamp.unwrap_or(0).wrapping_sub(session.client.ts_recent);
        proxy.marks = proxy.marks & mark::SHARED | mark::SERVED | if splice.until.is_some() { mark::AGAIN } else { 0 };
        proxy.until = server.receive_next.wrapping_add(splice.until.unwrap_or(0));
        proxy.state = State::Spliced;
        proxy.turn = proxy.turn.wrapping_add(1);
        proxy.held = 0;
        let session = *session;
        self.late.forget(flow);
        self.counters.spliced += 1;
        let promised_to_server = promised_to_server.wrapping_sub(shift);
        for (to, record, from, owed, promised) in [
            (Side::Client, client, to_client, owed_to_client, promised_to_server),
            (Side::Server, server, to_server, owed_to_server, promised_to_client),
        ] {
            let sent = record.unacknowledged.len();
            let size = self.segment_size(&session, to, ends);
            self.owed.add(flow, to, Debt::new(from, owed, sent, record.window.send, promised, size, now));
        }
        // What a side is paid also says how much of its own has come, which the other debt knows. Linux takes nothing with an
        // acknowledgement that is older than by a window.
        for to in [Side::Client, Side::Server] {
            self.pay(&session, to, ends, now);
            self.settle(flow, to);
        }
        Some(self.hold.take(flow))
    }
}
