//! A small Braid in memory: real engines and real handshakes over a network that the test controls, on a clock that it turns.
//!
//! Nodes: edge 11, intermediates 21 and 22, gateway 31; content proxy 51, beside the edge, where a test wants it. A client packet goes in by `client`, a server's by `server`.

#![allow(clippy::unwrap_used)] // For tests and benchmarks: what fails here ends them.

use braid_core::{Command, Desired, Detail, Ends, Event, FlowRecord, Node, Owner, Reply};
use braid_packet::{Datagrams, Engine, Time, VnetHdr};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{channel, Receiver, Sender};

mod host;
mod packets;
mod plan;

pub use host::{public, Host, Outgoing};
pub use packets::{fragments, payload, tcp, tcp_partial, tcp_super, udp};
pub use plan::{address, address_of, Shards};

use host::{Answer, Given, Recorder};

pub const EDGE: u16 = 11;
pub const GATEWAY: u16 = 31;
pub const PROXY: u16 = 51;
/// Another gateway, that is not there until it is booted.
pub const SIBLING: u16 = 32;
pub const RELAYS: [u16; 2] = [21, 22];
pub const MTU: usize = 1420;
pub const VIP: &str = "10.91.1.130";
const MAX_FLOWS: usize = 1000;

#[derive(Clone, Debug)]
pub struct Sent {
    pub from: u16,
    pub to: u16,
    /// Which shard sent it, and which one it is for.
    pub shards: (usize, usize),
    pub bytes: Vec<u8>,
    pub segment: usize,
}

pub struct Braid {
    pub now: Time,
    pub hosts: BTreeMap<u16, Host>,
    pub wire: VecDeque<Sent>,
    /// Everything that was ever sent.
    pub recorded: Vec<Sent>,
    /// Which queue of a node's TUN the next packets come out of, modulo the number of its shards.
    pub queue: usize,
    boots: u64,
    max_flows: usize,
    /// What the nodes are told; a node that is booted has so many.
    pub shards: Shards,
}

type Work<'a> = Box<dyn FnOnce(&mut Node<Outgoing>, Time, &mut Recorder) + 'a>;

impl Braid {
    /// All nodes up, all sessions made.
    pub fn up() -> Braid {
        Braid::up_for(MAX_FLOWS)
    }

    /// As `up`; the gateway has room for so many flows.
    pub fn up_for(max_flows: usize) -> Braid {
        let mut braid = Braid::cold_for(max_flows, Shards::new());
        braid.connect();
        braid
    }

    /// As `up`; the edge, both intermediates and the gateway have so many shards.
    pub fn up_with(edge: u8, relays: u8, gateway: u8) -> Braid {
        let mut braid = Braid::cold_with(edge, relays, gateway);
        braid.connect();
        braid
    }

    pub fn cold_with(edge: u8, relays: u8, gateway: u8) -> Braid {
        let shards = [(EDGE, edge), (RELAYS[0], relays), (RELAYS[1], relays), (GATEWAY, gateway)];
        Braid::cold_for(MAX_FLOWS, shards.into())
    }

    pub fn cold() -> Braid {
        Braid::cold_for(MAX_FLOWS, Shards::new())
    }

    fn cold_for(max_flows: usize, shards: Shards) -> Braid {
        let mut braid = Braid {
            now: Time(Time::SECOND),
            hosts: BTreeMap::new(),
            wire: VecDeque::new(),
            recorded: Vec::new(),
            queue: 0,
            boots: 0,
            max_flows,
            shards,
        };
        for number in [EDGE, RELAYS[0], RELAYS[1], GATEWAY] {
            braid.boot(number);
        }
        braid
    }

    /// As `up`, with the content proxy, for an application whose connections end in stacks.
    pub fn up_with_proxy() -> Braid {
        Braid::up_with_proxy_and(1, 1)
    }

    /// The same; edge and gateway have so many shards.
    pub fn up_with_proxy_and(edge: u8, gateway: u8) -> Braid {
        let mut braid = Braid::cold_with(edge, 1, gateway);
        braid.boot(PROXY);
        for number in [EDGE, GATEWAY] {
            let desired = plan::desired_with_proxy(number, &braid.shards);
            braid.configure(number, &Desired::parse(&desired).unwrap());
        }
        braid.connect();
        braid.connect_proxy();
        braid
    }

    fn connect_proxy(&mut self) {
        for adjacent in [true, false] {
            self.initiate(PROXY, EDGE, adjacent);
            self.settle();
        }
    }

    /// Restarts the gateway of `up_with_proxy`, so quickly that nobody misses it.
    pub fn boot_gateway(&mut self) {
        self.boot(GATEWAY);
        let desired = plan::desired_with_proxy(GATEWAY, &self.shards);
        self.configure(GATEWAY, &Desired::parse(&desired).unwrap());
        self.connect();
    }

    /// Restarts the content proxy, so quickly that nobody misses it.
    pub fn boot_proxy(&mut self) {
        self.boot(PROXY);
        self.connect_proxy();
    }

    /// (Re)starts a node: nothing of its life before remains.
    pub fn boot(&mut self, number: u16) {
        self.boots += 1;
        self.hosts.insert(number, Host::new(number, self.boots, self.max_flows, &self.shards));
        self.configure(number, &Desired::parse(&plan::desired(number, &self.shards)).unwrap());
    }

    /// Tells all its shards.
    pub fn configure(&mut self, number: u16, desired: &Desired) {
        for shard in 0..self.shard_count(number) {
            self.command_to(number, shard, Command::Configure(Box::new(desired.clone())));
        }
    }

    fn shard_count(&self, number: u16) -> usize {
        self.hosts.get(&number).map_or(0, |host| host.shards.len())
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

    /// To the first shard.
    pub fn command(&mut self, number: u16, command: Command) {
        self.command_to(number, 0, command);
    }

    /// To one shard of a node.
    pub fn command_to(&mut self, number: u16, shard: usize, command: Command) {
        self.with(number, shard, |node, now, sink| node.handle_command(command, now, sink));
    }

    /// Lets a shard work and puts what it sends on the wire; answers its handshakes as its control side would.
    fn with(&mut self, number: u16, shard: usize, work: impl FnOnce(&mut Node<Outgoing>, Time, &mut Recorder)) {
        self.turn(number, shard, Box::new(work));
    }

    fn turn(&mut self, number: u16, shard: usize, work: Work<'_>) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(&number) else { return };
        let mut recorder = Recorder { takes: host.takes, ..Recorder::default() };
        work(&mut host.shards[shard].node, now, &mut recorder);
        host.shards[shard].node.flush(&mut recorder);
        host.written_by.extend(recorder.tun.iter().map(|_| shard));
        host.tun.append(&mut recorder.tun);
        host.handed_over += recorder.given.len();
        let commands = host.answer(shard, now);
        for (to, bytes, segment) in recorder.udp {
            let (to, of) = plan::owner_of(to);
            let sent = Sent { from: number, to, shards: (shard, of), bytes, segment };
            self.recorded.push(sent.clone());
            self.wire.push_back(sent);
        }
        for Given { to, handed, vnet, mut packet } in recorder.given {
            self.with(number, to, |node, now, sink| node.receive_handed(handed, vnet, &mut packet, now, sink));
        }
        for (shard, command) in commands {
            self.command_to(number, shard, command);
        }
    }

    /// The engine of the first shard itself, for those who measure it.
    pub fn node(&mut self, number: u16) -> &mut Node<Outgoing> {
        &mut self.hosts.get_mut(&number).unwrap().shards[0].node
    }

    /// All engines of a node, which is gone then.
    pub fn into_nodes(mut self, number: u16) -> Vec<Node<Outgoing>> {
        self.hosts.remove(&number).unwrap().shards.into_iter().map(|shard| shard.node).collect()
    }

    /// Delivers one batch to its node.
    pub fn arrive(&mut self, sent: &Sent) {
        self.arrive_at(sent, self.now);
    }

    /// The same, where it came before it was read.
    pub fn arrive_at(&mut self, sent: &Sent, at: Time) {
        if sent.shards.1 >= self.shard_count(sent.to) {
            return;
        }
        let mut bytes = sent.bytes.clone();
        let (from, segment) = (plan::address_of(sent.from, sent.shards.0), sent.segment);
        self.with(sent.to, sent.shards.1, |node, now, sink| {
            node.receive_udp(&mut [Datagrams { from, bytes: &mut bytes, segment, at }], now, sink);
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

    fn next_timeout(&self) -> Option<Time> {
        let shards = self.hosts.values().flat_map(|host| &host.shards);
        shards.filter_map(|shard| shard.node.next_timeout()).min()
    }

    pub fn advance(&mut self, nanoseconds: u64) {
        self.advance_with(nanoseconds, |sent| vec![sent]);
    }

    pub fn advance_with(&mut self, nanoseconds: u64, mut fate: impl FnMut(Sent) -> Vec<Sent>) {
        let end = self.now.after(nanoseconds);
        while self.now < end {
            let due = self.next_timeout().unwrap_or(end);
            self.now = due.max(self.now.after(Time::MILLISECOND)).min(end);
            for number in self.hosts.keys().copied().collect::<Vec<_>>() {
                for shard in 0..self.shard_count(number) {
                    self.with(number, shard, |node, now, sink| node.handle_timeout(now, sink));
                }
            }
            self.settle_with(&mut fate);
        }
    }

    pub fn client(&mut self, packet: &[u8]) {
        self.read(EDGE, vec![packet.to_vec()], VnetHdr::default());
    }

    /// Packets that the edge reads in one go, so that they leave in one batch.
    pub fn clients(&mut self, packets: Vec<Vec<u8>>) {
        self.read(EDGE, packets, VnetHdr::default());
    }

    pub fn client_super(&mut self, vnet: VnetHdr, packet: &[u8]) {
        self.read(EDGE, vec![packet.to_vec()], vnet);
    }

    pub fn server(&mut self, packet: &[u8]) {
        self.server_at(GATEWAY, packet);
    }

    /// A server's packet that the network brings to this gateway.
    pub fn server_at(&mut self, gateway: u16, packet: &[u8]) {
        self.read(gateway, vec![packet.to_vec()], VnetHdr::default());
    }

    fn read(&mut self, number: u16, mut packets: Vec<Vec<u8>>, vnet: VnetHdr) {
        let queue = self.queue % self.shard_count(number).max(1);
        self.with(number, queue, |node, now, sink| {
            for packet in &mut packets {
                node.receive_tun(vnet, packet, now, sink);
            }
        });
    }

    /// What a node handed to its host since the last call.
    pub fn taken(&mut self, number: u16) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.hosts.get_mut(&number).unwrap().tun).into_iter().map(|(_, packet)| packet).collect()
    }

    pub fn taken_with_offload(&mut self, number: u16) -> Vec<(VnetHdr, Vec<u8>)> {
        std::mem::take(&mut self.hosts.get_mut(&number).unwrap().tun)
    }

    /// What the control side of a node heard since the last call, handshakes left out.
    pub fn heard(&mut self, number: u16) -> Vec<Event> {
        std::mem::take(&mut self.hosts.get_mut(&number).unwrap().seen)
    }

    /// Of the first shard.
    pub fn snapshot(&mut self, number: u16) -> Value {
        self.snapshot_of(number, 0)
    }

    pub fn snapshot_of(&mut self, number: u16, shard: usize) -> Value {
        let (sender, receiver) = channel();
        self.command_to(number, shard, Command::Snapshot { detail: Detail::Whole, reply: Box::new(Answer(sender)) });
        receiver.try_recv().unwrap()
    }

    /// Tells the first shard who has a connection; what it says.
    pub fn own(&mut self, number: u16, ends: Ends, owner: Option<Owner>, by: Option<u16>) -> bool {
        let (sender, receiver) = channel();
        self.command(number, Command::Own { ends, owner, by, done: Box::new(Answer(sender)) });
        receiver.try_recv().unwrap()
    }

    /// Asks for flows; the answer takes turns to come.
    pub fn ask_flows(&mut self, number: u16, limit: usize) -> Receiver<Vec<FlowRecord>> {
        let (sender, receiver) = channel();
        self.command(number, Command::Flows(limit, Box::new(Answer(sender))));
        receiver
    }

    /// Of all its shards.
    pub fn drops(&mut self, number: u16, reason: &str) -> u64 {
        let shards = 0..self.shard_count(number);
        shards.map(|shard| self.snapshot_of(number, shard)["drops"][reason].as_u64().unwrap_or(0)).sum()
    }
}

/// For a question of the control side: what the engine answers comes out of the channel.
pub fn answer<T: Send + 'static>(sender: Sender<T>) -> Box<dyn Reply<T>> {
    Box::new(Answer(sender))
}
