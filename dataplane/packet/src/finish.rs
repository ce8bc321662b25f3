//! From a partial transport checksum (pseudo-header sum only, as offload leaves it) to a complete one.

use crate::ip::{ICMPV6, TCP, UDP};
use crate::{checksum, Ip};

/// `csum_start` and `csum_offset` of a packet whose transport checksum is partial, for its `VnetHdr`.
///
/// None for what has no checksum over a pseudo-header: fragments, ICMPv4, other protocols, malformed packets.
pub fn partial_offsets(packet: &[u8]) -> Option<(u16, u16)> {
    let ip = Ip::parse(packet).ok()?;
    Some((u16::try_from(ip.header_len).ok()?, checksum_offset(&ip)?))
}

/// Completes the partial checksum in place. False, and nothing changed, when `partial_offsets` is None.
pub fn finish_checksum(packet: &mut [u8]) -> bool {
    let Ok(ip) = Ip::parse(packet) else {
        return false;
    };
    let Some(offset) = checksum_offset(&ip) else {
        return false;
    };
    let Some(body) = packet.get_mut(ip.header_len..ip.total_len) else {
        return false;
    };
    let mut complete = !checksum::sum(body, 0);
    if ip.protocol == UDP && complete == 0 {
        complete = 0xffff;
    }
    let at = usize::from(offset);
    let Some(field) = body.get_mut(at..at + 2) else {
        return false;
    };
    field.copy_from_slice(&complete.to_be_bytes());
    true
}

/// Where the checksum is in the transport header of an unfragmented packet.
fn checksum_offset(ip: &Ip) -> Option<u16> {
    if ip.is_fragment() {
        return None;
    }
    match ip.protocol {
        TCP => Some(16),
        UDP => Some(6),
        ICMPV6 if ip.v6 => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ip::tests::{tcp_packet, udp_packet};
    use proptest::prelude::*;

    fn pseudo(packet: &[u8], ip: &Ip) -> u16 {
        checksum::pseudo_header(&packet[ip.source_at()], &packet[ip.destination_at()], ip.protocol, ip.transport_len())
    }

    proptest! {
        #[test]
        fn partial_becomes_complete(v6: bool, udp: bool, payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut packet = if udp { udp_packet(v6, &payload) } else { tcp_packet(v6, 16, &[], &payload) };
            let complete = packet.clone();
            let ip = Ip::parse(&packet).unwrap();
            let (start, offset) = partial_offsets(&packet).unwrap();
            let at = usize::from(start + offset);
            let sum = pseudo(&packet, &ip);
            packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
            prop_assert!(finish_checksum(&mut packet));
            prop_assert_eq!(&packet, &complete);
            prop_assert_eq!(checksum::sum(&packet[ip.header_len..], sum), 0xffff);
        }
    }

    #[test]
    fn a_udp_checksum_of_zero_is_sent_as_ones() {
        let mut packet = udp_packet(false, &[0, 0]);
        let ip = Ip::parse(&packet).unwrap();
        packet[26..28].fill(0);
        let rest = checksum::sum(&packet[20..], pseudo(&packet, &ip));
        packet[28..30].copy_from_slice(&(!rest).to_be_bytes());
        let sum = pseudo(&packet, &ip);
        packet[26..28].copy_from_slice(&sum.to_be_bytes());
        assert!(finish_checksum(&mut packet));
        assert_eq!(packet[26..28], [0xff, 0xff]);
    }
}
