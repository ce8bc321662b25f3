//! One gateway with two applications, as most tests need it.

use super::bytes::{address, ends, tcp, udp, verify, Segment};
use crate::{Application, Forward, Nat, Policy, Prefix, Proto, Reverse, Target};
use braid_packet::{Tcp, Time};
use std::net::SocketAddr;

pub(super) const EDGE: u16 = 11;
pub(super) const OTHER_EDGE: u16 = 12;
pub(super) const START: Time = Time(1_000 * Time::SECOND);

pub(super) const CLIENTS: [&str; 2] = ["192.0.2.7", "2001:db8::7"];
pub(super) const VIPS: [&str; 2] = ["10.91.1.130", "fd91::130"];
pub(super) const SERVERS: [&str; 2] = ["10.93.0.10", "fd93::10"];

pub(super) fn target(text: &str) -> Target {
    Target { address: address(text), port: None, weight: 1, healthy: true }
}

pub(super) fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// Application 0: everything, at `EDGE`. Application 1: TCP 80 (to 8080) and UDP 53, at `OTHER_EDGE` too.
pub(super) fn policy() -> Policy {
    let vips = |texts: &[&str], edge| texts.iter().map(|t| (address(t), edge)).collect::<Vec<_>>();
    let mut second = vips(&["10.91.1.131", "fd91::131"], EDGE);
    second.extend(vips(&["10.91.2.131", "fd91:2::131"], OTHER_EDGE));
    Policy {
        applications: vec![
            Application {
                id: 0,
                vips: vips(&VIPS, EDGE),
                ports: vec![(Proto::Any, 0, 65_535)],
                targets: SERVERS.map(target).to_vec(),
                set: 2,
                fast: false,
                proxied: false,
                transparent: Vec::new(),
            },
            Application {
                id: 1,
                vips: second,
                ports: vec![(Proto::Tcp, 80, 80), (Proto::Udp, 53, 53)],
                targets: vec![
                    Target { port: Some(8080), ..target("10.93.0.20") },
                    Target { port: Some(8080), ..target("fd93::20") },
                ],
                set: 3,
                fast: false,
                proxied: false,
                transparent: Vec::new(),
            },
        ],
        snat: vec![prefix("10.93.0.128/30"), prefix("fd93::1:0/126")],
        ..Policy::default()
    }
}

pub(super) fn nat() -> Nat {
    nat_with(policy())
}

pub(super) fn nat_with(policy: Policy) -> Nat {
    let mut nat = Nat::new(7, 1000);
    nat.set_policy(policy);
    nat
}

pub(super) fn client(v6: bool, port: u16) -> SocketAddr {
    SocketAddr::new(address(CLIENTS[usize::from(v6)]), port)
}

pub(super) fn vip(v6: bool, port: u16) -> SocketAddr {
    SocketAddr::new(address(VIPS[usize::from(v6)]), port)
}

pub(super) fn server(v6: bool, port: u16) -> SocketAddr {
    SocketAddr::new(address(SERVERS[usize::from(v6)]), port)
}

/// Sends a client's packet, which must pass with right checksums; its ends on the server's side.
pub(super) fn pass(nat: &mut Nat, packet: &[u8], now: Time) -> (SocketAddr, SocketAddr) {
    let mut packet = packet.to_vec();
    assert_eq!(nat.forward(&mut packet, false, EDGE, now), Forward::Pass);
    verify(&packet);
    ends(&packet)
}

/// Sends a server's packet, which must pass with right checksums; its ends on the client's side.
pub(super) fn pass_back(nat: &mut Nat, packet: &[u8], now: Time) -> (SocketAddr, SocketAddr) {
    let mut packet = packet.to_vec();
    let verdict = nat.reverse(&mut packet, false, now);
    assert!(matches!(verdict, Reverse::Pass { .. }), "{verdict:?}");
    verify(&packet);
    ends(&packet)
}

/// A UDP packet there and back; its source on the server's side.
pub(super) fn udp_flow(nat: &mut Nat, from: SocketAddr, to: SocketAddr, now: Time) -> SocketAddr {
    let (snat, target) = pass(nat, &udp(from, to, b"question"), now);
    assert_eq!(pass_back(nat, &udp(target, snat, b"answer"), now), (to, from));
    snat
}

pub(super) const CLIENT_ISN: u32 = 0xffff_ff00;
pub(super) const SERVER_ISN: u32 = 5000;

/// A TCP handshake: window 1000 each way, scaled by 2; its source on the server's side.
pub(super) fn tcp_flow(nat: &mut Nat, from: SocketAddr, to: SocketAddr, now: Time) -> (SocketAddr, SocketAddr) {
    let options = &[2, 4, 5, 0xb4, 1, 3, 3, 2][..];
    let syn = Segment { flags: Tcp::SYN, sequence: CLIENT_ISN, window: 1000, options, ..Segment::default() };
    let (snat, target) = pass(nat, &tcp(from, to, &syn), now);
    let syn_ack = Segment {
        flags: Tcp::SYN | Tcp::ACK,
        sequence: SERVER_ISN,
        acknowledgement: CLIENT_ISN.wrapping_add(1),
        window: 1000,
        options,
        ..Segment::default()
    };
    pass_back(nat, &tcp(target, snat, &syn_ack), now);
    let ack = Segment {
        flags: Tcp::ACK,
        sequence: CLIENT_ISN.wrapping_add(1),
        acknowledgement: SERVER_ISN + 1,
        window: 1000,
        ..Segment::default()
    };
    pass(nat, &tcp(from, to, &ack), now);
    (snat, target)
}
