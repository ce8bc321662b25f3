//! Which packets belong together: numbers that are equal for all packets of a flow, for who spreads flows over threads.
//!
//! Later fragments have no ports, so there is no number for them: see `Fragments`.

use crate::ip::{ICMPV4, ICMPV6, TCP, UDP};
use crate::{mix, Ip, Transport};
use std::net::{IpAddr, SocketAddr};

/// Bytes of an ICMP error before the packet it quotes.
const ICMP_HEADER: usize = 8;

/// The flow that a packet belongs to, the same number for both directions: from addresses, ports (of ICMP the identifier)
/// and protocol; of an ICMP error those of the packet that it is about. Zero for all protocols without ports.
pub fn flow_hash(ip: &Ip, packet: &[u8]) -> u32 {
    match quoted(ip, packet) {
        Some(quoted) => of_flow(&quoted),
        None => of_flow(ip),
    }
}

/// The same for a TCP connection, by its ends.
pub fn connection_hash(one: SocketAddr, other: SocketAddr) -> u32 {
    between((one.ip(), one.port()), (other.ip(), other.port()), TCP)
}

fn of_flow(ip: &Ip) -> u32 {
    let (source, destination) = match ip.transport {
        Transport::Icmp(icmp) => (icmp.id, icmp.id),
        _ => match ip.ports() {
            Some(ports) => ports,
            None => return 0,
        },
    };
    between((ip.source, source), (ip.destination, destination), ip.protocol)
}

fn between(one: (IpAddr, u16), other: (IpAddr, u16), protocol: u8) -> u32 {
    let ends = end(one.0, one.1).wrapping_add(end(other.0, other.1));
    (mix(&[ends, u64::from(protocol)]) >> 32) as u32
}

/// The port at the packet's destination, of ICMP the identifier; of an ICMP error the port that the packet it is about came
/// from. Zero for protocols without ports.
pub fn local_port(ip: &Ip, packet: &[u8]) -> u16 {
    let found = match quoted(ip, packet) {
        Some(quoted) => match quoted.transport {
            Transport::Icmp(icmp) => Some(icmp.id),
            _ => quoted.ports().map(|(source, _)| source),
        },
        None => match ip.transport {
            Transport::Icmp(icmp) => Some(icmp.id),
            _ => ip.ports().map(|(_, destination)| destination),
        },
    };
    found.unwrap_or(0)
}

/// Equal for all fragments between two hosts, in both directions.
pub fn host_hash(ip: &Ip) -> u32 {
    (mix(&[end(ip.source, 0).wrapping_add(end(ip.destination, 0))]) >> 32) as u32
}

/// Whether packets of this protocol have ports or an identifier.
pub fn has_ports(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP | ICMPV4 | ICMPV6)
}

fn end(address: IpAddr, port: u16) -> u64 {
    let (high, low) = match address {
        IpAddr::V4(a) => (0, u64::from(u32::from(a))),
        IpAddr::V6(a) => ((u128::from(a) >> 64) as u64, u128::from(a) as u64),
    };
    mix(&[high, low, u64::from(port)])
}

/// The packet that an ICMP error is about, if it can be read.
fn quoted(ip: &Ip, packet: &[u8]) -> Option<Ip> {
    match ip.transport {
        Transport::Icmp(icmp) if icmp.is_error() => {
            Ip::parse_quoted(packet.get(ip.header_len + ICMP_HEADER..ip.total_len)?).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
