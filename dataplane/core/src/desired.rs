//! The whole desired state of a node, as the control side gives it (JSON): applied in one piece, compared with nothing older.

use crate::shard::is_shard_count;
use braid_packet::{Ip, Transport};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// Less than the receiver waits, beyond the paths' skew, until it calls a copy lost.
const MOST_SPREAD_US: u32 = 40_000;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Desired {
    pub neighbours: Vec<NeighbourSpec>,
    pub path_sets: Vec<PathSet>,
    /// Of the nodes that have more than one, by their number.
    #[serde(default)]
    pub shards: BTreeMap<u16, u8>,
    #[serde(default)]
    pub edge: Option<EdgeSpec>,
    #[serde(default)]
    pub gateway: Option<GatewaySpec>,
}

/// A node that may speak to us directly, and where it is; the preferred address first.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NeighbourSpec {
    pub node: u16,
    pub addresses: Vec<SocketAddr>,
    /// Probes to it go out when its own come, so that a node with very many neighbours hears them together.
    #[serde(default)]
    pub answers: bool,
}

/// The paths that some applications' packets take to a peer; the applications name it by its number.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathSet {
    pub peer: u16,
    /// Below 255, and used once for the peer.
    pub set: u8,
    /// The peer is asked what came of each packet, and `Event::Losses` tells.
    #[serde(default)]
    pub measured: bool,
    /// Microseconds by which all copies but the first leave later; at most 40,000.
    #[serde(default)]
    pub spread_us: u32,
    pub paths: Vec<PathSpec>,
    /// Probed, and used when one of `paths` does not arrive; the preferred one first.
    #[serde(default)]
    pub spares: Vec<PathSpec>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathSpec {
    /// 0..15, stable for this (peer, route).
    pub id: u8,
    /// Node numbers from the first hop to the peer.
    pub route: Vec<u16>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeSpec {
    pub applications: Vec<EdgeApplication>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeApplication {
    pub app: u16,
    pub vips: Vec<IpAddr>,
    pub ports: Vec<PortRange>,
    pub set: u8,
    /// Gateway nodes in order of preference.
    pub gateways: Vec<u16>,
    /// SYNs are answered here.
    #[serde(default)]
    pub cookies: bool,
    /// Gateways whose clients go to another one now.
    #[serde(default)]
    pub diverts: Vec<(u16, u16)>,
    /// Nodes that its gateways may give connections to.
    #[serde(default)]
    pub owners: Vec<u16>,
}

/// protocol ("tcp", "udp", "icmp", "any"), lowest, highest port.
#[derive(Clone, Debug, Deserialize)]
pub struct PortRange(pub Protocol, pub u16, pub u16);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
    Icmp,
    Any,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewaySpec {
    pub applications: Vec<GatewayApplication>,
    /// Applications whose connections end in the gateway's own TCP stack.
    #[serde(default)]
    pub proxied: Vec<ProxiedApplication>,
    /// "address/length".
    pub snat: Vec<String>,
    /// Pools of other gateways whose flows are here.
    #[serde(default)]
    pub guests: Vec<String>,
    /// Gateways of the region, which may pass on packets of clients and servers.
    #[serde(default)]
    pub siblings: Vec<u16>,
    /// The one that has what is not here.
    #[serde(default)]
    pub sibling: Option<SiblingSpec>,
    /// Flows are on their way between this gateway and another one.
    #[serde(default)]
    pub moving: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiblingSpec {
    pub node: u16,
    /// It gets what begins anew, too.
    pub leaving: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayApplication {
    pub app: u16,
    pub vips: Vec<VipSpec>,
    pub ports: Vec<PortRange>,
    pub set: u8,
    pub targets: Vec<TargetSpec>,
    #[serde(default)]
    pub mode: ServiceMode,
    /// Its edges answer SYNs.
    #[serde(default)]
    pub cookies_at_edge: bool,
}

/// How TCP of an application is served; all else goes through the NAT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceMode {
    #[default]
    Nat,
    FastPath,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxiedApplication {
    #[serde(default)]
    pub app: u16,
    pub vips: Vec<VipSpec>,
    pub ports: Vec<PortRange>,
    pub set: u8,
    #[serde(default)]
    pub accept: Accept,
    /// Servers that see their clients' own addresses.
    #[serde(default)]
    pub transparent: Vec<IpAddr>,
    /// Its edges answer SYNs; where the stack's listeners do not.
    #[serde(default)]
    pub cookies_at_edge: bool,
    /// Its connections may go back to the data plane.
    #[serde(default)]
    pub splices: bool,
    /// Seconds that a connection may wait for its client between two requests; None: as long as flows live.
    #[serde(default)]
    pub idle_timeout: Option<f64>,
}

/// Who accepts the TCP connections of a proxied application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accept {
    /// The stack, by listeners.
    #[default]
    Listener,
    /// The fast path; the control side hears of one when its client has sent something.
    FirstByte,
    /// The fast path; the control side hears of each.
    AtOnce,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VipSpec {
    pub address: IpAddr,
    pub edge: u16,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetSpec {
    pub address: IpAddr,
    pub port: Option<u16>,
    pub weight: u16,
    pub healthy: bool,
}

impl PortRange {
    /// ICMP errors belong to flows of any protocol, and later fragments carry no ports: who keeps the flows knows theirs.
    pub fn admits(&self, ip: &Ip) -> bool {
        let PortRange(protocol, low, high) = *self;
        let in_range = |port: u16| (low..=high).contains(&port);
        match (protocol, ip.transport) {
            (Protocol::Any, _) => true,
            (_, Transport::Icmp(icmp)) if icmp.is_error() => true,
            (Protocol::Tcp, Transport::Tcp(tcp)) => in_range(tcp.destination),
            (Protocol::Udp, Transport::Udp { destination, .. }) => in_range(destination),
            (Protocol::Icmp, Transport::Icmp(icmp)) => icmp.is_echo_request(),
            (Protocol::Tcp, Transport::Other) => ip.is_fragment() && ip.protocol == 6,
            (Protocol::Udp, Transport::Other) => ip.is_fragment() && ip.protocol == 17,
            (Protocol::Icmp, Transport::Other) => ip.is_fragment() && matches!(ip.protocol, 1 | 58),
            (Protocol::Tcp | Protocol::Udp | Protocol::Icmp, _) => false,
        }
    }
}

impl Desired {
    /// Parses and checks what the types cannot say. The error names the place.
    pub fn parse(json: &str) -> Result<Desired, String> {
        let desired: Desired = serde_json::from_str(json).map_err(|error| error.to_string())?;
        for neighbour in &desired.neighbours {
            if neighbour.node == 0 || neighbour.addresses.is_empty() {
                return Err(format!("neighbour {}: needs a number above 0 and an address", neighbour.node));
            }
        }
        for (node, &count) in &desired.shards {
            if !is_shard_count(count) {
                return Err(format!("shards of {node}: {count} is not 1, 2, 4, 8 or 16"));
            }
        }
        for set in &desired.path_sets {
            let same = |other: &&PathSet| (other.peer, other.set) == (set.peer, set.set);
            if set.set == u8::MAX || desired.path_sets.iter().filter(same).count() > 1 {
                return Err(format!("set {} to {}: needs a number below 255, used once", set.set, set.peer));
            }
            if set.spread_us > MOST_SPREAD_US {
                return Err(format!("set {} to {}: spread_us is at most {MOST_SPREAD_US}", set.set, set.peer));
            }
            for path in set.paths.iter().chain(&set.spares) {
                let route_fits =
                    path.route.split_first().is_some_and(|(_, rest)| crate::wire::Route::new(rest).is_some());
                if path.id > 15 || !route_fits || path.route.last() != Some(&set.peer) {
                    return Err(format!(
                        "path {} to {}: needs an id below 16 and a route of at most 5 nodes that ends at the peer",
                        path.id, set.peer
                    ));
                }
            }
        }
        for pool in desired.gateway.iter().flat_map(|gateway| gateway.snat.iter().chain(&gateway.guests)) {
            pool.parse::<braid_nat::Prefix>().map_err(|error| format!("snat {pool}: {error}"))?;
        }
        Ok(desired)
    }
}
