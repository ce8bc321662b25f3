//! Flows that another gateway of the region takes over: what it has to know of one, as bytes. The same flow may be in both for
//! a while, each of them translating what comes to it: what is told again is merged.
//!
//! ```text
//! version 1 (= 1) | flags 1 | protocol 1 | idle 4 (ms) | ports of client, VIP, target, SNAT 2 each
//! | their addresses, 4 or 16 each | track (of TCP that the fast path does not follow)
//! ```
//!
//! Flags: 1 IPv6, 2 fast path, 4 settled, 16 reset, 32 track. Application, edge and set the VIP says. Traffic is
//! counted by each gateway for itself.

use crate::address::{as_v4, widen, widen_v4, Wide};
use crate::flow::{Opening, Service};
use crate::key::Key;
use crate::side::Side;
use crate::tracking::Track;
use crate::{Nat, Prefix};
use braid_packet::ip::TCP;
use braid_packet::{FlowId, Ip, Rest, Tcp, Time, Transport};

const VERSION: u8 = 1;
const V6: u8 = 1;
const FAST: u8 = 2;
const SETTLED: u8 = 4;
const RESET: u8 = 16;
const TRACK: u8 = 32;

/// A flow that may be one of those of some pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    pub flow: FlowId,
    pub fast: bool,
    /// Its server sees an address of the pools; else there is none yet, or it sees the client's own.
    pub pooled: bool,
    /// It is over; late packets find it for a while.
    pub over: bool,
    /// When it was last used.
    pub last: Time,
}

/// A flow that was taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub flow: FlowId,
    /// It was not here before.
    pub new: bool,
    /// What was told is younger than what was known.
    pub younger: bool,
}

/// What a packet belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Flow(FlowId),
    /// To nothing here; it may begin something.
    First,
    /// To nothing here: TCP in mid-stream, or an answer of a server.
    Later,
}

/// A flow as another gateway has told it.
pub struct ToldFlow {
    forward: Key,
    reverse: Key,
    flags: u8,
    last: Time,
    track: Option<Track>,
}

/// Flows that are here where one that was told is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InTheWay {
    /// Of the same client, with another server.
    pub before: Option<FlowId>,
    /// Of another client, that the server sees at the same address and port: left from another drain, perhaps, and the port
    /// has been given to somebody else since.
    pub other: Option<FlowId>,
}

impl Nat {
    /// Numbers of flows are below this.
    pub fn places(&self) -> u32 {
        self.table.slots()
    }

    /// The flow at a place, if its server sees an address of these pools, or the client's own, or if it has none yet.
    pub fn placed(&self, place: u32, pools: &[Prefix], now: Time) -> Option<Placed> {
        let flow = self.table.get(place).filter(|flow| !flow.is_expired(&self.rules.timeouts, now))?;
        let reverse = self.table.key(flow, Side::Server)?;
        let pooled = pools.iter().any(|pool| pool.contains_wide(reverse.far));
        let own = || self.table.key(flow, Side::Client).is_some_and(|front| front.near == reverse.far);
        if !(pooled || reverse.is_nothing() || own()) {
            return None;
        }
        let id = FlowId { index: place, serial: flow.serial };
        Some(Placed { flow: id, fast: flow.is_fast(), pooled, over: self.is_over_at(place), last: flow.last })
    }

    pub fn flow_at(&self, place: u32) -> Option<FlowId> {
        self.table.get(place).map(|flow| FlowId { index: place, serial: flow.serial })
    }

    /// Appends what a gateway that takes the flow over is told of it. False if there is none.
    pub fn write_flow(&self, id: FlowId, now: Time, out: &mut Vec<u8>) -> bool {
        let Some(flow) = self.table.get(id.index).filter(|flow| flow.serial == id.serial) else { return false };
        let keys = (self.table.key(flow, Side::Client), self.table.key(flow, Side::Server));
        let (Some(front), Some(back)) = keys else { return false };
        let details = self.table.details(id.index).filter(|_| flow.protocol == TCP && !flow.is_fast());
        let addresses = [front.near, front.far, back.near, back.far];
        let v4 = addresses.map(as_v4);
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = flag(v4.contains(&None), V6)
            | flag(flow.is_fast(), FAST)
            | flag(flow.settled, SETTLED)
            | flag(flow.is_fast() && flow.is_reset(), RESET)
            | flag(details.is_some(), TRACK);
        out.extend_from_slice(&[VERSION, flags, flow.protocol]);
        let idle = u32::try_from(now.since(flow.last) / Time::MILLISECOND).unwrap_or(u32::MAX);
        out.extend_from_slice(&idle.to_be_bytes());
        for port in [front.near_port, front.far_port, back.near_port, back.far_port] {
            out.extend_from_slice(&port.to_be_bytes());
        }
        for (address, v4) in addresses.into_iter().zip(v4) {
            match v4 {
                Some(v4) if flags & V6 == 0 => out.extend_from_slice(&v4.to_be_bytes()),
                _ => out.extend_from_slice(&address.to_be_bytes()),
            }
        }
        if let Some(details) = details {
            details.track.write(out);
        }
        true
    }

    /// The flow of the same client.
    pub fn same_client(&self, told: &ToldFlow) -> Option<FlowId> {
        self.table.find_forward(&told.forward).and_then(|index| self.flow_at(index))
    }

    /// What has to go before `take_flow`; nothing where it is known as it was told. `beyond`: its gateway is known to be further
    /// with the connection. `Err` is why it is not taken, in a word.
    pub fn in_the_way(&self, told: &ToldFlow, beyond: bool) -> Result<InTheWay, &'static str> {
        let Some((_, rule)) = self.rules.vip(told.forward.far) else { return Err("no_vip") };
        if told.forward.protocol == TCP && rule.fast != told.is_fast() {
            return Err("mode");
        }
        let served = !told.reverse.is_nothing();
        let own = rule.transparent && told.reverse.far == told.forward.near;
        if served && !own && !self.rules.is_snat(told.reverse.far) {
            return Err("no_pool");
        }
        let mut found = InTheWay::default();
        if let Some(index) = self.table.find_forward(&told.forward) {
            let known = self.table.get(index).and_then(|flow| Some((flow.last, self.table.key(flow, Side::Server)?)));
            let Some((last, back)) = known else { return Err("malformed") };
            if back == told.reverse {
                return Ok(found);
            }
            if last > told.last && !beyond {
                return Err("taken");
            }
            found.before = self.flow_at(index);
        }
        if let Some(index) = self.table.find_reverse(&told.reverse).filter(|_| served) {
            if self.table.get(index).is_none_or(|flow| flow.last > told.last) {
                return Err("taken");
            }
            found.other = self.flow_at(index);
        }
        if found == InTheWay::default() && self.table.is_full() {
            return Err("full");
        }
        Ok(found)
    }

    /// Makes or completes a flow that another gateway had, and that nothing is in the way of.
    pub fn take_flow(&mut self, told: &ToldFlow, beyond: bool) -> Result<Taken, &'static str> {
        let Some((vip, rule)) = self.rules.vip(told.forward.far) else { return Err("no_vip") };
        let (app, edge, set) = (rule.id, vip.edge, rule.set);
        if let Some(index) = self.table.find_forward(&told.forward) {
            return self.complete(index, told, beyond).ok_or("malformed");
        }
        self.serial = self.serial.wrapping_add(1);
        let index = self.table.insert(&Opening {
            forward: told.forward,
            reverse: told.reverse,
            now: told.last,
            generation: self.generation,
            serial: self.serial,
            app,
            edge,
            set,
            way: if told.is_fast() { Service::Fast } else { Service::Nat },
        });
        let taken = self.complete(index, told, beyond).ok_or("malformed")?;
        Ok(Taken { new: true, ..taken })
    }

    fn complete(&mut self, index: u32, told: &ToldFlow, beyond: bool) -> Option<Taken> {
        let (flow, fast) = (self.table.get_mut(index)?, told.is_fast());
        let younger = beyond || told.last >= flow.last;
        flow.last = flow.last.max(told.last);
        let id = FlowId { index, serial: flow.serial };
        if fast {
            if younger {
                flow.set_open(told.flags & SETTLED != 0, told.flags & RESET != 0);
            }
        } else {
            flow.settled |= told.flags & SETTLED != 0;
        }
        if let Some(track) = &told.track {
            let details = self.table.make_details(index)?;
            details.track.merge(track);
            let established = details.track.is_established();
            self.table.get_mut(index)?.settled = established;
        }
        Some(Taken { flow: id, new: false, younger })
    }

    /// What a client's packet belongs to; None if nobody could say.
    pub fn place_from_client(&self, packet: &[u8], now: Time) -> Option<Place> {
        let ip = Ip::parse(packet).ok().filter(Ip::is_first)?;
        let (near_port, far_port) = match ip.transport {
            Transport::Icmp(icmp) if icmp.is_echo_request() => (icmp.id, 0),
            Transport::Icmp(_) => return None,
            _ => ip.ports().unwrap_or((0, 0)),
        };
        let key =
            Key { near: widen(ip.source), far: widen(ip.destination), near_port, far_port, protocol: ip.protocol };
        Some(match (self.known_at(self.table.find_forward(&key), now), ip.transport) {
            (Some(flow), _) => Place::Flow(flow),
            (None, Transport::Tcp(tcp)) if !tcp.has(Tcp::SYN) => Place::Later,
            (None, _) => Place::First,
        })
    }

    /// What a packet to an address of the pools belongs to; None if nobody could say.
    pub fn place_from_server(&self, packet: &[u8], now: Time) -> Option<Place> {
        let ip = Ip::parse(packet).ok()?;
        if !ip.is_first() || !self.rules.is_answer(widen(ip.source), widen(ip.destination)) {
            return None;
        }
        let (near_port, far_port) = match ip.transport {
            Transport::Icmp(icmp) if icmp.is_echo_reply() => (0, icmp.id),
            Transport::Icmp(_) => return None,
            _ => ip.ports().unwrap_or((0, 0)),
        };
        let key =
            Key { near: widen(ip.source), far: widen(ip.destination), near_port, far_port, protocol: ip.protocol };
        Some(self.known_at(self.table.find_reverse(&key), now).map_or(Place::Later, Place::Flow))
    }

    fn known_at(&self, index: Option<u32>, now: Time) -> Option<FlowId> {
        let index = index?;
        let flow = self.table.get(index).filter(|flow| !flow.is_expired(&self.rules.timeouts, now))?;
        Some(FlowId { index, serial: flow.serial })
    }

    /// The edge that has a VIP.
    pub fn edge_of(&self, vip: std::net::IpAddr) -> Option<u16> {
        self.rules.vip(widen(vip)).map(|(vip, _)| vip.edge)
    }
}

impl ToldFlow {
    /// None for anything that no `write_flow` has made.
    pub fn read(rest: &mut Rest<'_>, now: Time) -> Option<ToldFlow> {
        let [version, flags, protocol] = rest.take()?;
        if version != VERSION || flags & !(V6 | FAST | SETTLED | RESET | TRACK) != 0 {
            return None;
        }
        let idle = u64::from(u32::from_be_bytes(rest.take()?)) * Time::MILLISECOND;
        let ports = [rest.take()?, rest.take()?, rest.take()?, rest.take()?].map(u16::from_be_bytes);
        let mut address = || -> Option<Wide> {
            Some(match flags & V6 == 0 {
                true => widen_v4(u32::from_be_bytes(rest.take()?)),
                false => Wide::from_be_bytes(rest.take()?),
            })
        };
        let [client, vip, target, snat] = [address()?, address()?, address()?, address()?];
        let track = match flags & TRACK != 0 {
            true => Some(Track::read(rest)?),
            false => None,
        };
        let end = |near, far, near_port, far_port| Key { near, far, near_port, far_port, protocol };
        let (forward, reverse) = (end(client, vip, ports[0], ports[1]), end(target, snat, ports[2], ports[3]));
        let tracked = protocol == TCP && flags & FAST == 0;
        let served = !reverse.is_nothing() || flags & FAST != 0;
        let whole = served && tracked == track.is_some() && (protocol == TCP || flags & FAST == 0);
        whole.then_some(ToldFlow { forward, reverse, flags, last: Time(now.0.saturating_sub(idle)), track })
    }

    /// The fast path's record follows.
    pub fn is_fast(&self) -> bool {
        self.flags & FAST != 0
    }
}
