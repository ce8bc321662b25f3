//! Where the engine's output goes: the IO layer's `Sink`.

use crate::counters::Counters;
use crate::handover::Outlet;
use crate::outbox::{Outbox, Transmit};
use crate::tun::{Device, TunWriter};
use braid_packet::{Handed, Sink, SuperPackets, VnetHdr};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Output<T, D> {
    /// By the address each is bound to.
    outboxes: Vec<(IpAddr, Outbox<T>)>,
    tun: Option<TunWriter<D>>,
    /// By shard; empty where there is one only.
    outlets: Vec<Outlet>,
    counters: Arc<Counters>,
}

impl<T: Transmit, D: Device> Output<T, D> {
    pub(crate) fn new(
        outboxes: Vec<(IpAddr, Outbox<T>)>,
        tun: Option<TunWriter<D>>,
        outlets: Vec<Outlet>,
        counters: Arc<Counters>,
    ) -> Output<T, D> {
        Output { outboxes, tun, outlets, counters }
    }

    /// Ends a drain. Calls `too_big` for destinations that refused a datagram for its size.
    pub(crate) fn flush(&mut self, mut too_big: impl FnMut(SocketAddr, usize)) {
        for (_, outbox) in &mut self.outboxes {
            outbox.flush();
            if let Some((to, length)) = outbox.take_too_big() {
                too_big(to, length);
            }
        }
    }
}

impl<T: Transmit, D: Device> Sink for Output<T, D> {
    fn udp(&mut self, to: SocketAddr, batch: &[u8], segment: usize) {
        match choose(self.outboxes.iter().map(|(local, _)| *local), to.ip()) {
            Some(index) => self.outboxes[index].1.udp(to, batch, segment),
            None => {
                let lost = batch.len().div_ceil(segment.max(1));
                self.counters.drops.udp_no_socket.add(lost);
                self.counters.io.udp_tx_errors.add(lost);
            }
        }
    }

    fn tun(&mut self, vnet: VnetHdr, parts: &[&[u8]]) {
        match &mut self.tun {
            Some(tun) => tun.write(vnet, parts),
            None => {
                self.counters.drops.tun_write_refused.add(1);
                self.counters.io.tun_tx_errors.add(1);
            }
        }
    }

    fn super_packets(&self) -> SuperPackets {
        self.tun.as_ref().map(TunWriter::super_packets).unwrap_or_default()
    }

    fn hand_over(&mut self, to: usize, handed: Handed, vnet: VnetHdr, packet: &[u8]) {
        if self.outlets.get(to).is_some_and(|outlet| outlet.give(handed, vnet, packet)) {
            self.counters.io.handed_over.add(1);
        } else {
            self.counters.drops.handover_full.add(1);
        }
    }
}

/// The socket to reach `to` from: same family, and of several the one whose address is most like it, which is
/// the one on the same link if there is any.
fn choose(locals: impl Iterator<Item = IpAddr>, to: IpAddr) -> Option<usize> {
    let common = |local: IpAddr| match (local, to) {
        (IpAddr::V4(a), IpAddr::V4(b)) => Some((u32::from(a) ^ u32::from(b)).leading_zeros()),
        (IpAddr::V6(a), IpAddr::V6(b)) => Some((u128::from(a) ^ u128::from(b)).leading_zeros()),
        _ => None,
    };
    let mut best: Option<(usize, u32)> = None;
    for (index, local) in locals.enumerate() {
        match common(local) {
            Some(bits) if best.is_none_or(|(_, most)| bits > most) => best = Some((index, bits)),
            _ => {}
        }
    }
    best.map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chooses_by_family_then_by_likeness() {
        let locals: Vec<IpAddr> = ["fd90::1", "10.90.0.1", "10.91.0.1"].iter().map(|a| a.parse().unwrap()).collect();
        let pick = |to: &str| choose(locals.iter().copied(), to.parse().unwrap());
        assert_eq!(pick("10.90.0.21"), Some(1));
        assert_eq!(pick("10.91.0.21"), Some(2));
        assert_eq!(pick("192.0.2.1"), Some(1), "the first of equals");
        assert_eq!(pick("2001:db8::1"), Some(0));
        assert_eq!(choose(locals[1..].iter().copied(), "::1".parse().unwrap()), None);
    }
}
