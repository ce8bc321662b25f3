//! Random traffic against a plain map of who talks to whom.

use super::bytes::{address, echo, ends, icmp, make_partial, quoted_ends, raw, tcp, udp, verify, Segment};
use super::world::{policy, prefix, target, EDGE, START};
use crate::{Forward, Nat, Policy, Reverse, Timeouts};
use braid_packet::{Ip, Tcp, Time};
use proptest::prelude::*;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

type Ends = (SocketAddr, SocketAddr, u8);

#[derive(Clone, Debug)]
struct Step {
    kind: u8,
    v6: bool,
    client: u8,
    port: u16,
    back: u8,
    partial: bool,
    pause: u64,
}

fn step() -> impl Strategy<Value = Step> {
    (0..4_u8, any::<bool>(), 1..6_u8, 0..6_u16, 0..4_u8, any::<bool>(), 0..40_u64).prop_map(
        |(kind, v6, client, port, back, partial, pause)| Step { kind, v6, client, port, back, partial, pause },
    )
}

fn small_policy() -> Policy {
    let mut policy = policy();
    policy.applications[0].targets =
        ["10.93.0.10", "10.93.0.11", "10.93.0.12", "fd93::10", "fd93::11"].map(target).to_vec();
    policy.snat = vec![prefix("10.93.0.128/31"), prefix("fd93::1:0/127")];
    policy.ports = (5000, 5003);
    let short = 60 * Time::SECOND;
    policy.timeouts = Timeouts { tcp_transitory: short, udp: short, ..Timeouts::default() };
    policy
}

fn build(kind: u8, from: SocketAddr, to: SocketAddr, reply: bool) -> Vec<u8> {
    match kind {
        0 => udp(from, to, b"some payload"),
        1 => {
            let flags = if reply { Tcp::SYN | Tcp::ACK } else { Tcp::SYN };
            tcp(from, to, &Segment { flags, acknowledgement: 1, window: 100, ..Segment::default() })
        }
        2 => {
            let id = if reply { to.port() } else { from.port() };
            echo(from.ip(), to.ip(), reply, id, b"ping")
        }
        _ => raw(from.ip(), to.ip(), 47, b"gre".to_vec()),
    }
}

/// Who is asked and from which address: what an answer must undo.
struct Model {
    nat: Nat,
    outside: HashMap<Ends, Ends>,
    inside: Vec<IpAddr>,
    servers: Vec<IpAddr>,
}

impl Model {
    fn forward(&mut self, step: &Step, now: Time) -> Option<(Ends, Ends)> {
        let client = if step.v6 { format!("2001:db8:{}::1", step.client) } else { format!("192.0.2.{}", step.client) };
        let vip = address(if step.v6 { "fd91::130" } else { "10.91.1.130" });
        let port = if step.kind == 3 { 0 } else { 4999 + step.port };
        let from = SocketAddr::new(address(&client), port);
        let to = SocketAddr::new(vip, if step.kind < 2 { 80 + step.port % 2 } else { 0 });
        let mut packet = build(step.kind, from, to, false);
        let partial = step.partial && step.kind < 2;
        if partial {
            make_partial(&mut packet);
        }
        let key = (from, to, step.kind);
        match self.nat.forward(&mut packet, partial, EDGE, now) {
            Forward::Pass => {}
            Forward::Reply => {
                verify(self.nat.reply());
                return None;
            }
            other => panic!("{other:?}"),
        }
        if partial {
            assert!(braid_packet::finish_checksum(&mut packet));
        }
        verify(&packet);
        let (mut source, mut destination) = ends(&packet);
        if step.kind == 2 {
            destination.set_port(0);
        }
        if step.kind == 3 {
            source.set_port(0);
        }
        assert!(self.servers.contains(&destination.ip()), "sent to {destination}");
        assert!(!self.inside.contains(&source.ip()), "a server sees {source}");
        let outer = (source, destination, step.kind);
        // Nobody else who still lives may be behind the same addresses and ports.
        let live = self.nat.flows(1000, now);
        if let Some(other) = self.outside.insert(outer, key).filter(|other| *other != key) {
            assert!(!live.iter().any(|f| (f.client, f.vip, f.snat, f.target, f.protocol)
                == (other.0, other.1, source, destination, number(other.2, step.v6))));
        }
        let reverse: std::collections::HashSet<_> = live.iter().map(|f| (f.snat, f.target, f.protocol)).collect();
        assert_eq!(reverse.len(), live.len(), "two flows share a reverse key");
        Some((key, outer))
    }

    fn back(&mut self, step: &Step, key: Ends, outer: Ends, now: Time) {
        let ((from, to, _), (source, destination, _)) = (key, outer);
        let mut packet = build(step.kind, destination, source, true);
        if step.back == 2 {
            let under_way = Segment { flags: Tcp::ACK, sequence: 1, ..Segment::default() };
            let quote = match step.kind {
                1 => tcp(source, destination, &under_way),
                kind => build(kind, source, destination, false),
            };
            packet =
                icmp(destination.ip(), source.ip(), if step.v6 { 1 } else { 3 }, 3 + u8::from(step.v6), [0; 4], &quote);
        }
        let verdict = self.nat.reverse(&mut packet, false, now);
        assert_eq!(verdict, Reverse::Pass { edge: EDGE, set: 2, app: 0, fast: None });
        verify(&packet);
        let (seen_from, seen_to) = ends(&packet);
        assert_eq!((seen_from.ip(), seen_to.ip()), (to.ip(), from.ip()));
        if step.back == 2 {
            let quoted = quoted_ends(&packet);
            assert!(!self.servers.contains(&quoted.0.ip()) && !self.servers.contains(&quoted.1.ip()));
            assert_eq!((quoted.0, quoted.1.ip()), (from, to.ip()));
        } else {
            assert_eq!(seen_to.port(), from.port());
        }
    }
}

fn number(kind: u8, v6: bool) -> u8 {
    match (kind, v6) {
        (0, _) => 17,
        (1, _) => 6,
        (2, false) => 1,
        (2, true) => 58,
        _ => 47,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn translations_are_unique_and_undone(steps in proptest::collection::vec(step(), 1..200), seed: u64) {
        let mut nat = Nat::new(seed, 100);
        nat.set_policy(small_policy());
        let servers = small_policy().applications[0].targets.iter().map(|t| t.address).collect();
        let clients = (1..6).flat_map(|n| [format!("2001:db8:{n}::1"), format!("192.0.2.{n}")]);
        let inside = clients.map(|text| address(&text)).chain(super::world::VIPS.map(address)).collect();
        let mut model = Model { nat, outside: HashMap::new(), inside, servers };
        let mut now = START;
        for step in &steps {
            if let (Some((key, outer)), true) = (model.forward(step, now), step.back > 0) {
                model.back(step, key, outer, now);
            }
            now = now.after(step.pause * Time::SECOND);
            if step.back == 3 {
                model.nat.expire(now, 7);
            }
        }
        let by_app: usize = model.nat.flows_by_app().iter().map(|(_, n)| n).sum();
        prop_assert_eq!(by_app, model.nat.len());
        prop_assert_eq!(model.nat.counters().created - model.nat.counters().expired, model.nat.len() as u64);
        model.nat.expire(now.after(8000 * Time::SECOND), 1000);
        prop_assert!(model.nat.is_empty());
    }

    #[test]
    fn any_bytes_get_a_verdict(
        packets in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..100), 0..6_u8, any::<bool>(), any::<bool>()), 1..40),
    ) {
        let mut nat = Nat::new(3, 100);
        nat.set_policy(policy());
        for (mut bytes, shape, partial, forward) in packets {
            shape_up(&mut bytes, shape, forward);
            let before = bytes.clone();
            let passed = if forward {
                nat.forward(&mut bytes, partial, EDGE, START) == Forward::Pass
            } else {
                matches!(nat.reverse(&mut bytes, partial, START), Reverse::Pass { .. })
            };
            prop_assert_eq!(bytes.len(), before.len());
            if passed {
                let (was, is) = (Ip::parse(&before).unwrap(), Ip::parse(&bytes).unwrap());
                prop_assert_ne!((was.source, was.destination), (is.source, is.destination));
            } else {
                prop_assert_eq!(bytes, before);
            }
            nat.take_released().for_each(drop);
        }
    }

    #[test]
    fn damaged_packets_of_a_flow_get_a_verdict(flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), v6: bool, kind in 0..4_u8) {
        let mut nat = Nat::new(3, 100);
        nat.set_policy(policy());
        let from = super::world::client(v6, 5000);
        let to = super::world::vip(v6, 80);
        let mut packet = build(kind, from, to, false);
        prop_assert_eq!(nat.forward(&mut packet, false, EDGE, START), Forward::Pass);
        let (source, destination) = ends(&packet);
        let mut back = build(kind, destination, source, true);
        let mut error = icmp(destination.ip(), source.ip(), if v6 { 1 } else { 3 }, 1, [0; 4], &packet);
        for (index, xor) in flips {
            for bytes in [&mut back, &mut error, &mut packet] {
                let at = index.index(bytes.len());
                bytes[at] ^= xor;
            }
        }
        nat.reverse(&mut back, false, START);
        nat.reverse(&mut error.clone(), false, START);
        nat.reverse(&mut error, true, START);
        nat.forward(&mut packet, false, EDGE, START);
    }
}

/// Makes random bytes likely to be looked at: right version, lengths and addresses.
fn shape_up(bytes: &mut [u8], shape: u8, forward: bool) {
    let length = bytes.len();
    let (first, second) = if forward {
        (super::world::CLIENTS, super::world::VIPS)
    } else {
        (super::world::SERVERS, ["10.93.0.129", "fd93::1:1"])
    };
    let octets = |text: &str| match address(text) {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    };
    match shape {
        0 | 1 if length >= 20 => {
            bytes[0] = 0x45;
            bytes[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            if shape == 0 {
                bytes[6..8].fill(0);
                bytes[9] = [1, 6, 17, 47][usize::from(bytes[9]) % 4];
            }
            bytes[12..16].copy_from_slice(&octets(first[0]));
            bytes[16..20].copy_from_slice(&octets(second[0]));
        }
        2 | 3 if length >= 40 => {
            bytes[0] = 0x60;
            bytes[4..6].copy_from_slice(&(length as u16 - 40).to_be_bytes());
            let next = if shape == 2 { [58, 6, 17, 47] } else { [0, 43, 44, 60] };
            bytes[6] = next[usize::from(bytes[6]) % 4];
            bytes[8..24].copy_from_slice(&octets(first[1]));
            bytes[24..40].copy_from_slice(&octets(second[1]));
        }
        _ => {}
    }
}
