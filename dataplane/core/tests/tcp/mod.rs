//! TCP segments of hosts around a Braid.

use braid_packet::{tcp_checksum_is_good, Ip, Segment, Tcp, Transport};
use std::net::SocketAddr;

pub fn segment(from: SocketAddr, to: SocketAddr, flags: u8, numbers: (u32, u32), body: &[u8]) -> Vec<u8> {
    let options: &[u8] = if flags & Tcp::SYN != 0 { &[2, 4, 5, 0xb4, 1, 3, 3, 7] } else { &[] };
    let (sequence, acknowledgement) = numbers;
    let mut out = Vec::new();
    let segment = Segment { from, to, sequence, acknowledgement, flags, window: 500, options };
    segment.write_with(body, &mut out).unwrap();
    out
}

pub fn read(packet: &[u8]) -> (SocketAddr, SocketAddr, Tcp) {
    let ip = Ip::parse(packet).unwrap();
    let Transport::Tcp(tcp) = ip.transport else { panic!("{ip:?}") };
    assert!(tcp_checksum_is_good(packet, &ip));
    (SocketAddr::new(ip.source, tcp.source), SocketAddr::new(ip.destination, tcp.destination), tcp)
}

#[track_caller]
pub fn only(packets: Vec<Vec<u8>>) -> Vec<u8> {
    assert_eq!(packets.len(), 1, "{packets:?}");
    packets.into_iter().next().unwrap()
}
