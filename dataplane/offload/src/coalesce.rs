//! Joining packets of one flow into super-packets for one TUN write: software GRO.
//!
//! A super-packet carries NEEDS_CSUM, so the host completes the checksums of what it cuts from it. A packet with
//! a complete checksum is therefore verified before it is joined: a corrupted one must not get a valid checksum
//! on the way.

use crate::layout::{long, word, Layout, Transport, TCP, UDP};
use braid_packet::{checksum, Gso, Sink, VnetHdr};

/// Most packets in one super-packet: UDP_MAX_SEGMENTS before Linux 6.9.
pub const MAX_SEGMENTS: usize = 64;

const MAX_LENGTH: usize = 65_535;
const MAX_HEADER: usize = 40 + 60;
const MAX_OPEN: usize = 16;
const NONE: u32 = u32::MAX;

const DONT_FRAGMENT: u16 = 0x4000;
const ACK: u8 = 0x10;
const PSH: u8 = 0x08;

/// A complete IP packet to be delivered to the host.
#[derive(Clone, Copy, Debug)]
pub struct Delivered<'a> {
    pub bytes: &'a [u8],
    /// Its transport checksum field holds only the sum of the pseudo-header (`Segments::partial`).
    pub partial: bool,
}

/// Which super-packets the host's TUN takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub tcp: bool,
    pub udp: bool,
}

/// Packets that leave together: a chain through `Coalescer::next`.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: u32,
    last: u32,
    count: usize,
    /// IP length of the whole.
    length: usize,
    /// Of the first packet; `None` if it can only go alone.
    layout: Option<Layout>,
    /// Whether the first packet's checksum is known to be right.
    verified: bool,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    fingerprint: u64,
    run: u32,
}

/// What a packet may do with the open run of its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Join it, or start the next one.
    Candidate(Layout),
    /// End it.
    Barrier(Layout),
    /// Nothing: it belongs to no TCP or UDP flow.
    Stranger,
    /// End all: its flow is not cheap to know (fragments, extension headers, disagreeing lengths).
    Odd,
}

/// Scratch space for `deliver`, kept between calls so that none allocates.
#[derive(Debug, Default)]
pub struct Coalescer {
    runs: Vec<Run>,
    next: Vec<u32>,
    open: Vec<Open>,
}

impl Coalescer {
    pub fn new() -> Coalescer {
        Coalescer::default()
    }

    /// Hands `packets` (in delivery order) to `sink.tun`, joined where nothing but the number of packets changes.
    /// The order within each flow stays; flows leave in the order of their first packets.
    pub fn deliver(&mut self, packets: &[Delivered<'_>], limits: Limits, sink: &mut impl Sink) {
        self.runs.clear();
        self.next.clear();
        self.open.clear();
        for (index, packet) in packets.iter().enumerate() {
            self.next.push(NONE);
            self.place(packets, index as u32, classify(packet.bytes, limits));
        }
        for run in &self.runs {
            if run.count == 1 {
                emit_single(packets[run.first as usize], sink);
            } else {
                self.emit_joined(packets, run, sink);
            }
        }
    }

    fn place(&mut self, packets: &[Delivered<'_>], index: u32, kind: Kind) {
        let packet = packets[index as usize];
        let layout = match kind {
            Kind::Candidate(layout) | Kind::Barrier(layout) => layout,
            Kind::Stranger => {
                self.start(index, packet, None);
                return;
            }
            Kind::Odd => {
                self.open.clear();
                self.start(index, packet, None);
                return;
            }
        };
        let fingerprint = fingerprint(packet.bytes, &layout);
        let slot = self.open.iter().position(|open| {
            open.fingerprint == fingerprint
                && self
                    .runs
                    .get(open.run as usize)
                    .is_some_and(|run| same_flow(packets[run.first as usize].bytes, packet.bytes, &layout))
        });
        if matches!(kind, Kind::Barrier(_)) {
            if let Some(slot) = slot {
                self.open.swap_remove(slot);
            }
            self.start(index, packet, None);
            return;
        }
        if let Some(slot) = slot {
            let run = self.open[slot].run as usize;
            if self.join(packets, run, index, &layout) {
                if closes(packets, &self.runs[run]) {
                    self.open.swap_remove(slot);
                }
                return;
            }
            self.open.swap_remove(slot);
        }
        let run = self.start(index, packet, Some(layout));
        if closes(packets, &self.runs[run as usize]) {
            return;
        }
        if self.open.len() == MAX_OPEN {
            self.open.remove(0);
        }
        self.open.push(Open { fingerprint, run });
    }

    fn start(&mut self, index: u32, packet: Delivered<'_>, layout: Option<Layout>) -> u32 {
        self.runs.push(Run {
            first: index,
            last: index,
            count: 1,
            length: packet.bytes.len(),
            layout,
            verified: packet.partial,
        });
        (self.runs.len() - 1) as u32
    }

    fn join(&mut self, packets: &[Delivered<'_>], run: usize, index: u32, layout: &Layout) -> bool {
        let run = &mut self.runs[run];
        let packet = packets[index as usize];
        let first = packets[run.first as usize];
        let last = packets[run.last as usize];
        let payload = packet.bytes.len() - layout.header;
        let fits = run.layout.as_ref() == Some(layout)
            && run.count < MAX_SEGMENTS
            && run.length + payload <= MAX_LENGTH
            && packet.bytes.len() <= first.bytes.len()
            && continues(first.bytes, last.bytes, packet.bytes, layout, run.length);
        if !fits {
            return false;
        }
        run.verified = run.verified || checksum_valid(first.bytes, layout);
        if !run.verified || !(packet.partial || checksum_valid(packet.bytes, layout)) {
            return false;
        }
        self.next[run.last as usize] = index;
        run.last = index;
        run.count += 1;
        run.length += payload;
        true
    }

    fn emit_joined(&self, packets: &[Delivered<'_>], run: &Run, sink: &mut impl Sink) {
        let Some(layout) = run.layout else { return };
        let first = packets[run.first as usize].bytes;
        let mut buffer = [0; MAX_HEADER];
        let header = &mut buffer[..layout.header];
        header.copy_from_slice(&first[..layout.header]);
        patch(header, packets[run.last as usize].bytes, &layout, run.length);
        let mut parts: [&[u8]; 1 + MAX_SEGMENTS] = [&[]; 1 + MAX_SEGMENTS];
        parts[0] = header;
        let mut index = run.first;
        for part in &mut parts[1..=run.count] {
            *part = packets.get(index as usize).map_or(&[], |p| &p.bytes[layout.header..]);
            index = self.next.get(index as usize).copied().unwrap_or(NONE);
        }
        let gso = match (layout.transport, layout.v6) {
            (Transport::Tcp, false) => Gso::TcpV4,
            (Transport::Tcp, true) => Gso::TcpV6,
            (Transport::Udp, _) => Gso::Udp,
        };
        let vnet = VnetHdr {
            gso,
            hdr_len: layout.header as u16,
            gso_size: (first.len() - layout.header) as u16,
            ..partial_header(&layout)
        };
        sink.tun(vnet, &parts[..=run.count]);
    }
}

fn partial_header(layout: &Layout) -> VnetHdr {
    VnetHdr {
        needs_csum: true,
        csum_start: layout.ip as u16,
        csum_offset: layout.transport.checksum_offset() as u16,
        ..VnetHdr::default()
    }
}

fn emit_single(packet: Delivered<'_>, sink: &mut impl Sink) {
    // A partial packet that does not look like one goes out as it is, for the receiver's checksum to refuse.
    let vnet = match Layout::of(packet.bytes) {
        Some(layout) if packet.partial => partial_header(&layout),
        _ => VnetHdr::default(),
    };
    sink.tun(vnet, &[packet.bytes]);
}

fn classify(packet: &[u8], limits: Limits) -> Kind {
    let Some(layout) = Layout::of(packet) else {
        return without_layout(packet);
    };
    let enabled = match layout.transport {
        Transport::Tcp => limits.tcp,
        Transport::Udp => limits.udp,
    };
    if !layout.plain() {
        return Kind::Odd;
    }
    if !enabled || packet.len() == layout.header {
        return Kind::Barrier(layout);
    }
    if !layout.v6 && (word(packet, 6) & !DONT_FRAGMENT != 0 || checksum::sum(&packet[..20], 0) != 0xffff) {
        return Kind::Barrier(layout);
    }
    let joinable = match layout.transport {
        // Reserved bits and every flag but ACK and PSH mean something that one segment only must carry.
        Transport::Tcp => packet[layout.ip + 12] & 0x0f == 0 && packet[layout.ip + 13] & !PSH == ACK,
        // Zero: the sender computed no checksum, and none must appear.
        Transport::Udp => word(packet, layout.ip + 6) != 0,
    };
    if joinable {
        Kind::Candidate(layout)
    } else {
        Kind::Barrier(layout)
    }
}

/// Kind of a packet that is not one whole TCP or UDP packet.
fn without_layout(packet: &[u8]) -> Kind {
    match packet.first().map(|first| first >> 4) {
        Some(4) if packet.len() >= 20 && word(packet, 6) & 0x3fff == 0 => match packet[9] {
            TCP | UDP => Kind::Odd,
            _ => Kind::Stranger,
        },
        Some(6) if packet.len() >= 40 => match packet[6] {
            TCP | UDP => Kind::Odd,
            // Extension headers (RFC 8200, 4302, 6275, 7401, 5533), behind which TCP or UDP may be.
            0 | 43 | 44 | 51 | 60 | 135 | 139 | 140 => Kind::Odd,
            _ => Kind::Stranger,
        },
        _ => Kind::Odd,
    }
}

/// Few bits of the flow's identity; only ever a shortcut before `same_flow`.
fn fingerprint(packet: &[u8], layout: &Layout) -> u64 {
    let ports = u64::from(long(packet, layout.ip)) << 16;
    let (source, destination) = if layout.v6 { (20, 36) } else { (12, 16) };
    let addresses = u64::from(long(packet, source)).wrapping_mul(31) ^ u64::from(long(packet, destination));
    addresses ^ ports ^ u64::from(layout.transport.protocol())
}

/// Same version, protocol, addresses and ports.
fn same_flow(a: &[u8], b: &[u8], layout: &Layout) -> bool {
    let protocol = if layout.v6 { 6 } else { 9 };
    let ports = layout.ip..layout.ip + 4;
    a[0] >> 4 == b[0] >> 4
        && a.len() >= ports.end
        && a[protocol] == b[protocol]
        && layout.addresses(a) == layout.addresses(b)
        && a[ports.clone()] == b[ports]
}

/// Whether `packet` would come out of the super-packet again exactly as it went in. All have the same layout and
/// flow; `length` is the IP length joined so far.
fn continues(first: &[u8], last: &[u8], packet: &[u8], layout: &Layout, length: usize) -> bool {
    let ip = if layout.v6 {
        // Version, traffic class, flow label; next header and hop limit.
        first[..4] == packet[..4] && first[6..8] == packet[6..8]
    } else {
        // The ID of an atomic datagram (DF) means nothing (RFC 6864).
        let id = word(packet, 6) & DONT_FRAGMENT != 0 || word(packet, 4) == word(last, 4).wrapping_add(1);
        id && first[..2] == packet[..2] && first[6..10] == packet[6..10]
    };
    if !ip || layout.transport == Transport::Udp {
        return ip;
    }
    let (a, b) = (&first[layout.ip..layout.header], &packet[layout.ip..layout.header]);
    let joined = (length - layout.header) as u32;
    // Acknowledgement, header length, window, urgent pointer, options; only PSH may differ.
    long(b, 4) == long(a, 4).wrapping_add(joined)
        && a[8..13] == b[8..13]
        && a[13] | PSH == b[13] | PSH
        && a[14..16] == b[14..16]
        && a[18..] == b[18..]
}

/// Whether nothing may follow the run's last packet: it is shorter than the first, or pushed.
fn closes(packets: &[Delivered<'_>], run: &Run) -> bool {
    let (first, last) = (packets[run.first as usize].bytes, packets[run.last as usize].bytes);
    let pushed = run.layout.is_some_and(|layout| layout.transport == Transport::Tcp && last[layout.ip + 13] & PSH != 0);
    pushed || last.len() < first.len()
}

fn checksum_valid(packet: &[u8], layout: &Layout) -> bool {
    let (source, destination) = layout.addresses(packet);
    let protocol = layout.transport.protocol();
    let start = checksum::pseudo_header(source, destination, protocol, packet.len() - layout.ip);
    checksum::sum(&packet[layout.ip..], start) == 0xffff
}

/// Turns the first packet's header into that of the super-packet of `length` bytes which ends in `last`.
fn patch(header: &mut [u8], last: &[u8], layout: &Layout, length: usize) {
    let transport_length = length - layout.ip;
    if layout.v6 {
        header[4..6].copy_from_slice(&((length - 40) as u16).to_be_bytes());
    } else {
        header[2..4].copy_from_slice(&(length as u16).to_be_bytes());
        header[10..12].fill(0);
        let complete = !checksum::sum(&header[..layout.ip], 0);
        header[10..12].copy_from_slice(&complete.to_be_bytes());
    }
    match layout.transport {
        Transport::Tcp => header[layout.ip + 13] |= last[layout.ip + 13] & PSH,
        Transport::Udp => {
            header[layout.ip + 4..layout.ip + 6].copy_from_slice(&(transport_length as u16).to_be_bytes());
        }
    }
    let (source, destination) = layout.addresses(header);
    let sum = checksum::pseudo_header(source, destination, layout.transport.protocol(), transport_length);
    let at = layout.ip + layout.transport.checksum_offset();
    header[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}
