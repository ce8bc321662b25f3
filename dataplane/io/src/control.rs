//! Ancillary data of UDP messages: the segment size both ways, the overflow counter on receipt.
//!
//! `struct cmsghdr` as the kernel lays it out on 64-bit Linux: length 8 (header included), level 4, type 4, data,
//! padded to 8.

const HEADER: usize = 16;
const CAPACITY: usize = 96;

#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(crate) struct Control {
    bytes: [u8; CAPACITY],
}

/// What came with one received message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// UDP_GRO: bytes per datagram. `None`: the message is one datagram.
    pub(crate) segment: Option<usize>,
    /// SO_RXQ_OVFL: datagrams the socket dropped since it was opened, modulo 2^32.
    pub(crate) overflow: Option<u32>,
    /// SO_TIMESTAMPNS: when it came, in nanoseconds of CLOCK_REALTIME.
    pub(crate) stamp: Option<u64>,
}

impl Control {
    pub(crate) const CAPACITY: usize = CAPACITY;
    pub(crate) const EMPTY: Control = Control { bytes: [0; CAPACITY] };
    /// Length of `segment`'s result on the wire to the kernel.
    pub(crate) const SEGMENT_LEN: usize = HEADER + 8;

    /// UDP_SEGMENT: cut what is sent into datagrams of `size` bytes.
    pub(crate) fn segment(size: u16) -> Control {
        let mut control = Self::EMPTY;
        let b = &mut control.bytes;
        b[..8].copy_from_slice(&((HEADER + 2) as u64).to_ne_bytes());
        b[8..12].copy_from_slice(&libc::SOL_UDP.to_ne_bytes());
        b[12..16].copy_from_slice(&libc::UDP_SEGMENT.to_ne_bytes());
        b[16..18].copy_from_slice(&size.to_ne_bytes());
        control
    }

    /// Reads the first `length` bytes; stops at the first message whose length does not fit.
    pub(crate) fn received(&self, length: usize) -> Received {
        let mut received = Received::default();
        let mut rest = &self.bytes[..length.min(CAPACITY)];
        while let Some((length, level, kind)) = header(rest) {
            let Some(data) = rest.get(HEADER..length) else { break };
            let value = data.get(..4).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes);
            match (level, kind) {
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    received.segment = value.map(|v| v as usize).filter(|&v| v > 0);
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => received.overflow = value,
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => received.stamp = nanoseconds(data),
                _ => {}
            }
            rest = rest.get(length.next_multiple_of(8)..).unwrap_or(&[]);
        }
        received
    }
}

/// A `struct timespec`: seconds 8, nanoseconds 8.
fn nanoseconds(bytes: &[u8]) -> Option<u64> {
    let long = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes);
    long(0)?.checked_mul(1_000_000_000)?.checked_add(long(8)?)
}

fn header(bytes: &[u8]) -> Option<(usize, i32, i32)> {
    let length = u64::from_ne_bytes(bytes.get(..8)?.try_into().ok()?);
    let level = i32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?);
    let kind = i32::from_ne_bytes(bytes.get(12..16)?.try_into().ok()?);
    // A length below the header's would never advance.
    let length = usize::try_from(length).ok().filter(|&l| (HEADER..=CAPACITY).contains(&l))?;
    Some((length, level, kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn push(control: &mut Control, at: usize, length: u64, level: i32, kind: i32, value: i32) {
        let b = &mut control.bytes;
        b[at..at + 8].copy_from_slice(&length.to_ne_bytes());
        b[at + 8..at + 12].copy_from_slice(&level.to_ne_bytes());
        b[at + 12..at + 16].copy_from_slice(&kind.to_ne_bytes());
        b[at + 16..at + 20].copy_from_slice(&value.to_ne_bytes());
    }

    #[test]
    fn reads_both_messages_in_any_order() {
        let mut control = Control::EMPTY;
        push(&mut control, 0, 20, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 7);
        push(&mut control, 24, 20, libc::SOL_UDP, libc::UDP_GRO, 1452);
        let both = Received { segment: Some(1452), overflow: Some(7), stamp: None };
        assert_eq!(control.received(48), both);
        assert_eq!(control.received(44), both, "padding of the last message may be missing");
        assert_eq!(control.received(24), Received { segment: None, overflow: Some(7), stamp: None });
        assert_eq!(control.received(0), Received::default());
    }

    #[test]
    fn reads_when_it_came_and_no_time_that_does_not_fit() {
        let mut control = Control::EMPTY;
        push(&mut control, 0, 20, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 7);
        push(&mut control, 24, 32, libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, 0);
        control.bytes[40..48].copy_from_slice(&3u64.to_ne_bytes());
        control.bytes[48..56].copy_from_slice(&5u64.to_ne_bytes());
        assert_eq!(control.received(56), Received { segment: None, overflow: Some(7), stamp: Some(3_000_000_005) });
        control.bytes[40..48].copy_from_slice(&u64::MAX.to_ne_bytes());
        assert_eq!(control.received(56).stamp, None);
        push(&mut control, 24, 24, libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, 0);
        assert_eq!(control.received(48).stamp, None);
    }

    #[test]
    fn a_corrupt_length_ends_the_walk() {
        for length in [0, 15, 21, u64::MAX] {
            let mut control = Control::EMPTY;
            push(&mut control, 0, length, libc::SOL_UDP, libc::UDP_GRO, 1452);
            assert_eq!(control.received(20), Received::default());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_terminate(bytes in any::<[u8; 32]>(), length in 0usize..80) {
            let mut control = Control::EMPTY;
            control.bytes[..32].copy_from_slice(&bytes);
            control.received(length);
        }
    }
}
