//! One node's engine: the state that all roles share, its commands and its clock.

use crate::desired::Desired;
use crate::event::{Command, Event, Outbox};
use crate::gate::Gate;
use crate::handshake::NewSession;
use crate::hop::HopKey;
use crate::question::Questions;
use crate::receive::Delivery;
use crate::role::edge::Edge;
use crate::role::gateway::Gateway;
use crate::role::intermediate::Relay;
use crate::seal::REKEY_AFTER;
use crate::transmit::{Net, Stamp};
use crate::wire::Kind;
use braid_offload::Coalescer;
use braid_packet::{Datagrams, Engine, RateLimit, Sink, Time, VnetHdr};

const TICK: u64 = 100 * Time::MILLISECOND;
/// Keepalives go out every second tick.
const KEEPALIVE_TICKS: u64 = 2;
/// Five missed keepalives of a neighbour, ten of an end-to-end peer.
const SILENT_ADJACENT: u64 = Time::SECOND;
const SILENT_END_TO_END: u64 = 2 * Time::SECOND;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Edge,
    Intermediate,
    Gateway,
    Dns,
}

impl Role {
    pub fn parse(name: &str) -> Option<Role> {
        Some(match name {
            "edge" => Role::Edge,
            "intermediate" => Role::Intermediate,
            "gateway" => Role::Gateway,
            "dns" => Role::Dns,
            _ => return None,
        })
    }
}

/// What a node is for its whole life.
pub struct NodeConfig {
    pub role: Role,
    pub number: u16,
    /// X25519 public key.
    pub public: [u8; 32],
    /// Inner MTU.
    pub mtu: usize,
    /// Seeds the NAT's hashes and port choice: must be random, and is not secret from the node itself.
    pub seed: u64,
    /// Bound of the NAT's flow table.
    pub max_flows: usize,
    /// Does the TUN take super-packets?
    pub coalesce_tcp: bool,
    pub coalesce_udp: bool,
}

/// Owned by one data thread. Not safe for concurrent use.
pub struct Node<O: Outbox> {
    pub(crate) config: NodeConfig,
    pub(crate) net: Net,
    pub(crate) gate: Gate,
    pub(crate) outbox: O,
    pub(crate) relay: Option<Relay>,
    pub(crate) edge: Option<Edge>,
    pub(crate) gateway: Option<Gateway>,
    pub(crate) coalescer: Coalescer,
    /// For the ICMP errors that an edge makes, and their rate.
    pub(crate) icmp: Vec<u8>,
    pub(crate) icmp_rate: RateLimit,
    /// Sessions whose packets wait behind a hole.
    pub(crate) holding: Vec<u32>,
    questions: Questions,
    deliveries: Vec<Delivery>,
    next_tick: Time,
    ticks: u64,
}

impl<O: Outbox> Node<O> {
    pub fn new(config: NodeConfig, outbox: O) -> Node<O> {
        Node {
            net: Net::new(config.mtu),
            gate: Gate::new(config.public),
            outbox,
            relay: (config.role == Role::Intermediate).then(Relay::default),
            edge: (config.role == Role::Edge).then(Edge::default),
            gateway: (config.role == Role::Gateway).then(|| Gateway::new(config.seed, config.max_flows, config.mtu)),
            coalescer: Coalescer::new(),
            icmp: Vec::new(),
            icmp_rate: RateLimit::new(200, 50),
            holding: Vec::new(),
            questions: Questions::default(),
            deliveries: Vec::new(),
            next_tick: Time(0),
            ticks: 0,
            config,
        }
    }

    fn configure(&mut self, desired: &Desired) {
        for gone in self.net.links.configure(&desired.neighbours) {
            self.net.sessions.close((gone, true));
        }
        self.net.paths.configure(&desired.path_sets);
        if let (Some(edge), Some(spec)) = (&mut self.edge, &desired.edge) {
            edge.configure(spec);
        }
        if let (Some(gateway), Some(spec)) = (&mut self.gateway, &desired.gateway) {
            gateway.configure(spec);
        }
    }

    fn install(&mut self, new: &NewSession, now: Time, sink: &mut impl Sink) {
        let key = (new.peer, new.adjacent);
        let slot = usize::from(new.local_epoch & 3);
        if new.adjacent {
            let up = self.net.sessions.peer_mut(key).up;
            let in_use = self.net.sessions.current(key).is_some_and(|(_, s)| usize::from(s.local_epoch & 3) == slot);
            if up && in_use && !new.initiator {
                // A replayed initiation must not take the place of the keys in use; the next epoch has another slot.
                self.net.drops.count("handshake_crowded");
                return;
            }
            if self.net.links.numbered(new.peer).is_none() {
                self.net.drops.count("handshake_not_a_neighbour");
                return;
            }
        }
        if self.net.sessions.install(new, now).is_err() {
            self.net.drops.count("handshake_crowded");
            return;
        }
        if let Some(neighbour) = self.net.links.numbered(new.peer).filter(|_| new.adjacent) {
            neighbour.hop_rx[slot] = Some((HopKey::new(&new.rx.hop), new.local_epoch));
        }
        if new.initiator {
            self.confirm(new.local_index, now);
            self.heard(new.peer, new.adjacent, now);
            self.keepalive(key, now, sink);
        }
    }

    /// The peer has the keys of this session: use them to send.
    pub(crate) fn confirm(&mut self, index: u32, now: Time) {
        let Some(session) = self.net.sessions.get_mut(index) else { return };
        let ((peer, adjacent), epoch, initiator) = (session.key, session.local_epoch, session.initiator);
        if let Some(key) = session.hop_tx.take() {
            let remote = session.remote_epoch & 3;
            if let Some(neighbour) = self.net.links.numbered(peer) {
                neighbour.hop_tx = Some((key, remote));
            }
        }
        self.net.sessions.promote(index, now);
        self.outbox.event(Event::Established { peer, adjacent, epoch, initiator });
    }

    pub(crate) fn heard(&mut self, peer: u16, adjacent: bool, now: Time) {
        let state = self.net.sessions.peer_mut((peer, adjacent));
        state.heard = Some(now);
        if !state.up {
            state.up = true;
            self.outbox.event(Event::Up { peer, adjacent });
        }
    }

    fn close(&mut self, peer: u16, adjacent: bool) {
        self.net.sessions.close((peer, adjacent));
        if let Some(neighbour) = self.net.links.numbered(peer).filter(|_| adjacent) {
            neighbour.hop_tx = None;
            neighbour.hop_rx = [const { None }; 4];
        }
    }

    fn keepalive(&mut self, key: (u16, bool), now: Time, sink: &mut impl Sink) {
        let peer = self.net.sessions.peer_mut(key);
        let paths = peer.heard_paths(now);
        let (echo, kept) = match peer.stamp {
            Some((stamp, at)) => (stamp, now.since(at)),
            None => (0, 0),
        };
        let stamp = Stamp { sent: now.0, echo, kept, paths };
        self.net.send_sealed(key, Kind::Keepalive, &stamp.encode(), sink);
    }

    fn tick(&mut self, now: Time, sink: &mut impl Sink) {
        self.ticks += 1;
        let mut silent = Vec::new();
        let mut alive = Vec::new();
        for (&key, peer) in self.net.sessions.peers_mut() {
            let limit = if key.1 { SILENT_ADJACENT } else { SILENT_END_TO_END };
            if peer.up && peer.heard.is_none_or(|heard| now.since(heard) >= limit) {
                peer.up = false;
                silent.push(key);
            }
            if peer.current.is_some() {
                alive.push(key);
            }
        }
        for (peer, adjacent) in silent {
            self.outbox.event(Event::Down { peer, adjacent });
        }
        if self.ticks % KEEPALIVE_TICKS == 0 {
            for key in alive {
                self.keepalive(key, now, sink);
            }
        }
        let links = &mut self.net.links;
        self.net.sessions.expire(now, |(peer, adjacent), epoch| {
            if let Some(neighbour) = links.numbered(peer).filter(|_| adjacent) {
                neighbour.forget(epoch);
            }
        });
        for (_, session) in self.net.sessions.iter_mut() {
            session.recovery.mark();
            if session.sealer.sealed() > REKEY_AFTER && !session.rekey_asked && session.retired.is_none() {
                session.rekey_asked = true;
                let (peer, adjacent) = session.key;
                self.outbox.event(Event::Rekey { peer, adjacent });
            }
        }
        if let Some(edge) = self.edge.as_mut().filter(|_| self.ticks % 600 == 0) {
            edge.expire(now);
        }
    }

    /// Holes whose time is over: what waits behind them goes out now.
    fn release_held(&mut self, now: Time, deliveries: &mut Vec<Delivery>) {
        let sessions = &mut self.net.sessions;
        self.holding.retain(|&index| {
            let Some(session) = sessions.get_mut(index) else { return false };
            session.wait = session.skew.wait(now);
            while session.order.handle_timeout(now, session.wait) {
                while let Some(held) = session.order.ready() {
                    deliveries.push(Delivery::Held { held, peer: session.key.0, session: index });
                }
            }
            session.order.next_timeout(0).is_some()
        });
    }
}

impl<O: Outbox> Engine for Node<O>
where
    O: Send,
{
    type Command = Command;

    fn receive_udp(&mut self, batches: &mut [Datagrams<'_>], now: Time, sink: &mut impl Sink) {
        let mut deliveries = std::mem::take(&mut self.deliveries);
        for (index, batch) in batches.iter_mut().enumerate() {
            self.receive_batch(index, batch, now, &mut deliveries, sink);
        }
        self.deliver(batches, &mut deliveries, now, sink);
        self.deliveries = deliveries;
    }

    fn receive_tun(&mut self, vnet: VnetHdr, packet: &mut [u8], now: Time, sink: &mut impl Sink) {
        match self.config.role {
            Role::Edge => self.receive_from_client(vnet, packet, now, sink),
            Role::Gateway => self.receive_from_server(vnet, packet, now, sink),
            Role::Intermediate | Role::Dns => self.net.drops.count("no_tun_role"),
        }
    }

    fn handle_command(&mut self, command: Command, now: Time, sink: &mut impl Sink) {
        match command {
            Command::Configure(desired) => self.configure(&desired),
            Command::Send { peer, adjacent, message } => {
                if let Some(neighbour) = self.net.links.numbered(peer).filter(|_| adjacent) {
                    if message.kind == Kind::Initiation {
                        neighbour.try_next(now.since(neighbour.heard.unwrap_or_default()) < SILENT_ADJACENT);
                    }
                }
                self.net.send_handshake(peer, adjacent, &message, sink);
            }
            Command::Install(new) => self.install(&new, now, sink),
            Command::Close { peer, adjacent } => self.close(peer, adjacent),
            Command::Control { peer, adjacent, message, sent } => {
                sent.reply(self.net.send_sealed((peer, adjacent), Kind::Control, &message, sink));
            }
            Command::Count(reason) => self.net.drops.count(reason),
            Command::Snapshot(reply) => reply.reply(self.snapshot(now)),
            Command::Flows(limit, reply) => self.questions.ask(self.gateway.as_ref(), limit, reply),
            Command::CookieSecret(random) => self.gate.set_secret(random),
        }
    }

    fn handle_timeout(&mut self, now: Time, sink: &mut impl Sink) {
        let mut deliveries = std::mem::take(&mut self.deliveries);
        self.release_held(now, &mut deliveries);
        self.deliver(&mut [], &mut deliveries, now, sink);
        self.deliveries = deliveries;
        if now >= self.next_tick {
            self.next_tick = now.after(TICK);
            self.tick(now, sink);
        }
        if let Some(gateway) = &mut self.gateway {
            gateway.expire(now);
        }
        self.questions.handle_timeout(self.gateway.as_ref(), now);
    }

    fn next_timeout(&self) -> Option<Time> {
        let due = |&index: &u32| {
            let session = self.net.sessions.get(index)?;
            session.order.next_timeout(session.wait)
        };
        let tick = if self.questions.are_open() { Time(0) } else { self.next_tick };
        Some(self.holding.iter().filter_map(due).fold(tick, Time::min))
    }

    fn flush(&mut self, sink: &mut impl Sink) {
        self.net.flush(sink);
    }
}
