//! Inner packets as clients and servers send them.

use braid_packet::VnetHdr;

/// An IPv4 UDP packet with correct checksums, as a client or server sends it.
pub fn udp(source: &str, source_port: u16, destination: &str, destination_port: u16, payload: &[u8]) -> Vec<u8> {
    let (source, destination): (std::net::Ipv4Addr, std::net::Ipv4Addr) =
        (source.parse().unwrap(), destination.parse().unwrap());
    let length = 28 + payload.len();
    let mut packet = vec![0x45, 0, (length >> 8) as u8, length as u8, 0, 1, 0, 0, 63, 17, 0, 0];
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&destination.octets());
    let header = !braid_packet::checksum::sum(&packet, 0);
    packet[10..12].copy_from_slice(&header.to_be_bytes());
    packet.extend_from_slice(&source_port.to_be_bytes());
    packet.extend_from_slice(&destination_port.to_be_bytes());
    packet.extend_from_slice(&((8 + payload.len()) as u16).to_be_bytes());
    packet.extend_from_slice(&[0, 0]);
    packet.extend_from_slice(payload);
    let pseudo = braid_packet::checksum::pseudo_header(&source.octets(), &destination.octets(), 17, 8 + payload.len());
    let checksum = match !braid_packet::checksum::sum(&packet[20..], pseudo) {
        0 => 0xffff,
        sum => sum,
    };
    packet[26..28].copy_from_slice(&checksum.to_be_bytes());
    packet
}

pub fn payload(packet: &[u8]) -> &[u8] {
    &packet[28..]
}

/// An IPv4 TCP segment from port 4000 to port 80 with correct checksums.
pub fn tcp(source: &str, destination: &str, flags: u8, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut packet = tcp_partial(source, destination, flags, sequence, body);
    assert!(braid_packet::finish_checksum(&mut packet));
    packet
}

pub fn tcp_partial(source: &str, destination: &str, flags: u8, sequence: u32, body: &[u8]) -> Vec<u8> {
    let (source, destination): (std::net::Ipv4Addr, std::net::Ipv4Addr) =
        (source.parse().unwrap(), destination.parse().unwrap());
    let length = 40 + body.len();
    let mut packet = vec![0x45, 0, (length >> 8) as u8, length as u8, 0, 1, 0x40, 0, 63, 6, 0, 0];
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&destination.octets());
    let header = !braid_packet::checksum::sum(&packet, 0);
    packet[10..12].copy_from_slice(&header.to_be_bytes());
    packet.extend_from_slice(&[0x0f, 0xa0, 0, 80]);
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    packet.extend_from_slice(body);
    let pseudo = braid_packet::checksum::pseudo_header(&source.octets(), &destination.octets(), 6, 20 + body.len());
    packet[36..38].copy_from_slice(&pseudo.to_be_bytes());
    packet
}

/// What a TUN gives for a bulk send: one super-packet with a partial checksum.
pub fn tcp_super(source: &str, destination: &str, sequence: u32, body: &[u8], gso_size: u16) -> (VnetHdr, Vec<u8>) {
    let vnet = VnetHdr {
        needs_csum: true,
        gso: braid_packet::Gso::TcpV4,
        gso_size,
        hdr_len: 40,
        csum_start: 20,
        csum_offset: 16,
        ..VnetHdr::default()
    };
    (vnet, tcp_partial(source, destination, 0x10, sequence, body))
}

/// Cuts an IPv4 packet into fragments of at most `size` bytes of payload, a multiple of 8, with this identification.
pub fn fragments(packet: &[u8], size: usize, id: u16) -> Vec<Vec<u8>> {
    let (header, body) = packet.split_at(20);
    let count = body.len().div_ceil(size);
    let fragment = |(n, part): (usize, &[u8])| {
        let mut fragment = header.to_vec();
        fragment[2..4].copy_from_slice(&((20 + part.len()) as u16).to_be_bytes());
        fragment[4..6].copy_from_slice(&id.to_be_bytes());
        let place = (n * size / 8) as u16 | if n + 1 < count { 0x2000 } else { 0 };
        fragment[6..8].copy_from_slice(&place.to_be_bytes());
        fragment[10..12].fill(0);
        let sum = !braid_packet::checksum::sum(&fragment, 0);
        fragment[10..12].copy_from_slice(&sum.to_be_bytes());
        fragment.extend_from_slice(part);
        fragment
    };
    body.chunks(size).enumerate().map(fragment).collect()
}
