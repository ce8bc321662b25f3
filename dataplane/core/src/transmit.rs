//! Sending: a packet is cut, sealed once into the slab, and sent once per path with only the hop headers rewritten.

use crate::drops::Drops;
use crate::handshake::Message;
use crate::later::Later;
use crate::link::{Links, Neighbour};
pub use crate::path::Over;
use crate::path::Paths;
use crate::seal::{SealError, Sealer};
use crate::session::{PeerKey, Sessions};
use crate::shard::Place;
use crate::wire::{position, Header, Kind, Route, HEADER, OVERHEAD, TTL};
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
    /// When this turn began.
    pub now: Time,
    slab: Vec<u8>,
    pending: Option<Pending>,
    later: Later,
    /// For messages of our own.
    small: Vec<u8>,
    handshakes: u64,
}

/// Sealed datagrams of one drain that lie in the slab, back to back, to be sent together.
struct Pending {
    peer: u16,
    set: u8,
    /// Of the session whose keys sealed them, and the first one's number in its lane.
    session: u32,
    first: u64,
    slot: usize,
    lane: u8,
    segment: usize,
    used: usize,
}

impl Pending {
    /// May a datagram of `length` in this session's lane follow? All are as long as the first, only the last may be shorter.
    fn takes(&self, set: u8, session: u32, slot: usize, length: usize) -> bool {
        (self.set, self.session, self.slot) == (set, session, slot)
            && length <= self.segment
            && self.used % self.segment == 0
            && self.used + length <= MOST_BYTES
            && self.used / self.segment < MOST_SEGMENTS
    }
}

impl Net {
    pub fn new(mtu: usize, place: Place) -> Net {
        Net {
            links: Links::new(place),
            sessions: Sessions::new(place),
            paths: Paths::new(u16::try_from(mtu).unwrap_or(u16::MAX)),
            drops: Drops::default(),
            mtu,
            now: Time(0),
            slab: vec![0; 65_536],
            pending: None,
            later: Later::default(),
            small: vec![0; 2048],
            handshakes: 0,
        }
    }

    /// One inner (super-)packet of a flow to an end-to-end peer. `Err` only when a segment exceeds the MTU: its sender is to be told.
    pub fn send_packet(
        &mut self,
        peer: u16,
        set: u8,
        flow: u32,
        vnet: VnetHdr,
        packet: &[u8],
        sink: &mut impl Sink,
    ) -> Result<(), SegmentError> {
        let Some((index, session)) = self.sessions.current((peer, false)) else {
            self.drops.count("no_session");
            return Ok(());
        };
        // What the narrowest set carries needs no look at its own.
        let plan = match Segments::plan(vnet, packet, self.paths.least_mtu()) {
            Err(SegmentError::TooBig { .. }) => Segments::plan(vnet, packet, self.paths.mtu(peer, set)),
            plan => plan,
        };
        let plan = match plan {
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
            if self.pending.as_ref().is_some_and(|pending| !pending.takes(set, index, slot, length)) {
                self.flush(sink);
            }
            let Some(session) = self.sessions.get_mut(index) else { break };
            let anew = Pending { peer, set, session: index, first: 0, slot, lane, segment: length, used: 0 };
            let pending = self.pending.get_or_insert(anew);
            let Some(datagram) = self.slab.get_mut(pending.used..pending.used + length) else { break };
            let written = plan.write(packet, i, &mut datagram[HEADER..length - 16]);
            debug_assert_eq!(written + OVERHEAD, length);
            let Ok(sequence) = seal(&mut session.sealer, slot, header, datagram) else {
                self.drops.count("seal");
                break;
            };
            if pending.used == 0 {
                pending.first = position(sequence);
            }
            pending.used += length;
            session.tx_bytes += length as u64;
        }
        Ok(())
    }

    /// Sends what is pending, once per path.
    pub fn flush(&mut self, sink: &mut impl Sink) {
        let Some(pending) = self.pending.take().filter(|p| p.used > 0) else { return };
        let Pending { peer, set, lane, segment, used, .. } = pending;
        let (links, paths, drops) = (&mut self.links, &mut self.paths, &mut self.drops);
        let datagrams = &mut self.slab[..used];
        let apart = paths.apart(peer, set).filter(|&(spread, _, others)| {
            self.later.put(self.now.after(spread), peer, others, lane, segment, datagrams)
        });
        let (over, follow) = apart.map_or((Over::Set(set), 0), |(_, first, others)| (Over::Ids(first), others));
        let on = follow | fan_out(links, paths, drops, peer, over, lane, datagrams, segment, sink);
        if self.paths.is_measured(peer) {
            let packets = used.div_ceil(segment) as u64;
            self.paths.count_sent(peer, set, packets, used as u64, on.count_ones());
            if let Some(session) = self.sessions.get_mut(pending.session) {
                session.log(pending.slot, pending.first, packets, Some(set), on);
            }
        }
    }

    /// Sends copies whose time has come.
    pub fn send_later(&mut self, sink: &mut impl Sink) {
        while let Some(mut waiting) = self.later.take(self.now) {
            let (over, lane, segment) = (Over::Ids(waiting.paths), waiting.lane, waiting.segment);
            send_on(&mut self.links, &mut self.paths, waiting.peer, over, lane, &mut waiting.datagrams, segment, sink);
            self.later.recycle(waiting);
        }
    }

    pub fn next_timeout(&self) -> Option<Time> {
        self.later.next_timeout()
    }

    /// One small sealed message in a lane: to the neighbour, or along paths to the peer. False without a session.
    pub fn send_sealed(
        &mut self,
        key: PeerKey,
        slot: usize,
        kind: Kind,
        over: Over,
        message: &[u8],
        sink: &mut impl Sink,
    ) -> bool {
        let length = message.len() + OVERHEAD;
        if message.len() > MOST_CONTROL {
            return false;
        }
        if self.pending.is_some() {
            // What is sealed leaves first, so that the numbers of a batch follow each other.
            self.flush(sink);
        }
        let Some((index, session)) = self.sessions.current(key) else { return false };
        let datagram = &mut self.small[..length];
        datagram[HEADER..length - 16].copy_from_slice(message);
        let header = session_header(kind, session.remote_epoch, session.remote_index);
        let Ok(sequence) = seal(&mut session.sealer, slot, header, datagram) else {
            self.drops.count("seal");
            return false;
        };
        session.tx_bytes += length as u64;
        let lane = session.lanes.lane(slot);
        match key {
            (peer, false) => {
                let (links, paths, drops) = (&mut self.links, &mut self.paths, &mut self.drops);
                let on = fan_out(links, paths, drops, peer, over, lane, &mut self.small[..length], length, sink);
                if over == Over::Candidates && self.paths.is_measured(peer) {
                    if let Some(session) = self.sessions.get_mut(index) {
                        session.log(slot, position(sequence), 1, None, on);
                    }
                }
                on != 0
            }
            (peer, true) => {
                let Some(neighbour) = self.links.numbered(peer) else { return false };
                dispatch(neighbour, lane, 0, Route::default(), &mut self.small[..length], length, sink)
            }
        }
    }

    /// A message numbered aside, of `length` bytes that `write` fills in, on every path that `on` names (bits). None of it
    /// counts as a copy. The bytes of the datagram; None without a session.
    pub fn send_aside(
        &mut self,
        peer: u16,
        slot: usize,
        on: u16,
        length: usize,
        write: impl FnOnce(&mut [u8]),
        sink: &mut impl Sink,
    ) -> Option<usize> {
        let length = length + OVERHEAD;
        let (_, session) = self.sessions.current((peer, false))?;
        let datagram = self.small.get_mut(..length)?;
        write(&mut datagram[HEADER..length - 16]);
        let sequence = session.sealer.reserve_aside(slot).ok()?;
        let header = session_header(Kind::Size, session.remote_epoch, session.remote_index);
        if let Some(out) = datagram.first_chunk_mut() {
            Header { sequence, ..header }.encode(out);
        }
        session.sealer.seal(datagram, sequence).ok()?;
        let lane = session.lanes.lane(slot);
        for path in self.paths.candidates(peer).filter(|path| on >> path.id & 1 == 1) {
            if let Some(neighbour) = self.links.numbered(path.first_hop) {
                if emit(neighbour, lane, path.id, path.route, datagram, length, sink) {
                    neighbour.count_sent_aside();
                }
            }
        }
        Some(length)
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
            self.paths.each(peer, Over::Widest, |path| {
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

/// Returns the sequence.
fn seal(sealer: &mut Sealer, slot: usize, header: Header, datagram: &mut [u8]) -> Result<u64, SealError> {
    let sequence = sealer.reserve(slot)?;
    if let Some(out) = datagram.first_chunk_mut() {
        Header { sequence, ..header }.encode(out);
    }
    sealer.seal(datagram, sequence)?;
    Ok(sequence)
}

/// The same, and counts packets that no path took.
#[allow(clippy::too_many_arguments)]
fn fan_out(
    links: &mut Links,
    paths: &mut Paths,
    drops: &mut Drops,
    peer: u16,
    over: Over,
    lane: u8,
    datagrams: &mut [u8],
    segment: usize,
    sink: &mut impl Sink,
) -> u16 {
    let (members, sent) = send_on(links, paths, peer, over, lane, datagrams, segment, sink);
    if sent == 0 {
        drops.add(if members == 0 { "no_path" } else { "no_hop_session" }, datagrams.len().div_ceil(segment) as u64);
    }
    sent
}

/// Sends the same sealed datagrams along every path meant. Returns how many those are, and which took them, as bits.
#[allow(clippy::too_many_arguments)]
fn send_on(
    links: &mut Links,
    paths: &mut Paths,
    peer: u16,
    over: Over,
    lane: u8,
    datagrams: &mut [u8],
    segment: usize,
    sink: &mut impl Sink,
) -> (usize, u16) {
    let count = datagrams.len().div_ceil(segment) as u64;
    let mut sent = 0;
    let members = paths.each(peer, over, |path| {
        let taken = links
            .numbered(path.first_hop)
            .is_some_and(|neighbour| dispatch(neighbour, lane, path.id, path.route, datagrams, segment, sink));
        if taken {
            path.count(lane, count);
            path.bytes_sent += datagrams.len() as u64;
            path.longest_sent = path.longest_sent.max(segment);
        } else {
            path.unsent += count;
        }
        sent |= u16::from(taken) << path.id;
    });
    (members, sent)
}

/// Rewrites the hop part of each datagram for one neighbour, sends them in one go and counts them.
pub fn dispatch(
    neighbour: &mut Neighbour,
    lane: u8,
    path: u8,
    route: Route,
    datagrams: &mut [u8],
    segment: usize,
    sink: &mut impl Sink,
) -> bool {
    let sent = emit(neighbour, lane, path, route, datagrams, segment, sink);
    if sent {
        neighbour.count_sent(lane, datagrams.len().div_ceil(segment) as u64);
    }
    sent
}

fn emit(
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
    sink.udp(neighbour.address(lane), datagrams, segment);
    true
}

/// The mutable header bytes, tag excepted.
pub fn rewrite(datagram: &mut [u8], path: u8, hop_epoch: u8, ttl: u8, route: Route) {
    datagram[1] = crate::wire::flags(path, hop_epoch, true);
    datagram[3] = ttl;
    datagram[16..24].copy_from_slice(&route.encode());
}
