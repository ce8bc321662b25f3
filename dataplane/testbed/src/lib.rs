//! A small Braid in memory: real engines and real handshakes over a network that the test controls, on a clock that it turns.
//!
//! Nodes: edge 11, intermediates 21 and 22, gateway 31. A client packet goes in by `client`, a server's by `server`.

#![allow(clippy::unwrap_used)] // For tests and benchmarks: what fails here ends them.

use braid_core::handshake::Handshaker;
use braid_core::wire::Kind;
use braid_core::{Command, Desired, Event, FlowInfo, Node, NodeConfig, Outbox, Reply, Role};
use braid_packet::{Datagrams, Engine, Sink, SuperPackets, Time, VnetHdr};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::mpsc::{channel, Receiver, Sender};

mod packets;

pub use packets::{payload, tcp, tcp_partial, tcp_super, udp};

pub const EDGE: u16 = 11;
pub const GATEWAY: u16 = 31;
pub const RELAYS: [u16; 2] = [21, 22];
pub const MTU: usize = 1420;
pub const VIP: &str = "10.91.1.130";
const MAX_FLOWS: usize = 1000;

pub struct Outgoing(Sender<Event>);

impl Outbox for Outgoing {
    fn event(&mut self, event: Event) {
        let _ = self.0.send(event);
    }
}

struct Answer<T>(Sender<T>);

impl<T: Send> Reply<T> for Answer<T> {
    fn reply(self: Box<Self>, answer: T) {
        let _ = self.0.send(answer);
    }
}

#[derive(Clone, Debug)]
pub struct Sent {
    pub from: u16,
    pub to: u16,
    pub bytes: Vec<u8>,
    pub segment: usize,
}

#[derive(Default)]
struct Recorder {
    udp: Vec<(SocketAddr, Vec<u8>, usize)>,
    tun: Vec<(VnetHdr, Vec<u8>)>,
    takes: SuperPackets,
}

impl Sink for Recorder {
    fn udp(&mut self, to: SocketAddr, batch: &[u8], segment: usize) {
        assert!(!batch.is_empty() && segment > 0 && batch.len() <= 65_507 && batch.len().div_ceil(segment) <= 64);
        self.udp.push((to, batch.to_vec(), segment));
    }

    fn tun(&mut self, vnet: VnetHdr, parts: &[&[u8]]) {
        self.tun.push((vnet, parts.concat()));
    }

    fn super_packets(&self) -> SuperPackets {
        self.takes
    }
}

pub struct Host {
    node: Node<Outgoing>,
    handshaker: Handshaker,
    events: Receiver<Event>,
    pub seen: Vec<Event>,
    pub tun: Vec<(VnetHdr, Vec<u8>)>,
    /// What the host takes through its TUN.
    pub takes: SuperPackets,
}

pub struct Braid {
    pub now: Time,
    pub hosts: BTreeMap<u16, Host>,
    pub wire: VecDeque<Sent>,
    /// Everything that was ever sent.
    pub recorded: Vec<Sent>,
    boots: u64,
    max_flows: usize,
}

pub fn address(number: u16) -> SocketAddr {
    SocketAddr::from(([10, 90, 0, number as u8], 7400))
}

fn number_at(address: SocketAddr) -> u16 {
    match address {
        SocketAddr::V4(v4) => u16::from(v4.ip().octets()[3]),
        SocketAddr::V6(_) => 0,
    }
}

fn desired(number: u16) -> String {
    let everybody: Vec<u16> = if RELAYS.contains(&number) { vec![EDGE, GATEWAY] } else { RELAYS.to_vec() };
    let neighbours: Vec<String> =
        everybody.iter().map(|n| format!(r#"{{"node": {n}, "addresses": ["{}"]}}"#, address(*n))).collect();
    let peer = if number == EDGE { GATEWAY } else { EDGE };
    let paths = if RELAYS.contains(&number) {
        String::new()
    } else {
        format!(
            r#"{{"peer": {peer}, "copies": 2, "paths": [{{"id": 0, "route": [21, {peer}]}}, {{"id": 1, "route": [22, {peer}]}}]}}"#
        )
    };
    let role = match number {
        EDGE => format!(
            r#", "edge": {{"applications": [{{"app": 0, "vips": ["{VIP}"], "ports": [["any", 0, 65535]], "copies": 2, "gateways": [{GATEWAY}]}}]}}"#
        ),
        GATEWAY => format!(
            r#", "gateway": {{"applications": [{{"app": 0, "vips": [{{"address": "{VIP}", "edge": {EDGE}}}],
                "ports": [["any", 0, 65535]], "copies": 2,
                "targets": [{{"address": "10.93.0.10", "port": null, "weight": 1, "healthy": true}}]}}], "snat": ["10.93.0.128/30"]}}"#
        ),
        _ => String::new(),
    };
    format!(r#"{{"neighbours": [{}], "path_sets": [{paths}]{role}}}"#, neighbours.join(", "))
}

impl Host {
    fn new(number: u16, boot: u64, max_flows: usize) -> Host {
        let role = match number {
            EDGE => Role::Edge,
            GATEWAY => Role::Gateway,
            _ => Role::Intermediate,
        };
        let mut state = boot.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(number);
        let random = Box::new(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        });
        let handshaker = Handshaker::new(private(number), number, random).unwrap();
        let config = NodeConfig {
            role,
            number,
            public: *handshaker.public(),
            mtu: MTU,
            seed: 1,
            max_flows,
            coalesce_tcp: true,
            coalesce_udp: false,
        };
        let (sender, events) = channel();
        let node = Node::new(config, Outgoing(sender));
        let takes = SuperPackets { tcp: true, udp: false };
        Host { node, handshaker, events, seen: Vec::new(), tun: Vec::new(), takes }
    }
}

fn private(number: u16) -> [u8; 32] {
    [number as u8; 32]
}

pub fn public(number: u16) -> [u8; 32] {
    braid_core::handshake::public_key(&private(number)).unwrap()
}

impl Braid {
    /// All nodes up, all sessions made.
    pub fn up() -> Braid {
        Braid::up_for(MAX_FLOWS)
    }

    /// As `up`; the gateway has room for so many flows.
    pub fn up_for(max_flows: usize) -> Braid {
        let mut braid = Braid::cold_for(max_flows);
        braid.connect();
        braid
    }

    pub fn cold() -> Braid {
        Braid::cold_for(MAX_FLOWS)
    }

    fn cold_for(max_flows: usize) -> Braid {
        let mut braid = Braid {
            now: Time(Time::SECOND),
            hosts: BTreeMap::new(),
            wire: VecDeque::new(),
            recorded: Vec::new(),
            boots: 0,
            max_flows,
        };
        for number in [EDGE, RELAYS[0], RELAYS[1], GATEWAY] {
            braid.boot(number);
        }
        braid
    }

    /// (Re)starts a node: nothing of its life before remains.
    pub fn boot(&mut self, number: u16) {
        self.boots += 1;
        self.hosts.insert(number, Host::new(number, self.boots, self.max_flows));
        let desired = Desired::parse(&desired(number)).unwrap();
        self.command(number, Command::Configure(Box::new(desired)));
    }

    pub fn connect(&mut self) {
        for relay in RELAYS {
            self.initiate(EDGE, relay, true);
            self.initiate(GATEWAY, relay, true);
        }
        self.settle();
        self.initiate(EDGE, GATEWAY, false);
        self.settle();
    }

    pub fn initiate(&mut self, from: u16, peer: u16, adjacent: bool) {
        let now = self.now;
        let host = self.hosts.get_mut(&from).unwrap();
        let message = host.handshaker.initiate(peer, adjacent, &public(peer), b"certificate", now).unwrap();
        self.command(from, Command::Send { peer, adjacent, message });
    }

    pub fn command(&mut self, number: u16, command: Command) {
        self.with(number, |node, now, sink| node.handle_command(command, now, sink));
    }

    /// Lets a node work and puts what it sends on the wire; answers its handshakes as its control side would.
    fn with(&mut self, number: u16, work: impl FnOnce(&mut Node<Outgoing>, Time, &mut Recorder)) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(&number) else { return };
        let mut recorder = Recorder { takes: host.takes, ..Recorder::default() };
        work(&mut host.node, now, &mut recorder);
        host.node.flush(&mut recorder);
        host.tun.append(&mut recorder.tun);
        let mut commands = Vec::new();
        while let Ok(event) = host.events.try_recv() {
            if let Event::Handshake { kind, receiver, body, .. } = &event {
                match kind {
                    Kind::Initiation => {
                        if let Ok(initiation) = host.handshaker.receive_initiation(body, now) {
                            assert_eq!(initiation.static_key, public(initiation.peer));
                            if let Ok((session, message)) = host.handshaker.accept(initiation.id, now) {
                                let (peer, adjacent) = (session.peer, session.adjacent);
                                commands.push(Command::Install(Box::new(session)));
                                commands.push(Command::Send { peer, adjacent, message });
                            }
                        }
                    }
                    Kind::Response => {
                        if let Ok(session) = host.handshaker.receive_response(*receiver, body, now) {
                            commands.push(Command::Install(Box::new(session)));
                        }
                    }
                    _ => {}
                }
            } else {
                host.seen.push(event);
            }
        }
        for (to, bytes, segment) in recorder.udp {
            let sent = Sent { from: number, to: number_at(to), bytes, segment };
            self.recorded.push(sent.clone());
            self.wire.push_back(sent);
        }
        for command in commands {
            self.command(number, command);
        }
    }

    /// The engine itself, for those who measure it.
    pub fn node(&mut self, number: u16) -> &mut Node<Outgoing> {
        &mut self.hosts.get_mut(&number).unwrap().node
    }

    /// Delivers one batch to its node.
    pub fn arrive(&mut self, sent: &Sent) {
        let mut bytes = sent.bytes.clone();
        let (from, segment) = (address(sent.from), sent.segment);
        self.with(sent.to, |node, now, sink| {
            node.receive_udp(&mut [Datagrams { from, bytes: &mut bytes, segment }], now, sink);
        });
    }

    /// Carries everything on the wire, in order, until there is nothing more.
    pub fn settle(&mut self) {
        self.settle_with(|sent| vec![sent]);
    }

    /// As `settle`; `fate` says what becomes of each batch.
    pub fn settle_with(&mut self, mut fate: impl FnMut(Sent) -> Vec<Sent>) {
        while let Some(sent) = self.wire.pop_front() {
            for sent in fate(sent) {
                self.arrive(&sent);
            }
        }
    }

    pub fn advance(&mut self, nanoseconds: u64) {
        self.advance_with(nanoseconds, |sent| vec![sent]);
    }

    pub fn advance_with(&mut self, nanoseconds: u64, mut fate: impl FnMut(Sent) -> Vec<Sent>) {
        let end = self.now.after(nanoseconds);
        while self.now < end {
            let due = self.hosts.values().filter_map(|h| h.node.next_timeout()).min().unwrap_or(end);
            self.now = due.max(self.now.after(Time::MILLISECOND)).min(end);
            for number in self.hosts.keys().copied().collect::<Vec<_>>() {
                self.with(number, |node, now, sink| node.handle_timeout(now, sink));
            }
            self.settle_with(&mut fate);
        }
    }

    pub fn client(&mut self, packet: &[u8]) {
        let mut packet = packet.to_vec();
        self.with(EDGE, |node, now, sink| node.receive_tun(VnetHdr::default(), &mut packet, now, sink));
    }

    /// Packets that the edge reads in one go, so that they leave in one batch.
    pub fn clients(&mut self, mut packets: Vec<Vec<u8>>) {
        self.with(EDGE, |node, now, sink| {
            for packet in &mut packets {
                node.receive_tun(VnetHdr::default(), packet, now, sink);
            }
        });
    }

    pub fn client_super(&mut self, vnet: VnetHdr, packet: &[u8]) {
        let mut packet = packet.to_vec();
        self.with(EDGE, |node, now, sink| node.receive_tun(vnet, &mut packet, now, sink));
    }

    pub fn server(&mut self, packet: &[u8]) {
        let mut packet = packet.to_vec();
        self.with(GATEWAY, |node, now, sink| node.receive_tun(VnetHdr::default(), &mut packet, now, sink));
    }

    /// What a node handed to its host since the last call.
    pub fn taken(&mut self, number: u16) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.hosts.get_mut(&number).unwrap().tun).into_iter().map(|(_, packet)| packet).collect()
    }

    pub fn taken_with_offload(&mut self, number: u16) -> Vec<(VnetHdr, Vec<u8>)> {
        std::mem::take(&mut self.hosts.get_mut(&number).unwrap().tun)
    }

    pub fn snapshot(&mut self, number: u16) -> Value {
        let (sender, receiver) = channel();
        self.command(number, Command::Snapshot(Box::new(Answer(sender))));
        receiver.try_recv().unwrap()
    }

    /// Asks for flows; the answer takes turns to come.
    pub fn ask_flows(&mut self, number: u16, limit: usize) -> Receiver<Vec<FlowInfo>> {
        let (sender, receiver) = channel();
        self.command(number, Command::Flows(limit, Box::new(Answer(sender))));
        receiver
    }

    pub fn drops(&mut self, number: u16, reason: &str) -> u64 {
        self.snapshot(number)["drops"][reason].as_u64().unwrap_or(0)
    }
}
