//! The two ends of a client's TCP connection, as its packets name them.

use braid_packet::affinity::connection_hash;
use braid_packet::{Ip, Tcp, Transport};
use std::net::{IpAddr, SocketAddr};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    pub client: IpAddr,
    pub vip: IpAddr,
    pub client_port: u16,
    pub port: u16,
}

impl Ends {
    pub fn new(client: SocketAddr, vip: SocketAddr) -> Ends {
        Ends { client: client.ip(), vip: vip.ip(), client_port: client.port(), port: vip.port() }
    }

    /// Of its packets (`affinity::flow_hash`).
    pub fn flow(&self) -> u32 {
        connection_hash(SocketAddr::new(self.client, self.client_port), SocketAddr::new(self.vip, self.port))
    }

    /// Of a TCP segment from the client, and the segment.
    #[inline]
    pub fn inward(ip: &Ip) -> Option<(Ends, Tcp)> {
        let Transport::Tcp(tcp) = ip.transport else { return None };
        Some((Ends { client: ip.source, vip: ip.destination, client_port: tcp.source, port: tcp.destination }, tcp))
    }

    /// The same of one towards the client.
    #[inline]
    pub fn outward(ip: &Ip) -> Option<(Ends, Tcp)> {
        let Transport::Tcp(tcp) = ip.transport else { return None };
        Some((Ends { client: ip.destination, vip: ip.source, client_port: tcp.destination, port: tcp.source }, tcp))
    }
}
