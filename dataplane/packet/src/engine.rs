use crate::{Handed, Sink, Time, VnetHdr};
use std::net::SocketAddr;

/// Datagrams of one sender as UDP_GRO delivers them: `segment` bytes each, back to back, only the last shorter.
#[derive(Debug)]
pub struct Datagrams<'a> {
    pub from: SocketAddr,
    pub bytes: &'a mut [u8],
    pub segment: usize,
    /// When they came to this host.
    pub at: Time,
}

/// What a shard runs: packets, commands and time in, packets out through the `Sink`. Never blocks, never reads a clock.
///
/// Two implementations: the node (`braid-core`) and the echo of the IO layer's tests.
pub trait Engine {
    type Command: Send;

    /// All datagrams of one drain of the UDP sockets. The buffers are the engine's to overwrite until it returns.
    fn receive_udp(&mut self, batches: &mut [Datagrams<'_>], now: Time, sink: &mut impl Sink);

    /// One (super-)packet that the host routed into the TUN.
    fn receive_tun(&mut self, vnet: VnetHdr, packet: &mut [u8], now: Time, sink: &mut impl Sink);

    /// A packet that another shard of the node read from its queue of the TUN and gave to this one.
    fn receive_handed(&mut self, _handed: Handed, vnet: VnetHdr, packet: &mut [u8], now: Time, sink: &mut impl Sink) {
        self.receive_tun(vnet, packet, now, sink);
    }

    /// The host did not send a datagram of `length` bytes to `to`: the link or route there does not carry it.
    fn receive_refusal(&mut self, _to: SocketAddr, _length: usize, _now: Time) {}

    fn handle_command(&mut self, command: Self::Command, now: Time, sink: &mut impl Sink);

    /// To be called at or after `next_timeout`; early calls do no harm.
    fn handle_timeout(&mut self, now: Time, sink: &mut impl Sink);

    fn next_timeout(&self) -> Option<Time>;

    /// Nothing but probes came or went lately, and there are so many that it is worth while to receive several at a time:
    /// datagrams that come soon after others may wait a moment. Their time of arrival is to be the true one then.
    fn is_at_rest(&self, _now: Time) -> bool {
        false
    }

    /// Ends a drain: what the engine kept back to send it together goes out now.
    fn flush(&mut self, sink: &mut impl Sink);
}
