//! The gateway: the NAT between VIPs and target servers, and what passes it by, told what to do by the desired state.

use crate::desired::{Accept, GatewaySpec, PortRange, Protocol, ServiceMode, SiblingSpec};
use crate::event::Event;
use crate::role::fast::{ToClient, ToServer};
use crate::role::proxied::Proxied;
use crate::role::sibling::Sibling;
use crate::shard::Place;
use braid_fastpath::FastPath;
use braid_nat::{Application, Nat, Policy, Proto, Target};
use braid_packet::{Time, VnetHdr};
use std::collections::BTreeSet;

/// Flows looked at per turn for expiry.
const EXPIRY_BUDGET: usize = 256;

pub struct Gateway {
    pub nat: Nat,
    pub proxied: Proxied,
    pub fast: FastPath,
    /// Applications whose SYNs are answered at the edge.
    pub(crate) cookies_at_edge: BTreeSet<u16>,
    /// What the fast path made beside the packet that it was given.
    pub(crate) to_server: Vec<ToServer>,
    pub(crate) to_client: Vec<ToClient>,
    /// Packets of servers that were held, to be received again.
    pub(crate) again: Vec<(VnetHdr, Vec<u8>)>,
    /// Gateways that may pass packets on, and the one that has what is not here.
    pub(crate) siblings: BTreeSet<u16>,
    pub(crate) sibling: Option<Sibling>,
    /// Packets of servers that the sibling has passed on.
    pub(crate) passed: Vec<(VnetHdr, Vec<u8>)>,
    /// What the control side is to hear.
    pub(crate) news: Vec<Event>,
    /// What it is to hear with the next of these, or soon: nobody is woken for that alone.
    pub(crate) late_news: Vec<Event>,
    mtu: u16,
    pub(crate) place: Place,
}

impl Gateway {
    /// `max_flows` of the whole node, of which each shard has an equal part. All shards need the same seed.
    pub fn new(seed: u64, max_flows: usize, mtu: usize, place: Place) -> Gateway {
        let nat = Nat::of_shard(seed, max_flows / usize::from(place.count()), (place.index() as u8, place.count()));
        let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
        Gateway {
            nat,
            proxied: Proxied::default(),
            fast: FastPath::new(mtu),
            cookies_at_edge: BTreeSet::new(),
            to_server: Vec::new(),
            to_client: Vec::new(),
            again: Vec::new(),
            siblings: BTreeSet::new(),
            sibling: None,
            passed: Vec::new(),
            news: Vec::new(),
            late_news: Vec::new(),
            mtu,
            place,
        }
    }

    /// `Desired::parse` has checked that the pools are prefixes.
    pub fn configure(&mut self, spec: &GatewaySpec) {
        self.proxied = Proxied::new(&spec.proxied);
        // Of the others the control side hears at once, whether their clients say something or not.
        let waits = spec.proxied.iter().filter(|proxied| proxied.accept == Accept::FirstByte);
        self.fast.set_patience(
            waits.filter_map(|proxied| Some((proxied.app, nanoseconds(proxied.idle_timeout?)))).collect(),
        );
        let at_edge = spec.applications.iter().filter(|application| application.cookies_at_edge);
        let proxied = spec.proxied.iter().filter(|application| application.cookies_at_edge);
        self.cookies_at_edge =
            at_edge.map(|application| application.app).chain(proxied.map(|application| application.app)).collect();
        let applications = spec
            .applications
            .iter()
            .map(|application| Application {
                id: application.app,
                vips: application.vips.iter().map(|vip| (vip.address, vip.edge)).collect(),
                ports: application.ports.iter().map(proto_range).collect(),
                targets: application
                    .targets
                    .iter()
                    .map(|t| Target { address: t.address, port: t.port, weight: t.weight, healthy: t.healthy })
                    .collect(),
                set: application.set,
                fast: application.mode == ServiceMode::FastPath,
                proxied: false,
                transparent: Vec::new(),
            })
            .chain(spec.proxied.iter().filter(|proxied| proxied.accept != Accept::Listener).map(|proxied| {
                Application {
                    id: proxied.app,
                    vips: proxied.vips.iter().map(|vip| (vip.address, vip.edge)).collect(),
                    ports: proxied.ports.iter().map(proto_range).collect(),
                    targets: Vec::new(),
                    set: proxied.set,
                    fast: true,
                    proxied: true,
                    transparent: proxied.transparent.clone(),
                }
            }))
            .collect();
        self.siblings = spec.siblings.iter().copied().collect();
        self.sibling = spec.sibling.map(|SiblingSpec { node, leaving }| Sibling { node, leaving });
        self.fast.set_loose(spec.moving);
        let snat = spec.snat.iter().filter_map(|pool| pool.parse().ok()).collect();
        let guests = spec.guests.iter().filter_map(|pool| pool.parse().ok()).collect();
        let share = (self.place.index() as u16, u16::from(self.place.count()));
        self.nat.set_policy(Policy {
            applications,
            snat,
            guests,
            moving: spec.moving,
            mtu: self.mtu,
            share,
            ..Policy::default()
        });
    }

    pub fn handle_timeout(&mut self, now: Time) {
        self.nat.expire(now, EXPIRY_BUDGET);
        self.handle_fast_timeout(now, EXPIRY_BUDGET as u32);
    }
}

fn nanoseconds(seconds: f64) -> u64 {
    (seconds.max(0.0) * Time::SECOND as f64) as u64
}

fn proto_range(range: &PortRange) -> (Proto, u16, u16) {
    let PortRange(protocol, low, high) = *range;
    let proto = match protocol {
        Protocol::Tcp => Proto::Tcp,
        Protocol::Udp => Proto::Udp,
        Protocol::Icmp => Proto::Icmp,
        Protocol::Any => Proto::Any,
    };
    (proto, low, high)
}
