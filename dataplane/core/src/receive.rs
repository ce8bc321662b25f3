//! Receiving: hop tag, then forward, or seen-check, open, commit, order. What is left are inner packets to deliver.

use crate::event::{Event, Outbox};
use crate::gate::Verdict;
use crate::node::Node;
use crate::order::{Held, Offer};
use crate::sequence::Seen;
use crate::transmit::rewrite;
use crate::wire::{Header, Kind, HEADER};
use braid_packet::{Datagrams, Sink, Time};
use std::net::SocketAddr;

/// A first copy, opened and in order. It lies in the receive buffers, or was held back and has its own.
pub(crate) enum Delivery {
    InPlace { batch: usize, start: usize, length: usize, partial: bool, peer: u16 },
    Held { held: Held, peer: u16, session: u32, slot: usize },
}

/// Where a datagram goes on to: a neighbour and one of its shards.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Next {
    node: u16,
    shard: u8,
    /// Numbered aside.
    aside: bool,
}

/// Datagrams in a row that go to the same shard of a neighbour.
struct Run {
    next: Next,
    from: usize,
    to: usize,
    segment: usize,
}

impl<O: Outbox> Node<O> {
    /// Reads one batch; inner packets for this node are appended to `deliveries`.
    pub(crate) fn receive_batch(
        &mut self,
        index: usize,
        batch: &mut Datagrams<'_>,
        now: Time,
        deliveries: &mut Vec<Delivery>,
        sink: &mut impl Sink,
    ) {
        let segment = batch.segment.max(1);
        let mut run: Option<Run> = None;
        let mut start = 0;
        while start < batch.bytes.len() {
            let end = batch.bytes.len().min(start + segment);
            let forward =
                self.receive_one(index, batch.from, batch.bytes, start..end, (now, batch.at), deliveries, sink);
            run = match (run, forward) {
                (Some(mut run), Some(next)) if run.next == next && run.to == start && run.segment == segment => {
                    run.to = end;
                    Some(run)
                }
                (previous, next) => {
                    self.flush(previous, batch.bytes, sink);
                    next.map(|next| Run { next, from: start, to: end, segment })
                }
            };
            start = end;
        }
        self.flush(run, batch.bytes, sink);
    }

    fn flush(&mut self, run: Option<Run>, bytes: &[u8], sink: &mut impl Sink) {
        let Some(run) = run else { return };
        let Some(neighbour) = self.net.links.numbered(run.next.node) else { return };
        let batch = &bytes[run.from..run.to];
        let segment = run.segment.min(batch.len());
        if run.next.aside {
            neighbour.count_sent_aside();
        } else {
            neighbour.count_sent(run.next.shard, batch.len().div_ceil(segment) as u64);
        }
        sink.udp(neighbour.address(run.next.shard), batch, segment);
    }

    /// One datagram, with the time and that of its arrival. Some: it was rewritten in place and goes to that neighbour.
    #[allow(clippy::too_many_arguments)]
    fn receive_one(
        &mut self,
        index: usize,
        from: SocketAddr,
        bytes: &mut [u8],
        range: std::ops::Range<usize>,
        (now, at): (Time, Time),
        deliveries: &mut Vec<Delivery>,
        sink: &mut impl Sink,
    ) -> Option<Next> {
        let start = range.start;
        let datagram = &mut bytes[range];
        let header = match Header::decode(datagram) {
            Ok(header) => header,
            Err(error) => {
                self.net.drops.count(error.as_str());
                return None;
            }
        };
        if !self.place.carries(header.lane()) {
            self.net.drops.count("wrong_shard");
            return None;
        }
        let Some((via, from)) = self.net.links.at(&from) else {
            self.net.drops.count("unknown_source");
            return None;
        };
        let neighbour = self.net.links.get_mut(via)?;
        if !header.tagged {
            let number = neighbour.number;
            self.receive_handshake(&header, number, Some(from), &datagram[HEADER..], now, sink);
            return None;
        }
        let key = neighbour.hop_rx[usize::from(header.hop_epoch)].as_ref();
        if !key.is_some_and(|(key, _)| key.verify(datagram, header.hop_tag)) {
            self.net.drops.count("hop_tag");
            return None;
        }
        if header.kind == Kind::Size {
            neighbour.count_received_aside();
        } else {
            neighbour.count_received(header.lane());
        }
        neighbour.active = from;
        let number = neighbour.number;
        if header.route.next().is_some() {
            return self.forward(&header, number, datagram, now);
        }
        if header.kind.is_handshake() {
            self.receive_handshake(&header, number, None, &datagram[HEADER..], now, sink);
        } else if header.kind == Kind::Size {
            self.receive_aside(&header, datagram, now, sink);
        } else {
            self.receive_sealed(index, start, &header, number, datagram, (now, at), deliveries);
        }
        None
    }

    /// Relays: returns the neighbour to send to, with the datagram ready to go.
    fn forward(&mut self, header: &Header, ingress: u16, datagram: &mut [u8], now: Time) -> Option<Next> {
        let Some(relay) = &mut self.relay else {
            self.net.drops.count("not_a_relay");
            return None;
        };
        let next = header.route.next()?;
        if header.ttl <= 1 {
            self.net.drops.count("ttl");
            return None;
        }
        let Some(neighbour) = self.net.links.numbered(next) else {
            self.net.drops.count("unknown_next_hop");
            return None;
        };
        let Some((key, epoch)) = &neighbour.hop_tx else {
            self.net.drops.count("no_hop_session");
            return None;
        };
        if !relay.admit(ingress, header, now) {
            self.net.drops.count("replay");
            return None;
        }
        rewrite(datagram, header.path, *epoch, header.ttl - 1, header.route.rest());
        key.sign(datagram);
        Some(Next { node: next, shard: neighbour.shard(header.lane()), aside: header.kind == Kind::Size })
    }

    fn receive_handshake(
        &mut self,
        header: &Header,
        neighbour: u16,
        from: Option<SocketAddr>,
        body: &[u8],
        now: Time,
        sink: &mut impl Sink,
    ) {
        match self.gate.check(header.kind, header.receiver, body, neighbour, from.as_ref(), now) {
            Verdict::Pass => {
                if let Some(known) = from.and_then(|_| self.net.links.numbered(neighbour)) {
                    if let Some(from) = from {
                        // An answer has to go where the question came from.
                        known.active = from;
                    }
                }
                self.outbox.event(Event::Handshake {
                    kind: header.kind,
                    neighbour,
                    adjacent: from.is_some(),
                    receiver: header.receiver,
                    body: body.to_vec(),
                });
            }
            Verdict::Cookie(body) => {
                self.net.drops.count("handshake_load");
                let message =
                    crate::handshake::Message { kind: Kind::Cookie, receiver: header.receiver, body: body.to_vec() };
                self.net.send_handshake(neighbour, true, &message, sink);
            }
            Verdict::Drop(reason) => self.net.drops.count(reason),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn receive_sealed(
        &mut self,
        batch: usize,
        start: usize,
        header: &Header,
        via: u16,
        datagram: &mut [u8],
        (now, at): (Time, Time),
        deliveries: &mut Vec<Delivery>,
    ) {
        let Some((session, peer)) = self.net.sessions.both(header.receiver) else {
            self.net.drops.count("no_such_session");
            return;
        };
        let (number, adjacent) = session.key;
        if header.epoch != session.local_epoch {
            session.rogue += 1;
            self.net.drops.count("epoch");
            return;
        }
        let is_data = matches!(header.kind, Kind::Data | Kind::DataPartial);
        if adjacent && (number != via || is_data) {
            self.net.drops.count("wrong_session");
            return;
        }
        let (slot, position) = (session.lanes.slot(header.lane()), header.position());
        let (Some(lane), Some(hearing)) = (session.received.at(slot), peer.lanes.get_mut(slot)) else {
            self.net.drops.count("wrong_shard");
            return;
        };
        if position == 0 {
            session.tagless += 1;
            self.net.drops.count("tagless");
            return;
        }
        let arrival = hearing.arrivals[usize::from(header.path)].get_or_insert_default();
        if let Some(lane) = lane {
            match lane.recovery.seen(position) {
                Seen::New => {}
                Seen::Copy => {
                    lane.discard(position);
                    if adjacent {
                        // Neighbours send nothing twice.
                        self.net.drops.count("replay");
                    }
                    if hearing.inbound.uses(header.path) {
                        lane.skew.copy(position, now);
                    }
                    arrival.note(false, via, header.epoch, position, now);
                    if let Some(copies) = &mut lane.copies {
                        copies.note(position, header.path);
                    }
                    if header.kind == Kind::Keepalive {
                        hearing.probe_copy(header.sequence, header.path, at);
                    }
                    return;
                }
                Seen::TooOld => {
                    lane.recovery.counters.rogue += 1;
                    self.net.drops.count("too_old");
                    if header.kind == Kind::Keepalive && hearing.inbound.awaits(header.sequence, header.path) {
                        // Too slow for what the window was made for is a measurement too.
                        arrival.note(false, via, header.epoch, position, now);
                        hearing.probe_copy(header.sequence, header.path, at);
                    }
                    return;
                }
            }
        }
        let Some(length) = session.opener.open(datagram, header.sequence) else {
            session.aead_failures += 1;
            self.net.drops.count("aead");
            return;
        };
        if session.received.get(slot).is_none() {
            session.received.begin(slot, (!adjacent).then_some(hearing.window));
        }
        let Some(lane) = session.received.get_mut(slot) else { return };
        arrival.note(true, via, header.epoch, position, now);
        lane.commit(position, hearing, now, &mut self.window_spare);
        if let Some(copies) = &mut lane.copies {
            copies.note(position, header.path);
        }
        if hearing.inbound.uses(header.path) {
            lane.skew.first(position, now);
        }
        hearing.heard = Some(now);
        let payload = &datagram[HEADER..HEADER + length];
        if header.kind == Kind::Control {
            let taken = match adjacent {
                true => self.refusing.takes(number, payload),
                false => self.steering.takes(self.config.role, number, payload),
            };
            if !taken {
                self.outbox.event(Event::Control { peer: number, adjacent, message: payload.to_vec() });
            }
        }
        let partial = header.kind == Kind::DataPartial;
        lane.wait = if adjacent { 0 } else { lane.skew.wait(now) };
        let carried: &[u8] = if is_data { payload } else { &[] };
        match lane.order.offer(position, lane.wait) {
            Offer::Hold => {
                lane.order.hold(position, carried, partial, now);
                if !self.holding.contains(&(header.receiver, slot)) {
                    self.holding.push((header.receiver, slot));
                }
            }
            Offer::Deliver | Offer::Late if is_data => {
                deliveries.push(Delivery::InPlace { batch, start: start + HEADER, length, partial, peer: number })
            }
            Offer::Deliver | Offer::Late => {}
        }
        while let Some(held) = lane.order.ready() {
            deliveries.push(Delivery::Held { held, peer: number, session: header.receiver, slot });
        }
        let was_silent = !peer.up;
        if !session.confirmed || session.is_to_follow(self.config.number, now) {
            self.promote(header.receiver, now);
        }
        if header.kind == Kind::Keepalive {
            self.receive_probe((number, adjacent), slot, header, payload, (now, at));
        }
        if was_silent {
            self.heard(number, adjacent, slot, now);
        }
    }
}
