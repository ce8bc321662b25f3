//! What a node does without being asked: probes, noticing silence, giving up holes, dropping what is too old.

use crate::event::{Event, Outbox};
use crate::node::Node;
use crate::receive::Delivery;
use crate::role::connections::Standing;
use crate::window::MOST_OF_NODE;
use braid_packet::{Sink, Time, VnetHdr};

/// Probes go out at every tick.
pub(crate) const TICK: u64 = 100 * Time::MILLISECOND;
/// A tick comes up to this much early or late, so that the probes of many nodes do not beat in time.
pub(crate) const JITTER: u64 = 10 * Time::MILLISECOND;
/// Without packets of its host for so long a node is at rest, if it has so many neighbours. An intermediate never is: what
/// it kept back would count as delay of a path.
pub(crate) const REST: u64 = 2 * Time::SECOND;
pub(crate) const MANY: usize = 10;
/// Clients of lost connections that are asked at a tick; a gateway resets no more than 10,000 a second.
const MOST_ASKED: usize = 1000;

/// Ten missed probes of a neighbour, seven of an end-to-end peer on each of its paths.
pub(crate) fn silence(adjacent: bool) -> u64 {
    match adjacent {
        true => Time::SECOND,
        false => 700 * Time::MILLISECOND,
    }
}

impl<O: Outbox> Node<O> {
    pub(crate) fn tick(&mut self, now: Time, sink: &mut impl Sink) {
        self.ticks += 1;
        let mut alive = Vec::new();
        for (&key, peer) in self.net.sessions.peers_mut() {
            if !key.1 {
                peer.lanes.iter_mut().for_each(|lane| lane.detect_latent_errors(now));
            }
            if peer.current.is_some() {
                alive.push(key);
            }
        }
        for key in alive {
            self.send_due_probes(key, now, sink);
        }
        let links = &mut self.net.links;
        self.net.sessions.expire(now, |(peer, adjacent), epoch| {
            if let Some(neighbour) = links.numbered(peer).filter(|_| adjacent) {
                neighbour.forget(epoch);
            }
        });
        let (outbox, mut windows) = (&mut self.outbox, 0);
        self.net.sessions.each(|session, peer| {
            for (slot, lane) in session.received.iter_mut() {
                lane.recovery.mark();
                if let Some(hearing) = peer.lanes.get_mut(slot).filter(|_| session.retired.is_none()) {
                    lane.handle_timeout(hearing, now);
                }
                windows += lane.recovery.bits() / 8;
            }
            if session.sealer.is_worn() && !session.rekey_asked && session.retired.is_none() {
                session.rekey_asked = true;
                let (peer, adjacent) = session.key;
                outbox.event(Event::Rekey { peer, adjacent });
            }
        });
        self.window_spare = (MOST_OF_NODE / usize::from(self.place.count())).saturating_sub(windows);
        if let Some(edge) = &mut self.edge {
            let sessions = &self.net.sessions;
            edge.handle_timeout(now, |gateway| {
                let key = (gateway, false);
                Standing { usable: sessions.usable(key), boot: sessions.boot(key) }
            });
            for _ in 0..MOST_ASKED {
                match edge.ask(&mut self.icmp) {
                    Some(()) => sink.tun(VnetHdr::default(), &[&self.icmp]),
                    None => break,
                }
            }
            if self.ticks % 600 == 0 {
                edge.expire(now);
            }
        }
        if self.ticks % 10 == 0 {
            self.steering.expire(now);
            self.refusing.expire(now);
        }
        if self.ticks % 10 == 0 && !self.owners.is_empty() {
            match self.owners.expire(now) {
                0 => {}
                lost => self.net.drops.add("hold_expired", lost as u64),
            }
        }
        match self.pieces.expire(now) {
            0 => {}
            lost => self.net.drops.add("fragments_expired", lost as u64),
        }
    }

    /// Peers that have been silent for too long are down. Returns when the next one will be if it stays silent.
    pub(crate) fn detect_silence(&mut self, now: Time) -> Option<Time> {
        let mut next: Option<Time> = None;
        for (&(peer, adjacent), state) in self.net.sessions.peers_mut().filter(|(_, state)| state.up) {
            match state.silent_from(silence(adjacent)).filter(|&from| from > now) {
                Some(from) => next = Some(next.map_or(from, |next| next.min(from))),
                None => {
                    state.up = false;
                    self.outbox.event(Event::Down { peer, adjacent });
                }
            }
        }
        next
    }

    /// Holes whose time is over: what waits behind them goes out now.
    pub(crate) fn release_held(&mut self, now: Time, deliveries: &mut Vec<Delivery>) {
        let sessions = &mut self.net.sessions;
        self.holding.retain(|&(index, slot)| {
            let Some(session) = sessions.get_mut(index) else { return false };
            let Some(lane) = session.received.get_mut(slot) else { return false };
            lane.wait = lane.skew.wait(now);
            while lane.order.handle_timeout(now, lane.wait) {
                while let Some(held) = lane.order.ready() {
                    deliveries.push(Delivery::Held { held, peer: session.key.0, session: index, slot });
                }
            }
            lane.order.next_timeout(0).is_some()
        });
    }
}
