//! What a node is for its whole life.

use crate::role::pins::SharedPins;
use crate::shard::Place;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Edge,
    Intermediate,
    Gateway,
    Dns,
    Content,
}

impl Role {
    pub fn parse(name: &str) -> Option<Role> {
        Some(match name {
            "edge" => Role::Edge,
            "intermediate" => Role::Intermediate,
            "gateway" => Role::Gateway,
            "dns" => Role::Dns,
            "content" => Role::Content,
            _ => return None,
        })
    }
}

pub struct NodeConfig {
    pub role: Role,
    pub number: u16,
    /// X25519 public key.
    pub public: [u8; 32],
    /// Inner MTU.
    pub mtu: usize,
    /// Seeds the NAT's hashes and port choice: must be random, and is not secret from the node itself. The same for all shards.
    pub seed: u64,
    /// Bound of the NAT's flow table, or of all shards' tables together.
    pub max_flows: usize,
    /// Which of the node's shards this engine is.
    pub place: Place,
    /// The same table for all shards; None for the only one.
    pub pins: Option<Arc<SharedPins>>,
    /// Does the TUN take super-packets?
    pub coalesce_tcp: bool,
    pub coalesce_udp: bool,
}
