//! Packets that are larger than what the paths carry now. As a router does: IPv4 without DF is cut, of all others the sender
//! is told. A TCP super-packet is no exception: the kernel's own forwarding answers one whose segments do not fit, too.

use crate::event::Outbox;
use crate::node::Node;
use crate::transmit::Net;
use braid_offload::Segments;
use braid_packet::{clamp_mss, finish_checksum, icmp, split, Ip, Sink, Time, VnetHdr};

#[derive(Clone, Copy)]
pub(crate) struct Destination {
    pub(crate) peer: u16,
    pub(crate) set: u8,
    pub(crate) flow: u32,
}

impl Net {
    /// A SYN says how large segments its receiver may send back: no larger than what our own paths to `peer` carry.
    #[inline]
    pub(crate) fn clamp_answers(&self, peer: u16, packet: &mut [u8], partial: bool) {
        if self.paths.least_mtu() < self.mtu {
            clamp_mss(packet, partial, self.paths.mtu_to(peer));
        }
    }
}

impl<O: Outbox> Node<O> {
    /// Before a packet is translated: its beginning, should its sender have to be told about it.
    pub(crate) fn remember(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut before = std::mem::take(&mut self.before);
        before.clear();
        if packet.len() > self.net.paths.least_mtu() {
            before.extend_from_slice(&packet[..packet.len().min(icmp::QUOTED)]);
        }
        before
    }

    /// For a packet that `Net::send_packet` found too big. `before`: as its sender sent it; empty if nobody is to be told.
    #[cold]
    pub(crate) fn send_in_pieces(
        &mut self,
        to: Destination,
        vnet: VnetHdr,
        packet: &[u8],
        before: &[u8],
        now: Time,
        sink: &mut impl Sink,
    ) {
        let mtu = self.net.paths.mtu(to.peer, to.set);
        if self.cut(to, vnet, packet, mtu, sink) {
            self.fragmented += 1;
            return;
        }
        self.net.drops.count("too_big");
        let Ok(destination) = Ip::parse_quoted(before).map(|ip| ip.destination) else { return };
        if icmp::too_big(&mut self.icmp, before, destination, u16::try_from(mtu).unwrap_or(u16::MAX)).is_some() {
            self.answer(now, sink);
        }
    }

    /// False: it must not be cut.
    fn cut(&mut self, to: Destination, vnet: VnetHdr, packet: &[u8], mtu: usize, sink: &mut impl Sink) -> bool {
        let Ok(plan) = Segments::plan(vnet, packet, usize::MAX) else { return false };
        let (mut whole, mut piece) = (std::mem::take(&mut self.whole), std::mem::take(&mut self.icmp));
        let mut cut = true;
        for i in 0..plan.count() {
            whole.resize(plan.length(i), 0);
            plan.write(packet, i, &mut whole);
            if plan.partial() {
                finish_checksum(&mut whole);
            }
            cut &= split::fragment(&whole, mtu, &mut piece, |fragment| {
                let sent = self.net.send_packet(to.peer, to.set, to.flow, VnetHdr::default(), fragment, sink);
                debug_assert!(sent.is_ok(), "no fragment is larger than the MTU it was cut for");
            });
            if !cut {
                break;
            }
        }
        (self.whole, self.icmp) = (whole, piece);
        cut
    }
}
