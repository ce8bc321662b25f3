use crate::address::widen;
use crate::flow::Flow;
use crate::forward::{parse, rewrite_later};
use crate::fragments::{Datagram, Known};
use crate::key::Key;
use crate::rewrite::{rewrite, Ends};
use crate::side::Side;
use crate::verdict::{Answer, Refusal, Way};
use crate::{Direction, Nat, Reason, Released};
use braid_packet::{Ip, Time, Transport};

impl Nat {
    pub(crate) fn try_reverse(&mut self, packet: &mut [u8], partial: bool, now: Time) -> Result<Way, Refusal> {
        let ip = parse(packet)?;
        if !ip.is_first() {
            return self.reverse_later(packet, &ip, now);
        }
        if matches!(ip.transport, Transport::Icmp(icmp) if icmp.is_error()) {
            return self.reverse_error(packet, &ip, partial, now);
        }
        let found = self.reverse_flow(&ip, now);
        if found.is_err() && ip.is_fragment() {
            for _ in 0..self.reverse_fragments.refuse(&Datagram::of(&ip)) {
                self.counters.refuse(Reason::FragmentsRefused);
            }
        }
        let index = found?;
        if let Some(flow) = self.normal(index) {
            return Err(Refusal::Normal(flow));
        }
        self.table.observe(index, packet, &ip, Side::Server, now);
        let (flow, front) = self.known(index, Side::Client)?;
        let way = Way { fast: self.fast(index), ..way(flow) };
        let ends = Ends {
            source: front.far,
            destination: front.near,
            source_port: front.far_port,
            destination_port: front.near_port,
        };
        if !ip.is_fragment() {
            rewrite(packet, &ip, partial, &ends, None);
            return Ok(way);
        }
        let (source, destination, serial) = (ends.source, ends.destination, flow.serial);
        let datagram = Datagram::of(&ip);
        let known = self.reverse_fragments.find(&datagram, now);
        let id = match known {
            Some(known) if (known.index, known.serial) == (index, serial) => known.id,
            _ => self.reverse_ids.next(ip.v6),
        };
        rewrite(packet, &ip, partial, &ends, Some(id));
        let held = self.reverse_fragments.learn(datagram, Known { index, serial, id }, now);
        let Way { edge, set, app, .. } = way;
        for mut packet in held {
            if rewrite_later(&mut packet, source, destination, id) {
                self.table.count(index, Side::Server, packet.len(), now);
                let direction = Direction::Reverse { edge, set, app };
                self.released.push(Released { packet, direction });
            }
        }
        Ok(way)
    }

    fn reverse_flow(&mut self, ip: &Ip, now: Time) -> Result<u32, Refusal> {
        let (near_port, far_port) = match ip.transport {
            Transport::Icmp(icmp) if icmp.is_echo_reply() => (0, icmp.id),
            Transport::Icmp(_) => return Err(Refusal::Drop(Reason::IcmpType)),
            _ => ip.ports().unwrap_or((0, 0)),
        };
        let key =
            Key { near: widen(ip.source), far: widen(ip.destination), near_port, far_port, protocol: ip.protocol };
        let found = self.table.find_reverse(&key);
        self.live(found, now).ok_or(match ip.transport {
            // A server that still believes in a connection is told, so that it need not time out.
            Transport::Tcp(_) if self.rules.is_answer(key.near, key.far) => {
                Refusal::Answer(Reason::NoFlow, Answer::Reset)
            }
            _ => Refusal::Drop(Reason::NoFlow),
        })
    }

    fn reverse_later(&mut self, packet: &mut [u8], ip: &Ip, now: Time) -> Result<Way, Refusal> {
        let datagram = Datagram::of(ip);
        let Some(known) = self.reverse_fragments.find(&datagram, now) else {
            if !self.rules.is_answer(widen(ip.source), widen(ip.destination)) {
                return Err(Refusal::Drop(Reason::NoFlow));
            }
            let whole = packet.get(..ip.total_len).unwrap_or(packet);
            return Err(match self.reverse_fragments.hold(datagram, whole, now) {
                true => Refusal::Hold,
                false => Refusal::Drop(Reason::FragmentsFull),
            });
        };
        let index = self.live_known(&known, now)?;
        let (flow, front) = self.known(index, Side::Client)?;
        let way = way(flow);
        rewrite_later(packet, front.far, front.near, known.id);
        self.table.count(index, Side::Server, ip.total_len, now);
        Ok(way)
    }
}

pub(crate) fn way(flow: &Flow) -> Way {
    Way { edge: flow.edge, set: flow.set, app: flow.app, fast: None }
}
