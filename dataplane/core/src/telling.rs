//! What came of each packet, from one end to the other: the joint between probes and `measure`'s copies, log and tally.
//! Nothing here happens unless a set of paths is measured.

use crate::event::{Event, Losses, Outbox};
use crate::measure::{settle, Copies, Tally};
use crate::node::Node;
use crate::probe::{CopyReport, Probe, PATHS};
use crate::session::PeerKey;
use braid_packet::Time;

/// A peer that has not asked for so long wants to know no more.
const ASKED: u64 = 3 * Time::SECOND;
/// A packet whose copies are further apart than the paths differ and this is lost on the slower path.
const MARGIN: u64 = 50 * Time::MILLISECOND;

impl<O: Outbox> Node<O> {
    /// Fills in the records of a probe to an end-to-end peer.
    pub(crate) fn tell_copies(&mut self, key: PeerKey, slot: usize, now: Time, probe: &mut Probe) {
        probe.ask = self.net.paths.is_measured(key.0);
        let Some(lane) = self.net.sessions.peer_mut(key).lanes.get_mut(slot) else { return };
        let Some(asked) = lane.asked else { return };
        let patience = MARGIN + lane.inbound.skew(now).unwrap_or(0);
        let wanted = now.since(asked) < ASKED;
        if !wanted {
            lane.asked = None;
        }
        for session in self.net.sessions.with_peer(key) {
            let (epoch, retired) = (session.local_epoch, session.retired.is_some());
            let Some(lane) = session.received.get_mut(slot) else { continue };
            let highest = lane.recovery.highest();
            let Some(copies) = &mut lane.copies else { continue };
            if !wanted || (retired && copies.is_told(highest)) {
                lane.copies = None;
            } else if retired || probe.copies.is_none() {
                // The rest of replaced keys goes first; what it displaces has not been told, so it is not lost.
                probe.copies = copies.report(epoch, highest, patience, now).or(probe.copies);
            }
        }
    }

    /// The records of a peer's probe, which came in the session with this index of ours.
    pub(crate) fn receive_copies(&mut self, key: PeerKey, slot: usize, index: u32, probe: &Probe, now: Time) {
        if probe.ask {
            if let Some(lane) = self.net.sessions.peer_mut(key).lanes.get_mut(slot) {
                lane.asked = Some(now);
            }
            let session = self.net.sessions.get_mut(index);
            if let Some(lane) = session.and_then(|session| session.received.get_mut(slot)) {
                lane.copies.get_or_insert_with(|| Copies::new(lane.recovery.highest()));
            }
        }
        if let Some(report) = &probe.copies {
            self.settle(key, slot, report, now);
        }
    }

    fn settle(&mut self, key: PeerKey, slot: usize, report: &CopyReport, now: Time) {
        if !self.net.paths.is_measured(key.0) {
            return;
        }
        let Some((session, peer)) = self.net.sessions.sent_under(key, report.epoch) else { return };
        let (Some(log), Some(lane)) = (session.sent.get(slot), peer.lanes.get_mut(slot)) else { return };
        let tally = lane.tally.get_or_insert_with(|| Box::new(Tally::new(now)));
        settle(tally, log, report, now);
        if !tally.is_due(now) {
            return;
        }
        let told = tally.take(now);
        let outbound = &lane.outbound;
        let delay = |path: usize| {
            let (one_way, _) = outbound.one_way(path, &lane.inbound, now)?;
            Some((path as u8, one_way.saturating_add(4 * outbound.delay(path)?.jitter())))
        };
        let losses = Losses {
            peer: key.0,
            nanoseconds: told.nanoseconds(now),
            lost: (0..PATHS as u8).zip(told.lost).filter(|(_, lost)| *lost > 0).collect(),
            both: told.both().collect(),
            streams: told.streams,
            delays: (0..PATHS).filter_map(delay).collect(),
            sent: self.net.paths.take_sent(key.0).collect(),
        };
        self.outbox.event(Event::Losses(Box::new(losses)));
    }
}
