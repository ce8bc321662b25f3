//! A TCP reset in the name of the packet's destination (RFC 9293 3.10.7.1).

use crate::{Ip, Segment, Tcp, Transport};
use std::net::SocketAddr;

/// Writes the reset that a host without this connection would send. None if `packet` is no TCP or a reset itself.
pub fn tcp_reset(out: &mut Vec<u8>, packet: &[u8]) -> Option<()> {
    let ip = Ip::parse(packet).ok()?;
    let Transport::Tcp(tcp) = ip.transport else {
        return None;
    };
    if tcp.has(Tcp::RST) || !crate::icmp::may_answer(&ip) {
        return None;
    }
    let (sequence, acknowledgement, flags) = if tcp.has(Tcp::ACK) {
        (tcp.acknowledgement, 0, Tcp::RST)
    } else {
        let phantom = u32::from(tcp.has(Tcp::SYN)) + u32::from(tcp.has(Tcp::FIN));
        let length = u32::try_from(tcp.payload).ok()? + phantom;
        (0, tcp.sequence.wrapping_add(length), Tcp::RST | Tcp::ACK)
    };
    let from = SocketAddr::new(ip.destination, tcp.destination);
    let to = SocketAddr::new(ip.source, tcp.source);
    Segment { from, to, sequence, acknowledgement, flags, window: 0, options: &[] }.write(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum;
    use crate::ip::tests::{tcp_packet, udp_packet};

    fn reset_of(packet: &[u8]) -> Option<(Ip, Tcp)> {
        let mut out = vec![1, 2, 3];
        tcp_reset(&mut out, packet)?;
        let ip = Ip::parse(&out).unwrap();
        assert_eq!(ip.total_len, out.len());
        let pseudo = checksum::pseudo_header(&out[ip.source_at()], &out[ip.destination_at()], crate::ip::TCP, 20);
        assert_eq!(checksum::sum(&out[ip.header_len..], pseudo), 0xffff);
        match ip.transport {
            Transport::Tcp(tcp) => Some((ip, tcp)),
            _ => None,
        }
    }

    #[test]
    fn resets_by_the_book() {
        for v6 in [false, true] {
            let packet = tcp_packet(v6, Tcp::ACK, &[], b"hello");
            let asked = Ip::parse(&packet).unwrap();
            let (ip, tcp) = reset_of(&packet).unwrap();
            assert_eq!((ip.source, ip.destination), (asked.destination, asked.source));
            assert_eq!((tcp.flags, tcp.sequence), (Tcp::RST, 0x0a0b_0c0d));
            let (_, tcp) = reset_of(&tcp_packet(v6, Tcp::SYN, &[], b"hello")).unwrap();
            assert_eq!((tcp.flags, tcp.sequence), (Tcp::RST | Tcp::ACK, 0));
            assert_eq!(tcp.acknowledgement, 0x0102_0304 + 6);
            assert!(reset_of(&tcp_packet(v6, Tcp::RST, &[], b"")).is_none());
            assert!(reset_of(&udp_packet(v6, b"hello")).is_none());
        }
    }
}
