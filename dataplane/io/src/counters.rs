//! Counters of one shard: written by its thread alone, read by anybody.

use crate::buffers::BufferState;
use crate::offloads::{OffloadState, Offloads, Refusal};
use serde::Serialize;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::OnceLock;

/// A counter with one writer: no locked instruction needed.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: usize) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n as u64), Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

macro_rules! counters {
    ($(#[$doc:meta])* $snapshot:ident, $live:ident { $($(#[$field_doc:meta])* $field:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        pub struct $snapshot { $($(#[$field_doc])* pub $field: u64,)* }

        #[derive(Debug, Default)]
        pub(crate) struct $live { $(pub(crate) $field: Counter,)* }

        impl $live {
            pub(crate) fn snapshot(&self) -> $snapshot {
                $snapshot { $($field: self.$field.get(),)* }
            }
        }
    };
}

counters! {
    /// Traffic since the shard started. TUN packets are counted as exchanged: a super-packet is one.
    Io, LiveIo {
        tun_rx_packets,
        tun_rx_bytes,
        tun_tx_packets,
        tun_tx_bytes,
        udp_rx_datagrams,
        udp_rx_bytes,
        udp_tx_datagrams,
        udp_tx_bytes,
        /// Messages received; one holds several datagrams of a sender with UDP_GRO.
        udp_rx_batches,
        /// Messages sent; one holds several datagrams to a receiver with UDP_SEGMENT.
        udp_tx_batches,
        /// Datagrams not sent.
        udp_tx_errors,
        /// Packets not written to the TUN.
        tun_tx_errors,
        /// Datagrams the kernel dropped because a socket's receive buffer was full.
        rxq_overflow,
        /// Packets read from the TUN that are another shard's, and were given to it.
        handed_over,
    }
}

counters! {
    /// Why packets and datagrams were dropped in IO; each is also an error of its direction.
    Drops, LiveDrops {
        /// Received datagrams larger than the buffer, or from an unreadable sender.
        udp_truncated,
        /// Received datagrams without a byte.
        udp_empty,
        /// Pending socket errors met on receipt; they concern earlier datagrams.
        udp_receive_errors,
        /// The send buffer stayed full.
        udp_send_full,
        /// Larger than the path's MTU.
        udp_send_too_big,
        /// Unreachable, refused, forbidden and the like.
        udp_send_refused,
        /// No socket of the destination's address family.
        udp_no_socket,
        /// A TUN read without a usable offload header.
        tun_malformed,
        /// A packet from the TUN for another shard, which had too many waiting.
        handover_full,
        /// The host did not take a packet at once.
        tun_write_full,
        /// The host refused a packet: malformed, or the TUN is down.
        tun_write_refused,
    }
}

/// Offloads in use now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Offload {
    /// On all sockets; single destinations may have refused it.
    pub udp_gso: bool,
    pub udp_gro: bool,
    /// Super-packets read from the TUN.
    pub tun_tso: bool,
    pub tun_uso: bool,
    /// Times that an offload was turned off because the kernel refused it; the packets left in pieces.
    pub fallbacks: u64,
}

/// One UDP socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SocketState {
    pub address: SocketAddr,
    pub receive_buffer: BufferState,
    pub send_buffer: BufferState,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    pub io: Io,
    pub offload: Offload,
    pub drops: Drops,
    pub offloads: Vec<OffloadState>,
    pub gso_refusals: Vec<Refusal>,
    pub sockets: Vec<SocketState>,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) io: LiveIo,
    pub(crate) drops: LiveDrops,
    pub(crate) offloads: Offloads,
    pub(crate) fallbacks: Counter,
    pub(crate) sockets: OnceLock<Vec<SocketState>>,
}

impl Counters {
    pub(crate) fn snapshot(&self) -> Snapshot {
        let offloads = &self.offloads;
        Snapshot {
            io: self.io.snapshot(),
            drops: self.drops.snapshot(),
            offload: Offload {
                udp_gso: offloads.udp_gso.in_use(),
                udp_gro: offloads.udp_gro.in_use(),
                tun_tso: offloads.tun_tso.in_use(),
                tun_uso: offloads.tun_uso.in_use(),
                fallbacks: self.fallbacks.get(),
            },
            offloads: offloads.states(),
            gso_refusals: offloads.refusals(),
            sockets: self.sockets.get().cloned().unwrap_or_default(),
        }
    }
}
