//! SYNs of connections that nobody will ever have: what a flood looks like to a server.

use super::options::Options;
use super::udp::Sent;
use crate::io::monotonic;
use crate::io::raw::RawSocket;
use braid_packet::{mix, Segment};
use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Packets for one system call.
const BATCH: usize = 64;
const SYN: u8 = 2;
/// As Linux asks: MSS 1460, SACK, timestamps, window scale 7.
const OPTIONS: [u8; 20] = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
/// Of the network for benchmarks (RFC 2544): 131,072 addresses, and in the Internet nobody's.
const SOURCES: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
const SOURCE_BITS: u32 = 17;

/// SYNs to `to` at the options' rate, each from another address and port. IPv4 only.
pub fn send(options: &Options, to: SocketAddr) -> Result<Sent, Error> {
    let IpAddr::V4(destination) = to.ip() else {
        return Err(Error::new(ErrorKind::InvalidInput, "syn-flood: --to an IPv4 address"));
    };
    let socket = RawSocket::open(destination)?;
    let run = u64::from(std::process::id());
    let mut packets = vec![Vec::new(); BATCH];
    let total = (options.rate * options.seconds).round() as u64;
    let (mut sent, mut send_errors) = (0, 0);
    let began = monotonic();
    let elapsed = || (monotonic() - began) as f64 / 1e9;
    while sent < total && elapsed() < options.seconds {
        let due = total.min((elapsed() * options.rate) as u64 + 1);
        let count = (due.saturating_sub(sent) as usize).min(BATCH);
        for (packet, number) in packets[..count].iter_mut().zip(sent..) {
            syn(to, mix(&[run, number]), packet);
        }
        let refused = count - socket.send(&packets[..count]);
        sent += count as u64;
        send_errors += refused as u64;
        let next = sent as f64 / options.rate - elapsed();
        if next > 0.0 {
            std::thread::sleep(Duration::from_secs_f64(next.max(20e-6)));
        }
    }
    let seconds = elapsed();
    Ok(Sent { sent, send_errors, seconds, packets_per_second: sent as f64 / seconds, echo: None })
}

/// Source, port and sequence number are functions of `chance`.
fn syn(to: SocketAddr, chance: u64, packet: &mut Vec<u8>) {
    let host = (chance as u32) & ((1 << SOURCE_BITS) - 1);
    let port = 1024 + (chance >> 32) as u16 % (u16::MAX - 1024);
    let from = SocketAddr::from((Ipv4Addr::from(u32::from(SOURCES) | host), port));
    let segment = Segment {
        from,
        to,
        sequence: mix(&[chance]) as u32,
        acknowledgement: 0,
        flags: SYN,
        window: 64240,
        options: &OPTIONS,
    };
    // Both ends are IPv4 and the options fit: it is always written.
    let written = segment.write(packet);
    debug_assert!(written.is_some());
}

#[cfg(test)]
mod tests {
    use super::*;
    use braid_packet::{tcp_checksum_is_good, Ip, Tcp, Transport};
    use std::collections::HashSet;

    #[test]
    fn syns_are_sound_and_come_from_everywhere() {
        let to: SocketAddr = "10.91.1.130:80".parse().unwrap();
        let mut from = HashSet::new();
        for chance in 0..1000 {
            let mut packet = Vec::new();
            syn(to, mix(&[chance]), &mut packet);
            let ip = Ip::parse(&packet).unwrap();
            assert!(tcp_checksum_is_good(&packet, &ip));
            let Transport::Tcp(tcp) = ip.transport else { panic!("{ip:?}") };
            assert!(tcp.has(Tcp::SYN) && !tcp.has(Tcp::ACK));
            assert!(ip.source.to_string().starts_with("198.1"));
            from.insert((ip.source, packet[20..22].to_vec()));
        }
        assert!(from.len() > 990);
    }
}
