//! A node of one shard and of two, each shard in a thread of its own with its part of the same packets: what a second core
//! brings. The load is made before, so nothing else needs the cores.

use crate::node::Null;
use crate::Prepared;
use braid_core::{Node, Place};
use braid_packet::affinity::flow_hash;
use braid_packet::{Datagrams, Engine, Ip, Time, VnetHdr};
use braid_testbed::{address_of, tcp, tcp_super, Braid, Outgoing, Sent, EDGE, GATEWAY, RELAYS, VIP};
use std::any::Any;
use std::sync::{Arc, Barrier};
use std::thread;

const SEGMENT: u16 = 1360;
const SEGMENTS: usize = 43;
/// Half of them fall to each of two shards.
const FLOWS: usize = 16;

/// CPU time of the thread that had most to do: what the whole takes where every thread has a core of its own.
pub struct Busiest {
    pub nanoseconds: u64,
    _done: Box<dyn Any>,
}

/// Clients whose flows fall to the first and to the second of two shards in turn.
fn clients() -> Vec<String> {
    let two = Place::new(0, 2).unwrap();
    let mut of_shard: [Vec<String>; 2] = Default::default();
    for last in 1..=250 {
        let client = format!("10.91.1.{last}");
        let packet = tcp(&client, VIP, 2, 999, &[]);
        of_shard[two.owner(flow_hash(&Ip::parse(&packet).unwrap(), &packet))].push(client);
    }
    let [first, second] = of_shard;
    first.into_iter().zip(second).flat_map(|(a, b)| [a, b]).take(FLOWS).collect()
}

/// All nodes with so many shards; the NAT knows the flows.
fn connected(shards: u8, clients: &[String]) -> Braid {
    let mut braid = Braid::up_with(shards, shards, shards);
    for client in clients {
        braid.client(&tcp(client, VIP, 2, 999, &[]));
        braid.settle();
    }
    assert_eq!(braid.taken(GATEWAY).len(), clients.len());
    braid
}

fn request(client: &str, round: usize) -> (VnetHdr, Vec<u8>) {
    let body = vec![7; SEGMENTS * usize::from(SEGMENT)];
    tcp_super(client, VIP, 1000 + (round / FLOWS * body.len()) as u32, &body, SEGMENT)
}

/// Runs each shard's work in a thread that waits for the start.
fn prepared<W: Send + 'static>(
    packets: usize,
    shards: Vec<(Node<Outgoing>, Vec<W>)>,
    work: impl Fn(&mut Node<Outgoing>, &mut W) + Copy + Send + 'static,
) -> Prepared {
    let start = Arc::new(Barrier::new(shards.len() + 1));
    let threads: Vec<_> = shards
        .into_iter()
        .map(|(mut node, mut pieces)| {
            let start = start.clone();
            thread::spawn(move || {
                start.wait();
                let before = braid_io::thread_time();
                pieces.iter_mut().for_each(|piece| work(&mut node, piece));
                node.flush(&mut Null);
                (braid_io::thread_time() - before, node, pieces)
            })
        })
        .collect();
    let run = move || {
        start.wait();
        let done: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let nanoseconds = done.iter().map(|(spent, ..)| *spent).max().unwrap_or(0);
        Box::new(Busiest { nanoseconds, _done: Box::new(done) }) as Box<dyn Any>
    };
    Prepared { packets: packets as u64, run: Box::new(run) }
}

/// What arrives at `to`, by its shards.
fn arriving(shards: u8, rounds: usize, to: u16) -> Prepared {
    let clients = clients();
    let mut braid = connected(shards, &clients);
    let mut arriving: Vec<Vec<Sent>> = (0..shards).map(|_| Vec::new()).collect();
    for round in 0..rounds {
        let (vnet, packet) = request(&clients[round % FLOWS], round);
        braid.client_super(vnet, &packet);
        braid.settle_with(|sent| {
            if sent.to == to {
                arriving[sent.shards.1].push(sent);
                return vec![];
            }
            vec![sent]
        });
        braid.recorded.clear();
    }
    let now = braid.now;
    let shards = braid.into_nodes(to).into_iter().zip(arriving).collect();
    prepared(rounds * SEGMENTS, shards, move |node, sent: &mut Sent| {
        let (from, segment) = (address_of(sent.from, sent.shards.0), sent.segment);
        node.receive_udp(&mut [Datagrams { from, bytes: &mut sent.bytes, segment, at: now }], now, &mut Null);
    })
}

fn leaving(shards: u8, rounds: usize) -> Prepared {
    let clients = clients();
    let braid = connected(shards, &clients);
    let place = Place::new(0, shards).unwrap();
    let mut read: Vec<Vec<(VnetHdr, Vec<u8>)>> = (0..shards).map(|_| Vec::new()).collect();
    for round in 0..rounds {
        let (vnet, packet) = request(&clients[round % FLOWS], round);
        let owner = place.owner(flow_hash(&Ip::parse(&packet).unwrap(), &packet));
        read[owner].push((vnet, packet));
    }
    let now: Time = braid.now;
    let shards = braid.into_nodes(EDGE).into_iter().zip(read).collect();
    prepared(rounds * SEGMENTS, shards, move |node, (vnet, packet): &mut (VnetHdr, Vec<u8>)| {
        node.receive_tun(*vnet, packet, now, &mut Null);
    })
}

pub(crate) fn edge_sends_1(rounds: usize) -> Prepared {
    leaving(1, rounds)
}

pub(crate) fn edge_sends_2(rounds: usize) -> Prepared {
    leaving(2, rounds)
}

pub(crate) fn relay_forwards_1(rounds: usize) -> Prepared {
    arriving(1, rounds, RELAYS[0])
}

pub(crate) fn relay_forwards_2(rounds: usize) -> Prepared {
    arriving(2, rounds, RELAYS[0])
}

pub(crate) fn gateway_receives_1(rounds: usize) -> Prepared {
    arriving(1, rounds, GATEWAY)
}

pub(crate) fn gateway_receives_2(rounds: usize) -> Prepared {
    arriving(2, rounds, GATEWAY)
}
