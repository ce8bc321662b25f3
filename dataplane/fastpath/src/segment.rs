//! A TCP packet as the fast path reads it.

use crate::cookie::Ends;
use crate::Reason;
use braid_packet::{Ip, Tcp, Transport};
use std::net::SocketAddr;

/// An unfragmented TCP packet.
pub(crate) fn parse(packet: &[u8]) -> Result<(Ip, Tcp), Reason> {
    match Ip::parse(packet) {
        Ok(ip) if ip.is_fragment() => Err(Reason::Fragment),
        Ok(Ip { transport: Transport::Tcp(tcp), .. }) if tcp.header_len < 20 => Err(Reason::Options),
        Ok(ip @ Ip { transport: Transport::Tcp(tcp), .. }) => Ok((ip, tcp)),
        _ => Err(Reason::Fragment),
    }
}

/// The options of a TCP packet.
pub(crate) fn options<'a>(packet: &'a [u8], ip: &Ip, tcp: &Tcp) -> &'a [u8] {
    packet.get(ip.header_len + 20..ip.header_len + tcp.header_len).unwrap_or(&[])
}

impl Ends {
    /// Of a packet from the client.
    pub(crate) fn from_client(ip: &Ip, tcp: &Tcp) -> Ends {
        Ends { client: SocketAddr::new(ip.source, tcp.source), vip: SocketAddr::new(ip.destination, tcp.destination) }
    }

    /// Of a packet to the client.
    pub(crate) fn to_client(ip: &Ip, tcp: &Tcp) -> Ends {
        Ends { client: SocketAddr::new(ip.destination, tcp.destination), vip: SocketAddr::new(ip.source, tcp.source) }
    }
}
