//! The gateway when it knows very many flows and every packet is of another one: nothing is in a cache, nothing coalesces.

use crate::node::receive;
use crate::parts::{nat, request, EDGE};
use crate::Prepared;
use braid_core::{Command, Desired};
use braid_nat::Forward;
use braid_packet::Time;
use braid_testbed::{address, udp, Braid, Sent, GATEWAY, RELAYS, VIP};
use std::any::Any;
use std::hint::black_box;

const PER_ROUND: usize = 1000;
/// In one batch, as a socket gives them when packets come faster than one by one.
const PACKETS: usize = 43;
const MILLION: usize = 1_000_000;

/// Visits all of `flows`, which neighbours in time are far apart. Has no factor in common with powers of ten.
fn scattered(k: usize, flows: usize) -> usize {
    k * 617_923 % flows
}

/// Makes `packet`, made by `request`, that of the `i`th client; checksums, which the NAT only adjusts, stay.
fn readdress(packet: &mut [u8], i: usize) {
    packet[12..16].copy_from_slice(&[10, 100 + (i >> 16 & 63) as u8, (i >> 8 & 255) as u8, 1 + (i % 250) as u8]);
    packet[20..22].copy_from_slice(&(1024 + (i % 60_000) as u16).to_be_bytes());
}

fn nat_known_flow_of(rounds: usize, flows: usize) -> Prepared {
    let mut nat = nat(flows);
    for i in 0..flows {
        assert!(matches!(nat.forward(&mut request(i), false, EDGE, Time(0)), Forward::Pass));
    }
    let original = request(0);
    let run = move || {
        let mut packet = original.clone();
        for k in 0..rounds * PER_ROUND {
            packet.copy_from_slice(&original);
            readdress(&mut packet, scattered(k, flows));
            assert!(matches!(black_box(nat.forward(&mut packet, false, EDGE, Time(1))), Forward::Pass));
        }
        assert_eq!(nat.len(), flows);
        Box::new(nat) as Box<dyn Any>
    };
    Prepared { packets: (rounds * PER_ROUND) as u64, run: Box::new(run) }
}

pub(crate) fn nat_known_flow_1e5(rounds: usize) -> Prepared {
    nat_known_flow_of(rounds, MILLION / 10)
}

pub(crate) fn nat_known_flow_1e6(rounds: usize) -> Prepared {
    nat_known_flow_of(rounds, MILLION)
}

/// The `i`th flow of few clients: an edge remembers clients, and not a million of them.
fn request_of_few(i: usize) -> Vec<u8> {
    udp(&format!("10.100.0.{}", 1 + i % 250), 1024 + (i / 250) as u16, VIP, 53, &[7; 36])
}

/// A Braid whose gateway has room and SNAT addresses for a million flows, and knows the first `flows`.
fn knowing(flows: usize) -> Braid {
    let mut braid = Braid::up_for(MILLION);
    let at = |n: u16| format!(r#"{{"node": {n}, "addresses": ["{}"]}}"#, address(n));
    let desired = format!(
        r#"{{"neighbours": [{}, {}],
            "path_sets": [{{"peer": {EDGE}, "set": 2, "paths": [{{"id": 0, "route": [21, {EDGE}]}}, {{"id": 1, "route": [22, {EDGE}]}}]}}],
            "gateway": {{"applications": [{{"app": 0, "vips": [{{"address": "{VIP}", "edge": {EDGE}}}],
                "ports": [["any", 0, 65535]], "set": 2,
                "targets": [{{"address": "10.93.0.10", "port": null, "weight": 1, "healthy": true}}]}}], "snat": ["10.94.0.0/24"]}}}}"#,
        at(RELAYS[0]),
        at(RELAYS[1])
    );
    braid.command(GATEWAY, Command::Configure(Box::new(Desired::parse(&desired).unwrap())));
    for first in (0..flows).step_by(PACKETS) {
        let last = flows.min(first + PACKETS);
        braid.clients((first..last).map(request_of_few).collect());
        braid.settle();
        braid.recorded.clear();
        assert_eq!(braid.taken(GATEWAY).len(), last - first);
    }
    braid
}

fn gateway_receives_small(rounds: usize, flows: usize) -> Prepared {
    let mut braid = knowing(flows);
    let packets = rounds * PACKETS;
    let mut arriving: Vec<Sent> = Vec::new();
    for round in 0..rounds {
        let of_round = round * PACKETS..(round + 1) * PACKETS;
        braid.clients(of_round.map(|k| request_of_few(scattered(k, flows))).collect());
        braid.settle_with(|sent| {
            if sent.to == GATEWAY {
                arriving.push(sent);
                return vec![];
            }
            vec![sent]
        });
        braid.recorded.clear();
    }
    receive(braid, GATEWAY, arriving, packets)
}

pub(crate) fn gateway_receives_64_bytes(rounds: usize) -> Prepared {
    gateway_receives_small(rounds, 1)
}

pub(crate) fn gateway_receives_64_bytes_1e6(rounds: usize) -> Prepared {
    gateway_receives_small(rounds, MILLION)
}
