//! What flows and sessions cost in resident memory: how much more of it the process has after making very many.

use crate::parts::{nat, request, EDGE as FROM};
use braid_core::handshake::{derive, NewSession};
use braid_core::seal::Suite;
use braid_core::Command;
use braid_packet::Time;
use braid_testbed::{Braid, EDGE};
use std::fs::read_to_string;

const SESSIONS: u16 = 4000;

pub struct Cost {
    pub name: &'static str,
    /// Of one, tables included.
    pub bytes: f64,
}

/// None without /proc. Each is kept to the end, or the next would live in the memory of the one before.
pub fn costs() -> Option<Vec<Cost>> {
    let before = resident()?;
    let _braid = with_sessions();
    let mut costs = vec![Cost { name: "memory_per_session", bytes: (resident()? - before) / f64::from(SESSIONS) }];
    let mut kept = Vec::new();
    for (name, flows) in [("memory_per_flow_1e5", 100_000_u32), ("memory_per_flow_1e6", 1_000_000)] {
        let before = resident()?;
        let mut nat = nat(flows as usize);
        for i in 0..flows as usize {
            nat.forward(&mut request(i), false, FROM, Time(0));
        }
        assert_eq!(nat.len(), flows as usize);
        kept.push(nat);
        costs.push(Cost { name, bytes: (resident()? - before) / f64::from(flows) });
    }
    let before = resident()?;
    let connections = crate::fast::idle_connections(1_000_000);
    costs.push(Cost { name: "memory_per_fast_connection_1e6", bytes: (resident()? - before) / 1e6 });
    drop((kept, connections));
    Some(costs)
}

/// An edge with end-to-end sessions, each with another peer, none used yet.
fn with_sessions() -> Braid {
    let mut braid = Braid::cold();
    for number in 1..=SESSIONS {
        let mut secret = [0; 32];
        secret[..2].copy_from_slice(&number.to_be_bytes());
        let session = NewSession {
            peer: 1000 + number,
            adjacent: false,
            initiator: true,
            local_index: u32::from(number),
            remote_index: u32::from(number),
            local_epoch: 1,
            remote_epoch: 1,
            remote_boot: 1,
            suite: Suite::preferred(),
            tx: derive(&secret).unwrap(),
            rx: derive(&secret).unwrap(),
        };
        braid.command(EDGE, Command::Install { session: session.into(), answer: None, taken: None });
    }
    braid.recorded = Vec::new();
    braid
}

/// Bytes, exact: other places in /proc count per CPU and are behind.
pub(crate) fn resident() -> Option<f64> {
    let rollup = read_to_string("/proc/self/smaps_rollup").ok()?;
    let line = rollup.lines().find(|line| line.starts_with("Rss:"))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024.0)
}
