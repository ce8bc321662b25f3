//! Connections that wait for somebody: when to ask a server or the control side again, when to give up.

use crate::cookie::Ends;
use crate::records::State;
use crate::verdict::Side;
use crate::{FastPath, Reason};
use braid_packet::{FlowId, Segment, Tcp, Time};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Servers are near their gateway; the pause doubles with each SYN (RFC 6298 5.5), and with each service request.
const FIRST_PAUSE: u64 = Time::SECOND / 2;
/// SYNs until a server counts as silent, 7.5 s after the first.
const MOST_SYNS: u8 = 4;
/// Service requests until the control side counts as silent, 3.5 s after the first.
const MOST_REQUESTS: u8 = 3;
const MOST_WAITING: usize = 1 << 17;

/// After so many tries.
pub(crate) fn pause(tries: u8) -> u64 {
    FIRST_PAUSE << tries.saturating_sub(1).min(MOST_SYNS)
}

/// When which connection has waited long enough, in the turn that it was in then.
#[derive(Debug, Default)]
pub(crate) struct Timers(BinaryHeap<Reverse<(Time, u32, u32, u16)>>);

impl Timers {
    /// False if too many wait.
    pub(crate) fn add(&mut self, flow: FlowId, turn: u16, pause: u64, now: Time) -> bool {
        if self.0.len() >= MOST_WAITING {
            return false;
        }
        self.0.push(Reverse((now.after(pause), flow.index, flow.serial, turn)));
        true
    }

    fn take_due(&mut self, now: Time) -> Option<(FlowId, u16)> {
        let &Reverse((due, index, serial, turn)) = self.0.peek()?;
        if due > now {
            return None;
        }
        self.0.pop();
        Some((FlowId { index, serial }, turn))
    }
}

impl FastPath {
    /// Asks silent servers and the control side again, and gives up those that were asked often enough; sends again what is
    /// owed. `ends` knows the flows that live. Returns the flows that are to end after the outputs have gone out; look at
    /// `take_outputs`, `take_requests` and `take_released`.
    pub fn handle_timeout(&mut self, now: Time, ends: impl Fn(FlowId) -> Option<Ends>) -> Vec<FlowId> {
        let mut ended = Vec::new();
        while let Some((flow, turn)) = self.timers.take_due(now) {
            let Some(session) = self.table.get_mut(flow).filter(|session| session.proxy.turn == turn) else { continue };
            let state = session.proxy.state;
            if !matches!(state, State::Opening(_) | State::Asking(_) | State::Held) {
                continue;
            }
            let Some(ends) = ends(flow) else {
                self.forget(flow);
                continue;
            };
            match state {
                State::Opening(tries) if tries < MOST_SYNS => {
                    session.proxy.state = State::Opening(tries + 1);
                    let session = *session;
                    self.counters.syn_retransmitted += 1;
                    self.timers.add(flow, turn, pause(tries + 1), now);
                    self.ask_server(&ends, &session);
                }
                State::Asking(tries) if tries < MOST_REQUESTS => {
                    session.proxy.state = State::Asking(tries + 1);
                    self.timers.add(flow, turn, pause(tries + 1), now);
                    self.request(flow);
                }
                State::Held => self.release_hold(flow),
                State::Asking(_) => {
                    self.dismiss(flow, &ends, Reason::NormalSilent, now);
                    ended.push(flow);
                }
                _ => {
                    self.give_up(flow, &ends, Reason::ServerSilent, now);
                    ended.push(flow);
                }
            }
        }
        self.send_owed(now, ends, &mut ended);
        ended
    }

    /// When `handle_timeout`, or `take_late`, is due; None while nobody is waited for.
    pub fn next_timeout(&self) -> Option<Time> {
        let waited = self.timers.0.peek().map(|Reverse((due, ..))| *due);
        waited.into_iter().chain(self.owed.next_timeout()).chain(self.late.next_timeout()).min()
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
