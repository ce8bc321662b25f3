use crate::Prefix;
use braid_packet::Time;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Everything the NAT is told; replaced as a whole.
#[derive(Clone, Debug)]
pub struct Policy {
    pub applications: Vec<Application>,
    /// Source addresses towards servers; the host must route them into the TUN.
    pub snat: Vec<Prefix>,
    /// Pools of other gateways, whose flows are here too: no new ones begin there.
    pub guests: Vec<Prefix>,
    /// Flows are on their way between this and another gateway: both see packets of the same connections.
    pub moving: bool,
    /// Names the node as the source of ICMP errors that come from routers between it and a server;
    /// without one such errors come from the VIP.
    pub router_v4: Option<Ipv4Addr>,
    pub router_v6: Option<Ipv6Addr>,
    pub timeouts: Timeouts,
    /// Inner MTU: ICMP errors never promise a client more than this.
    pub mtu: u16,
    /// First and last source port (ICMP identifier) towards servers.
    pub ports: (u16, u16),
    /// Of those, the ones that leave this remainder (first) when divided by the number of NATs (second) that share the
    /// addresses: the port of an answer says whose it is.
    pub share: (u16, u16),
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            applications: Vec::new(),
            snat: Vec::new(),
            guests: Vec::new(),
            moving: false,
            router_v4: None,
            router_v6: None,
            timeouts: Timeouts::default(),
            mtu: 1404,
            ports: (1024, 65_535),
            share: (0, 1),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Application {
    pub id: u16,
    /// Each VIP with the number of the edge that owns it.
    pub vips: Vec<(IpAddr, u16)>,
    /// Protocol, first and last destination port. Ports mean nothing for ICMP echo and `Any`.
    pub ports: Vec<(Proto, u16, u16)>,
    pub targets: Vec<Target>,
    /// Of each packet towards the client; handed back by `reverse`.
    pub set: u8,
    /// Its TCP connections are the fast path's: a SYN makes no flow here.
    pub fast: bool,
    /// Of those, each gets its target later, by `Nat::lease`; `targets` are not used.
    pub proxied: bool,
    /// Servers of a proxied application that see their clients' own addresses, and what they send to anybody is an answer.
    pub transparent: Vec<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proto {
    Tcp,
    Udp,
    Icmp,
    /// All of the above and every other IP protocol.
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub address: IpAddr,
    /// None keeps the port that the client asked for.
    pub port: Option<u16>,
    /// Share of the clients; 0 gets none.
    pub weight: u16,
    pub healthy: bool,
}

/// Idle times in nanoseconds after which a flow ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub tcp_established: u64,
    pub tcp_transitory: u64,
    pub udp: u64,
    pub udp_unreplied: u64,
    pub icmp: u64,
    pub other: u64,
}

impl Default for Timeouts {
    /// RFC 5382 REQ-5, RFC 4787 REQ-5, RFC 5508 REQ-2.
    fn default() -> Timeouts {
        Timeouts {
            tcp_established: 7440 * Time::SECOND,
            tcp_transitory: 240 * Time::SECOND,
            udp: 300 * Time::SECOND,
            udp_unreplied: 30 * Time::SECOND,
            icmp: 60 * Time::SECOND,
            other: 600 * Time::SECOND,
        }
    }
}
