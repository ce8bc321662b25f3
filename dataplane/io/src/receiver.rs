//! Draining UDP sockets into slots that are allocated once.

use crate::counters::Counters;
use crate::message::{Incoming, ReceiveArrays};
use crate::socket::Socket;
use crate::sys;
use braid_packet::{Datagrams, Engine, Sink, Time};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

/// No datagram is believed to have waited longer.
const OLDEST: u64 = 100 * Time::MILLISECOND;
/// Largest message UDP_GRO delivers, and largest datagram.
const SLOT: usize = 65_535;
const SLOTS: usize = 16;
const NOBODY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

#[derive(Debug)]
pub(crate) struct Receiver {
    arrays: ReceiveArrays,
    slab: Vec<u8>,
    counters: Arc<Counters>,
    /// Sockets are asked when datagrams came.
    pub(crate) stamps: bool,
}

/// The time, by the engine's clock and by that of stamps.
#[derive(Clone, Copy)]
struct Clocks {
    now: Time,
    real: u64,
}

impl Clocks {
    /// When something came. One of both clocks may have been set meanwhile.
    fn arrival(self, stamp: Option<u64>) -> Time {
        let age = stamp.map_or(0, |stamp| self.real.saturating_sub(stamp));
        Time(self.now.0.saturating_sub(age.min(OLDEST)))
    }
}

impl Receiver {
    pub(crate) fn new(counters: Arc<Counters>) -> Receiver {
        Receiver { arrays: ReceiveArrays::new(SLOTS), slab: vec![0; SLOT * SLOTS], counters, stamps: false }
    }

    /// Gives the engine what one socket holds, at most `SLOTS` messages; whether that was all. `overflow` is the socket's
    /// drop counter as last seen.
    pub(crate) fn drain<E: Engine>(
        &mut self,
        socket: &Socket,
        overflow: &mut u32,
        now: Time,
        engine: &mut E,
        sink: &mut impl Sink,
    ) -> bool {
        let clocks = Clocks { now, real: if self.stamps { sys::realtime() } else { 0 } };
        let received = match socket.receive(&mut self.arrays, &mut self.slab, SLOT) {
            Ok(received) => received,
            Err(error) => {
                // The socket's pending error is about something sent earlier, and reading it has cleared it.
                let harmless = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
                self.counters.drops.udp_receive_errors.add(usize::from(!harmless));
                return true;
            }
        };
        let mut batches: [Datagrams<'_>; SLOTS] =
            std::array::from_fn(|_| Datagrams { from: NOBODY, bytes: &mut [], segment: 0, at: now });
        let mut count = 0;
        for (i, slot) in self.slab.chunks_exact_mut(SLOT).take(received).enumerate() {
            let message = self.arrays.message(i);
            if let Some(total) = message.control.overflow {
                self.counters.io.rxq_overflow.add(total.wrapping_sub(*overflow) as usize);
                *overflow = total;
            }
            if let Some(batch) = datagrams(&message, slot, clocks, &self.counters) {
                batches[count] = batch;
                count += 1;
            }
        }
        if count > 0 {
            engine.receive_udp(&mut batches[..count], now, sink);
        }
        received < SLOTS
    }
}

fn datagrams<'a>(message: &Incoming, slot: &'a mut [u8], clocks: Clocks, counters: &Counters) -> Option<Datagrams<'a>> {
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
    Some(Datagrams { from, bytes, segment, at: clocks.arrival(message.control.stamp) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_arrival_is_never_later_than_now_nor_much_earlier() {
        let clocks = Clocks { now: Time(5 * Time::SECOND), real: 90 * Time::SECOND };
        let ago = |age| clocks.arrival(Some(90 * Time::SECOND - age));
        assert_eq!(ago(Time::MILLISECOND), Time(5 * Time::SECOND - Time::MILLISECOND));
        assert_eq!(clocks.arrival(None), clocks.now);
        // CLOCK_REALTIME was set, back or forward, since it came.
        assert_eq!(clocks.arrival(Some(100 * Time::SECOND)), clocks.now);
        assert_eq!(ago(80 * Time::SECOND), Time(5 * Time::SECOND - OLDEST));
    }
}
