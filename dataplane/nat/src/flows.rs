use crate::address::narrow;
use crate::side::Side;
use crate::Nat;
use braid_packet::{FlowId, Time};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;

/// One flow, for people. Ports are 0 for protocols without; an ICMP identifier stands for the client's port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowInfo {
    pub app: u16,
    /// IP protocol number.
    pub protocol: u8,
    pub client: SocketAddr,
    pub vip: SocketAddr,
    /// Unspecified, both, of a connection that has no server.
    pub snat: SocketAddr,
    pub target: SocketAddr,
    pub edge: u16,
    pub state: &'static str,
    /// Nanoseconds since the last packet.
    pub idle: u64,
    /// From the client.
    pub packets_in: u64,
    pub bytes_in: u64,
    /// To the client.
    pub packets_out: u64,
    pub bytes_out: u64,
    /// Where the fast path has more about it.
    pub fast: Option<FlowId>,
}

/// Places that can be looked at while one flow is described.
const DESCRIPTION: u32 = 32;

/// A search for the flows used last. It goes over the table piece by piece, so that traffic need not wait for it.
#[derive(Debug)]
pub struct Search {
    limit: usize,
    /// Places not looked at yet are below this.
    rest: u32,
    /// When a flow was used last, its serial and its place; the oldest on top.
    newest: BinaryHeap<Reverse<(Time, u32, u32)>>,
    /// The oldest first.
    found: Vec<FlowInfo>,
}

impl Search {
    /// Most recently used first.
    pub fn into_flows(self) -> impl Iterator<Item = FlowInfo> {
        self.found.into_iter().rev()
    }
}

impl Nat {
    /// For at most `limit` flows.
    pub fn start_search(&self, limit: usize) -> Search {
        Search { limit, rest: self.table.slots(), newest: BinaryHeap::new(), found: Vec::new() }
    }

    /// Looks at `budget` more places of the table, then describes the newest as they are now; true when that is done.
    /// Flows that end meanwhile are left out.
    pub fn search(&self, search: &mut Search, budget: u32, now: Time) -> bool {
        let last = search.rest.saturating_sub(budget);
        // Last number first: mostly the younger flows first, so that the older ones only need one look.
        for index in (last..search.rest).rev() {
            let Some(flow) = self.table.get(index) else { continue };
            let entry = Reverse((flow.last, flow.serial, index));
            let full = search.newest.len() >= search.limit;
            if (full && search.newest.peek().is_none_or(|oldest| entry >= *oldest))
                || flow.is_expired(&self.rules.timeouts, now)
            {
                continue;
            }
            if full {
                search.newest.pop();
            }
            search.newest.push(entry);
        }
        let budget = (budget - (search.rest - last)) / DESCRIPTION;
        search.rest = last;
        for _ in 0..budget {
            let Some(Reverse((_, serial, index))) = search.newest.pop() else { break };
            search.found.extend(self.describe(index, serial, now));
        }
        search.rest == 0 && search.newest.is_empty()
    }

    fn describe(&self, index: u32, serial: u32, now: Time) -> Option<FlowInfo> {
        let flow = self.table.get(index).filter(|flow| flow.serial == serial)?;
        let details = self.table.details(index);
        let (forward, reverse) = (self.table.key(flow, Side::Client)?, self.table.key(flow, Side::Server)?);
        let (from_client, from_server) = (flow.traffic(details, Side::Client), flow.traffic(details, Side::Server));
        Some(FlowInfo {
            app: flow.app,
            protocol: flow.protocol,
            client: SocketAddr::new(narrow(forward.near), forward.near_port),
            vip: SocketAddr::new(narrow(forward.far), forward.far_port),
            snat: SocketAddr::new(narrow(reverse.far), reverse.far_port),
            target: SocketAddr::new(narrow(reverse.near), reverse.near_port),
            edge: flow.edge,
            state: flow.state(details),
            idle: now.since(flow.last),
            packets_in: from_client.packets,
            bytes_in: from_client.bytes,
            packets_out: from_server.packets,
            bytes_out: from_server.bytes,
            fast: self.fast(index),
        })
    }
}
