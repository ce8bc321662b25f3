//! Whole engines: a super-packet of 43 segments of 1400 bytes at the edge, at a relay, at the gateway and back.

use crate::Prepared;
use braid_packet::{Datagrams, Engine, Sink, VnetHdr};
use braid_testbed::{address, tcp, tcp_super, udp, Braid, Sent, EDGE, GATEWAY, RELAYS, VIP};
use std::any::Any;
use std::hint::black_box;
use std::net::SocketAddr;

const SEGMENT: u16 = 1360;
const SEGMENTS: usize = 43;
const CLIENT: &str = "10.91.1.10";

/// Takes everything and keeps nothing.
pub(crate) struct Null;

impl Sink for Null {
    fn udp(&mut self, to: SocketAddr, batch: &[u8], segment: usize) {
        black_box((to, batch.as_ptr(), segment));
    }

    fn tun(&mut self, vnet: VnetHdr, parts: &[&[u8]]) {
        black_box((vnet, parts.len()));
    }
}

fn body() -> Vec<u8> {
    vec![7; SEGMENTS * usize::from(SEGMENT)]
}

/// A Braid whose NAT knows the flow.
fn connected() -> Braid {
    let mut braid = Braid::up();
    braid.client(&tcp(CLIENT, VIP, 2, 999, &[]));
    braid.settle();
    braid
}

/// What arrives at `to` for `rounds` super-packets of a client, everything before it worked off.
fn recorded(braid: &mut Braid, rounds: usize, to: u16) -> Vec<Sent> {
    let mut arriving = Vec::new();
    let body = body();
    for round in 0..rounds {
        let (vnet, packet) = tcp_super(CLIENT, VIP, 1000 + (round * body.len()) as u32, &body, SEGMENT);
        braid.client_super(vnet, &packet);
        braid.settle_with(|sent| {
            if sent.to == to {
                arriving.push(sent);
                return vec![];
            }
            vec![sent]
        });
    }
    braid.recorded.clear();
    arriving
}

pub(crate) fn receive(mut braid: Braid, number: u16, arriving: Vec<Sent>, packets: usize) -> Prepared {
    let now = braid.now;
    let mut arriving = arriving;
    let run = move || {
        let node = braid.node(number);
        for sent in &mut arriving {
            let (from, segment) = (address(sent.from), sent.segment);
            node.receive_udp(&mut [Datagrams { from, bytes: &mut sent.bytes, segment, at: now }], now, &mut Null);
        }
        Box::new((braid, arriving)) as Box<dyn Any>
    };
    Prepared { packets: packets as u64, run: Box::new(run) }
}

pub(crate) fn edge_sends(rounds: usize) -> Prepared {
    let mut braid = connected();
    let now = braid.now;
    let (vnet, mut packet) = tcp_super(CLIENT, VIP, 1000, &body(), SEGMENT);
    let run = move || {
        let node = braid.node(EDGE);
        for _ in 0..rounds {
            node.receive_tun(vnet, &mut packet, now, &mut Null);
        }
        node.flush(&mut Null);
        Box::new(braid) as Box<dyn Any>
    };
    Prepared { packets: (rounds * SEGMENTS) as u64, run: Box::new(run) }
}

pub(crate) fn edge_sends_small(rounds: usize) -> Prepared {
    let mut braid = connected();
    let now = braid.now;
    let mut packet = udp(CLIENT, 4000, VIP, 53, &[7; 36]);
    let run = move || {
        let node = braid.node(EDGE);
        for _ in 0..rounds * SEGMENTS {
            node.receive_tun(VnetHdr::default(), &mut packet, now, &mut Null);
        }
        Box::new(braid) as Box<dyn Any>
    };
    Prepared { packets: (rounds * SEGMENTS) as u64, run: Box::new(run) }
}

pub(crate) fn relay_forwards(rounds: usize) -> Prepared {
    let mut braid = connected();
    let arriving = recorded(&mut braid, rounds, RELAYS[0]);
    receive(braid, RELAYS[0], arriving, rounds * SEGMENTS)
}

/// Both copies of every packet.
pub(crate) fn gateway_receives(rounds: usize) -> Prepared {
    let mut braid = connected();
    let arriving = recorded(&mut braid, rounds, GATEWAY);
    receive(braid, GATEWAY, arriving, rounds * SEGMENTS)
}

/// Second copies only.
pub(crate) fn gateway_eliminates(rounds: usize) -> Prepared {
    let mut braid = connected();
    let arriving = recorded(&mut braid, rounds, GATEWAY);
    let (first, second): (Vec<Sent>, Vec<Sent>) = arriving.into_iter().partition(|sent| sent.from == RELAYS[0]);
    for sent in &first {
        braid.arrive(sent);
    }
    receive(braid, GATEWAY, second, rounds * SEGMENTS)
}

pub(crate) fn gateway_sends(rounds: usize) -> Prepared {
    let mut braid = connected();
    let request = &braid.taken(GATEWAY)[0];
    let snat = std::net::Ipv4Addr::new(request[12], request[13], request[14], request[15]).to_string();
    let now = braid.now;
    let (vnet, mut original) = tcp_super("10.93.0.10", &snat, 1000, &body(), SEGMENT);
    // The answer goes from port 80 to the one that the NAT chose.
    original[20..22].copy_from_slice(&[0, 80]);
    original[22..24].copy_from_slice(&request[20..22]);
    let run = move || {
        let node = braid.node(GATEWAY);
        for _ in 0..rounds {
            let mut packet = original.clone();
            node.receive_tun(vnet, &mut packet, now, &mut Null);
        }
        node.flush(&mut Null);
        Box::new(braid) as Box<dyn Any>
    };
    Prepared { packets: (rounds * SEGMENTS) as u64, run: Box::new(run) }
}
