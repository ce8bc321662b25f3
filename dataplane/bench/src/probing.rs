//! An hour of probing without traffic, in simulated time: an edge and a gateway with very many neighbours and paths between
//! them. What is looked at is memory, and what the engines take of the processor.

use crate::memory::resident;
use braid_core::Desired;
use braid_packet::Time;
use braid_testbed::{address, Braid, EDGE, GATEWAY, RELAYS, VIP};
use serde_json::{json, Value};
use std::time::Instant;

/// Paths between two nodes at most.
const PATHS: usize = 16;
/// Until then sessions and tables grow.
const WARM_UP: u64 = 600;

/// `seconds` of it, more than ten minutes. None without /proc.
pub fn hour(links: u16, seconds: u64) -> Option<Value> {
    let mut braid = star(links);
    let (mut before, mut datagrams, start) = (0.0, 0, Instant::now());
    for second in 0..seconds {
        if second == WARM_UP {
            before = resident()?;
        }
        braid.advance(Time::SECOND);
        datagrams += braid.recorded.len();
        braid.recorded.clear();
    }
    let (spent, nodes) = (start.elapsed().as_secs_f64(), braid.hosts.len());
    let growth = resident()? - before;
    let snapshot = braid.snapshot(EDGE);
    Some(json!({
        "links": links,
        "seconds": seconds,
        "nodes": nodes,
        "datagrams": datagrams,
        "elapsed_s": spent,
        "resident_growth_bytes": growth,
        "snapshot": snapshot,
    }))
}

/// Every relay is a neighbour of edge and gateway; two paths are in use, the others stand by.
fn star(links: u16) -> Braid {
    let mut braid = Braid::up();
    let relays: Vec<u16> = RELAYS.iter().copied().chain((100..).take(usize::from(links) - RELAYS.len())).collect();
    for &relay in &relays[RELAYS.len()..] {
        braid.boot(relay);
    }
    for &relay in &relays {
        configure(&mut braid, relay, &json!({"neighbours": neighbours(&[EDGE, GATEWAY]), "path_sets": []}));
    }
    let ports = json!([["any", 0, 65535]]);
    for (end, peer) in [(EDGE, GATEWAY), (GATEWAY, EDGE)] {
        let path = |(id, relay): (usize, &u16)| json!({"id": id, "route": [relay, peer]});
        let paths: Vec<Value> = relays.iter().take(PATHS).enumerate().map(path).collect();
        let set = json!({"peer": peer, "set": 2, "paths": paths[..2], "spares": paths[2..]});
        let mut desired = json!({"neighbours": neighbours(&relays), "path_sets": [set]});
        let vip = json!({"app": 0, "ports": ports, "set": 2});
        let mut application = vip.as_object().cloned().unwrap_or_default();
        if end == EDGE {
            application.insert("vips".to_owned(), json!([VIP]));
            application.insert("gateways".to_owned(), json!([GATEWAY]));
            desired["edge"] = json!({"applications": [application]});
        } else {
            application.insert("vips".to_owned(), json!([{"address": VIP, "edge": EDGE}]));
            application.insert("targets".to_owned(), json!([]));
            desired["gateway"] = json!({"applications": [application], "snat": ["10.93.0.128/30"]});
        }
        configure(&mut braid, end, &desired);
    }
    for &relay in &relays[RELAYS.len()..] {
        for end in [EDGE, GATEWAY] {
            braid.initiate(end, relay, true);
        }
        braid.settle();
    }
    braid
}

fn neighbours(nodes: &[u16]) -> Vec<Value> {
    nodes.iter().map(|n| json!({"node": n, "addresses": [address(*n).to_string()]})).collect()
}

fn configure(braid: &mut Braid, node: u16, desired: &Value) {
    braid.configure(node, &Desired::parse(&desired.to_string()).unwrap());
}
