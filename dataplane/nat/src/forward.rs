use crate::address::{widen, Wide};
use crate::flow::Flow;
use crate::fragments::{Datagram, Known};
use crate::key::Key;
use crate::rewrite::{rewrite, Ends};
use crate::side::Side;
use crate::verdict::Refusal;
use crate::{Direction, Nat, Reason, Released};
use braid_packet::{FlowId, Ip, Tcp, Time, Transport};
use std::net::IpAddr;

impl Nat {
    pub(crate) fn try_forward(
        &mut self,
        packet: &mut [u8],
        partial: bool,
        from_edge: u16,
        guess: Option<u32>,
        now: Time,
    ) -> Result<(), Refusal> {
        let ip = parse(packet)?;
        if !ip.is_first() {
            return self.forward_later(packet, &ip, from_edge, now);
        }
        if matches!(ip.transport, Transport::Icmp(icmp) if icmp.is_error()) {
            return self.forward_error(packet, &ip, partial, from_edge, now);
        }
        let found = self.forward_flow(&ip, from_edge, guess, now);
        if found.is_err() && ip.is_fragment() {
            for _ in 0..self.forward_fragments.refuse(&Datagram::of(&ip)) {
                self.counters.refuse(Reason::FragmentsRefused);
            }
        }
        let index = found?;
        self.table.observe(index, packet, &ip, Side::Client, now);
        let (flow, back) = self.known(index, Side::Server)?;
        let ends = Ends {
            source: back.far,
            destination: back.near,
            source_port: back.far_port,
            destination_port: back.near_port,
        };
        if !ip.is_fragment() {
            rewrite(packet, &ip, partial, &ends, None);
            return Ok(());
        }
        let (source, destination, serial) = (ends.source, ends.destination, flow.serial);
        let datagram = Datagram::of(&ip);
        let known = self.forward_fragments.find(&datagram, now);
        let id = match known {
            Some(known) if (known.index, known.serial) == (index, serial) => known.id,
            _ => self.forward_ids.next(ip.v6),
        };
        rewrite(packet, &ip, partial, &ends, Some(id));
        let held = self.forward_fragments.learn(datagram, Known { index, serial, id }, now);
        for mut packet in held {
            if rewrite_later(&mut packet, source, destination, id) {
                self.table.count(index, Side::Client, packet.len(), now);
                self.released.push(Released { packet, direction: Direction::Forward });
            }
        }
        Ok(())
    }

    fn forward_flow(&mut self, ip: &Ip, from_edge: u16, guess: Option<u32>, now: Time) -> Result<u32, Refusal> {
        let (near_port, far_port) = match ip.transport {
            Transport::Icmp(icmp) if icmp.is_echo_request() => (icmp.id, 0),
            Transport::Icmp(_) => return Err(Refusal::Drop(Reason::IcmpType)),
            _ => ip.ports().unwrap_or((0, 0)),
        };
        let key =
            Key { near: widen(ip.source), far: widen(ip.destination), near_port, far_port, protocol: ip.protocol };
        let found = match guess {
            Some(index) if self.table.is_forward(index, &key) => guess,
            _ => self.table.find_forward(&key),
        };
        let Some(index) = self.live(found, now) else {
            return self.open(key, ip, from_edge, false, now);
        };
        let Some(flow) = self.table.get(index) else {
            return Err(Refusal::Drop(Reason::NoFlow));
        };
        if flow.edge != from_edge {
            return Err(Refusal::Drop(Reason::WrongEdge));
        }
        let fast = flow.is_fast().then_some(FlowId { index, serial: flow.serial });
        let syn_only = matches!(ip.transport, Transport::Tcp(tcp)
            if tcp.has(Tcp::SYN) && !tcp.has(Tcp::ACK | Tcp::RST | Tcp::FIN));
        if syn_only && self.is_over_at(index) {
            self.end(index);
            return self.open(key, ip, from_edge, false, now);
        }
        match fast {
            Some(flow) => Err(Refusal::Fast(flow)),
            None => Ok(index),
        }
    }

    fn forward_later(&mut self, packet: &mut [u8], ip: &Ip, from_edge: u16, now: Time) -> Result<(), Refusal> {
        self.check_client(ip, from_edge)?;
        let datagram = Datagram::of(ip);
        let Some(known) = self.forward_fragments.find(&datagram, now) else {
            let whole = packet.get(..ip.total_len).unwrap_or(packet);
            return Err(match self.forward_fragments.hold(datagram, whole, now) {
                true => Refusal::Hold,
                false => Refusal::Drop(Reason::FragmentsFull),
            });
        };
        let index = self.live_known(&known, now)?;
        let (_, back) = self.known(index, Side::Server)?;
        rewrite_later(packet, back.far, back.near, known.id);
        self.table.count(index, Side::Client, ip.total_len, now);
        Ok(())
    }

    /// The flow that a datagram's first fragment belonged to.
    pub(crate) fn live_known(&mut self, known: &Known, now: Time) -> Result<u32, Refusal> {
        let same = self.table.get(known.index).is_some_and(|flow| flow.serial == known.serial);
        let index = if same { self.live(Some(known.index), now) } else { None };
        index.ok_or(Refusal::Drop(Reason::NoFlow))
    }

    /// A flow that was just found, and its key on that side.
    pub(crate) fn known(&self, index: u32, side: Side) -> Result<(&Flow, Key), Refusal> {
        let found = self.table.get(index).and_then(|flow| Some((flow, self.table.key(flow, side)?)));
        found.ok_or(Refusal::Drop(Reason::NoFlow))
    }
}

/// IPv6 packets with IPv4 addresses in them are refused: inside, IPv4 addresses look like that.
pub(crate) fn parse(packet: &[u8]) -> Result<Ip, Refusal> {
    let ip = Ip::parse(packet).map_err(|_| Refusal::Drop(Reason::Malformed))?;
    let disguised = |address| match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.to_ipv4_mapped().is_some(),
    };
    if disguised(ip.source) || disguised(ip.destination) {
        return Err(Refusal::Drop(Reason::BadSource));
    }
    Ok(ip)
}

/// Rewrites a fragment without a transport header; false if it is none.
pub(crate) fn rewrite_later(packet: &mut [u8], source: Wide, destination: Wide, id: u32) -> bool {
    let Ok(ip) = Ip::parse(packet) else { return false };
    let ends = Ends { source, destination, source_port: 0, destination_port: 0 };
    rewrite(packet, &ip, false, &ends, Some(id));
    true
}
