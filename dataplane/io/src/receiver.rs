//! Draining UDP sockets into slots that are allocated once.

use crate::counters::Counters;
use crate::message::{Incoming, ReceiveArrays};
use crate::socket::Socket;
use braid_packet::{Datagrams, Engine, Sink, Time};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

/// Largest message UDP_GRO delivers, and largest datagram.
const SLOT: usize = 65_535;
const SLOTS: usize = 16;
const NOBODY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

#[derive(Debug)]
pub(crate) struct Receiver {
    arrays: ReceiveArrays,
    slab: Vec<u8>,
    counters: Arc<Counters>,
}

impl Receiver {
    pub(crate) fn new(counters: Arc<Counters>) -> Receiver {
        Receiver { arrays: ReceiveArrays::new(SLOTS), slab: vec![0; SLOT * SLOTS], counters }
    }

    /// Gives the engine what one socket holds, at most `SLOTS` messages. `overflow` is the socket's drop counter
    /// as last seen.
    pub(crate) fn drain<E: Engine>(
        &mut self,
        socket: &Socket,
        overflow: &mut u32,
        now: Time,
        engine: &mut E,
        sink: &mut impl Sink,
    ) {
        let received = match socket.receive(&mut self.arrays, &mut self.slab, SLOT) {
            Ok(received) => received,
            Err(error) => {
                // The socket's pending error is about something sent earlier, and reading it has cleared it.
                let harmless = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
                self.counters.drops.udp_receive_errors.add(usize::from(!harmless));
                return;
            }
        };
        let mut batches: [Datagrams<'_>; SLOTS] =
            std::array::from_fn(|_| Datagrams { from: NOBODY, bytes: &mut [], segment: 0 });
        let mut count = 0;
        for (i, slot) in self.slab.chunks_exact_mut(SLOT).take(received).enumerate() {
            let message = self.arrays.message(i);
            if let Some(total) = message.control.overflow {
                self.counters.io.rxq_overflow.add(total.wrapping_sub(*overflow) as usize);
                *overflow = total;
            }
            if let Some(batch) = datagrams(&message, slot, &self.counters) {
                batches[count] = batch;
                count += 1;
            }
        }
        if count > 0 {
            engine.receive_udp(&mut batches[..count], now, sink);
        }
    }
}

fn datagrams<'a>(message: &Incoming, slot: &'a mut [u8], counters: &Counters) -> Option<Datagrams<'a>> {
    let bytes = slot.get_mut(..message.length)?;
    let segment = message.control.segment.unwrap_or(bytes.len());
    let (Some(from), false) = (message.from, message.truncated) else {
        counters.drops.udp_truncated.add(1);
        return None;
    };
    if bytes.is_empty() {
        counters.drops.udp_empty.add(1);
        return None;
    }
    counters.io.udp_rx_batches.add(1);
    counters.io.udp_rx_datagrams.add(bytes.len().div_ceil(segment));
    counters.io.udp_rx_bytes.add(bytes.len());
    Some(Datagrams { from, bytes, segment })
}
