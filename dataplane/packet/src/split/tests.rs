use super::*;
use crate::ip::tests::udp_packet;
use proptest::prelude::*;

fn place(packet: &[u8]) -> (usize, bool) {
    let word = u16::from_be_bytes([packet[6], packet[7]]);
    (usize::from(word & 0x1fff) * 8, word & MORE != 0)
}

/// Allows fragmentation and puts options behind the header.
fn with_options(mut packet: Vec<u8>, options: &[u8]) -> Vec<u8> {
    packet[6..8].fill(0);
    packet.splice(20..20, options.iter().copied());
    packet[0] = 0x45 + (options.len() / 4) as u8;
    let total = (packet.len() as u16).to_be_bytes();
    packet[2..4].copy_from_slice(&total);
    packet[10..12].fill(0);
    let complete = !checksum::sum(&packet[..20 + options.len()], 0);
    packet[10..12].copy_from_slice(&complete.to_be_bytes());
    packet
}

/// A record route option, which is not copied, and a router alert, which is.
const OPTIONS: [u8; 12] = [7, 7, 4, 0, 0, 0, 0, 0x94, 4, 0, 0, 0];

proptest! {
    #[test]
    fn the_pieces_make_the_packet(
        data in proptest::collection::vec(any::<u8>(), 1..3000),
        mtu in 68usize..1500,
        again in 68usize..1500,
        options: bool,
    ) {
        let packet = with_options(udp_packet(false, &data), if options { &OPTIONS } else { &[] });
        let (mut pieces, mut smaller, mut scratch) = (Vec::new(), Vec::new(), Vec::new());
        prop_assert!(fragment(&packet, mtu, &mut scratch, |piece| pieces.push(piece.to_vec())));
        for piece in &pieces {
            prop_assert!(piece.len() <= mtu);
            prop_assert!(fragment(piece, again, &mut scratch, |piece| smaller.push(piece.to_vec())));
        }
        for (pieces, mtu) in [(&pieces, mtu), (&smaller, again)] {
            let mut body = Vec::new();
            for (i, piece) in pieces.iter().enumerate() {
                let ip = Ip::parse(piece).unwrap();
                prop_assert!(piece.len() <= mtu);
                prop_assert_eq!(checksum::sum(&piece[..ip.header_len], 0), 0xffff);
                prop_assert_eq!(place(piece), (body.len(), i + 1 < pieces.len()));
                prop_assert_eq!(&piece[4..6], &packet[4..6]);
                if options {
                    let route: &[u8] = if i == 0 { &OPTIONS[..7] } else { &[NOP; 7] };
                    prop_assert_eq!(&piece[20..27], route);
                    prop_assert_eq!(&piece[27..32], &OPTIONS[7..]);
                }
                body.extend_from_slice(&piece[ip.header_len..]);
            }
            prop_assert_eq!(&body[..], &packet[Ip::parse(&packet).unwrap().header_len..]);
        }
    }

    #[test]
    fn any_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..80), mtu in 0usize..200) {
        let mut scratch = Vec::new();
        fragment(&bytes, mtu, &mut scratch, |piece| assert!(piece.len() <= mtu));
    }
}

#[test]
fn what_forbids_it_is_left_alone() {
    let mut forbids = with_options(udp_packet(false, &[7; 1000]), &[]);
    forbids[6] = 0x40;
    for packet in [forbids, udp_packet(true, &[7; 1000])] {
        assert!(!fragment(&packet, 576, &mut Vec::new(), |_| panic!("cut")));
    }
    assert!(!fragment(&with_options(udp_packet(false, &[7; 1000]), &[]), 27, &mut Vec::new(), |_| panic!("cut")));
}
