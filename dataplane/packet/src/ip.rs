//! One parse of an IPv4 or IPv6 packet down to its transport header.

mod extension;
mod quoted;

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

pub const ICMPV4: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;

pub(crate) const IPV4_HEADER: usize = 20;
pub(crate) const IPV6_HEADER: usize = 40;

/// Why bytes are no IP packet that we carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// Neither IPv4 nor IPv6, or no bytes at all.
    Version,
    /// Header length below the minimum or beyond the packet.
    HeaderLength,
    /// The length field says less than the headers or more than there is.
    TotalLength,
    /// IPv4 options or IPv6 extension headers that lie about their length, or too many of them.
    Options,
    /// Loose or strict source route, or an IPv6 routing header with segments left (RFC 5095, RFC 7126).
    SourceRoute,
    /// A fragment that ends beyond 65,535 bytes, is empty, or hides the transport header (RFC 1858).
    Fragment,
    /// A transport header that is cut off or contradicts itself.
    Transport,
}

impl Malformed {
    pub fn as_str(self) -> &'static str {
        match self {
            Malformed::Version => "version",
            Malformed::HeaderLength => "header_length",
            Malformed::TotalLength => "total_length",
            Malformed::Options => "options",
            Malformed::SourceRoute => "source_route",
            Malformed::Fragment => "fragment",
            Malformed::Transport => "transport",
        }
    }
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "malformed packet: {}", self.as_str())
    }
}

impl std::error::Error for Malformed {}

/// Identification and place in the datagram. An unfragmented IPv6 packet has zeros here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    pub id: u32,
    /// Bytes before this fragment.
    pub offset: usize,
    pub more: bool,
    /// Where the identification is in the packet: 2 bytes (IPv4), 4 bytes (IPv6), none if there is none.
    pub id_at: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    pub source: u16,
    pub destination: u16,
    pub sequence: u32,
    pub acknowledgement: u32,
    /// FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128.
    pub flags: u8,
    /// As on the wire, not scaled.
    pub window: u16,
    pub header_len: usize,
    /// Bytes of data in this (super-)packet.
    pub payload: usize,
}

impl Tcp {
    pub const FIN: u8 = 1;
    pub const SYN: u8 = 2;
    pub const RST: u8 = 4;
    pub const ACK: u8 = 16;

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    pub kind: u8,
    pub code: u8,
    /// Bytes 4..6: identifier of an echo.
    pub id: u16,
    pub v6: bool,
}

impl Icmp {
    pub fn is_echo_request(&self) -> bool {
        self.kind == if self.v6 { 128 } else { 8 } && self.code == 0
    }

    pub fn is_echo_reply(&self) -> bool {
        self.kind == if self.v6 { 129 } else { 0 } && self.code == 0
    }

    /// RFC 1122 3.2.2 for IPv4 (redirect and source quench included), RFC 4443 2.1 for IPv6.
    pub fn is_error(&self) -> bool {
        if self.v6 {
            self.kind < 128
        } else {
            matches!(self.kind, 3 | 4 | 5 | 11 | 12)
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp(Tcp),
    Udp {
        source: u16,
        destination: u16,
        /// A zero checksum field: the sender used none.
        no_checksum: bool,
    },
    Icmp(Icmp),
    /// Another protocol, or a fragment other than the first.
    Other,
}

/// Offsets and fields of one packet. Holds no borrow, so that the packet can be rewritten by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip {
    pub v6: bool,
    /// The IP header with its options; for IPv6 with all extension headers. The transport begins here.
    pub header_len: usize,
    /// From the length field; bytes of the slice behind it are padding.
    pub total_len: usize,
    /// After the extension headers. In an IPv6 fragment other than the first: what follows its fragment header.
    pub protocol: u8,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub ttl: u8,
    /// IPv6 packets count as such.
    pub dont_fragment: bool,
    pub fragment: Fragment,
    pub transport: Transport,
}

impl Ip {
    /// Decodes a whole packet. Super-packets parse too: their length fields cover the whole buffer.
    pub fn parse(packet: &[u8]) -> Result<Ip, Malformed> {
        let ip = Ip::parse_network(packet, false)?;
        let body = packet.get(ip.header_len..ip.total_len).ok_or(Malformed::TotalLength)?;
        ip.check_fragment(body)?;
        let transport = ip.parse_transport(body)?;
        Ok(Ip { transport, ..ip })
    }

    fn parse_network(packet: &[u8], cut: bool) -> Result<Ip, Malformed> {
        match packet.first().map(|b| b >> 4) {
            Some(4) => Ip::parse_v4(packet, cut),
            Some(6) => extension::parse_v6(packet, cut),
            _ => Err(Malformed::Version),
        }
    }

    fn parse_v4(packet: &[u8], cut: bool) -> Result<Ip, Malformed> {
        let b: &[u8; IPV4_HEADER] = packet.first_chunk().ok_or(Malformed::HeaderLength)?;
        let header_len = usize::from(b[0] & 15) * 4;
        let options = packet.get(IPV4_HEADER..header_len).ok_or(Malformed::HeaderLength)?;
        check_options(options)?;
        let total_len = usize::from(u16::from_be_bytes([b[2], b[3]]));
        if total_len < header_len || (total_len > packet.len() && !cut) {
            return Err(Malformed::TotalLength);
        }
        let place = u16::from_be_bytes([b[6], b[7]]);
        Ok(Ip {
            v6: false,
            header_len,
            total_len,
            protocol: b[9],
            source: IpAddr::V4(Ipv4Addr::new(b[12], b[13], b[14], b[15])),
            destination: IpAddr::V4(Ipv4Addr::new(b[16], b[17], b[18], b[19])),
            ttl: b[8],
            dont_fragment: place & 0x4000 != 0,
            fragment: Fragment {
                id: u32::from(u16::from_be_bytes([b[4], b[5]])),
                offset: usize::from(place & 0x1fff) * 8,
                more: place & 0x2000 != 0,
                id_at: Some(4),
            },
            transport: Transport::Other,
        })
    }

    /// What RFC 1858 and RFC 8200 say a fragment must not be; overlaps are the receiver's matter.
    fn check_fragment(&self, body: &[u8]) -> Result<(), Malformed> {
        let hides_flags = self.protocol == TCP && (1..20).contains(&self.fragment.offset);
        let empty = self.is_fragment() && body.is_empty();
        if hides_flags || empty || self.fragment.offset + body.len() > 65_535 {
            return Err(Malformed::Fragment);
        }
        Ok(())
    }

    fn parse_transport(&self, body: &[u8]) -> Result<Transport, Malformed> {
        if !self.is_first() {
            return Ok(Transport::Other);
        }
        let cut_off = if self.is_fragment() { Malformed::Fragment } else { Malformed::Transport };
        match (self.protocol, self.v6) {
            (TCP, _) => {
                let b: &[u8; 20] = body.first_chunk().ok_or(cut_off)?;
                let header_len = usize::from(b[12] >> 4) * 4;
                if header_len < 20 {
                    return Err(Malformed::Transport);
                }
                let payload = body.len().checked_sub(header_len).ok_or(cut_off)?;
                Ok(Transport::Tcp(tcp_fields(b, header_len, payload)))
            }
            (UDP, _) => {
                let b: &[u8; 8] = body.first_chunk().ok_or(cut_off)?;
                let length = usize::from(u16::from_be_bytes([b[4], b[5]]));
                if length < 8 || (length > body.len() && !self.fragment.more) {
                    return Err(Malformed::Transport);
                }
                Ok(udp_fields(b))
            }
            (ICMPV4, false) | (ICMPV6, true) => {
                let b: &[u8; 8] = body.first_chunk().ok_or(cut_off)?;
                Ok(Transport::Icmp(icmp_fields(b, self.v6)))
            }
            _ => Ok(Transport::Other),
        }
    }

    /// An atomic fragment of IPv6 (offset 0, none to follow) is none.
    pub fn is_fragment(&self) -> bool {
        self.fragment.more || self.fragment.offset != 0
    }

    /// Unfragmented, or the fragment with the transport header.
    pub fn is_first(&self) -> bool {
        self.fragment.offset == 0
    }

    pub fn source_at(&self) -> Range<usize> {
        if self.v6 {
            8..24
        } else {
            12..16
        }
    }

    pub fn destination_at(&self) -> Range<usize> {
        if self.v6 {
            24..40
        } else {
            16..20
        }
    }

    /// Source and destination port of TCP and UDP.
    pub fn ports(&self) -> Option<(u16, u16)> {
        match self.transport {
            Transport::Tcp(tcp) => Some((tcp.source, tcp.destination)),
            Transport::Udp { source, destination, .. } => Some((source, destination)),
            Transport::Icmp(_) | Transport::Other => None,
        }
    }

    /// Transport header and payload in bytes.
    pub fn transport_len(&self) -> usize {
        self.total_len - self.header_len
    }
}

fn tcp_fields(b: &[u8; 20], header_len: usize, payload: usize) -> Tcp {
    Tcp {
        source: u16::from_be_bytes([b[0], b[1]]),
        destination: u16::from_be_bytes([b[2], b[3]]),
        sequence: u32::from_be_bytes([b[4], b[5], b[6], b[7]]),
        acknowledgement: u32::from_be_bytes([b[8], b[9], b[10], b[11]]),
        flags: b[13],
        window: u16::from_be_bytes([b[14], b[15]]),
        header_len,
        payload,
    }
}

fn udp_fields(b: &[u8; 8]) -> Transport {
    Transport::Udp {
        source: u16::from_be_bytes([b[0], b[1]]),
        destination: u16::from_be_bytes([b[2], b[3]]),
        no_checksum: b[6] == 0 && b[7] == 0,
    }
}

fn icmp_fields(b: &[u8; 8], v6: bool) -> Icmp {
    Icmp { kind: b[0], code: b[1], id: u16::from_be_bytes([b[4], b[5]]), v6 }
}

/// Walks IPv4 options (at most 40 bytes): lengths must be true, source routes are refused.
fn check_options(mut options: &[u8]) -> Result<(), Malformed> {
    while let Some(&kind) = options.first() {
        let length = match kind {
            0 => return Ok(()),
            1 => 1,
            131 | 137 => return Err(Malformed::SourceRoute),
            _ => usize::from(*options.get(1).ok_or(Malformed::Options)?).max(1),
        };
        if length < 2 && kind != 1 {
            return Err(Malformed::Options);
        }
        options = options.get(length..).ok_or(Malformed::Options)?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
