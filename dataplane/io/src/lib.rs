//! Linux IO of one node: the TUN, the UDP sockets and the thread that turns them. Decides nothing about packets.

mod buffers;
mod control;
mod counters;
mod exchange;
mod handle;
mod handover;
mod message;
mod name;
mod offloads;
mod outbox;
mod output;
mod probe;
mod receiver;
mod refusals;
pub mod repair;
mod rest;
mod schedule;
mod shard;
mod socket;
mod stream;
mod sys;
mod sys_tcp;
mod tun;

pub use buffers::{BufferState, Buffers};
pub use counters::{Drops, Io, Offload, Snapshot, SocketState};
pub use exchange::Exchange;
pub use handle::{Commander, Handle, Refused};
pub use handover::{handovers, Handover};
pub use offloads::{OffloadState, Probe, Refusal};
pub use shard::{spawn, ShardConfig};
pub use socket::{bind, Socket, SocketOptions};
pub use stream::{adopt_stream, connect, duplicate, is_own, reset_on_close, unacknowledged};
pub use sys::EventFd;
pub use tun::{Tun, TunOffload};

/// CLOCK_BOOTTIME: what the shard hands to its engine as `now`.
pub fn now() -> braid_packet::Time {
    braid_packet::Time(sys::boottime())
}

/// Nanoseconds of CPU time of the calling thread: for measurements on a machine that does other work too.
pub fn thread_time() -> u64 {
    sys::thread_time()
}
