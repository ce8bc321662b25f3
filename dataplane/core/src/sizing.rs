//! When probes of size go out and what comes of them: the joint between `size_probe` (bytes), `mtu` (search) and `path`
//! (choice). Each shard finds out for itself, in its first lane.

use crate::event::Outbox;
use crate::mtu::BASE;
use crate::node::Node;
use crate::path::Health;
use crate::sequence::Seen;
use crate::size_probe::{SizeProbe, What};
use crate::wire::{Header, HEADER, OVERHEAD};
use braid_packet::{Sink, Time};
use std::net::SocketAddr;

/// Probes that go out at once at most: a node with very many paths must not fill its own link with them.
const AT_ONCE: usize = 8;
/// Then the next ones.
const PAUSE: u64 = Time::MILLISECOND;

impl<O: Outbox> Node<O> {
    /// Gives every search its time. Returns when the next one wants it.
    pub(crate) fn probe_sizes(&mut self, now: Time, sink: &mut impl Sink) -> Time {
        let mut next = Time(u64::MAX);
        let mut due = Vec::new();
        let places = self.net.paths.places();
        for place in 0..places {
            let index = (self.sizing_from + place) % places;
            if due.len() >= AT_ONCE {
                self.sizing_from = index;
                next = next.min(now.after(PAUSE));
                break;
            }
            let Some((peer, first_hop)) = self.net.paths.probed(index) else { continue };
            let usable = self.net.sessions.current((peer, false)).is_some()
                && self.net.links.numbered(first_hop).is_some_and(|neighbour| neighbour.hop_tx.is_some());
            if !usable {
                continue;
            }
            self.net.paths.search(index, |path| {
                if std::mem::take(&mut path.longest_sent) > usize::from(BASE) + OVERHEAD {
                    path.search.carried_large();
                }
                if path.health == Health::Silent {
                    path.search.pause(now);
                } else {
                    path.search.handle_timeout(now, |number, size| {
                        let probe = SizeProbe { what: What::Probe, path: path.id, size, number };
                        due.push((path.peer, probe));
                    });
                }
                next = next.min(path.search.next_timeout());
            });
        }
        for (peer, probe) in due {
            self.send_size_probe(peer, 0, 1 << probe.path, &probe, sink);
        }
        next
    }

    fn send_size_probe(&mut self, peer: u16, slot: usize, on: u16, probe: &SizeProbe, sink: &mut impl Sink) {
        self.net.send_aside(peer, slot, on, probe.length(), |out| probe.encode(out), sink);
    }

    /// Evidence that nobody else can have made up: the first link of these paths does not carry so much.
    #[cold]
    pub(crate) fn refused_by_host(&mut self, to: SocketAddr, length: usize, now: Time) {
        let links = &mut self.net.links;
        let Some(number) = links.at(&to).and_then(|(index, _)| links.get_mut(index)).map(|first| first.number) else {
            return;
        };
        let size = u16::try_from(length.saturating_sub(OVERHEAD)).unwrap_or(u16::MAX);
        for index in 0..self.net.paths.places() {
            if self.net.paths.probed(index).is_some_and(|(_, first_hop)| first_hop == number) {
                self.net.paths.search(index, |path| path.search.receive_refusal(size, now));
                self.next_sizing = now;
            }
        }
    }

    /// A datagram that is numbered aside came from a peer.
    #[cold]
    pub(crate) fn receive_aside(&mut self, header: &Header, datagram: &mut [u8], now: Time, sink: &mut impl Sink) {
        let Some((session, heard)) = self.net.sessions.both(header.receiver) else {
            self.net.drops.count("no_such_session");
            return;
        };
        let (peer, adjacent) = session.key;
        if header.epoch != session.local_epoch {
            session.rogue += 1;
            self.net.drops.count("epoch");
            return;
        }
        let slot = session.lanes.slot(header.lane());
        if adjacent || slot >= session.lanes.slots() {
            self.net.drops.count("wrong_session");
            return;
        }
        if header.position() == 0 {
            session.tagless += 1;
            self.net.drops.count("tagless");
            return;
        }
        let known = session.received.get(slot).map_or(Seen::New, |lane| lane.aside.seen(header.position()));
        if known != Seen::New {
            // The answers of a probe are copies, the probe itself is not.
            return;
        }
        let Some(length) = session.opener.open(datagram, header.sequence) else {
            session.aead_failures += 1;
            self.net.drops.count("aead");
            return;
        };
        if session.received.get(slot).is_none() {
            session.received.begin(slot, heard.lanes.get(slot).map(|hearing| hearing.window));
        }
        let Some(lane) = session.received.get_mut(slot) else { return };
        lane.aside.commit(header.position());
        if !session.confirmed {
            self.confirm(header.receiver, now);
        }
        match SizeProbe::decode(&datagram[HEADER..HEADER + length]) {
            Some(probe) if probe.what == What::Probe => {
                let answer = SizeProbe { what: What::Answer, ..probe };
                self.send_size_probe(peer, slot, u16::MAX, &answer, sink);
            }
            Some(answer) => {
                if let Some(index) = self.net.paths.index(peer, answer.path) {
                    self.net.paths.search(index, |path| path.search.receive_answer(answer.number, now));
                    self.next_sizing = now;
                }
            }
            None => self.net.drops.count("size_malformed"),
        }
    }
}
