//! When probes go out and what comes of them: the joint between `probe` (bytes), `measure` (counts) and `path` (choice).

use crate::event::Outbox;
use crate::node::Node;
use crate::probe::{Probe, MOST, PATHS};
use crate::session::PeerKey;
use crate::transmit::Over;
use crate::wire::{Header, Kind, OVERHEAD};
use braid_packet::{Sink, Time};

/// A path that was not heard for this long is replaced: two probes in a row are missing.
const FRESH: u64 = 230 * Time::MILLISECOND;
const HEARD: u64 = Time::SECOND;
/// Probes to a neighbour whose probes are answered go out by the clock when none of its own came for so long.
const UNASKED: u64 = 150 * Time::MILLISECOND;
/// A probe is not answered when one went out so lately: it answers that one itself.
const APART: u64 = 50 * Time::MILLISECOND;

impl<O: Outbox> Node<O> {
    /// One in each lane: to a neighbour, or the same one on every path to an end-to-end peer, spare ones too.
    pub(crate) fn send_probes(&mut self, key: PeerKey, now: Time, sink: &mut impl Sink) {
        let slots = self.net.sessions.peer(key).map_or(0, |peer| peer.lanes.len());
        for slot in 0..slots {
            self.send_probe(key, slot, now, sink);
        }
    }

    /// The same at a tick: where probes answer the neighbour's and those come, there is nothing to do.
    pub(crate) fn send_due_probes(&mut self, key: PeerKey, now: Time, sink: &mut impl Sink) {
        let answers = key.1 && self.net.links.numbered(key.0).is_some_and(|neighbour| neighbour.answers);
        let slots = self.net.sessions.peer(key).map_or(0, |peer| peer.lanes.len());
        for slot in 0..slots {
            let lane = self.net.sessions.peer(key).and_then(|peer| peer.lanes.get(slot));
            let asked = lane.and_then(|lane| lane.clock).is_some_and(|(_, at)| now.since(at) < UNASKED);
            if !(answers && asked) {
                self.send_probe(key, slot, now, sink);
            }
        }
    }

    pub(crate) fn answer_probes(&mut self, now: Time, sink: &mut impl Sink) {
        while let Some((key, slot)) = self.unanswered.pop() {
            self.send_probe(key, slot, now, sink);
        }
    }

    fn send_probe(&mut self, key: PeerKey, slot: usize, now: Time, sink: &mut impl Sink) {
        let mut copies = [0; PATHS];
        let mut probe = Probe { clock: now.0, ..Probe::default() };
        self.choose_paths(key, slot, now, &mut probe, &mut copies);
        if probe.sent == 0 {
            return;
        }
        let Some(lane) = self.net.sessions.peer_mut(key).lanes.get_mut(slot) else { return };
        if let Some((clock, at)) = lane.clock {
            (probe.echo, probe.kept) = (clock, now.since(at));
        }
        (probe.heard, probe.fresh) = (lane.heard_paths(HEARD, now), lane.heard_paths(FRESH, now));
        (lane.told_fresh, lane.probed) = (probe.fresh, Some(now));
        lane.inbound.report(&mut probe);
        probe.number = lane.outbound.send(probe.sent, |path| copies[path]);
        if !key.1 {
            self.tell_copies(key, slot, now, &mut probe);
        }
        let mut bytes = [0; MOST];
        let length = probe.encode(&mut bytes);
        self.net.send_sealed(key, slot, Kind::Keepalive, Over::Candidates, &bytes[..length], sink);
        let copies = u64::from(probe.sent.count_ones());
        self.probes = (self.probes.0 + copies, self.probes.1 + copies * (length + OVERHEAD) as u64);
    }

    /// The paths that a probe can take now, and the copies sent on each, this one included.
    fn choose_paths(&mut self, key: PeerKey, slot: usize, now: Time, probe: &mut Probe, copies: &mut [u32; PATHS]) {
        let (number, adjacent) = key;
        let links = &mut self.net.links;
        if adjacent {
            if let Some(neighbour) = links.numbered(number).filter(|n| n.hop_tx.is_some()) {
                copies[0] = neighbour.slot_tx.get(slot).copied().unwrap_or(0).wrapping_add(1);
                (probe.sent, probe.used) = (1, 1);
            }
            return;
        }
        let Some((_, session)) = self.net.sessions.current(key) else { return };
        let lane = usize::from(session.lanes.lane(slot));
        for path in self.net.paths.candidates(number) {
            if links.numbered(path.first_hop).is_some_and(|n| n.hop_tx.is_some()) {
                copies[usize::from(path.id)] = path.lane_sent[lane % path.lane_sent.len()].wrapping_add(1);
                probe.sent |= 1 << path.id;
                path.since.get_or_insert(now);
            }
        }
        probe.used = self.net.paths.used(number);
    }

    /// Tells peers at once whose paths have fallen silent since the last probe. Returns when to look again at the latest.
    pub(crate) fn report_silence(&mut self, now: Time, sink: &mut impl Sink) -> Time {
        let mut next = now.after(FRESH);
        let mut silent = Vec::new();
        for (&key, peer) in self.net.sessions.peers().filter(|((_, adjacent), _)| !adjacent) {
            for (slot, lane) in peer.lanes.iter().enumerate() {
                if lane.told_fresh & !lane.heard_paths(FRESH, now) != 0 {
                    silent.push((key, slot));
                }
                let heard = lane.arrivals.iter().flatten().map(|arrival| arrival.heard.after(FRESH));
                next = heard.filter(|&at| at > now).fold(next, Time::min);
            }
        }
        for (key, slot) in silent {
            self.send_probe(key, slot, now, sink);
        }
        next
    }

    /// The first copy of a peer's probe, with the time and that of its arrival.
    #[cold]
    pub(crate) fn receive_probe(
        &mut self,
        key: PeerKey,
        slot: usize,
        header: &Header,
        payload: &[u8],
        (now, at): (Time, Time),
    ) {
        let (number, adjacent) = key;
        let Some(probe) = Probe::decode(payload) else {
            self.net.drops.count("probe_malformed");
            return;
        };
        let session_lanes = self.net.sessions.current(key).map_or(1, |(_, session)| session.lanes.total());
        let through_link = self.net.links.numbered(number).and_then(|n| n.slot_rx.get(slot).copied()).unwrap_or(0);
        let peer = self.net.sessions.peer_mut(key);
        let Some(lane) = peer.lanes.get_mut(slot) else { return };
        let received = if adjacent { u64::from(through_link) } else { lane.received_on(header.path) };
        lane.inbound.first(&probe, header.sequence, header.path, received, at);
        if probe.ask || probe.copies.is_some() {
            self.receive_copies(key, slot, header.receiver, &probe, now);
        }
        let peer = self.net.sessions.peer_mut(key);
        let Some(lane) = peer.lanes.get_mut(slot) else { return };
        if lane.clock.is_some_and(|(newest, _)| probe.clock < newest) {
            return;
        }
        lane.clock = Some((probe.clock, at));
        (lane.reported, lane.fresh) = (Some(probe.heard), Some(probe.fresh));
        lane.outbound.receive(&probe, at);
        if probe.heard != 0 {
            lane.acknowledged = Some(now);
        } else if session_lanes > 1 && !self.greet.contains(&key) {
            self.greet.push(key);
        }
        if adjacent {
            if let Some(neighbour) = self.net.links.numbered(number) {
                neighbour.rtt = probe.round_trip(at.0).or(neighbour.rtt);
                neighbour.heard = Some(now);
                if neighbour.answers && lane.probed.is_none_or(|at| now.since(at) >= APART) {
                    self.unanswered.push((key, slot));
                }
            }
        } else if let Some(fresh) = peer.fresh() {
            self.net.paths.judge(number, fresh, now);
        }
    }
}
