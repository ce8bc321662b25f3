//! Connections that have no server and wait for their clients: how many there are, and those that have waited for too long. Found
//! by and by, in rounds over all sessions, so that no packet waits for it.

use crate::records::{mark, Session, State};
use crate::FastPath;
use braid_packet::{FlowId, Time};
use std::collections::BTreeMap;

/// Connections that the control side is asked to end, of one look.
const MOST_ASKED: usize = 16;

/// What is known of the flow of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub app: u16,
    /// When its last packet came.
    pub last: Time,
}

#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// How long one may wait, in nanoseconds, by application.
    patience: BTreeMap<u16, u64>,
    /// As of the last round, and of the one that goes on.
    counted: BTreeMap<u16, usize>,
    counting: BTreeMap<u16, usize>,
}

impl Waiting {
    /// Takes note of a session of this round; whether it has waited for too long.
    fn look(&mut self, session: &Session, seen: Seen, now: Time) -> bool {
        // Of two gateways that have one it is the other's.
        if session.proxy.state != State::Waiting || session.proxy.has(mark::GIVEN) {
            return false;
        }
        *self.counting.entry(seen.app).or_insert(0) += 1;
        let quiet = session.proxy.held == 0 && !session.proxy.has(mark::OWES);
        quiet && self.patience.get(&seen.app).is_some_and(|&patience| now.since(seen.last) >= patience)
    }
}

impl FastPath {
    /// How long connections may wait for their clients, by application; others for as long as their flows live.
    pub fn set_patience(&mut self, patience: BTreeMap<u16, u64>) {
        self.waiting.patience = patience;
    }

    /// By application, connections that wait, as of a moment ago.
    pub fn waiting(&self) -> impl Iterator<Item = (u16, usize)> + '_ {
        self.waiting.counted.iter().map(|(&app, &count)| (app, count))
    }

    /// Looks at `budget` connections, of all in turn, and forgets those whose flow has ended: `seen` says None. Returns those of
    /// them that were spliced and whose end nobody has heard of. Of those that have waited for too long the control side is
    /// told, though nothing of them is held: look at `take_requests`.
    pub fn sweep(&mut self, budget: u32, now: Time, seen: impl Fn(FlowId) -> Option<Seen>) -> Vec<FlowId> {
        let (waiting, mut late) = (&mut self.waiting, Vec::new());
        let (dropped, is_round_over) = self.table.sweep(budget, |session| {
            let Some(seen) = seen(session.flow) else { return false };
            if waiting.look(session, seen, now) && late.len() < MOST_ASKED {
                late.push(session.flow);
            }
            true
        });
        if is_round_over {
            waiting.counted = std::mem::take(&mut waiting.counting);
        }
        let mut untold = Vec::new();
        for session in dropped {
            if session.proxy.has(mark::SERVED) && !session.proxy.has(mark::TOLD) {
                untold.push(session.flow);
            }
            if session.proxy.held > 0 {
                self.hold.take(session.flow);
            }
            self.owed.forget(session.flow);
            self.late.forget(session.flow);
        }
        for flow in late {
            self.ask(flow, now);
        }
        untold
    }
}
