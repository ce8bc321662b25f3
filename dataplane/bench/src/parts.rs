//! Single parts that have a figure of their own: the window, the NAT with a known and with a new flow.

use crate::Prepared;
use braid_core::sequence::Recovery;
use braid_nat::{Application, Nat, Policy, Proto, Target};
use braid_packet::Time;
use braid_testbed::{udp, VIP};
use std::any::Any;
use std::hint::black_box;

const PER_ROUND: usize = 1000;
pub(crate) const EDGE: u16 = 11;

pub(crate) fn window_seen(rounds: usize) -> Prepared {
    let mut window = Recovery::new(65_536);
    for sequence in 1..=65_000 {
        window.commit(sequence);
    }
    let run = move || {
        for i in 0..rounds * PER_ROUND {
            black_box(window.seen(1000 + (i as u64 * 7) % 64_000));
        }
        Box::new(window) as Box<dyn Any>
    };
    Prepared { packets: (rounds * PER_ROUND) as u64, run: Box::new(run) }
}

/// A NAT with one application on all ports; its pool is large enough for a million flows.
pub fn nat(max_flows: usize) -> Nat {
    let target = Target { address: "10.93.0.10".parse().unwrap(), port: None, weight: 1, healthy: true };
    let mut nat = Nat::new(1, max_flows);
    nat.set_policy(Policy {
        applications: vec![Application {
            id: 0,
            vips: vec![(VIP.parse().unwrap(), EDGE)],
            ports: vec![(Proto::Any, 0, 65_535)],
            targets: vec![target],
            set: 2,
            fast: false,
            proxied: false,
            transparent: Vec::new(),
        }],
        snat: vec!["10.94.0.0/24".parse().unwrap()],
        ..Policy::default()
    });
    nat
}

/// The `i`th client's first datagram: addresses and ports differ.
pub fn request(i: usize) -> Vec<u8> {
    let client = format!("10.{}.{}.{}", 100 + (i >> 16 & 63), i >> 8 & 255, 1 + i % 250);
    udp(&client, 1024 + (i % 60_000) as u16, VIP, 53, &[7; 36])
}

pub(crate) fn nat_known_flow(rounds: usize) -> Prepared {
    let mut nat = nat(1 << 16);
    let original = request(1);
    black_box(nat.forward(&mut original.clone(), false, EDGE, Time(0)));
    let run = move || {
        let mut packet = original.clone();
        for _ in 0..rounds * PER_ROUND {
            packet.copy_from_slice(&original);
            black_box(nat.forward(&mut packet, false, EDGE, Time(1)));
        }
        Box::new(nat) as Box<dyn Any>
    };
    Prepared { packets: (rounds * PER_ROUND) as u64, run: Box::new(run) }
}

pub(crate) fn nat_new_flow(rounds: usize) -> Prepared {
    let count = rounds * PER_ROUND;
    let mut nat = nat(count.max(1 << 20));
    let mut packets: Vec<Vec<u8>> = (0..count).map(request).collect();
    let run = move || {
        for packet in &mut packets {
            black_box(nat.forward(packet, false, EDGE, Time(1)));
        }
        assert!(nat.len() * 100 > count * 99, "only {} of {count} flows were made", nat.len());
        Box::new((nat, packets)) as Box<dyn Any>
    };
    Prepared { packets: count as u64, run: Box::new(run) }
}
