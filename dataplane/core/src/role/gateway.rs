//! The gateway: the NAT between VIPs and target servers, and what passes it by, told what to do by the desired state.

use crate::desired::{GatewaySpec, PortRange, Protocol};
use crate::role::proxied::Proxied;
use crate::shard::Place;
use braid_nat::{Application, Nat, Policy, Proto, Target};
use braid_packet::Time;

/// Flows looked at per turn for expiry.
const EXPIRY_BUDGET: usize = 256;

pub struct Gateway {
    pub nat: Nat,
    pub proxied: Proxied,
    mtu: u16,
    place: Place,
}

impl Gateway {
    /// `max_flows` of the whole node, of which each shard has an equal part. All shards need the same seed: a client keeps its
    /// SNAT address whichever shard its flows fall to.
    pub fn new(seed: u64, max_flows: usize, mtu: usize, place: Place) -> Gateway {
        let nat = Nat::new(seed, max_flows / usize::from(place.count()));
        Gateway { nat, proxied: Proxied::default(), mtu: u16::try_from(mtu).unwrap_or(u16::MAX), place }
    }

    /// `Desired::parse` has checked that the pools are prefixes.
    pub fn configure(&mut self, spec: &GatewaySpec) {
        self.proxied = Proxied::new(&spec.proxied);
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
            })
            .collect();
        let snat = spec.snat.iter().filter_map(|pool| pool.parse().ok()).collect();
        let share = (self.place.index() as u16, u16::from(self.place.count()));
        self.nat.set_policy(Policy { applications, snat, mtu: self.mtu, share, ..Policy::default() });
    }

    pub fn expire(&mut self, now: Time) {
        self.nat.expire(now, EXPIRY_BUDGET);
    }
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
