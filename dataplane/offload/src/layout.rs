//! Where the headers of a TCP or UDP packet end.

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION: u8 = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    /// Offset of the checksum field from the start of the transport header.
    pub(crate) fn checksum_offset(self) -> usize {
        match self {
            Transport::Tcp => 16,
            Transport::Udp => 6,
        }
    }

    pub(crate) fn protocol(self) -> u8 {
        match self {
            Transport::Tcp => TCP,
            Transport::Udp => UDP,
        }
    }
}

/// Headers of one whole (unfragmented) TCP or UDP packet whose length fields agree with its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) v6: bool,
    pub(crate) transport: Transport,
    /// Bytes before the transport header, options and extension headers included.
    pub(crate) ip: usize,
    /// Bytes before the payload.
    pub(crate) header: usize,
}

pub(crate) fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

impl Layout {
    /// `None` for anything else: fragments, other protocols, truncated headers, lengths that disagree.
    pub(crate) fn of(packet: &[u8]) -> Option<Layout> {
        match packet.first()? >> 4 {
            4 => Self::of_v4(packet),
            6 => Self::of_v6(packet),
            _ => None,
        }
    }

    fn of_v4(packet: &[u8]) -> Option<Layout> {
        let ip = usize::from(packet[0] & 0x0f) * 4;
        if ip < 20 || packet.len() < ip || usize::from(word(packet, 2)) != packet.len() {
            return None;
        }
        let fragment = word(packet, 6) & 0x3fff != 0;
        if fragment {
            return None;
        }
        Self::transport(packet, false, packet[9], ip)
    }

    fn of_v6(packet: &[u8]) -> Option<Layout> {
        if packet.len() < 40 || usize::from(word(packet, 4)) + 40 != packet.len() {
            return None;
        }
        let (mut next, mut ip) = (packet[6], 40);
        while matches!(next, HOP_BY_HOP | ROUTING | DESTINATION) {
            let extension = packet.get(ip..ip + 2)?;
            next = extension[0];
            ip += 8 + usize::from(extension[1]) * 8;
        }
        Self::transport(packet, true, next, ip)
    }

    fn transport(packet: &[u8], v6: bool, protocol: u8, ip: usize) -> Option<Layout> {
        let rest = packet.get(ip..)?;
        let (transport, length) = match protocol {
            TCP if rest.len() >= 20 => (Transport::Tcp, usize::from(rest[12] >> 4) * 4),
            UDP if rest.len() >= 8 && usize::from(word(rest, 4)) == rest.len() => (Transport::Udp, 8),
            _ => return None,
        };
        if transport == Transport::Tcp && (length < 20 || length > rest.len()) {
            return None;
        }
        Some(Layout { v6, transport, ip, header: ip + length })
    }

    /// No IPv4 options, no IPv6 extension headers.
    pub(crate) fn plain(&self) -> bool {
        self.ip == if self.v6 { 40 } else { 20 }
    }

    /// Source and destination address.
    pub(crate) fn addresses<'a>(&self, packet: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        if self.v6 {
            (&packet[8..24], &packet[24..40])
        } else {
            (&packet[12..16], &packet[16..20])
        }
    }
}
