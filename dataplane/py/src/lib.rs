//! Python's view of the core: `dataplane._native`. Contracts are in `dataplane/_native.pyi`.
//!
//! Handshakes run here, in the thread that calls, so that a Diffie-Hellman never holds up a packet.

mod events;

use crate::events::{Entry, Events, Sender};
use braid_core::handshake::{HandshakeError, Handshaker};
use braid_core::wire::Kind;
use braid_core::{Command, Desired, Event, Node, NodeConfig, Reply, Role};
use braid_io::{Buffers, Handle, ShardConfig, Socket, SocketOptions, Tun};
use pyo3::exceptions::{PyKeyError, PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::Value;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::{sync_channel, SyncSender};
use std::sync::Arc;
use std::time::Duration;

/// How long an answer of the data thread may take before the caller is told that it is stuck.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
const COOKIE_SECRET_LIFETIME: u64 = 120 * braid_packet::Time::SECOND;
const MOST_FLOWS: usize = 1 << 20;

struct Channel<T>(SyncSender<T>);

impl<T: Send> Reply<T> for Channel<T> {
    fn reply(self: Box<Self>, answer: T) {
        // The asker may have given up waiting.
        let _ = self.0.try_send(answer);
    }
}

/// Sockets and engine before `start`, the running thread after it.
enum State {
    Ready(Box<(Node<Sender>, ShardConfig)>),
    Running(Handle<Command>),
    Stopped,
}

#[pyclass(unsendable)]
struct Core {
    state: State,
    handshaker: Handshaker,
    events: Arc<Events>,
    /// Static keys of peers that initiations went to: a cookie is opened with them.
    statics: HashMap<u16, [u8; 32]>,
    cookie_secret_at: Option<braid_packet::Time>,
    process: u32,
}

fn random<const N: usize>() -> PyResult<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| PyOSError::new_err("the system gives no random numbers"))?;
    Ok(bytes)
}

fn key(bytes: &[u8], name: &str) -> PyResult<[u8; 32]> {
    bytes.try_into().map_err(|_| PyValueError::new_err(format!("{name} must be 32 bytes, not {}", bytes.len())))
}

fn failed(error: HandshakeError) -> PyErr {
    PyKeyError::new_err(error.as_str())
}

#[pymethods]
impl Core {
    #[new]
    #[pyo3(signature = (*, role, number, private_key, listen, tun_fds, mtu, udp_gso=true, udp_gro=true, tun_offload=true, rate_mbit=10_000, receive_us=5_000, send_us=1_000))]
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
    ) -> PyResult<Core> {
        let role = Role::parse(role).ok_or_else(|| PyValueError::new_err(format!("unknown role {role:?}")))?;
        if tun_fds.len() > 1 {
            return Err(PyValueError::new_err("one TUN queue at most: a node has one shard"));
        }
        let buffers = Buffers { rate_mbit, receive_us, send_us };
        let options = SocketOptions { gso: udp_gso, gro: udp_gro, buffers };
        let mut sockets: Vec<Socket> = Vec::new();
        for (host, port) in listen {
            let address: IpAddr =
                host.parse().map_err(|_| PyValueError::new_err(format!("listen: {host:?} is no IP address")))?;
            let address = SocketAddr::new(address, port);
            sockets.push(
                braid_io::bind(address, options)
                    .map_err(|error| PyOSError::new_err((error.raw_os_error(), format!("UDP {address}: {error}"))))?,
            );
        }
        let tun = match tun_fds.first() {
            Some(&fd) => Some(
                Tun::adopt(fd, tun_offload)
                    .map_err(|error| PyOSError::new_err((error.raw_os_error(), format!("TUN: {error}"))))?,
            ),
            None => None,
        };
        let offload = tun.as_ref().map(Tun::offload).unwrap_or_default();
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
        let config = NodeConfig {
            role,
            number,
            public: *handshaker.public(),
            mtu,
            seed: u64::from_ne_bytes(random()?),
            max_flows: MOST_FLOWS,
            coalesce_tcp: offload.tso,
            coalesce_udp: offload.uso,
        };
        let node = Node::new(config, Sender(events.clone()));
        Ok(Core {
            state: State::Ready(Box::new((node, ShardConfig { tun, sockets }))),
            handshaker,
            events,
            statics: HashMap::new(),
            cookie_secret_at: None,
            process: std::process::id(),
        })
    }

    fn start(&mut self) -> PyResult<()> {
        let before = std::mem::replace(&mut self.state, State::Stopped);
        let State::Ready(ready) = before else {
            self.state = before;
            return Err(PyRuntimeError::new_err("start: it was started before"));
        };
        let (node, config) = *ready;
        let events = self.events.clone();
        let handle = braid_io::spawn(node, config, move |end| {
            if let Err(why) = end {
                events.push(Entry::Failed(why));
            }
        })?;
        self.state = State::Running(handle);
        Ok(())
    }

    fn stop(&mut self, py: Python<'_>) {
        let state = std::mem::replace(&mut self.state, State::Stopped);
        if let State::Running(handle) = state {
            py.detach(|| handle.stop());
        }
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
                Entry::Event(event) => self.translate(py, event)?,
            };
            out.extend(event);
        }
        Ok(out)
    }

    fn last_turn(&self) -> u64 {
        match &self.state {
            State::Running(handle) => handle.last_turn_ns(),
            State::Ready(_) | State::Stopped => 0,
        }
    }

    fn configure(&self, desired: &str) -> PyResult<()> {
        let desired = Desired::parse(desired).map_err(PyValueError::new_err)?;
        self.command(Command::Configure(Box::new(desired)))
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

    fn accept(&mut self, initiation: u64) -> PyResult<()> {
        let (session, message) = self.handshaker.accept(initiation, braid_io::now()).map_err(failed)?;
        let (peer, adjacent) = (session.peer, session.adjacent);
        self.command(Command::Install(Box::new(session)))?;
        self.command(Command::Send { peer, adjacent, message })
    }

    fn refuse(&mut self, initiation: u64, reason: &str) -> PyResult<()> {
        self.handshaker.refuse(initiation);
        self.command(Command::Count(refusal(reason)))
    }

    fn close_session(&self, peer: u16, adjacent: bool) -> PyResult<()> {
        self.command(Command::Close { peer, adjacent })
    }

    fn send_control(&self, py: Python<'_>, peer: u16, adjacent: bool, message: &[u8]) -> PyResult<bool> {
        let message = message.to_vec();
        self.ask(py, |sent| Command::Control { peer, adjacent, message, sent })
    }

    fn snapshot(&self, py: Python<'_>) -> PyResult<String> {
        let mut snapshot = self.ask(py, Command::Snapshot)?;
        let State::Running(handle) = &self.state else { return Ok(snapshot.to_string()) };
        let io = serde_json::to_value(handle.snapshot()).unwrap_or(Value::Null);
        if let (Value::Object(all), Value::Object(io)) = (&mut snapshot, io) {
            for (name, value) in io {
                match (all.get_mut(&name), value) {
                    (Some(Value::Object(drops)), Value::Object(more)) => {
                        drops.extend(more.into_iter().filter(|(_, count)| *count != 0));
                    }
                    (_, value) => {
                        all.insert(name, value);
                    }
                }
            }
            if let (Some(Value::Object(drops)), lost @ 1..) = (all.get_mut("drops"), self.events.lost()) {
                drops.insert("event_queue_full".to_owned(), lost.into());
            }
        }
        Ok(snapshot.to_string())
    }

    #[pyo3(signature = (limit=1000))]
    fn flows(&self, py: Python<'_>, limit: usize) -> PyResult<String> {
        let flows = self.ask(py, |reply| Command::Flows(limit, reply))?;
        Ok(flows.iter().map(braid_core::flow_as_json).collect::<Value>().to_string())
    }
}

impl Core {
    fn command(&self, command: Command) -> PyResult<()> {
        if self.process != std::process::id() {
            return Err(PyRuntimeError::new_err("the process forked: its child must not use the core"));
        }
        match &self.state {
            State::Running(handle) => handle
                .command(command)
                .map_err(|refused| PyRuntimeError::new_err(format!("the data thread takes no command: {refused:?}"))),
            State::Ready(_) => Err(PyRuntimeError::new_err("the core is not started")),
            State::Stopped => Err(PyRuntimeError::new_err("the core is stopped")),
        }
    }

    fn ask<T: Send + 'static>(
        &self,
        py: Python<'_>,
        question: impl FnOnce(Box<dyn Reply<T>>) -> Command,
    ) -> PyResult<T> {
        let (sender, receiver) = sync_channel(1);
        self.command(question(Box::new(Channel(sender))))?;
        py.detach(move || receiver.recv_timeout(ANSWER_WITHIN))
            .map_err(|_| PyRuntimeError::new_err("the data thread does not answer"))
    }

    fn refresh_cookie_secret(&mut self) -> PyResult<()> {
        let now = braid_io::now();
        if self.cookie_secret_at.is_some_and(|at| now.since(at) < COOKIE_SECRET_LIFETIME) {
            return Ok(());
        }
        if matches!(self.state, State::Running(_)) {
            self.cookie_secret_at = Some(now);
            self.command(Command::CookieSecret(random()?))?;
        }
        Ok(())
    }

    /// None for events that end here.
    fn translate(&mut self, py: Python<'_>, event: Event) -> PyResult<Option<Py<PyAny>>> {
        let object = match event {
            Event::Handshake { kind, adjacent, receiver, body, neighbour } => {
                return self.handshake(py, kind, adjacent, neighbour, receiver, &body);
            }
            Event::Established { peer, adjacent, epoch, initiator } => {
                ("established", peer, adjacent, epoch, initiator).into_pyobject(py)?.into_any()
            }
            Event::Up { peer, adjacent } => ("up", peer, adjacent).into_pyobject(py)?.into_any(),
            Event::Down { peer, adjacent } => ("down", peer, adjacent).into_pyobject(py)?.into_any(),
            Event::Rekey { peer, adjacent } => ("rekey", peer, adjacent).into_pyobject(py)?.into_any(),
            Event::Control { peer, adjacent, message } => {
                ("control", peer, adjacent, PyBytes::new(py, &message)).into_pyobject(py)?.into_any()
            }
        };
        Ok(Some(object.unbind()))
    }

    fn handshake(
        &mut self,
        py: Python<'_>,
        kind: Kind,
        adjacent: bool,
        neighbour: u16,
        receiver: u32,
        body: &[u8],
    ) -> PyResult<Option<Py<PyAny>>> {
        let now = braid_io::now();
        let outcome = match kind {
            Kind::Initiation => match self.handshaker.receive_initiation(body, now) {
                // Between neighbours the claimed number must be that of the address it came from.
                Ok(i) if i.adjacent != adjacent || (adjacent && i.peer != neighbour) => {
                    self.handshaker.refuse(i.id);
                    Err("handshake_wrong_neighbour")
                }
                Ok(i) => {
                    let (key, certificate) = (PyBytes::new(py, &i.static_key), PyBytes::new(py, &i.certificate));
                    let event = ("initiation", i.id, i.peer, adjacent, key, certificate).into_pyobject(py)?;
                    return Ok(Some(event.into_any().unbind()));
                }
                Err(error) => Err(error.as_str()),
            },
            Kind::Response => match self.handshaker.receive_response(receiver, body, now) {
                Ok(session) => {
                    self.command(Command::Install(Box::new(session)))?;
                    Ok(())
                }
                Err(error) => Err(error.as_str()),
            },
            Kind::Cookie => {
                let peer = self.handshaker.pending_peer(receiver).and_then(|peer| self.statics.get(&peer).copied());
                match peer.map(|key| self.handshaker.receive_cookie(receiver, body, &key, now)) {
                    Some(Ok(())) => Ok(()),
                    Some(Err(error)) => Err(error.as_str()),
                    None => Err(HandshakeError::Unexpected.as_str()),
                }
            }
            Kind::Data | Kind::DataPartial | Kind::Control | Kind::Keepalive => Err("kind"),
        };
        if let Err(reason) = outcome {
            self.command(Command::Count(reason))?;
        }
        Ok(None)
    }
}

/// The counters' names are fixed: what Python may refuse for.
fn refusal(reason: &str) -> &'static str {
    match reason {
        "malformed" => "refused_malformed",
        "other_ca" => "refused_other_ca",
        "expired" => "refused_expired",
        "not_yet_valid" => "refused_not_yet_valid",
        "revoked" => "refused_revoked",
        "key_mismatch" => "refused_key_mismatch",
        "unknown_node" => "refused_unknown_node",
        "wrong_role" => "refused_wrong_role",
        "wrong_region" => "refused_wrong_region",
        "wrong_braid" => "refused_wrong_braid",
        "wrong_number" => "refused_wrong_number",
        "not_a_peer" => "refused_not_a_peer",
        _ => "refused_other",
    }
}

#[pyfunction]
fn public_key<'py>(py: Python<'py>, private_key: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let public = braid_core::handshake::public_key(&key(private_key, "private_key")?)
        .ok_or_else(|| PyValueError::new_err("private_key is no X25519 key"))?;
    Ok(PyBytes::new(py, &public))
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Core>()?;
    module.add_function(wrap_pyfunction!(public_key, module)?)?;
    Ok(())
}
