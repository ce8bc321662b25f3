use crate::VnetHdr;
use std::net::SocketAddr;

/// Why a packet is given to another shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handed {
    /// It is that shard's, by this number of its flow.
    Owned(u32),
    /// A fragment: that shard knows, or will know, whose it is.
    Fragment,
    /// No packet: what this peer said of a flow of that shard.
    Said(u16),
}

/// Super-packets that the host takes through the TUN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SuperPackets {
    pub tcp: bool,
    pub udp: bool,
}

/// Where the pure core puts what leaves the node. The IO layer sends at once; tests record.
///
/// Nothing passed in may be kept: the calls are done with their slices when they return.
pub trait Sink {
    /// Sends datagrams of `segment` bytes each, back to back in `batch`; only the last may be shorter.
    fn udp(&mut self, to: SocketAddr, batch: &[u8], segment: usize);

    /// Hands one (super-)packet to the host through the TUN: the IP packet is the concatenation of `parts`.
    fn tun(&mut self, vnet: VnetHdr, parts: &[&[u8]]);

    /// Which super-packets to make for `tun` now; it cuts others, which costs more than not to join them. An offload
    /// that the host refuses at run time is missing from the next call on.
    fn super_packets(&self) -> SuperPackets {
        SuperPackets { tcp: true, udp: true }
    }

    /// Gives a packet from the TUN to the shard of this index. Only a node of several shards calls it.
    fn hand_over(&mut self, _to: usize, _handed: Handed, _vnet: VnetHdr, _packet: &[u8]) {}
}
