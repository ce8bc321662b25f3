//! One node: its engines, one for each shard, and what its control side does about their events.

use crate::{plan::Shards, MTU};
use braid_core::handshake::{Handshaker, NewSession};
use braid_core::wire::Kind;
use braid_core::{Command, Event, Merger, Node, NodeConfig, Outbox, Place, Reply, Role, SharedPins};
use braid_packet::{Handed, Sink, SuperPackets, Time, VnetHdr};
use std::net::SocketAddr;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;

use crate::{EDGE, GATEWAY, PROXY, SIBLING};

pub struct Outgoing(Sender<Event>);

impl Outbox for Outgoing {
    fn event(&mut self, event: Event) {
        let _ = self.0.send(event);
    }
}

pub(crate) struct Answer<T>(pub(crate) Sender<T>);

impl<T: Send> Reply<T> for Answer<T> {
    fn reply(self: Box<Self>, answer: T) {
        let _ = self.0.send(answer);
    }
}

/// A packet on its way from one shard of a node to another.
pub(crate) struct Given {
    pub(crate) to: usize,
    pub(crate) handed: Handed,
    pub(crate) vnet: VnetHdr,
    pub(crate) packet: Vec<u8>,
}

#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) udp: Vec<(SocketAddr, Vec<u8>, usize)>,
    pub(crate) tun: Vec<(VnetHdr, Vec<u8>)>,
    pub(crate) given: Vec<Given>,
    pub(crate) takes: SuperPackets,
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

    fn hand_over(&mut self, to: usize, handed: Handed, vnet: VnetHdr, packet: &[u8]) {
        self.given.push(Given { to, handed, vnet, packet: packet.to_vec() });
    }
}

pub(crate) struct Shard {
    pub(crate) node: Node<Outgoing>,
    events: Receiver<Event>,
}

pub struct Host {
    pub(crate) shards: Vec<Shard>,
    pub(crate) handshaker: Handshaker,
    merger: Merger,
    /// What its control side heard.
    pub seen: Vec<Event>,
    pub tun: Vec<(VnetHdr, Vec<u8>)>,
    /// What the host takes through its TUN.
    pub takes: SuperPackets,
    /// Which shard wrote each of them.
    pub written_by: Vec<usize>,
    /// Packets that one shard gave to another.
    pub handed_over: usize,
}

impl Host {
    pub(crate) fn new(number: u16, boot: u64, max_flows: usize, shards: &Shards) -> Host {
        let role = match number {
            EDGE => Role::Edge,
            GATEWAY | SIBLING => Role::Gateway,
            PROXY => Role::Content,
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
        let count = shards.get(&number).copied().unwrap_or(1);
        let pins = (count > 1).then(|| Arc::new(SharedPins::default()));
        let shard = |index| {
            let config = NodeConfig {
                role,
                number,
                public: *handshaker.public(),
                mtu: MTU,
                seed: 1,
                max_flows,
                place: Place::new(index, count).unwrap(),
                pins: pins.clone(),
                coalesce_tcp: true,
                coalesce_udp: false,
            };
            let (sender, events) = channel();
            Shard { node: Node::new(config, Outgoing(sender)), events }
        };
        Host {
            shards: (0..count).map(shard).collect(),
            handshaker,
            merger: Merger::new(count),
            seen: Vec::new(),
            tun: Vec::new(),
            takes: SuperPackets { tcp: true, udp: false },
            written_by: Vec::new(),
            handed_over: 0,
        }
    }

    /// Reads the events of one shard; returns the commands that answer them, and the shards that they are for, in order.
    pub(crate) fn answer(&mut self, shard: usize, now: Time) -> Vec<(usize, Command)> {
        let mut commands = Vec::new();
        while let Ok(event) = self.shards[shard].events.try_recv() {
            for event in self.merger.receive(shard, event).collect::<Vec<_>>() {
                match event {
                    Event::Handshake { kind, receiver, ref body, .. } => {
                        self.handshake(kind, receiver, body, now, &mut commands);
                    }
                    Event::Up { peer, adjacent } => self.to_all(&mut commands, || admit(peer, adjacent, true)),
                    Event::Down { peer, adjacent } => self.to_all(&mut commands, || admit(peer, adjacent, false)),
                    _ => {}
                }
                if !matches!(event, Event::Handshake { .. }) {
                    self.seen.push(event);
                }
            }
        }
        commands
    }

    pub(crate) fn to_all(&self, commands: &mut Vec<(usize, Command)>, command: impl Fn() -> Command) {
        commands.extend((0..self.shards.len()).map(|shard| (shard, command())));
    }

    fn handshake(&mut self, kind: Kind, receiver: u32, body: &[u8], now: Time, commands: &mut Vec<(usize, Command)>) {
        match kind {
            Kind::Initiation => {
                let Ok(initiation) = self.handshaker.receive_initiation(body, now) else { return };
                assert_eq!(initiation.static_key, public(initiation.peer));
                let Ok((session, message)) = self.handshaker.accept(initiation.id, now) else { return };
                let (peer, adjacent) = (session.peer, session.adjacent);
                if self.shards.len() > 1 {
                    self.install(session, commands);
                    commands.push((0, Command::Send { peer, adjacent, message }));
                } else {
                    let session = Arc::new(session);
                    commands.push((0, Command::Install { session, answer: Some(message), taken: None }));
                }
            }
            Kind::Response => {
                let Ok(session) = self.handshaker.receive_response(receiver, body, now) else { return };
                let index = session.local_index;
                self.install(session, commands);
                if self.shards.len() > 1 {
                    self.to_all(commands, || Command::Activate(index));
                }
            }
            _ => {}
        }
    }

    fn install(&self, session: NewSession, commands: &mut Vec<(usize, Command)>) {
        let session = Arc::new(session);
        self.to_all(commands, || Command::Install { session: session.clone(), answer: None, taken: None });
    }
}

fn admit(peer: u16, adjacent: bool, usable: bool) -> Command {
    Command::Admit { peer, adjacent, usable }
}

pub(crate) fn private(number: u16) -> [u8; 32] {
    [number as u8; 32]
}

pub fn public(number: u16) -> [u8; 32] {
    braid_core::handshake::public_key(&private(number)).unwrap()
}
