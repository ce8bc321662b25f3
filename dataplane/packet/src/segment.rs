//! A TCP segment, written from nothing.

use crate::icmp::write_ip;
use crate::ip::TCP;
use crate::{checksum, Ip};
use std::net::{IpAddr, SocketAddr};

/// Most bytes of TCP options: the header's length field has four bits.
pub const MOST_OPTIONS: usize = 40;

/// Of header and data, with room for the IP header in what its length field says.
const MOST_LENGTH: usize = 65_535 - 40;

/// What the header says. `options` is a multiple of 4 bytes, at most `MOST_OPTIONS`.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub sequence: u32,
    pub acknowledgement: u32,
    pub flags: u8,
    pub window: u16,
    pub options: &'a [u8],
}

impl Segment<'_> {
    /// Replaces `out` by the whole packet, without data. None if the families differ or the options do not fit.
    pub fn write(&self, out: &mut Vec<u8>) -> Option<()> {
        self.write_with(&[], out)
    }

    /// The same, with data. None also if there is more than a packet takes.
    pub fn write_with(&self, data: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let header = 20 + self.options.len();
        let length = header + data.len();
        if self.options.len() > MOST_OPTIONS || header % 4 != 0 || length > MOST_LENGTH {
            return None;
        }
        let start = write_ip(out, self.from.ip(), self.to.ip(), TCP, length)?;
        out.extend_from_slice(&self.from.port().to_be_bytes());
        out.extend_from_slice(&self.to.port().to_be_bytes());
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.acknowledgement.to_be_bytes());
        out.extend_from_slice(&[(header as u8) << 2, self.flags]);
        out.extend_from_slice(&self.window.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(self.options);
        out.extend_from_slice(data);
        let pseudo = match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => checksum::pseudo_header(&from.octets(), &to.octets(), TCP, length),
            (IpAddr::V6(from), IpAddr::V6(to)) => checksum::pseudo_header(&from.octets(), &to.octets(), TCP, length),
            _ => return None,
        };
        let complete = !checksum::sum(&out[start..], pseudo);
        out[start + 16..start + 18].copy_from_slice(&complete.to_be_bytes());
        Some(())
    }
}

/// Whether the checksum of an unfragmented TCP packet is right. `ip` was parsed from it.
pub fn tcp_checksum_is_good(packet: &[u8], ip: &Ip) -> bool {
    let (Some(source), Some(destination)) = (packet.get(ip.source_at()), packet.get(ip.destination_at())) else {
        return false;
    };
    let pseudo = checksum::pseudo_header(source, destination, TCP, ip.transport_len());
    packet.get(ip.header_len..ip.total_len).is_some_and(|body| checksum::sum(body, pseudo) == 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Tcp, Transport};

    #[test]
    fn what_is_written_is_read() {
        for (from, to) in [("192.0.2.1:80", "192.0.2.9:4000"), ("[fd00::1]:80", "[fd00::9]:4000")] {
            let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
            let options = [2, 4, 5, 0xb4, 1, 3, 3, 9];
            let segment = Segment {
                from,
                to,
                sequence: 7,
                acknowledgement: 9,
                flags: Tcp::SYN | Tcp::ACK,
                window: 1000,
                options: &options,
            };
            let mut out = vec![1, 2, 3];
            segment.write(&mut out).unwrap();
            let ip = Ip::parse(&out).unwrap();
            let Transport::Tcp(tcp) = ip.transport else { panic!("{ip:?}") };
            assert_eq!((ip.source, ip.destination, ip.total_len), (from.ip(), to.ip(), out.len()));
            assert_eq!((tcp.source, tcp.destination, tcp.sequence, tcp.acknowledgement), (80, 4000, 7, 9));
            assert_eq!((tcp.flags, tcp.window, tcp.header_len, tcp.payload), (18, 1000, 28, 0));
            assert_eq!(out[ip.header_len + 20..], options);
            assert!(tcp_checksum_is_good(&out, &ip));
            segment.write_with(b"odd", &mut out).unwrap();
            let ip = Ip::parse(&out).unwrap();
            assert!(tcp_checksum_is_good(&out, &ip) && out.ends_with(b"odd") && ip.total_len == out.len());
            out[ip.header_len + 4] ^= 1;
            assert!(!tcp_checksum_is_good(&out, &ip));
            assert!(Segment { options: &[1; 44], ..segment }.write(&mut out).is_none());
            assert!(Segment { options: &[1; 3], ..segment }.write(&mut out).is_none());
        }
    }
}
