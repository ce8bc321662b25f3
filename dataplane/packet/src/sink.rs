use crate::VnetHdr;
use std::net::SocketAddr;

/// Where the pure core puts what leaves the node. The IO layer sends at once; tests record.
///
/// Nothing passed in may be kept: both calls are done with their slices when they return.
pub trait Sink {
    /// Sends datagrams of `segment` bytes each, back to back in `batch`; only the last may be shorter.
    fn udp(&mut self, to: SocketAddr, batch: &[u8], segment: usize);

    /// Hands one (super-)packet to the host through the TUN: the IP packet is the concatenation of `parts`.
    fn tun(&mut self, vnet: VnetHdr, parts: &[&[u8]]);
}
