//! Questions whose answers take longer than packets can wait: each turn looks at a part.

use crate::event::Reply;
use crate::role::fast::FlowRecord;
use crate::role::gateway::Gateway;
use braid_nat::Search;
use braid_packet::Time;

/// Places of the flow table per turn, about 0.1 ms.
const BUDGET: u32 = 1 << 14;

pub(crate) struct Question {
    search: Search,
    reply: Box<dyn Reply<Vec<FlowRecord>>>,
}

/// In the order in which they came.
#[derive(Default)]
pub(crate) struct Questions(Vec<Question>);

impl Questions {
    /// For the flows that were used last.
    pub(crate) fn ask(&mut self, gateway: Option<&Gateway>, limit: usize, reply: Box<dyn Reply<Vec<FlowRecord>>>) {
        match gateway {
            Some(gateway) => self.0.push(Question { search: gateway.nat.start_search(limit), reply }),
            None => reply.reply(Vec::new()),
        }
    }

    pub(crate) fn are_open(&self) -> bool {
        !self.0.is_empty()
    }

    /// Goes on with the oldest.
    pub(crate) fn handle_timeout(&mut self, gateway: Option<&Gateway>, now: Time) {
        let (Some(question), Some(gateway)) = (self.0.first_mut(), gateway) else { return };
        if gateway.nat.search(&mut question.search, BUDGET, now) {
            let Question { search, reply } = self.0.remove(0);
            reply.reply(search.into_flows().map(|flow| gateway.record(flow)).collect());
        }
    }
}
