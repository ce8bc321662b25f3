//! The gateway: the NAT between VIPs and target servers, told what to do by the desired state.

use crate::desired::{GatewaySpec, PortRange, Protocol};
use braid_nat::{Application, Nat, Policy, Proto, Target};
use braid_packet::Time;

/// Flows looked at per turn for expiry.
const EXPIRY_BUDGET: usize = 256;

pub struct Gateway {
    pub nat: Nat,
    mtu: u16,
}

impl Gateway {
    pub fn new(seed: u64, max_flows: usize, mtu: usize) -> Gateway {
        Gateway { nat: Nat::new(seed, max_flows), mtu: u16::try_from(mtu).unwrap_or(u16::MAX) }
    }

    /// `Desired::parse` has checked that the pools are prefixes.
    pub fn configure(&mut self, spec: &GatewaySpec) {
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
                copies: application.copies,
            })
            .collect();
        let snat = spec.snat.iter().filter_map(|pool| pool.parse().ok()).collect();
        self.nat.set_policy(Policy { applications, snat, mtu: self.mtu, ..Policy::default() });
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
