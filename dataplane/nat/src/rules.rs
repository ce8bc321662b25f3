use crate::address::{is_ordinary, narrow, widen, Wide};
use crate::key::mix;
use crate::table::Map;
use crate::{Policy, Prefix, Proto, Target, Timeouts};
use braid_packet::ip::{ICMPV4, ICMPV6, TCP, UDP};
use foldhash::fast::FixedState;
use std::collections::BTreeSet;
use std::net::IpAddr;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Vip {
    /// Index into the applications.
    pub(crate) application: usize,
    pub(crate) edge: u16,
}

#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: u16,
    pub(crate) set: u8,
    pub(crate) fast: bool,
    pub(crate) proxied: bool,
    pub(crate) transparent: bool,
    ports: Vec<(Proto, u16, u16)>,
    targets: Vec<Target>,
}

/// The policy in the shape in which packets ask for it.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) applications: Vec<Rule>,
    vips: Map<Wide, Vip>,
    transparent: BTreeSet<Wide>,
    snat_v4: Vec<Prefix>,
    snat_v6: Vec<Prefix>,
    guests: Vec<Prefix>,
    router_v4: Option<Wide>,
    router_v6: Option<Wide>,
    pub(crate) timeouts: Timeouts,
    pub(crate) mtu: u16,
    pub(crate) ports: (u16, u16),
    pub(crate) share: (u16, u16),
    pub(crate) targets_refused: u64,
}

impl Rules {
    pub(crate) fn new(policy: Policy) -> Rules {
        let mut rules = Rules {
            applications: Vec::new(),
            vips: Map::with_hasher(FixedState::with_seed(0)),
            transparent: policy.applications.iter().flat_map(|each| &each.transparent).copied().map(widen).collect(),
            snat_v4: policy.snat.iter().copied().filter(|p| !p.is_ipv6()).collect(),
            snat_v6: policy.snat.iter().copied().filter(Prefix::is_ipv6).collect(),
            guests: policy.guests.clone(),
            router_v4: policy.router_v4.map(|a| widen(a.into())),
            router_v6: policy.router_v6.map(|a| widen(a.into())),
            timeouts: policy.timeouts,
            mtu: policy.mtu,
            ports: (policy.ports.0.clamp(1, policy.ports.1.max(1)), policy.ports.1.max(1)),
            share: (policy.share.0 % policy.share.1.max(1), policy.share.1.max(1)),
            targets_refused: 0,
        };
        for (index, application) in policy.applications.iter().enumerate() {
            for &(address, edge) in &application.vips {
                rules.vips.entry(widen(address)).or_insert(Vip { application: index, edge });
            }
        }
        for application in policy.applications {
            let (usable, refused): (Vec<_>, Vec<_>) =
                application.targets.into_iter().partition(|t| rules.may_be_target(t.address));
            rules.targets_refused += refused.len() as u64;
            rules.applications.push(Rule {
                id: application.id,
                set: application.set,
                fast: application.fast,
                proxied: application.proxied,
                transparent: !application.transparent.is_empty(),
                ports: application.ports,
                targets: usable,
            });
        }
        rules
    }

    /// A target that is one of our own addresses would lead clients to each other or into the node.
    pub(crate) fn may_be_target(&self, address: IpAddr) -> bool {
        is_ordinary(address) && !self.is_ours(widen(address))
    }

    fn is_ours(&self, address: Wide) -> bool {
        self.vips.contains_key(&address)
            || self.is_snat(address)
            || Some(address) == self.router_v4
            || Some(address) == self.router_v6
    }

    /// Of all but the server's address; see `Rule::has_target`.
    pub(crate) fn may_be_client(&self, address: IpAddr) -> bool {
        is_ordinary(address) && !self.is_ours(widen(address))
    }

    pub(crate) fn is_snat(&self, address: Wide) -> bool {
        let v6 = narrow(address).is_ipv6();
        let guests = self.guests.iter().filter(|prefix| prefix.is_ipv6() == v6);
        self.snat(v6).iter().chain(guests).any(|prefix| prefix.contains_wide(address))
    }

    /// Whether a server sees clients' own addresses, from one application at least.
    pub(crate) fn is_transparent(&self, server: Wide) -> bool {
        self.transparent.contains(&server)
    }

    /// Whether what goes from one address to another is an answer, or what is left of one.
    pub(crate) fn is_answer(&self, from: Wide, to: Wide) -> bool {
        self.is_snat(to) || self.is_transparent(from)
    }

    pub(crate) fn application(&self, id: u16) -> Option<&Rule> {
        self.applications.iter().find(|rule| rule.id == id)
    }

    pub(crate) fn snat(&self, v6: bool) -> &[Prefix] {
        if v6 {
            &self.snat_v6
        } else {
            &self.snat_v4
        }
    }

    /// An address of the pool that means something else too is not taken as a source.
    pub(crate) fn may_be_snat(&self, address: Wide) -> bool {
        !self.vips.contains_key(&address) && Some(address) != self.router_v4 && Some(address) != self.router_v6
    }

    pub(crate) fn router(&self, v6: bool) -> Option<Wide> {
        if v6 {
            self.router_v6
        } else {
            self.router_v4
        }
    }

    pub(crate) fn vip(&self, address: Wide) -> Option<(Vip, &Rule)> {
        let vip = *self.vips.get(&address)?;
        Some((vip, self.applications.get(vip.application)?))
    }
}

impl Rule {
    pub(crate) fn allows(&self, protocol: u8, port: u16) -> bool {
        self.ports.iter().any(|&(proto, first, last)| match proto {
            Proto::Any => true,
            Proto::Icmp => matches!(protocol, ICMPV4 | ICMPV6),
            Proto::Tcp => protocol == TCP && (first..=last).contains(&port),
            Proto::Udp => protocol == UDP && (first..=last).contains(&port),
        })
    }

    pub(crate) fn has_target(&self, address: IpAddr) -> bool {
        self.targets.iter().any(|target| target.address == address)
    }

    /// Weighted rendezvous hashing over the healthy targets of the family: a client changes its target only
    /// when that one is gone, and all gateways agree.
    pub(crate) fn target(&self, client: Wide, v6: bool) -> Option<&Target> {
        let [high, low] = halves(client);
        let cost = |target: &Target| {
            let [target_high, target_low] = halves(widen(target.address));
            let port = target.port.map_or(1 << 16, u64::from);
            let hash = mix(&[high, low, u64::from(self.id), target_high, target_low, port]);
            let uniform = ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
            -uniform.ln() / f64::from(target.weight)
        };
        self.targets
            .iter()
            .filter(|t| t.healthy && t.weight > 0 && t.address.is_ipv6() == v6)
            .min_by(|a, b| cost(a).total_cmp(&cost(b)))
    }
}

fn halves(wide: Wide) -> [u64; 2] {
    [(wide >> 64) as u64, wide as u64]
}

#[cfg(test)]
mod tests;
