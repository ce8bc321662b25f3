//! Inner IP packets as bytes: checksums, headers, ICMP, and the two words the whole data plane shares
//! (`VnetHdr`, `Sink`). Pure: no system calls, no clocks.

pub mod affinity;
pub mod checksum;
mod engine;
pub mod finish;
mod flow_id;
mod fragments;
pub mod icmp;
pub mod ip;
mod limit;
mod mix;
pub mod mss;
pub mod record;
pub mod reset;
mod rest;
mod segment;
mod sink;
mod slab;
pub mod split;
mod time;
mod vnet;

pub use engine::{Datagrams, Engine};
pub use finish::{finish_checksum, partial_offsets};
pub use flow_id::FlowId;
pub use fragments::{Datagram, Fragments};
pub use icmp::Unreachable;
pub use ip::{Fragment, Icmp, Ip, Malformed, Tcp, Transport};
pub use limit::RateLimit;
pub use mix::mix;
pub use mss::clamp_mss;
pub use record::TcpRecord;
pub use reset::tcp_reset;
pub use rest::Rest;
pub use segment::{tcp_checksum_is_good, Segment, MOST_OPTIONS};
pub use sink::{Handed, Sink, SuperPackets};
pub use slab::Slab;
pub use time::Time;
pub use vnet::{Gso, VnetError, VnetHdr};
