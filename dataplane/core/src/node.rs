//! One node's engine: the state that all roles share, its commands and its clock.

use crate::config::{NodeConfig, Role};
use crate::desired::Desired;
use crate::event::{Command, Event, Outbox};
use crate::gate::Gate;
use crate::handshake::NewSession;
use crate::hop::HopKey;
use crate::question::Questions;
use crate::receive::Delivery;
use crate::refusing::Refusing;
use crate::role::edge::Edge;
use crate::role::gateway::Gateway;
use crate::role::intermediate::Relay;
use crate::role::owners::Owners;
use crate::session::PeerKey;
use crate::shard::Place;
use crate::steer::Pieces;
use crate::steering::Steering;
use crate::transmit::{Net, Over};
use crate::upkeep::{silence, JITTER, MANY, REST, TICK};
use crate::window::MOST_OF_NODE;
use crate::wire::Kind;
use braid_offload::Coalescer;
use braid_packet::{Datagrams, Engine, Handed, RateLimit, Sink, Time, VnetHdr};
use std::net::SocketAddr;

/// Owned by one data thread. Not safe for concurrent use.
pub struct Node<O: Outbox> {
    pub(crate) config: NodeConfig,
    pub(crate) place: Place,
    pub(crate) net: Net,
    pub(crate) gate: Gate,
    pub(crate) outbox: O,
    pub(crate) relay: Option<Relay>,
    pub(crate) edge: Option<Edge>,
    pub(crate) gateway: Option<Gateway>,
    pub(crate) owners: Owners,
    pub(crate) steering: Steering,
    pub(crate) refusing: Refusing,
    pub(crate) coalescer: Coalescer,
    /// For the packets that a node makes itself, and the rate of ICMP errors.
    pub(crate) icmp: Vec<u8>,
    pub(crate) icmp_rate: RateLimit,
    /// The beginning of a packet as its sender sent it, for such an error; and a packet that is cut.
    pub(crate) before: Vec<u8>,
    pub(crate) whole: Vec<u8>,
    pub(crate) fragmented: u64,
    /// Packets given to a gateway's sibling.
    pub(crate) passed_on: u64,
    /// Datagrams and bytes of them that were probes of ours, those of size aside.
    pub(crate) probes: (u64, u64),
    /// Lanes (session, slot) whose packets wait behind a hole.
    pub(crate) holding: Vec<(u32, usize)>,
    pub(crate) pieces: Pieces,
    /// Peers that wait to hear, in every lane, that we hear them.
    pub(crate) greet: Vec<PeerKey>,
    /// Lanes in which a neighbour's probe came that is to be answered.
    pub(crate) unanswered: Vec<(PeerKey, usize)>,
    questions: Questions,
    deliveries: Vec<Delivery>,
    next_tick: Time,
    /// When a path or a peer may have been silent for too long.
    next_silence: Time,
    /// When a search for a path's MTU has something to do.
    pub(crate) next_sizing: Time,
    /// Which path is the first to have its turn then.
    pub(crate) sizing_from: usize,
    pub(crate) ticks: u64,
    /// When a packet came from or went to the host last.
    pub(crate) worked: Time,
    /// Bytes that recovery windows may grow by until the next tick.
    pub(crate) window_spare: usize,
    /// Of a linear congruential generator (Knuth's MMIX): spreads the ticks, protects nothing.
    random: u64,
}

impl<O: Outbox> Node<O> {
    pub fn new(config: NodeConfig, outbox: O) -> Node<O> {
        Node {
            place: config.place,
            net: Net::new(config.mtu, config.place),
            gate: Gate::new(config.public),
            outbox,
            relay: (config.role == Role::Intermediate).then(Relay::default),
            edge: (config.role == Role::Edge).then(|| Edge::new(config.pins.clone())),
            owners: Owners::default(),
            steering: Steering::default(),
            refusing: Refusing::default(),
            // A content proxy ends transferred connections as a gateway ends proxied ones; its NAT has no applications.
            gateway: matches!(config.role, Role::Gateway | Role::Content)
                .then(|| Gateway::new(config.seed, config.max_flows, config.mtu, config.place)),
            coalescer: Coalescer::new(),
            icmp: Vec::new(),
            before: Vec::new(),
            whole: Vec::new(),
            fragmented: 0,
            passed_on: 0,
            probes: (0, 0),
            icmp_rate: RateLimit::new(200 / u32::from(config.place.count()), 50),
            holding: Vec::new(),
            questions: Questions::default(),
            pieces: Pieces::new(config.seed),
            greet: Vec::new(),
            unanswered: Vec::new(),
            deliveries: Vec::new(),
            next_tick: Time(0),
            next_silence: Time(0),
            next_sizing: Time(0),
            sizing_from: 0,
            ticks: 0,
            worked: Time(0),
            window_spare: MOST_OF_NODE / usize::from(config.place.count()),
            random: config.seed,
            config,
        }
    }

    fn configure(&mut self, desired: &Desired) {
        for gone in self.net.links.configure(desired) {
            self.net.sessions.close((gone, true));
        }
        for changed in self.net.sessions.set_shards(&desired.shards) {
            self.part(changed);
        }
        let sessions = &mut self.net.sessions;
        self.net.paths.configure(&desired.path_sets, |peer, id| {
            for lane in &mut sessions.peer_mut((peer, false)).lanes {
                lane.outbound.forget(usize::from(id));
            }
            sessions.forget_sent((peer, false));
        });
        if let (Some(edge), Some(spec)) = (&mut self.edge, &desired.edge) {
            edge.configure(spec);
            self.owners.retain(|ends, owner| edge.knows(ends, owner));
        }
        if let (Some(gateway), Some(spec)) = (&mut self.gateway, &desired.gateway) {
            gateway.configure(spec);
        }
    }

    /// The number of a peer's shards is another one, and so are the lanes: only new sessions have them.
    fn part(&mut self, peer: u16) {
        for adjacent in [false, true] {
            let was_up = self.net.sessions.peer_mut((peer, adjacent)).up;
            self.close(peer, adjacent);
            if was_up {
                self.outbox.event(Event::Down { peer, adjacent });
            }
        }
    }

    /// False: the keys were refused, and counted.
    fn install(&mut self, new: &NewSession, now: Time, sink: &mut impl Sink) -> bool {
        let key = (new.peer, new.adjacent);
        let slot = usize::from(new.local_epoch & 3);
        if new.adjacent {
            let up = self.net.sessions.peer_mut(key).up;
            let in_use = self.net.sessions.current(key).is_some_and(|(_, s)| usize::from(s.local_epoch & 3) == slot);
            if up && in_use && !new.initiator {
                // A replayed initiation must not take the place of the keys in use; the next epoch has another slot.
                self.net.drops.count("handshake_crowded");
                return false;
            }
            if self.net.links.numbered(new.peer).is_none() {
                self.net.drops.count("handshake_not_a_neighbour");
                return false;
            }
        }
        if self.net.sessions.install(new, now).is_err() {
            self.net.drops.count("handshake_crowded");
            return false;
        }
        if let Some(neighbour) = self.net.links.numbered(new.peer).filter(|_| new.adjacent) {
            neighbour.hop_rx[slot] = Some((HopKey::new(&new.rx.hop), new.local_epoch));
        }
        if new.initiator && self.place.is_alone() {
            self.activate(new.local_index, now, sink);
        }
        true
    }

    /// The answer to our initiation came, in lane 0: its keys are good for sending.
    fn activate(&mut self, index: u32, now: Time, sink: &mut impl Sink) {
        let Some((peer, adjacent)) = self.net.sessions.get(index).map(|session| session.key) else { return };
        self.confirm(index, now);
        if self.place.index() == 0 {
            self.heard(peer, adjacent, 0, now);
        }
        self.send_probes((peer, adjacent), now, sink);
    }

    /// The peer has the keys of this session: use them to send.
    pub(crate) fn confirm(&mut self, index: u32, now: Time) {
        if self.net.sessions.get(index).is_some_and(|session| !session.confirmed || session.initiator) {
            self.promote(index, now);
        }
    }

    /// Sends with the keys of this session from now on.
    pub(crate) fn promote(&mut self, index: u32, now: Time) {
        let Some(session) = self.net.sessions.get(index) else { return };
        let ((peer, adjacent), epoch) = (session.key, session.local_epoch);
        let (initiator, boot) = (session.initiator, session.remote_boot);
        if let (Some(key), Some(neighbour)) = (session.hop_tx.clone(), self.net.links.numbered(peer)) {
            neighbour.hop_tx = Some((key, session.remote_epoch & 3));
        }
        self.net.sessions.promote(index, now);
        self.outbox.event(Event::Established { peer, adjacent, epoch, initiator, boot });
    }

    pub(crate) fn heard(&mut self, peer: u16, adjacent: bool, slot: usize, now: Time) {
        let state = self.net.sessions.peer_mut((peer, adjacent));
        if let Some(lane) = state.lanes.get_mut(slot) {
            lane.heard = Some(now);
        }
        if !state.up && !state.is_silent(now, silence(adjacent)) {
            state.up = true;
            if state.has_several_lanes() {
                self.greet.push((peer, adjacent));
            }
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
}

impl<O: Outbox> Engine for Node<O>
where
    O: Send,
{
    type Command = Command;

    fn receive_udp(&mut self, batches: &mut [Datagrams<'_>], now: Time, sink: &mut impl Sink) {
        self.net.now = now;
        let mut deliveries = std::mem::take(&mut self.deliveries);
        for (index, batch) in batches.iter_mut().enumerate() {
            self.receive_batch(index, batch, now, &mut deliveries, sink);
        }
        self.deliver(batches, &mut deliveries, now, sink);
        self.deliveries = deliveries;
        self.receive_said(now, sink);
        while let Some(key) = self.greet.pop() {
            self.send_probes(key, now, sink);
        }
        self.answer_probes(now, sink);
    }

    fn receive_tun(&mut self, vnet: VnetHdr, packet: &mut [u8], now: Time, sink: &mut impl Sink) {
        (self.net.now, self.worked) = (now, now);
        let alone = self.place.is_alone();
        match self.config.role {
            Role::Edge if alone && !self.net.sessions.has_several_lanes() => {
                self.receive_from_client(0, vnet, packet, now, sink);
            }
            Role::Gateway | Role::Content if alone => self.receive_from_server(vnet, packet, now, sink),
            Role::Edge | Role::Gateway | Role::Content => self.steer(vnet, packet, now, sink),
            Role::Intermediate | Role::Dns => self.net.drops.count("no_tun_role"),
        }
    }

    fn receive_handed(&mut self, handed: Handed, vnet: VnetHdr, packet: &mut [u8], now: Time, sink: &mut impl Sink) {
        (self.net.now, self.worked) = (now, now);
        self.take_over(handed, vnet, packet, now, sink);
    }

    fn receive_refusal(&mut self, to: SocketAddr, length: usize, now: Time) {
        self.refused_by_host(to, length, now);
    }

    fn handle_command(&mut self, command: Command, now: Time, sink: &mut impl Sink) {
        self.net.now = now;
        match command {
            Command::Configure(desired) => self.configure(&desired),
            Command::Send { peer, adjacent, message } => {
                if let Some(neighbour) = self.net.links.numbered(peer).filter(|_| adjacent) {
                    if message.kind == Kind::Initiation {
                        neighbour.try_next(now.since(neighbour.heard.unwrap_or_default()) < silence(true));
                    }
                }
                self.net.send_handshake(peer, adjacent, &message, sink);
            }
            Command::Install { session, answer, taken } => {
                let installed = self.install(&session, now, sink);
                if let Some(answer) = answer.filter(|_| installed) {
                    self.net.send_handshake(session.peer, session.adjacent, &answer, sink);
                }
                if let Some(taken) = taken {
                    taken.reply(installed);
                }
            }
            Command::Activate(index) => self.activate(index, now, sink),
            Command::Admit { peer, adjacent, usable } => self.net.sessions.admit((peer, adjacent), usable),
            Command::Close { peer, adjacent } => {
                let was_up = self.net.sessions.peer_mut((peer, adjacent)).up;
                self.close(peer, adjacent);
                if was_up && !self.place.is_alone() {
                    // What this shard said before is no longer true, and may be read after the others were told to forget.
                    self.outbox.event(Event::Down { peer, adjacent });
                }
            }
            Command::Control { peer, adjacent, message, sent } => {
                sent.reply(self.net.send_sealed((peer, adjacent), 0, Kind::Control, Over::Widest, &message, sink));
            }
            Command::Tell(messages) => {
                for (peer, message) in messages {
                    self.net.send_sealed((peer, true), 0, Kind::Control, Over::Widest, &message, sink);
                }
            }
            Command::Connection(connection, order) => self.handle_order(connection, order, now, sink),
            Command::Adopt { record, guest, adopted } => adopted.reply(self.adopt(&record, guest, now)),
            Command::Count(reason) => self.net.drops.count(reason),
            Command::Snapshot { detail, reply } => reply.reply(self.snapshot(detail, now)),
            Command::Flows(limit, reply) => self.questions.ask(self.gateway.as_ref(), limit, reply),
            Command::CopyFlows { pools, which, from, since, reply } => {
                reply.reply(self.copy_flows(&pools, which, from, since, now));
            }
            Command::TakeFlows(piece, reply) => reply.reply(self.take_flows(&piece, now)),
            Command::ForgetGiven { from, all, reply } => {
                reply.reply(self.gateway.as_mut().and_then(|gateway| gateway.forget_given(from, all)));
            }
            Command::CookieSecret(random) => self.gate.set_secret(random),
            Command::Own { ends, owner, by, done } => done.reply(self.own(ends, owner, by, now, sink)),
            Command::Serve(serving) => self.refusing.learn(serving),
            Command::SynKeys { current, keys, gateways } => {
                if let Some(gateway) = &mut self.gateway {
                    gateway.fast.set_keys(current, &keys);
                }
                if let Some(edge) = &mut self.edge {
                    let mtu = u16::try_from(self.config.mtu).unwrap_or(u16::MAX);
                    edge.cookies.set_keys(&gateways, current, &keys, mtu);
                }
            }
        }
    }

    fn handle_timeout(&mut self, now: Time, sink: &mut impl Sink) {
        self.net.now = now;
        let mut deliveries = std::mem::take(&mut self.deliveries);
        self.release_held(now, &mut deliveries);
        self.deliver(&mut [], &mut deliveries, now, sink);
        self.deliveries = deliveries;
        if now >= self.next_tick {
            self.random = self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            self.next_tick = now.after(TICK - JITTER + (self.random >> 32) % (2 * JITTER));
            self.tick(now, sink);
            self.next_sizing = now;
        }
        if now >= self.next_sizing {
            self.next_sizing = self.probe_sizes(now, sink);
        }
        if now >= self.next_silence {
            let reported = self.report_silence(now, sink);
            self.next_silence = self.detect_silence(now).map_or(reported, |down| down.min(reported));
        }
        if let Some(gateway) = &mut self.gateway {
            gateway.handle_timeout(now);
            gateway.take_news(true).for_each(|event| self.outbox.event(event));
            self.receive_again(now, sink);
        }
        self.tell_refused(now);
        self.questions.handle_timeout(self.gateway.as_ref(), now);
        self.net.send_later(sink);
    }

    fn next_timeout(&self) -> Option<Time> {
        let due = |&(index, slot): &(u32, usize)| {
            let lane = self.net.sessions.get(index)?.received.get(slot)?;
            lane.order.next_timeout(lane.wait)
        };
        let tick = if self.questions.are_open() {
            Time(0)
        } else {
            self.next_tick.min(self.next_silence).min(self.next_sizing)
        };
        Some(
            self.holding
                .iter()
                .filter_map(due)
                .chain(self.net.next_timeout())
                .chain(self.refusing.next_timeout())
                .fold(tick, Time::min),
        )
    }

    fn is_at_rest(&self, now: Time) -> bool {
        self.relay.is_none() && now.since(self.worked) >= REST && self.net.links.iter().len() >= MANY
    }

    fn flush(&mut self, sink: &mut impl Sink) {
        self.net.flush(sink);
    }
}
