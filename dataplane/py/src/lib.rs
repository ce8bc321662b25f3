//! Python's view of the core: `dataplane._native`. Contracts are in `dataplane/_native.pyi`.
//!
//! Handshakes run here, in the thread that calls, so that a Diffie-Hellman never holds up a packet.

mod asking;
mod connections;
mod datagrams;
mod events;
mod http;
mod keys;
mod line;
mod moved;
mod offering;
mod owner;
mod relay;
mod repair;
mod snapshot;
mod sockets;
mod stored;
mod threads;
mod translate;
mod turned_down;

use crate::connections::{OwnAddresses, Source, Wanted};
use crate::events::{Entry, Events, Sender};
use crate::keys::{key, random};
use crate::moved::{Part, Told};
use crate::sockets::{adopt, sockets};
use crate::threads::Threads;
use braid_core::handshake::{HandshakeError, Handshaker, Message, NewSession};
use braid_core::{
    Command, Desired, Detail, FlowRecord, Merger, Node, NodeConfig, Order, PeriodKey, Place, Role, SharedPins,
};
use braid_io::{handovers, Buffers, ShardConfig, SocketOptions, Tun};
use braid_line::Unheard;
use pyo3::exceptions::{PyKeyError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::HashMap;
use std::sync::Arc;

const MOST_FLOWS: usize = 1 << 20;

#[pyclass(unsendable)]
struct Core {
    threads: Threads,
    handshaker: Handshaker,
    events: Arc<Events>,
    merger: Merger,
    /// Static keys of peers that initiations went to: a cookie is opened with them.
    statics: HashMap<u16, [u8; 32]>,
    cookie_secret_at: Option<braid_packet::Time>,
    own: OwnAddresses,
    process: u32,
}

fn failed(error: HandshakeError) -> PyErr {
    PyKeyError::new_err(error.as_str())
}

#[pymethods]
impl Core {
    #[new]
    #[pyo3(signature = (*, role, number, private_key, listen, tun_fds, mtu, udp_gso=true, udp_gro=true, tun_offload=true, rate_mbit=10_000, receive_us=5_000, send_us=1_000, shards=1))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        role: &str,
        number: u16,
        private_key: &[u8],
        listen: Vec<(String, u16)>,
        tun_fds: Vec<i32>,
        mtu: usize,
        udp_gso: bool,
        udp_gro: bool,
        tun_offload: bool,
        rate_mbit: u32,
        receive_us: u32,
        send_us: u32,
        shards: u8,
    ) -> PyResult<Core> {
        let role = Role::parse(role).ok_or_else(|| PyValueError::new_err(format!("unknown role {role:?}")))?;
        let places: Option<Vec<Place>> = (0..shards).map(|index| Place::new(index, shards)).collect();
        let places = places.filter(|places| !places.is_empty());
        let places = places.ok_or_else(|| PyValueError::new_err("shards must be 1, 2, 4, 8 or 16"))?;
        if !tun_fds.is_empty() && tun_fds.len() != places.len() {
            return Err(PyValueError::new_err(format!("{} TUN queues for {shards} shards", tun_fds.len())));
        }
        let buffers = Buffers { rate_mbit, receive_us, send_us };
        let options = SocketOptions { gso: udp_gso, gro: udp_gro, buffers };
        let mut handover = handovers(places.len())?.into_iter();
        let mut configs = Vec::new();
        for place in &places {
            let sockets = sockets(&listen, place.index() as u16, options)?;
            let tun = tun_fds.get(place.index()).map(|&fd| adopt(fd, tun_offload)).transpose()?;
            configs.push(ShardConfig { tun, sockets, handover: handover.next().filter(|_| shards > 1) });
        }
        let offload = configs.first().and_then(|first| first.tun.as_ref()).map(Tun::offload).unwrap_or_default();
        let strong = SystemRandom::new();
        random::<8>()?;
        let numbers = Box::new(move || {
            let mut bytes = [0; 8];
            // The system gave random numbers a moment ago; it does not stop to.
            let _ = strong.fill(&mut bytes);
            u64::from_ne_bytes(bytes)
        });
        let handshaker = Handshaker::new(key(private_key, "private_key")?, number, numbers)
            .map_err(|_| PyValueError::new_err("private_key is no X25519 key"))?;
        let events = Events::new()?;
        let seed = u64::from_ne_bytes(random()?);
        let pins = (shards > 1).then(|| Arc::new(SharedPins::default()));
        let node = |place: Place| {
            let config = NodeConfig {
                role,
                number,
                public: *handshaker.public(),
                mtu,
                seed,
                max_flows: MOST_FLOWS,
                place,
                pins: pins.clone(),
                coalesce_tcp: offload.tso,
                coalesce_udp: offload.uso,
            };
            Node::new(config, Sender { events: events.clone(), shard: place.index() })
        };
        Ok(Core {
            threads: Threads::Ready(places.into_iter().map(node).zip(configs).collect()),
            handshaker,
            events,
            merger: Merger::new(shards),
            statics: HashMap::new(),
            cookie_secret_at: None,
            own: OwnAddresses::default(),
            process: std::process::id(),
        })
    }

    fn start(&mut self) -> PyResult<()> {
        self.threads.start(&self.events)
    }

    fn stop(&mut self, py: Python<'_>) {
        self.threads.stop(py);
    }

    fn event_fd(&self) -> i32 {
        self.events.fd()
    }

    #[pyo3(signature = (limit=256))]
    fn events(&mut self, py: Python<'_>, limit: usize) -> PyResult<Vec<Py<PyAny>>> {
        self.refresh_cookie_secret()?;
        let mut out = Vec::new();
        for entry in self.events.take(limit) {
            let event = match entry {
                Entry::Failed(why) => Some(("failed", why).into_pyobject(py)?.into_any().unbind()),
                Entry::Event(shard, event) => {
                    for event in self.merger.receive(shard, event) {
                        out.extend(self.translate(py, event)?);
                    }
                    None
                }
            };
            out.extend(event);
        }
        Ok(out)
    }

    fn let_wait(&self, kinds: &[u8]) {
        self.events.let_wait(kinds);
    }

    fn last_turn(&self) -> u64 {
        self.threads.last_turn()
    }

    fn configure(&self, desired: &str) -> PyResult<()> {
        let desired = Desired::parse(desired).map_err(PyValueError::new_err)?;
        self.to_all(|| Command::Configure(Box::new(desired.clone())))
    }

    fn set_syn_keys(&self, current: u64, keys: Vec<(u64, [u8; 16])>, gateways: Vec<u16>) -> PyResult<()> {
        let keys: Arc<[PeriodKey]> = keys.into_iter().map(|(period, key)| PeriodKey { period, key }).collect();
        let gateways: Arc<[u16]> = gateways.into();
        self.to_all(|| Command::SynKeys { current, keys: keys.clone(), gateways: gateways.clone() })
    }

    fn initiate(&mut self, peer: u16, adjacent: bool, peer_static: &[u8], certificate: &[u8]) -> PyResult<()> {
        let peer_static = key(peer_static, "peer_static")?;
        let message = self
            .handshaker
            .initiate(peer, adjacent, &peer_static, certificate, braid_io::now())
            .map_err(|error| PyValueError::new_err(error.as_str()))?;
        self.statics.insert(peer, peer_static);
        self.command(Command::Send { peer, adjacent, message })
    }

    fn accept(&mut self, py: Python<'_>, initiation: u64) -> PyResult<()> {
        let (session, message) = self.handshaker.accept(initiation, braid_io::now()).map_err(failed)?;
        self.install(py, session, Some(message))
    }

    fn refuse(&mut self, initiation: u64, reason: &str) -> PyResult<()> {
        self.handshaker.refuse(initiation);
        self.command(Command::Count(translate::refusal(reason)))
    }

    fn close_session(&mut self, peer: u16, adjacent: bool) -> PyResult<()> {
        self.merger.forget((peer, adjacent));
        self.to_all(|| Command::Close { peer, adjacent })
    }

    #[pyo3(signature = (peer, adjacent, message, wait=true))]
    fn send_control(&self, py: Python<'_>, peer: u16, adjacent: bool, message: &[u8], wait: bool) -> PyResult<bool> {
        let message = message.to_vec();
        self.check_process()?;
        if !wait {
            self.command(Command::Control { peer, adjacent, message, sent: Box::new(Unheard) })?;
            return Ok(true);
        }
        self.threads.ask(py, |sent| Command::Control { peer, adjacent, message, sent })
    }

    fn tell(&self, messages: Vec<(u16, Vec<u8>)>) -> PyResult<()> {
        self.command(Command::Tell(messages))
    }

    fn take(&self, py: Python<'_>, connection: u64) -> PyResult<()> {
        self.order(py, connection, Order::Take)
    }

    #[pyo3(signature = (record, guest=false))]
    fn adopt(&self, py: Python<'_>, record: &[u8], guest: bool) -> PyResult<Option<u64>> {
        self.ask_to_adopt(py, record, guest)
    }

    fn reset_connection(&self, py: Python<'_>, connection: u64) -> PyResult<()> {
        self.order(py, connection, Order::Reset)
    }

    fn open_servers(&self, py: Python<'_>, taken: Vec<u64>, wanted: Vec<Wanted>) -> PyResult<Vec<Source>> {
        self.take_and_lease(py, taken, wanted)
    }

    fn hold(&self, py: Python<'_>, connection: u64) -> PyResult<bool> {
        self.ask_to_hold(py, connection, false)
    }

    #[allow(clippy::too_many_arguments)]
    fn splice(
        &self,
        py: Python<'_>,
        connection: u64,
        client: &[u8],
        server: &[u8],
        to_client: &[u8],
        to_server: &[u8],
        until: Option<u64>,
    ) -> PyResult<()> {
        self.order_splice(py, connection, client, server, to_client, to_server, until)
    }

    #[pyo3(signature = (client, vip, owner, wait=true))]
    fn set_owner(
        &self,
        py: Python<'_>,
        client: (String, u16),
        vip: (String, u16),
        owner: &str,
        wait: bool,
    ) -> PyResult<bool> {
        self.say_owner(py, owner::ends(&client, &vip)?, owner::owner(owner)?, wait)
    }

    fn offer<'py>(
        &self,
        py: Python<'py>,
        fd: i32,
        head: Option<&[u8]>,
        offer: (braid_line::Id, u16, &[u8]),
        proxy: u16,
    ) -> PyResult<offering::Offered<'py>> {
        self.make_offer(py, fd, head, offer, proxy)
    }

    fn offers_of(
        &self,
        mut relay: PyRefMut<'_, relay::Relay>,
        stored: Py<stored::Stored>,
        deadline: u16,
    ) -> PyResult<()> {
        relay.offer_by(self, stored, deadline)
    }

    fn open_line(&self, py: Python<'_>, hears: i32, says: i32, kinds: &[u8]) -> PyResult<()> {
        self.begin_line(py, hears, says, kinds)
    }

    fn close_line(&self, py: Python<'_>) {
        self.end_line(py);
    }

    fn line_is_bad(&self) -> bool {
        self.events.line.is_bad()
    }

    fn copy_flows(
        &self,
        py: Python<'_>,
        shard: usize,
        pools: Vec<String>,
        which: &str,
        start: u32,
        since: u64,
    ) -> PyResult<Part> {
        self.ask_flows(py, shard, &pools, which, (start, since))
    }

    fn tell_flow(&self, py: Python<'_>, connection: u64, pools: Vec<String>, which: &str) -> PyResult<Option<Told>> {
        self.ask_told(py, connection, &pools, which)
    }

    fn leave_flow(&self, py: Python<'_>, connection: u64) -> PyResult<()> {
        self.order(py, connection, Order::Leave)
    }

    fn forget_given(&self, py: Python<'_>, shard: usize, start: u32, everything: bool) -> PyResult<Option<u32>> {
        self.ask_to_forget(py, shard, start, everything)
    }

    fn take_flows(&self, py: Python<'_>, shard: usize, piece: &[u8]) -> PyResult<(u32, u32, u32, String)> {
        self.give_flows(py, shard, piece)
    }

    #[pyo3(signature = (whole=true))]
    fn snapshot(&self, py: Python<'_>, whole: bool) -> PyResult<String> {
        self.counters(py, if whole { Detail::Whole } else { Detail::Short })
    }

    fn arrivals(&self, py: Python<'_>) -> PyResult<String> {
        self.counters(py, Detail::Arrivals)
    }

    #[pyo3(signature = (limit=1000))]
    fn flows(&self, py: Python<'_>, limit: usize) -> PyResult<String> {
        self.check_process()?;
        let answers = self.threads.ask_all(py, |reply| Command::Flows(limit, reply))?;
        let mut flows: Vec<FlowRecord> = answers.into_iter().flatten().collect();
        flows.sort_by_key(|record| record.flow.idle);
        flows.truncate(limit);
        Ok(flows.iter().map(braid_core::flow_as_json).collect::<serde_json::Value>().to_string())
    }
}

impl Core {
    fn check_process(&self) -> PyResult<()> {
        if self.process == std::process::id() {
            return Ok(());
        }
        Err(PyRuntimeError::new_err("the process forked: its child must not use the core"))
    }

    fn command(&self, command: Command) -> PyResult<()> {
        self.check_process()?;
        self.threads.command(command)
    }

    fn to_all(&self, command: impl Fn() -> Command) -> PyResult<()> {
        self.check_process()?;
        self.threads.to_all(command)
    }

    /// Gives the keys to all shards, and the answer to the peer if all took them. With several it waits until they have
    /// them, so that no answer meets one without.
    fn install(&self, py: Python<'_>, session: NewSession, answer: Option<Message>) -> PyResult<()> {
        self.check_process()?;
        let session = Arc::new(session);
        if self.threads.is_single() {
            return self.threads.command(Command::Install { session, answer, taken: None });
        }
        let install = |taken| Command::Install { session: session.clone(), answer: None, taken: Some(taken) };
        let taken = self.threads.ask_all(py, install)?.into_iter().all(|taken| taken);
        if taken && session.initiator {
            self.threads.to_all(|| Command::Activate(session.local_index))?;
        }
        let (peer, adjacent) = (session.peer, session.adjacent);
        answer.filter(|_| taken).map_or(Ok(()), |message| self.command(Command::Send { peer, adjacent, message }))
    }
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Core>()?;
    module.add_class::<datagrams::Datagrams>()?;
    module.add_class::<relay::Relay>()?;
    module.add_class::<owner::Hold>()?;
    module.add_function(wrap_pyfunction!(keys::public_key, module)?)?;
    asking::add(module).and_then(|()| repair::add(module)).and_then(|()| http::add(module))
}
