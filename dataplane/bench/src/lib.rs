//! Workloads of the core without a kernel: what one packet costs in each role.
//!
//! `braid-micro` runs them for their time, and under callgrind for their instructions (`bench/guard.py`).

#![allow(clippy::unwrap_used)] // What fails here ends the measurement.

mod cycle;
mod fast;
mod many;
pub mod memory;
mod node;
mod parts;
pub mod probing;
pub mod shards;

use std::any::Any;

/// Work that is ready to run, inputs made and caches as they are.
pub struct Prepared {
    /// Inner packets that it carries.
    pub packets: u64,
    /// Returns what it worked on, so that the end of that (a million flows take tens of milliseconds) is not counted.
    pub run: Box<dyn FnOnce() -> Box<dyn Any>>,
}

pub struct Workload {
    pub name: &'static str,
    /// Makes about this many rounds ready.
    pub prepare: fn(rounds: usize) -> Prepared,
}

pub const WORKLOADS: &[Workload] = &[
    Workload { name: "edge_sends", prepare: node::edge_sends },
    Workload { name: "edge_sends_64_bytes", prepare: node::edge_sends_small },
    Workload { name: "relay_forwards", prepare: node::relay_forwards },
    Workload { name: "gateway_receives", prepare: node::gateway_receives },
    Workload { name: "gateway_eliminates", prepare: node::gateway_eliminates },
    Workload { name: "gateway_sends", prepare: node::gateway_sends },
    Workload { name: "window_seen", prepare: parts::window_seen },
    Workload { name: "nat_known_flow", prepare: parts::nat_known_flow },
    Workload { name: "nat_new_flow", prepare: parts::nat_new_flow },
    Workload { name: "fast_answers_syn", prepare: fast::answers_syn },
    Workload { name: "fast_refuses_forged", prepare: fast::refuses_forged },
    Workload { name: "fast_translates", prepare: fast::translates },
    Workload { name: "nat_translates_tcp", prepare: fast::nat_alone },
    Workload { name: "fast_splices", prepare: cycle::splices },
];

/// Take seconds to make ready, so they run by name only.
pub const LARGE: &[Workload] = &[
    Workload { name: "nat_known_flow_1e5", prepare: many::nat_known_flow_1e5 },
    Workload { name: "nat_known_flow_1e6", prepare: many::nat_known_flow_1e6 },
    Workload { name: "gateway_receives_64_bytes", prepare: many::gateway_receives_64_bytes },
    Workload { name: "gateway_receives_64_bytes_1e6", prepare: many::gateway_receives_64_bytes_1e6 },
];

/// Use as many threads as shards, so they run by name only.
pub const SHARDS: &[Workload] = &[
    Workload { name: "shards_1_edge_sends", prepare: shards::edge_sends_1 },
    Workload { name: "shards_2_edge_sends", prepare: shards::edge_sends_2 },
    Workload { name: "shards_1_relay_forwards", prepare: shards::relay_forwards_1 },
    Workload { name: "shards_2_relay_forwards", prepare: shards::relay_forwards_2 },
    Workload { name: "shards_1_gateway_receives", prepare: shards::gateway_receives_1 },
    Workload { name: "shards_2_gateway_receives", prepare: shards::gateway_receives_2 },
];

/// The part of a workload that counts: callgrind collects inside this function only.
#[inline(never)]
pub fn measured(run: Box<dyn FnOnce() -> Box<dyn Any>>) -> Box<dyn Any> {
    run()
}
