//! Sending: a packet is cut, sealed once into the slab, and sent once per path with only the hop headers rewritten.

use crate::drops::Drops;
use crate::handshake::Message;
use crate::link::{Links, Neighbour};
use crate::path::Paths;
use crate::seal::{SealError, Sealer};
use crate::session::{PeerKey, Sessions};
use crate::shard::Place;
use crate::wire::{Header, Kind, Route, HEADER, OVERHEAD, TTL};
use braid_offload::{SegmentError, Segments};
use braid_packet::{Sink, Time, VnetHdr};

/// UDP_SEGMENT's limits: segments and payload bytes of one call, the smaller one of the two address families.
const MOST_SEGMENTS: usize = 64;
const MOST_BYTES: usize = 65_487;
/// Largest control message.
pub const MOST_CONTROL: usize = 1100;

/// All that sending needs, apart from what a role knows.
pub struct Net {
    pub links: Links,
    pub sessions: Sessions,
    pub paths: Paths,
    pub drops: Drops,
    /// Inner MTU.
    pub mtu: usize,
    slab: Vec<u8>,
    pending: Option<Pending>,
    /// For messages of our own.
    small: Vec<u8>,
    handshakes: u64,
}

/// Sealed datagrams of one drain that lie in the slab, back to back, to be sent together.
struct Pending {
    peer: u16,
    copies: u8,
    slot: usize,
    lane: u8,
    segment: usize,
    used: usize,
}

impl Pending {
    /// May a datagram of `length` for this peer's lane follow? All are as long as the first, only the last may be shorter.
    fn takes(&self, peer: u16, copies: u8, slot: usize, length: usize) -> bool {
        (self.peer, self.copies, self.slot) == (peer, copies, slot)
            && length <= self.segment
            && self.used % self.segment == 0
            && self.used + length <= MOST_BYTES
            && self.used / self.segment < MOST_SEGMENTS
    }
}

impl Net {
    pub fn new(mtu: usize, place: Place) -> Net {
        Net {
            links: Links::default(),
            sessions: Sessions::new(place),
            paths: Paths::default(),
            drops: Drops::default(),
            mtu,
            slab: vec![0; 65_536],
            pending: None,
            small: vec![0; 2048],
            handshakes: 0,
        }
    }

    /// One inner (super-)packet of a flow to an end-to-end peer. `Err` only when a segment exceeds the MTU: its sender is to be told.
    pub fn send_packet(
        &mut self,
        peer: u16,
        copies: u8,
        flow: u32,
        vnet: VnetHdr,
        packet: &[u8],
        sink: &mut impl Sink,
    ) -> Result<(), SegmentError> {
        let Some((_, session)) = self.sessions.current((peer, false)) else {
            self.drops.count("no_session");
            return Ok(());
        };
        let plan = match Segments::plan(vnet, packet, self.mtu) {
            Ok(plan) => plan,
            Err(SegmentError::Malformed) => {
                self.drops.count("segment_malformed");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let kind = if plan.partial() { Kind::DataPartial } else { Kind::Data };
        let header = session_header(kind, session.remote_epoch, session.remote_index);
        let slot = session.lanes.slot_of(flow);
        let lane = session.lanes.lane(slot);
        for i in 0..plan.count() {
            let length = plan.length(i) + OVERHEAD;
            if self.pending.as_ref().is_some_and(|pending| !pending.takes(peer, copies, slot, length)) {
                self.flush(sink);
            }
            let Some((_, session)) = self.sessions.current((peer, false)) else { break };
            let pending = self.pending.get_or_insert(Pending { peer, copies, slot, lane, segment: length, used: 0 });
            let Some(datagram) = self.slab.get_mut(pending.used..pending.used + length) else { break };
            let written = plan.write(packet, i, &mut datagram[HEADER..length - 16]);
            debug_assert_eq!(written + OVERHEAD, length);
            if seal(&mut session.sealer, slot, header, datagram).is_err() {
                self.drops.count("seal");
                break;
            }
            pending.used += length;
            session.tx_bytes += length as u64;
        }
        Ok(())
    }

    /// Sends what is pending, once per path.
    pub fn flush(&mut self, sink: &mut impl Sink) {
        let Some(pending) = self.pending.take().filter(|p| p.used > 0) else { return };
        let Pending { peer, copies, lane, segment, used, .. } = pending;
        let (links, paths, drops) = (&mut self.links, &mut self.paths, &mut self.drops);
        fan_out(links, paths, drops, peer, Some(copies), lane, &mut self.slab[..used], segment, sink);
    }

    /// One small sealed message in a lane: to the neighbour, or along every path to the peer. False without a session.
    pub fn send_sealed(&mut self, key: PeerKey, slot: usize, kind: Kind, message: &[u8], sink: &mut impl Sink) -> bool {
        let length = message.len() + OVERHEAD;
        if message.len() > MOST_CONTROL {
            return false;
        }
        let Some((_, session)) = self.sessions.current(key) else { return false };
        let datagram = &mut self.small[..length];
        datagram[HEADER..length - 16].copy_from_slice(message);
        let header = session_header(kind, session.remote_epoch, session.remote_index);
        if seal(&mut session.sealer, slot, header, datagram).is_err() {
            self.drops.count("seal");
            return false;
        }
        session.tx_bytes += length as u64;
        let lane = session.lanes.lane(slot);
        match key {
            (peer, false) => fan_out(
                &mut self.links,
                &mut self.paths,
                &mut self.drops,
                peer,
                None,
                lane,
                &mut self.small[..length],
                length,
                sink,
            ),
            (peer, true) => {
                let Some(neighbour) = self.links.numbered(peer) else { return false };
                dispatch(neighbour, lane, 0, Route::default(), &mut self.small[..length], length, sink)
            }
        }
    }

    /// A handshake message, in lane 0, untagged to a neighbour, tagged along every path to an end-to-end peer.
    pub fn send_handshake(&mut self, peer: u16, adjacent: bool, message: &Message, sink: &mut impl Sink) {
        let length = HEADER + message.body.len();
        let Some(datagram) = self.small.get_mut(..length) else { return };
        self.handshakes += 1;
        let header = Header {
            kind: message.kind,
            path: 0,
            hop_epoch: 0,
            tagged: !adjacent,
            epoch: 0,
            ttl: TTL,
            receiver: message.receiver,
            sequence: self.handshakes,
            route: Route::default(),
            hop_tag: 0,
        };
        if let Some(out) = datagram.first_chunk_mut() {
            header.encode(out);
        }
        datagram[HEADER..].copy_from_slice(&message.body);
        if !adjacent {
            // Not counted as copies: a handshake belongs to no session, so the other end counts none either.
            let (links, slab) = (&mut self.links, &mut self.small[..length]);
            self.paths.each(peer, None, |path| {
                if let Some(neighbour) = links.numbered(path.first_hop) {
                    dispatch(neighbour, 0, path.id, path.route, slab, length, sink);
                }
            });
        } else if let Some(neighbour) = self.links.numbered(peer) {
            neighbour.tx_datagrams += 1;
            sink.udp(neighbour.address(0), &self.small[..length], length);
        }
    }
}

fn session_header(kind: Kind, epoch: u8, receiver: u32) -> Header {
    Header {
        kind,
        path: 0,
        hop_epoch: 0,
        tagged: true,
        epoch,
        ttl: TTL,
        receiver,
        sequence: 0,
        route: Route::default(),
        hop_tag: 0,
    }
}

fn seal(sealer: &mut Sealer, slot: usize, header: Header, datagram: &mut [u8]) -> Result<(), SealError> {
    let sequence = sealer.reserve(slot)?;
    if let Some(out) = datagram.first_chunk_mut() {
        Header { sequence, ..header }.encode(out);
    }
    sealer.seal(datagram, sequence)
}

/// Sends the same sealed datagrams along every path of a set. False when none took them.
#[allow(clippy::too_many_arguments)]
fn fan_out(
    links: &mut Links,
    paths: &mut Paths,
    drops: &mut Drops,
    peer: u16,
    copies: Option<u8>,
    lane: u8,
    datagrams: &mut [u8],
    segment: usize,
    sink: &mut impl Sink,
) -> bool {
    let count = datagrams.len().div_ceil(segment) as u64;
    let mut sent = false;
    let members = paths.each(peer, copies, |path| {
        let taken = links
            .numbered(path.first_hop)
            .is_some_and(|neighbour| dispatch(neighbour, lane, path.id, path.route, datagrams, segment, sink));
        if taken {
            path.copies_sent += count;
            path.bytes_sent += datagrams.len() as u64;
        } else {
            path.unsent += count;
        }
        sent |= taken;
    });
    if !sent {
        drops.add(if members == 0 { "no_path" } else { "no_hop_session" }, count);
    }
    sent
}

/// Rewrites the hop part of each datagram for one neighbour and sends them in one go.
pub fn dispatch(
    neighbour: &mut Neighbour,
    lane: u8,
    path: u8,
    route: Route,
    datagrams: &mut [u8],
    segment: usize,
    sink: &mut impl Sink,
) -> bool {
    let Some((key, epoch)) = &neighbour.hop_tx else { return false };
    for datagram in datagrams.chunks_mut(segment) {
        rewrite(datagram, path, *epoch, TTL, route);
        key.sign(datagram);
    }
    neighbour.tx_datagrams += datagrams.len().div_ceil(segment) as u64;
    sink.udp(neighbour.address(lane), datagrams, segment);
    true
}

/// The mutable header bytes, tag excepted.
pub fn rewrite(datagram: &mut [u8], path: u8, hop_epoch: u8, ttl: u8, route: Route) {
    datagram[1] = crate::wire::flags(path, hop_epoch, true);
    datagram[3] = ttl;
    datagram[16..24].copy_from_slice(&route.encode());
}

/// Payload of a keepalive: our clock, the peer's last stamp and how long we kept it, in nanoseconds; and the ids of the peer's
/// paths that we hear (bit 0 is path 0), so that each end learns which of its own paths arrive.
pub struct Stamp {
    pub sent: u64,
    pub echo: u64,
    pub kept: u64,
    pub paths: u16,
}

impl Stamp {
    pub const LEN: usize = 26;

    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        for (slot, value) in bytes.chunks_exact_mut(8).zip([self.sent, self.echo, self.kept]) {
            slot.copy_from_slice(&value.to_be_bytes());
        }
        bytes[24..].copy_from_slice(&self.paths.to_be_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Option<Stamp> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().ok()?;
        let word = |at: usize| bytes[at..at + 8].iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
        let paths = u16::from_be_bytes([bytes[24], bytes[25]]);
        Some(Stamp { sent: word(0), echo: word(8), kept: word(16), paths })
    }

    /// Round-trip time in nanoseconds, if the peer has seen a stamp of ours.
    pub fn round_trip(&self, now: Time) -> Option<u64> {
        (self.echo != 0).then(|| now.0.saturating_sub(self.echo).saturating_sub(self.kept))
    }
}
