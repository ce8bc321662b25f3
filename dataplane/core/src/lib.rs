//! Braid's per-packet core: pure, without system calls, clocks or random numbers of its own.
//!
//! `Node` is the engine that a shard runs. A datagram's way through it: `wire` and `hop` (the header), `receive`, `session` and
//! `seal` (keys), `sequence` and `order` (elimination, ordering), `deliver` with `role` (what edge, intermediate and gateway do
//! with it), `transmit` (cut, seal once, copy). `mtu` and `sizing` find out what paths carry, `oversized` deals with what they
//! do not. `handshake`, `cookie` and `gate` make sessions.

pub mod answer;
mod asked;
pub mod config;
mod connection;
pub mod cookie;
mod deliver;
pub mod desired;
pub mod directives;
mod drops;
pub mod event;
mod gate;
pub mod handshake;
pub mod hop;
mod lane;
mod latent;
mod later;
mod link;
mod measure;
pub mod merge;
mod mtu;
pub mod node;
mod offer;
mod order;
mod oversized;
mod owned;
mod path;
mod peak;
pub mod probe;
mod probing;
mod question;
mod receive;
pub mod refusing;
mod role;
pub mod seal;
pub mod sequence;
mod session;
pub mod shard;
mod sibling;
pub mod size_probe;
mod sizing;
mod skew;
mod snapshot;
mod steer;
mod steering;
mod telling;
mod transmit;
mod upkeep;
pub mod window;
pub mod wire;

pub use braid_fastpath::{Park, PeriodKey, Splice};
pub use braid_nat::{FlowInfo, Prefix};
pub use config::{NodeConfig, Role};
pub use desired::Desired;
pub use event::{Command, Detail, Event, Losses, Order, Outbox, Reply, ServiceRequest};
pub use measure::Stream;
pub use merge::Merger;
pub use node::Node;
pub use offer::Offer;
pub use path::SentOn;
pub use refusing::Serving;
pub use role::ends::Ends;
pub use role::fast::FlowRecord;
pub use role::normal::shard_of;
pub use role::owners::Owner;
pub use role::pins::SharedPins;
pub use role::sibling::{Copied, Took, Which};
pub use shard::Place;
pub use snapshot::flow as flow_as_json;
pub use transmit::rewrite;
