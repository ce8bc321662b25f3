//! Connections whose servers have not answered yet: when to ask again, when to give up.

use crate::cookie::Ends;
use crate::records::State;
use crate::verdict::Side;
use crate::{FastPath, Reason};
use braid_packet::{FlowId, Segment, Tcp, Time};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Servers are near their gateway; the pause doubles with each SYN (RFC 6298 5.5).
const FIRST_PAUSE: u64 = Time::SECOND / 2;
/// SYNs until a server counts as silent, 7.5 s after the first.
const MOST_SYNS: u8 = 4;
const MOST_OPENING: usize = 1 << 17;

#[derive(Debug, Default)]
pub(crate) struct Opening(BinaryHeap<Reverse<(Time, u32, u32)>>);

impl Opening {
    /// `tries` SYNs were sent. False if too many wait.
    pub(crate) fn add(&mut self, flow: FlowId, tries: u8, now: Time) -> bool {
        if self.0.len() >= MOST_OPENING {
            return false;
        }
        let due = now.after(FIRST_PAUSE << (tries - 1).min(MOST_SYNS));
        self.0.push(Reverse((due, flow.index, flow.serial)));
        true
    }

    fn take_due(&mut self, now: Time) -> Option<FlowId> {
        let &Reverse((due, index, serial)) = self.0.peek()?;
        if due > now {
            return None;
        }
        self.0.pop();
        Some(FlowId { index, serial })
    }
}

impl FastPath {
    /// Asks silent servers again, and gives up those that were asked often enough. `ends` knows the flows that live.
    /// Returns the flows that are to end after the outputs have gone out; look at `take_outputs`.
    pub fn handle_timeout(&mut self, now: Time, ends: impl Fn(FlowId) -> Option<Ends>) -> Vec<FlowId> {
        let mut ended = Vec::new();
        while let Some(flow) = self.opening.take_due(now) {
            let Some(session) = self.table.get_mut(flow) else { continue };
            let State::Opening(tries) = session.proxy.state else { continue };
            let Some(ends) = ends(flow) else {
                self.forget(flow);
                continue;
            };
            if tries < MOST_SYNS {
                session.proxy.state = State::Opening(tries + 1);
                let session = *session;
                self.counters.syn_retransmitted += 1;
                self.opening.add(flow, tries + 1, now);
                self.ask_server(&ends, &session);
            } else {
                self.give_up(flow, &ends, Reason::ServerSilent, now);
                ended.push(flow);
            }
        }
        ended
    }

    /// When `handle_timeout` is due; None while no server is waited for.
    pub fn next_timeout(&self) -> Option<Time> {
        self.opening.0.peek().map(|Reverse((due, _, _))| *due)
    }

    /// The client gets a reset, and all is forgotten.
    pub(crate) fn give_up(&mut self, flow: FlowId, ends: &Ends, reason: Reason, now: Time) {
        self.counters.refuse(reason);
        let Some(session) = self.table.get(flow) else { return };
        let segment = Segment {
            from: ends.vip,
            to: ends.client,
            sequence: session.client.snd_isn.wrapping_add(1),
            acknowledgement: session.client.rcv_isn.wrapping_add(1),
            flags: Tcp::RST | Tcp::ACK,
            window: 0,
            options: &[],
        };
        self.output(flow, Side::Client, &segment);
        self.end_opening(flow, ends, now);
    }
}
