//! Packets built field by field, with a checksum of their own: what the crate's results are held against.
#![allow(dead_code)]

use braid_packet::{Gso, Sink, VnetHdr};
use std::net::SocketAddr;

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;
pub const ECE: u8 = 0x40;
pub const CWR: u8 = 0x80;

#[derive(Clone, Debug)]
pub struct Spec {
    pub v6: bool,
    pub udp: bool,
    /// Last byte of both addresses and offset of both ports.
    pub flow: u8,
    pub tos: u8,
    pub ttl: u8,
    pub id: u16,
    pub dont_fragment: bool,
    /// IPv4 options or, with IPv6, one hop-by-hop header; a multiple of 4 or 8 bytes.
    pub ip_options: usize,
    pub sequence: u32,
    pub acknowledgement: u32,
    pub flags: u8,
    pub window: u16,
    /// A multiple of 4 bytes.
    pub tcp_options: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Default for Spec {
    fn default() -> Self {
        Spec {
            v6: false,
            udp: false,
            flow: 1,
            tos: 0,
            ttl: 64,
            id: 100,
            dont_fragment: true,
            ip_options: 0,
            sequence: 1000,
            acknowledgement: 77,
            flags: ACK,
            window: 501,
            tcp_options: vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
            payload: pattern(1000, 0),
        }
    }
}

pub fn pattern(length: usize, from: usize) -> Vec<u8> {
    (from..from + length).map(|i| (i * 31 + i / 251) as u8).collect()
}

fn naive_sum(bytes: &[u8]) -> u32 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}

impl Spec {
    pub fn ip_header(&self) -> usize {
        self.ip_options + if self.v6 { 40 } else { 20 }
    }

    pub fn header(&self) -> usize {
        self.ip_header() + if self.udp { 8 } else { 20 + self.tcp_options.len() }
    }

    pub fn checksum_offset(&self) -> usize {
        if self.udp {
            6
        } else {
            16
        }
    }

    fn pseudo(&self, length: usize) -> Vec<u8> {
        let mut bytes = if self.v6 {
            [self.v6_address(1), self.v6_address(2)].concat()
        } else {
            [self.v4_address(1), self.v4_address(2)].concat()
        };
        bytes.extend((length as u32).to_be_bytes());
        bytes.extend([0, 0, 0, if self.udp { 17 } else { 6 }]);
        bytes
    }

    fn v4_address(&self, side: u8) -> Vec<u8> {
        vec![10, 0, side, self.flow]
    }

    fn v6_address(&self, side: u8) -> Vec<u8> {
        let mut address = vec![0xfd, 0, 0, side];
        address.resize(15, 0);
        address.push(self.flow);
        address
    }

    fn transport(&self, partial: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        let length = self.header() - self.ip_header() + self.payload.len();
        bytes.extend((4000 + u16::from(self.flow)).to_be_bytes());
        bytes.extend((80 + u16::from(self.flow)).to_be_bytes());
        if self.udp {
            bytes.extend((length as u16).to_be_bytes());
            bytes.extend([0, 0]);
        } else {
            bytes.extend(self.sequence.to_be_bytes());
            bytes.extend(self.acknowledgement.to_be_bytes());
            bytes.push((((20 + self.tcp_options.len()) / 4) << 4) as u8);
            bytes.push(self.flags);
            bytes.extend(self.window.to_be_bytes());
            bytes.extend([0, 0, 0, 0]);
            bytes.extend(&self.tcp_options);
        }
        bytes.extend(&self.payload);
        let pseudo = naive_sum(&self.pseudo(length)) as u16;
        let checksum = if partial {
            pseudo
        } else {
            match !(naive_sum(&[self.pseudo(length), bytes.clone()].concat()) as u16) {
                0 if self.udp => 0xffff,
                checksum => checksum,
            }
        };
        let at = self.checksum_offset();
        bytes[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    pub fn build(&self, partial: bool) -> Vec<u8> {
        let transport = self.transport(partial);
        let protocol = if self.udp { 17 } else { 6 };
        let mut bytes = Vec::new();
        if self.v6 {
            bytes.extend([0x60 | self.tos >> 4, self.tos << 4, 0, 0]);
            bytes.extend(((self.ip_options + transport.len()) as u16).to_be_bytes());
            bytes.extend([if self.ip_options > 0 { 0 } else { protocol }, self.ttl]);
            bytes.extend(self.v6_address(1));
            bytes.extend(self.v6_address(2));
            if self.ip_options > 0 {
                bytes.extend([protocol, (self.ip_options / 8 - 1) as u8]);
                bytes.resize(40 + self.ip_options, 0);
            }
        } else {
            bytes.extend([0x45 + (self.ip_options / 4) as u8, self.tos]);
            bytes.extend(((self.ip_header() + transport.len()) as u16).to_be_bytes());
            bytes.extend(self.id.to_be_bytes());
            bytes.extend([if self.dont_fragment { 0x40 } else { 0 }, 0, self.ttl, protocol, 0, 0]);
            bytes.extend(self.v4_address(1));
            bytes.extend(self.v4_address(2));
            bytes.resize(self.ip_header(), 1);
            let checksum = !(naive_sum(&bytes) as u16);
            bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        bytes.extend(transport);
        bytes
    }

    /// The offload header that goes with `build(true)`.
    pub fn vnet(&self, gso_size: usize) -> VnetHdr {
        let gso = match (gso_size, self.udp, self.v6) {
            (0, _, _) => Gso::None,
            (_, true, _) => Gso::Udp,
            (_, false, false) => Gso::TcpV4,
            (_, false, true) => Gso::TcpV6,
        };
        VnetHdr {
            needs_csum: true,
            gso,
            ecn: false,
            hdr_len: 0xffff,
            gso_size: gso_size as u16,
            csum_start: self.ip_header() as u16,
            csum_offset: self.checksum_offset() as u16,
        }
    }

    /// The offload header of `build(true)` as we write it for a single packet.
    pub fn vnet_single(&self) -> VnetHdr {
        VnetHdr { hdr_len: 0, ..self.vnet(0) }
    }

    /// What a host must cut `self` into.
    pub fn segments(&self, gso_size: usize) -> Vec<Spec> {
        let chunks: Vec<&[u8]> = self.payload.chunks(gso_size).collect();
        let last = chunks.len().saturating_sub(1);
        let mut segments = Vec::new();
        for (i, chunk) in chunks.iter().enumerate() {
            let mut segment = Spec { payload: chunk.to_vec(), ..self.clone() };
            segment.id = self.id.wrapping_add(i as u16);
            segment.sequence = self.sequence.wrapping_add((i * gso_size) as u32);
            if i > 0 {
                segment.flags &= !CWR;
            }
            if i < last {
                segment.flags &= !(FIN | PSH);
            }
            segments.push(segment);
        }
        segments
    }
}

/// Completes a partial checksum as the host's kernel would.
pub fn complete(vnet: VnetHdr, packet: &mut [u8]) {
    let start = usize::from(vnet.csum_start);
    let at = start + usize::from(vnet.csum_offset);
    let checksum = match !(naive_sum(&packet[start..]) as u16) {
        0 if vnet.csum_offset == 6 => 0xffff,
        checksum => checksum,
    };
    packet[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// Records what reaches the TUN.
#[derive(Debug, Default)]
pub struct Record(pub Vec<(VnetHdr, Vec<u8>)>);

impl Sink for Record {
    fn udp(&mut self, _: SocketAddr, _: &[u8], _: usize) {
        unreachable!("coalescing sends no datagrams");
    }

    fn tun(&mut self, vnet: VnetHdr, parts: &[&[u8]]) {
        self.0.push((vnet, parts.concat()));
    }
}
