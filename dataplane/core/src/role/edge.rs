//! The edge: which application a client's packet is for, and which gateway gets it.
//!
//! A client keeps its gateway for an application as long as that gateway is usable, also when a preferred one comes back:
//! the flows' state lives there.

use crate::desired::{EdgeApplication, EdgeSpec};
use crate::role::connections::{Connections, Standing};
use crate::role::cookies::{asks, is_notice, Cookies};
use crate::role::ends::Ends;
use crate::role::owners::Owner;
use crate::role::pins::{Client, Pin, SharedPins};
use braid_packet::{Ip, Time, Transport};
use hashbrown::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

const MOST_PINS: usize = 262_144;
/// Longer than the longest NAT timeout (RFC 5382: 2 h 4 min).
const PIN_LIFETIME: u64 = 7500 * Time::SECOND;
/// Searching a full table takes milliseconds: new clients must not make it happen for each of their packets.
const SWEEP_EVERY: u64 = 10 * Time::SECOND;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    Send {
        gateway: u16,
        set: u8,
    },
    /// A SYN, to be answered here in the name of this gateway.
    Answer {
        gateway: u16,
        app: u16,
    },
    /// No application has this address.
    UnknownVip,
    /// The application does not serve this protocol or port.
    Refused,
    /// No gateway of the application is usable now.
    NoGateway,
}

/// What becomes of a packet from a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Pass,
    Refused,
    /// It was for us.
    Taken,
}

#[derive(Default)]
pub struct Edge {
    applications: Vec<EdgeApplication>,
    by_vip: HashMap<IpAddr, usize>,
    pins: HashMap<Client, Pin>,
    /// Of all shards, where there are several.
    shared: Option<Arc<SharedPins>>,
    gateways: HashSet<u16>,
    /// Gateways whose clients go to another one, of whatever application.
    diverts: HashMap<u16, u16>,
    connections: Connections,
    pub(crate) cookies: Cookies,
    /// When the full table was last searched for pins to drop.
    swept: Time,
}

impl EdgeApplication {
    /// Which gateway serves the clients of this one now.
    fn serving(&self, gateway: u16, usable: impl Fn(u16) -> bool) -> u16 {
        let diverted = self.diverts.iter().find(|(from, to)| *from == gateway && usable(*to));
        diverted.map_or(gateway, |&(_, to)| to)
    }
}

impl Edge {
    pub fn new(shared: Option<Arc<SharedPins>>) -> Edge {
        Edge { shared, ..Edge::default() }
    }

    pub fn configure(&mut self, spec: &EdgeSpec) {
        self.applications.clone_from(&spec.applications);
        self.by_vip.clear();
        self.gateways = spec.applications.iter().flat_map(|a| a.gateways.iter().copied()).collect();
        for (index, application) in self.applications.iter().enumerate() {
            for &vip in &application.vips {
                self.by_vip.insert(vip, index);
            }
        }
        let diverts = spec.applications.iter().flat_map(|application| application.diverts.iter().copied()).collect();
        let before = std::mem::replace(&mut self.diverts, diverts);
        for (&from, &to) in self.diverts.iter().filter(|&(from, to)| before.get(from) != Some(to)) {
            self.connections.moved_all(from, to);
        }
        let gateways = &self.gateways;
        self.cookies.retain(|gateway| gateways.contains(&gateway));
        let by_vip = &self.by_vip;
        let applications = &self.applications;
        self.pins.retain(|(_, vip), (gateway, _)| {
            by_vip.get(vip).is_some_and(|&index| applications[index].gateways.contains(gateway))
        });
    }

    /// For a packet that the host routed to us. Clients that have no gateway yet get one that `answers`, if there is one.
    pub fn choose(
        &mut self,
        ip: &Ip,
        now: Time,
        usable: impl Fn(u16) -> bool,
        answers: impl Fn(u16) -> bool,
    ) -> Choice {
        let Some(application) = self.by_vip.get(&ip.destination).map(|&i| &self.applications[i]) else {
            return Choice::UnknownVip;
        };
        if !application.ports.iter().any(|range| range.admits(ip)) {
            return Choice::Refused;
        }
        let set = application.set;
        let pin = (ip.source, ip.destination);
        if application.cookies && asks(ip) {
            if let Some(choice) = self.answer(pin, &usable) {
                return choice;
            }
        }
        if let Some((gateway, used)) = self.pins.get_mut(&pin) {
            let serving = application.serving(*gateway, &usable);
            if usable(serving) && application.gateways.contains(gateway) {
                *used = now;
                return Choice::Send { gateway: serving, set };
            }
        }
        self.pin(pin, now, usable, answers)
    }

    /// For a SYN that is answered here: which gateway its client will have, without remembering that. None without its keys.
    fn answer(&self, pin: Client, usable: impl Fn(u16) -> bool) -> Option<Choice> {
        let application = &self.applications[*self.by_vip.get(&pin.1)?];
        let serves =
            |gateway: &u16| usable(application.serving(*gateway, &usable)) && application.gateways.contains(gateway);
        let known = self.pins.get(&pin).map(|&(gateway, _)| gateway).filter(serves);
        let agreed = || self.shared.as_ref().and_then(|shared| shared.get(&pin)).filter(serves);
        let first = || application.gateways.iter().copied().find(|&gateway| usable(gateway));
        let gateway = known.or_else(agreed).or_else(first).map(|gateway| application.serving(gateway, &usable));
        let gateway = gateway.filter(|&gateway| self.cookies.has(gateway))?;
        Some(Choice::Answer { gateway, app: application.app })
    }

    /// Chooses anew for a client whose gateway is gone, or that has none yet.
    #[cold]
    fn pin(&mut self, pin: Client, now: Time, usable: impl Fn(u16) -> bool, answers: impl Fn(u16) -> bool) -> Choice {
        let Some(application) = self.by_vip.get(&pin.1).map(|&i| &self.applications[i]) else {
            return Choice::UnknownVip;
        };
        let set = application.set;
        let preferred = |fit: &dyn Fn(u16) -> bool| application.gateways.iter().copied().find(|&gateway| fit(gateway));
        let stays = |gateway: u16| application.serving(gateway, &usable) == gateway;
        let first = preferred(&|gateway| answers(gateway) && stays(gateway)).or_else(|| preferred(&answers));
        let Some(first) = first.or_else(|| preferred(&usable)) else { return Choice::NoGateway };
        let serves =
            |gateway: u16| usable(application.serving(gateway, &usable)) && application.gateways.contains(&gateway);
        let gateway = match &self.shared {
            Some(shared) => shared.agree(pin, first, now, MOST_PINS, serves),
            None => first,
        };
        if self.pins.len() >= MOST_PINS && now.since(self.swept) >= SWEEP_EVERY {
            self.swept = now;
            self.pins.retain(|_, (_, used)| now.since(*used) < PIN_LIFETIME / 64);
        }
        if self.pins.len() < MOST_PINS {
            self.pins.insert(pin, (gateway, now));
        }
        Choice::Send { gateway: application.serving(gateway, &usable), set }
    }

    /// May a packet from this gateway leave towards a client? Its source must be a VIP of ours, unless it is an ICMP error,
    /// which any router may send.
    pub fn admit_reply(&mut self, ip: &Ip, gateway: u16, now: Time) -> Reply {
        let Some(&application) = self.by_vip.get(&ip.source) else {
            return match ip.transport {
                Transport::Icmp(icmp) if icmp.is_error() => Reply::Pass,
                _ => Reply::Refused,
            };
        };
        self.connections.receive_reply(ip, gateway, now);
        match self.applications[application].cookies && is_notice(ip) {
            true => Reply::Taken,
            false => Reply::Pass,
        }
    }

    /// Another node has a client's connection now.
    pub fn moved(&mut self, ends: &Ends, node: u16) {
        self.connections.moved(ends, node);
    }

    /// A packet for a client from a node that has its connection.
    pub fn note_reply(&mut self, ip: &Ip, from: u16, now: Time) {
        self.connections.receive_reply(ip, from, now);
    }

    /// Whether this gateway serves the client, and may say who has its connection. For a client that was not met since this
    /// process began, the one that it would get now.
    pub fn may_steer(&self, ends: &Ends, gateway: u16, usable: impl Fn(u16) -> bool) -> bool {
        let Some(application) = self.by_vip.get(&ends.vip).map(|&index| &self.applications[index]) else {
            return false;
        };
        let pin = (ends.client, ends.vip);
        let shared = || self.shared.as_ref().and_then(|shared| shared.get(&pin));
        let pinned = self.pins.get(&pin).map(|&(pinned, _)| pinned).or_else(shared);
        let serves = match pinned {
            Some(pinned) => pinned == gateway || application.diverts.contains(&(pinned, gateway)),
            None => {
                let first = application.gateways.iter().copied().find(|&gateway| usable(gateway));
                first.is_some_and(|first| application.serving(first, usable) == gateway)
            }
        };
        serves && application.gateways.contains(&gateway)
    }

    /// Whether the connection's application lets its gateways give it to that node.
    pub fn may_own(&self, ends: &Ends, node: u16) -> bool {
        self.by_vip.get(&ends.vip).is_some_and(|&index| self.applications[index].owners.contains(&node))
    }

    /// Whether an entry of a transferred connection still means something.
    pub fn knows(&self, ends: &Ends, owner: Owner) -> bool {
        self.by_vip.contains_key(&ends.vip) && matches!(owner, Owner::Node(_) | Owner::Left(_))
    }

    /// To be called at each tick: looks for gateways that are gone or have started again, whose connections have to end.
    pub fn handle_timeout(&mut self, now: Time, standing: impl Fn(u16) -> Standing) {
        let application = |vip: IpAddr| Some(&self.applications[*self.by_vip.get(&vip)?]);
        let gateways = &self.gateways;
        // This edge itself answers for what a content proxy had.
        let served = |node, vip| {
            let usable = |gateway: &u16| standing(*gateway).usable;
            !gateways.contains(&node) || application(vip).is_some_and(|a| a.gateways.iter().any(usable))
        };
        self.connections.handle_timeout(now, &standing, served);
    }

    /// Writes the next packet that asks a client whether its connection lives; None: no more.
    pub fn ask(&mut self, out: &mut Vec<u8>) -> Option<()> {
        self.connections.ask(out)
    }

    pub fn is_gateway(&self, node: u16) -> bool {
        self.gateways.contains(&node)
    }

    pub fn expire(&mut self, now: Time) {
        if let Some(shared) = &self.shared {
            shared.refresh(self.pins.iter(), now, PIN_LIFETIME);
        }
        self.pins.retain(|_, (_, used)| now.since(*used) < PIN_LIFETIME);
        self.connections.expire(now);
    }

    #[cfg(test)]
    fn pins(&self) -> usize {
        self.pins.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::{PortRange, Protocol};

    fn udp(port: u16) -> Ip {
        let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 9];
        packet.extend_from_slice(&[0x30, 0x39]);
        packet.extend_from_slice(&port.to_be_bytes());
        packet.extend_from_slice(&[0, 8, 0, 0]);
        Ip::parse(&packet).unwrap()
    }

    fn edge() -> Edge {
        let mut edge = Edge::default();
        edge.configure(&EdgeSpec {
            applications: vec![EdgeApplication {
                app: 0,
                vips: vec!["10.0.0.9".parse().unwrap()],
                ports: vec![PortRange(Protocol::Udp, 53, 53)],
                set: 2,
                gateways: vec![31, 32],
                cookies: false,
                diverts: Vec::new(),
                owners: Vec::new(),
            }],
        });
        edge
    }

    /// Those that are usable answer.
    fn choose(edge: &mut Edge, ip: &Ip, now: Time, usable: impl Fn(u16) -> bool) -> Choice {
        edge.choose(ip, now, &usable, &usable)
    }

    #[test]
    fn a_gateway_that_does_not_answer_keeps_its_clients_and_gets_no_others_while_another_does() {
        let mut edge = edge();
        let to = |gateway| Choice::Send { gateway, set: 2 };
        let client = |i: u8| Ip { source: IpAddr::from([10, 0, 0, i]), ..udp(53) };
        assert_eq!(edge.choose(&client(1), Time(0), |_| true, |_| true), to(31));
        assert_eq!(edge.choose(&client(1), Time(1), |_| true, |g| g == 32), to(31));
        assert_eq!(edge.choose(&client(2), Time(1), |_| true, |g| g == 32), to(32));
        assert_eq!(edge.choose(&client(3), Time(1), |_| true, |_| false), to(31), "rather this one than none");
    }

    #[test]
    fn a_client_stays_with_its_gateway_until_that_is_gone() {
        let mut edge = edge();
        let to = |gateway| Choice::Send { gateway, set: 2 };
        assert_eq!(choose(&mut edge, &udp(53), Time(0), |g| g == 32), to(32));
        assert_eq!(choose(&mut edge, &udp(53), Time(1), |_| true), to(32));
        assert_eq!(choose(&mut edge, &udp(53), Time(2), |g| g == 31), to(31));
        assert_eq!(choose(&mut edge, &udp(53), Time(3), |_| false), Choice::NoGateway);
        edge.expire(Time(PIN_LIFETIME + 3));
        assert_eq!(edge.pins(), 0);
    }

    #[test]
    fn a_full_table_is_searched_now_and_then_and_clients_beyond_it_are_served() {
        let mut edge = edge();
        let client = |i: u32| Ip { source: std::net::Ipv4Addr::from(0x0a00_0000 + i).into(), ..udp(53) };
        let second = |s: u64| Time(s * Time::SECOND);
        for i in 0..MOST_PINS as u32 {
            choose(&mut edge, &client(i), second(100), |_| true);
        }
        let to = Choice::Send { gateway: 31, set: 2 };
        let quiet = PIN_LIFETIME / 64 / Time::SECOND;
        assert_eq!(choose(&mut edge, &client(1 << 20), second(100), |_| true), to);
        assert_eq!((edge.pins(), edge.swept), (MOST_PINS, second(100)));
        assert_eq!(choose(&mut edge, &client(1 << 20), second(105), |_| true), to);
        assert_eq!(edge.swept, second(100));
        assert_eq!(choose(&mut edge, &client(1 << 20), second(101 + quiet), |_| true), to);
        assert_eq!(edge.pins(), 1);
    }

    #[test]
    fn shards_agree_on_a_clients_gateway() {
        let shared = Arc::new(SharedPins::default());
        let shard = || {
            let mut shard = Edge::new(Some(shared.clone()));
            let applications = edge().applications;
            shard.configure(&EdgeSpec { applications });
            shard
        };
        let (mut one, mut other) = (shard(), shard());
        let to = |gateway| Choice::Send { gateway, set: 2 };
        assert_eq!(choose(&mut one, &udp(53), Time(0), |g| g == 32), to(32));
        assert_eq!(choose(&mut other, &udp(53), Time(1), |_| true), to(32), "chosen while the first was away");
        // Only one shard's flows of the client stay in use; the pin lives for both.
        for turn in 1..4 {
            let now = Time(turn * (PIN_LIFETIME - 1));
            assert_eq!(choose(&mut one, &udp(53), now, |_| true), to(32));
            one.expire(now);
            other.expire(now);
        }
        assert_eq!(other.pins(), 0);
        assert_eq!(choose(&mut other, &udp(53), Time(3 * PIN_LIFETIME), |_| true), to(32));
        assert_eq!(choose(&mut other, &udp(53), Time(3 * PIN_LIFETIME), |g| g == 31), to(31));
        assert_eq!(choose(&mut one, &udp(53), Time(3 * PIN_LIFETIME + 1), |g| g == 31), to(31));
        let end = Time(5 * PIN_LIFETIME);
        one.expire(end);
        assert_eq!(choose(&mut one, &udp(53), end, |_| true), to(31), "nobody remembers");
    }

    #[test]
    fn other_ports_and_addresses_are_refused() {
        let mut edge = edge();
        assert_eq!(choose(&mut edge, &udp(54), Time(0), |_| true), Choice::Refused);
        edge.configure(&EdgeSpec::default());
        assert_eq!(choose(&mut edge, &udp(53), Time(0), |_| true), Choice::UnknownVip);
    }
}
