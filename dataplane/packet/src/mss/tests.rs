use super::*;
use crate::ip::tests::tcp_packet;
use proptest::prelude::*;

fn valid(packet: &[u8]) -> bool {
    let ip = Ip::parse(packet).unwrap();
    let pseudo =
        checksum::pseudo_header(&packet[ip.source_at()], &packet[ip.destination_at()], ip.protocol, ip.transport_len());
    checksum::sum(&packet[ip.header_len..ip.total_len], pseudo) == 0xffff
}

fn value(packet: &[u8]) -> u16 {
    let ip = Ip::parse(packet).unwrap();
    let at = ip.header_len + value_at(&packet[ip.header_len..]).unwrap();
    u16::from_be_bytes([packet[at], packet[at + 1]])
}

#[test]
fn lowers_and_never_raises() {
    for (v6, expected) in [(false, 1380), (true, 1360)] {
        for options in [[2, 4, 5, 0xb4, 1, 1, 1, 0], [1, 2, 4, 5, 0xb4, 1, 0, 0]] {
            let mut packet = tcp_packet(v6, Tcp::SYN, &options, b"");
            assert!(clamp_mss(&mut packet, false, 1420));
            assert_eq!(value(&packet), expected);
            assert!(valid(&packet));
            assert!(!clamp_mss(&mut packet, false, 1500));
            assert_eq!(value(&packet), expected);
        }
    }
}

#[test]
fn leaves_alone_what_has_none() {
    for (flags, options) in [
        (Tcp::ACK, &[2, 4, 5, 0xb4][..]),
        (Tcp::SYN, &[][..]),
        (Tcp::SYN, &[0, 2, 4, 5][..]),
        (Tcp::SYN, &[2, 3, 5, 1][..]),
        (Tcp::SYN, &[9, 0, 2, 4][..]),
        (Tcp::SYN, &[1, 1, 2, 4][..]),
    ] {
        let mut packet = tcp_packet(false, flags, options, b"");
        let before = packet.clone();
        assert!(!clamp_mss(&mut packet, false, 576));
        assert_eq!(packet, before);
    }
}

#[test]
fn a_partial_checksum_stays() {
    let mut packet = tcp_packet(false, Tcp::SYN, &[2, 4, 5, 0xb4], b"");
    let before = packet[36..38].to_vec();
    assert!(clamp_mss(&mut packet, true, 1420));
    assert_eq!(packet[36..38], before);
}

proptest! {
    #[test]
    fn the_checksum_stays_right(v6: bool, words in proptest::collection::vec(any::<[u8; 4]>(), 0..10), mtu: u16) {
        let mut packet = tcp_packet(v6, Tcp::SYN, &words.concat(), b"data");
        clamp_mss(&mut packet, false, mtu);
        prop_assert!(valid(&packet));
    }
}
