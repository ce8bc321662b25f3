//! The gateway's NAT: clients talk to a VIP, servers are talked to from the SNAT pool (RFC 3022, RFC 4787,
//! RFC 5382, RFC 5508). IPv4 and IPv6, never across families. Pure: bytes, a policy and the time in, verdicts out.

mod address;
mod counters;
mod expire;
mod fast;
mod flow;
mod flows;
mod forward;
mod fragments;
mod icmp_error;
mod identification;
mod index;
mod key;
mod look_ahead;
mod moved;
mod nat;
mod normal;
mod open;
mod pages;
mod policy;
mod reverse;
mod rewrite;
mod rules;
mod shares;
mod side;
mod table;
#[cfg(test)]
mod tests;
mod tracking;
mod verdict;

pub use address::{Prefix, PrefixError};
pub use counters::Counters;
pub use flows::{FlowInfo, Search};
pub use moved::{InTheWay, Place, Placed, Taken, ToldFlow};
pub use nat::Nat;
pub use policy::{Application, Policy, Proto, Target, Timeouts};
pub use verdict::{Direction, Forward, Reason, Released, Reverse};
