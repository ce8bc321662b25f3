//! An Ethernet frame behind the virtio_net_hdr of a packet socket (10 bytes, host byte order; linux/virtio_net.h).

use braid_packet::checksum::sum;

/// virtio_net_hdr: flags u8, gso_type u8, hdr_len u16, gso_size u16, csum_start u16, csum_offset u16.
pub const HEADER: usize = 10;
pub const ETHERNET: usize = 14;
const NEEDS_CSUM: u8 = 1;

/// Flips one bit behind the Ethernet header, chosen by `choice`. A checksum the kernel had left to the interface is
/// completed before, so that the receiver can notice the damage. Frames without payload stay as they are.
pub fn corrupt(with_header: &mut [u8], choice: u64) {
    complete_checksum(with_header);
    let Some(payload) = with_header.get_mut(HEADER + ETHERNET..) else {
        return;
    };
    if payload.is_empty() {
        return;
    }
    let bit = choice % (payload.len() as u64 * 8);
    payload[(bit / 8) as usize] ^= 1 << (bit % 8);
}

/// Replaces a partial checksum by the full one. Segmentation batches and headers that point outside stay as they are.
pub fn complete_checksum(with_header: &mut [u8]) {
    if with_header.len() < HEADER {
        return;
    }
    let (header, frame) = with_header.split_at_mut(HEADER);
    let at = |place: usize| usize::from(u16::from_ne_bytes([header[place], header[place + 1]]));
    let (start, field) = (at(6), at(6) + at(8));
    if header[0] & NEEDS_CSUM == 0 || header[1] != 0 || start > frame.len() || field + 2 > frame.len() {
        return;
    }
    // The field holds the sum of the pseudo-header. Zero means "no checksum" in UDP and equals 0xffff in the others.
    let checksum = match !sum(&frame[start..], 0) {
        0 => 0xffff,
        other => other,
    };
    frame[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
    header.fill(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use braid_packet::checksum::pseudo_header;
    use proptest::prelude::*;

    fn partial_udp(payload: &[u8]) -> Vec<u8> {
        let (source, destination) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        let length = 8 + payload.len();
        let mut bytes = vec![NEEDS_CSUM, 0, 0, 0, 0, 0];
        bytes.extend(34u16.to_ne_bytes());
        bytes.extend(6u16.to_ne_bytes());
        bytes.extend([0u8; ETHERNET]);
        bytes.extend([0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0]);
        bytes.extend(source);
        bytes.extend(destination);
        bytes.extend([0, 7, 0, 7]);
        bytes.extend((length as u16).to_be_bytes());
        bytes.extend(pseudo_header(&source, &destination, 17, length).to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    proptest! {
        #[test]
        fn completed_checksums_verify(payload in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut bytes = partial_udp(&payload);
            complete_checksum(&mut bytes);
            let datagram = &bytes[HEADER + 34..];
            let pseudo = pseudo_header(&[10, 0, 0, 1], &[10, 0, 0, 2], 17, datagram.len());
            prop_assert_eq!(sum(datagram, pseudo), 0xffff);
            prop_assert_eq!(bytes[0], 0);
        }

        #[test]
        fn exactly_one_bit_flips_behind_the_ethernet_header(frame in proptest::collection::vec(any::<u8>(), 15..100), choice: u64) {
            let mut bytes = vec![0; HEADER];
            bytes.extend(&frame);
            corrupt(&mut bytes, choice);
            let flipped: u32 = bytes[HEADER..].iter().zip(&frame).map(|(a, b)| (a ^ b).count_ones()).sum();
            prop_assert_eq!(flipped, 1);
            prop_assert_eq!(&bytes[HEADER..HEADER + ETHERNET], &frame[..ETHERNET]);
        }

        #[test]
        fn hostile_headers_do_not_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..60), choice: u64) {
            corrupt(&mut bytes, choice);
        }
    }
}
