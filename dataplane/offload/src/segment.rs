//! Cutting what one TUN read returned (a packet, or a TCP/UDP super-packet) into the packets to be sealed.

use crate::layout::{long, word, Layout, Transport};
use braid_packet::{checksum, Gso, VnetHdr};
use std::fmt;

const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentError {
    /// The offload header does not fit the packet.
    Malformed,
    /// A packet would be larger than the MTU; the sender is to be told (ICMP).
    TooBig { mtu: usize },
}

impl fmt::Display for SegmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SegmentError::Malformed => write!(f, "offload header does not fit the packet"),
            SegmentError::TooBig { mtu } => write!(f, "segment larger than the MTU of {mtu}"),
        }
    }
}

impl std::error::Error for SegmentError {}

/// What becomes of the transport checksum field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checksum {
    /// Already complete (or none of our business).
    Keep,
    /// The sum of each segment's own pseudo-header; `base` leaves out its length.
    Partial { base: u16 },
    /// Completed in software over `start..`; the field is `offset` bytes after `start`. `base` as above.
    Complete { start: usize, offset: usize, base: u16 },
}

/// A plan to cut one packet. It holds no bytes: `write` wants the packet that `plan` saw.
#[derive(Clone, Copy, Debug)]
pub struct Segments {
    /// `None`: one packet, passed on as it is.
    layout: Option<Layout>,
    checksum: Checksum,
    total: usize,
    size: usize,
    count: usize,
}

impl Segments {
    /// `mtu` bounds the IP length of every segment.
    pub fn plan(vnet: VnetHdr, packet: &[u8], mtu: usize) -> Result<Segments, SegmentError> {
        match vnet.gso {
            Gso::None => Self::plan_single(vnet, packet, mtu),
            _ => Self::plan_super(vnet, packet, mtu),
        }
    }

    fn plan_single(vnet: VnetHdr, packet: &[u8], mtu: usize) -> Result<Segments, SegmentError> {
        if packet.len() > mtu {
            return Err(SegmentError::TooBig { mtu });
        }
        let mut checksum = Checksum::Keep;
        if vnet.needs_csum {
            let (start, offset) = (usize::from(vnet.csum_start), usize::from(vnet.csum_offset));
            if start + offset + 2 > packet.len() {
                return Err(SegmentError::Malformed);
            }
            let known = Layout::of(packet).is_some_and(|layout| {
                (layout.plain() || !layout.v6) && start == layout.ip && offset == layout.transport.checksum_offset()
            });
            let base = word(packet, start + offset);
            checksum = if known { Checksum::Partial { base } } else { Checksum::Complete { start, offset, base } };
        }
        Ok(Segments { layout: None, checksum, total: packet.len(), size: packet.len(), count: 1 })
    }

    fn plan_super(vnet: VnetHdr, packet: &[u8], mtu: usize) -> Result<Segments, SegmentError> {
        let layout = Layout::of(packet).ok_or(SegmentError::Malformed)?;
        let (start, offset) = (layout.ip, layout.transport.checksum_offset());
        let kind = match (layout.transport, layout.v6) {
            (Transport::Tcp, false) => Gso::TcpV4,
            (Transport::Tcp, true) => Gso::TcpV6,
            (Transport::Udp, _) => Gso::Udp,
        };
        let places = (usize::from(vnet.csum_start), usize::from(vnet.csum_offset));
        let size = usize::from(vnet.gso_size);
        if kind != vnet.gso || size == 0 || (vnet.needs_csum && places != (start, offset)) {
            return Err(SegmentError::Malformed);
        }
        let payload = packet.len() - layout.header;
        if layout.header + size.min(payload) > mtu {
            return Err(SegmentError::TooBig { mtu });
        }
        let checksum = if layout.plain() || !layout.v6 {
            let (source, destination) = layout.addresses(packet);
            let protocol = layout.transport.protocol();
            Checksum::Partial { base: checksum::pseudo_header(source, destination, protocol, 0) }
        } else if vnet.needs_csum {
            // A routing header makes the pseudo-header's destination another than the packet's: only the
            // host's own sum knows it.
            let whole = ((packet.len() - start) as u16).to_be_bytes();
            let base = checksum::update_sum(word(packet, start + offset), &whole, &[0, 0]);
            Checksum::Complete { start, offset, base }
        } else {
            return Err(SegmentError::Malformed);
        };
        let count = payload.div_ceil(size).max(1);
        Ok(Segments { layout: Some(layout), checksum, total: packet.len(), size, count })
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// IP length of segment `i`; all are equal but the last, which may be shorter. Zero past the end.
    pub fn length(&self, i: usize) -> usize {
        let header = self.layout.map_or(0, |layout| layout.header);
        let payload = self.total - header;
        match i.checked_mul(self.size) {
            Some(from) if i < self.count => header + self.size.min(payload - from),
            _ => 0,
        }
    }

    /// Whether the transport checksum field of every segment holds only the sum of its pseudo-header. Then the
    /// segment is unfragmented TCP or UDP, directly after an IPv4 (with any options) or a plain IPv6 header.
    pub fn partial(&self) -> bool {
        matches!(self.checksum, Checksum::Partial { .. })
    }

    /// Writes segment `i` to the start of `out` and returns its length; zero if `i` is past the end, `out` is
    /// too small or `packet` is not the one planned.
    pub fn write(&self, packet: &[u8], i: usize, out: &mut [u8]) -> usize {
        let length = self.length(i);
        if length == 0 || out.len() < length || packet.len() != self.total {
            return 0;
        }
        let out = &mut out[..length];
        let Some(layout) = self.layout else {
            out.copy_from_slice(packet);
            self.write_checksum(out);
            return length;
        };
        let from = layout.header + i * self.size;
        let (header, payload) = out.split_at_mut(layout.header);
        header.copy_from_slice(&packet[..layout.header]);
        payload.copy_from_slice(&packet[from..from + length - layout.header]);
        let last = i + 1 == self.count;
        patch_ip(header, &layout, i, length);
        match layout.transport {
            Transport::Tcp => patch_tcp(&mut header[layout.ip..], i, i * self.size, last),
            Transport::Udp => {
                let transport = ((length - layout.ip) as u16).to_be_bytes();
                header[layout.ip + 4..layout.ip + 6].copy_from_slice(&transport);
            }
        }
        if let Checksum::Partial { base } = self.checksum {
            let at = layout.ip + layout.transport.checksum_offset();
            out[at..at + 2].copy_from_slice(&with_length(base, length - layout.ip).to_be_bytes());
        } else {
            self.write_checksum(out);
        }
        length
    }

    fn write_checksum(&self, out: &mut [u8]) {
        let Checksum::Complete { start, offset, base } = self.checksum else {
            return;
        };
        let base = if self.layout.is_some() { with_length(base, out.len() - start) } else { base };
        let at = start + offset;
        out[at..at + 2].copy_from_slice(&base.to_be_bytes());
        // Zero means "none" in UDP; both stand for the same sum, so no protocol minds.
        let complete = match !checksum::sum(&out[start..], 0) {
            0 => 0xffff,
            complete => complete,
        };
        out[at..at + 2].copy_from_slice(&complete.to_be_bytes());
    }
}

fn with_length(base: u16, length: usize) -> u16 {
    checksum::sum(&(length as u16).to_be_bytes(), base)
}

fn patch_ip(header: &mut [u8], layout: &Layout, i: usize, length: usize) {
    if layout.v6 {
        header[4..6].copy_from_slice(&((length - 40) as u16).to_be_bytes());
        return;
    }
    let id = word(header, 4).wrapping_add(i as u16);
    header[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    header[4..6].copy_from_slice(&id.to_be_bytes());
    header[10..12].fill(0);
    let complete = !checksum::sum(&header[..layout.ip], 0);
    header[10..12].copy_from_slice(&complete.to_be_bytes());
}

fn patch_tcp(tcp: &mut [u8], i: usize, offset: usize, last: bool) {
    let sequence = long(tcp, 4).wrapping_add(offset as u32);
    tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
    if i > 0 {
        tcp[13] &= !CWR;
    }
    if !last {
        tcp[13] &= !(FIN | PSH);
    }
}
