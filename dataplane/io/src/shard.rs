//! The data thread: it alone runs one engine, between its TUN queue and its sockets.

use crate::counters::Counters;
use crate::handle::{lock, Handle, Shared, MAX_COMMANDS};
use crate::handover::{Handover, Packet};
use crate::offloads::Probe;
use crate::outbox::{Outbox, Transmit};
use crate::output::Output;
use crate::receiver::Receiver;
use crate::rest::Rest;
use crate::schedule;
use crate::socket::{Sender, Socket};
use crate::sys::{self, Epoll, EventFd, SignalsBlocked};
use crate::tun::{Device, Tun, TunReader, TunWriter};
use braid_packet::{Engine, Time};
use std::any::Any;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// The thread turns at least this often, so that its heartbeat means something.
const LONGEST_WAIT: u64 = 250 * Time::MILLISECOND;
/// TUN reads before the sockets have their turn again.
const TUN_READS: usize = 16;
/// Drains of a socket in a turn after which it waited for its turn.
const DRAINS_AT_REST: usize = 8;
const MAX_SOCKETS: usize = 60;

const WAKE: u32 = 0;
const TUN: u32 = 1;
const SOCKETS: u32 = 2;
const INBOX: u32 = 63;

/// What a shard works with. Sockets and TUN keep the network namespace they were made in.
#[derive(Debug, Default)]
pub struct ShardConfig {
    pub tun: Option<Tun>,
    pub sockets: Vec<Socket>,
    /// The ends of the queues between the shards of a node; None for the only one.
    pub handover: Option<Handover>,
}

/// Starts the thread. `on_exit` runs in it at its end: `Ok` after `stop`, else what went wrong (a panic's message,
/// or the TUN's disappearance); `Handle::failure` says the same from then on.
pub fn spawn<E>(
    engine: E,
    config: ShardConfig,
    on_exit: impl FnOnce(Result<(), String>) + Send + 'static,
) -> io::Result<Handle<E::Command>>
where
    E: Engine + Send + 'static,
    E::Command: 'static,
{
    if config.sockets.len() > MAX_SOCKETS {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many sockets for one shard"));
    }
    let counters = Arc::new(counters_of(config.tun.as_ref(), &config.sockets));
    let shared = Arc::new(Shared {
        commands: Mutex::new(VecDeque::with_capacity(MAX_COMMANDS)),
        wake: EventFd::new()?,
        stop: AtomicBool::new(false),
        ended: AtomicBool::new(false),
        heartbeat: AtomicU64::new(sys::boottime()),
        failure: OnceLock::new(),
        counters,
    });
    let epoll = Epoll::new()?;
    epoll.add(shared.wake.fd(), WAKE)?;
    if let Some(tun) = &config.tun {
        epoll.add(tun.fd(), TUN)?;
    }
    let (tun, inbox) = (config.tun.iter().map(Tun::fd), config.handover.iter().map(Handover::fd));
    let rest = Rest::new([shared.wake.fd()].into_iter().chain(tun).chain(inbox))?;
    for (socket, token) in config.sockets.iter().zip(SOCKETS..) {
        epoll.add(socket.fd(), token)?;
    }
    if let Some(handover) = &config.handover {
        epoll.add(handover.fd(), INBOX)?;
    }
    let theirs = Arc::clone(&shared);
    // A new thread inherits the signal mask.
    let blocked = SignalsBlocked::new();
    let thread = std::thread::Builder::new().name("braid-shard".to_owned()).spawn(move || {
        let run = AssertUnwindSafe(|| Shard::new(engine, config, (epoll, rest), &theirs).run());
        let result = match catch_unwind(run) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(panic) => Err(format!("panic: {}", panic_text(panic.as_ref()))),
        };
        if let Err(text) = &result {
            let _ = theirs.failure.set(text.clone());
        }
        theirs.ended.store(true, Ordering::Release);
        on_exit(result);
    })?;
    drop(blocked);
    Ok(Handle { shared, thread: Mutex::new(Some(thread)) })
}

/// Of a shard with these; nothing has fallen back yet.
fn counters_of(tun: Option<&Tun>, sockets: &[Socket]) -> Counters {
    let counters = Counters::default();
    let offloads = &counters.offloads;
    if let Some(tun) = tun {
        tun.begin(offloads);
    }
    if let Some(first) = sockets.first() {
        let all = |which: fn(&Socket) -> Probe| sockets.iter().map(which).fold(which(first), Probe::and);
        offloads.udp_gso.begin(all(Socket::gso));
        offloads.udp_gro.begin(all(Socket::gro));
    }
    let _ = counters.sockets.set(sockets.iter().map(Socket::state).collect());
    counters
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "without a message",
    }
}

impl Device for Arc<Tun> {
    fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.as_ref().write(parts)
    }
}

/// Ends a drain: what was kept back goes out, and the engine hears what was too large for a link of the host.
fn flush<E: Engine, T: Transmit, D: Device>(engine: &mut E, output: &mut Output<T, D>, now: Time) {
    engine.flush(output);
    output.flush(|to, length| engine.receive_refusal(to, length, now));
}

/// A socket and its drop counter as last seen.
type Inlet = (Arc<Socket>, u32);

struct Shard<'a, E: Engine> {
    engine: E,
    epoll: Epoll,
    rest: Rest,
    tun: Option<Arc<Tun>>,
    reader: TunReader,
    inlets: Vec<Inlet>,
    receiver: Receiver,
    output: Output<Sender, Arc<Tun>>,
    commands: VecDeque<E::Command>,
    handover: Option<Handover>,
    given: Vec<Packet>,
    shared: &'a Shared<E::Command>,
}

impl<'a, E: Engine> Shard<'a, E> {
    fn new(engine: E, config: ShardConfig, waits: (Epoll, Rest), shared: &'a Shared<E::Command>) -> Shard<'a, E> {
        let counters = &shared.counters;
        let tun = config.tun.map(Arc::new);
        let inlets: Vec<Inlet> = config.sockets.into_iter().map(|socket| (Arc::new(socket), 0)).collect();
        let outboxes = inlets.iter().map(|(socket, _)| {
            let local = socket.local_address();
            let sender = Sender::new(Arc::clone(socket));
            let counters = Arc::clone(counters);
            (local.ip(), Outbox::new(sender, local.is_ipv6(), socket.gso().usable(), counters))
        });
        let outboxes = outboxes.collect();
        let outlets = config.handover.as_ref().map(Handover::outlets).unwrap_or_default();
        let writer = tun.clone().map(|tun| TunWriter::new(tun, Arc::clone(counters)));
        Shard {
            engine,
            epoll: waits.0,
            rest: waits.1,
            tun,
            reader: TunReader::new(Arc::clone(counters)),
            inlets,
            receiver: Receiver::new(Arc::clone(counters)),
            output: Output::new(outboxes, writer, outlets, Arc::clone(counters)),
            commands: VecDeque::with_capacity(MAX_COMMANDS),
            handover: config.handover,
            given: Vec::new(),
            shared,
        }
    }

    fn run(mut self) -> io::Result<()> {
        schedule::prefer();
        while !self.shared.stop.load(Ordering::Acquire) {
            let (ready, moves) = (self.wait()?, self.moves());
            if ready & (1 << WAKE) != 0 {
                self.handle_commands();
            }
            // Before the TUN: what was handed over is older than what is still to be read.
            if ready & (1 << INBOX) != 0 {
                self.handle_given();
            }
            if ready & (1 << TUN) != 0 {
                self.drain_tun()?;
            }
            let emptied = self.drain_sockets(ready);
            // Last: what waited in the sockets while this thread did not run may be what a timeout is about.
            self.handle_timeout();
            self.shared.heartbeat.store(sys::boottime(), Ordering::Relaxed);
            self.end_turn(ready, emptied && self.moves() != moves);
        }
        Ok(())
    }

    /// What is ready.
    fn wait(&mut self) -> io::Result<u64> {
        if self.rest.hold() {
            return Ok(u64::MAX << SOCKETS & !(1 << INBOX));
        }
        self.epoll.wait(self.patience())
    }

    fn end_turn(&mut self, ready: u64, moved: bool) {
        let rests = self.engine.is_at_rest(Time(sys::boottime()));
        if self.rest.end_turn(rests, moved) {
            self.receiver.stamps = rests;
            self.inlets.iter().for_each(|(socket, _)| socket.stamp(rests));
        }
        if ready != 0 && !rests {
            schedule::give_way();
        }
    }

    /// Messages that came and went.
    fn moves(&self) -> u64 {
        let io = &self.shared.counters.io;
        io.udp_rx_batches.get().wrapping_add(io.udp_tx_batches.get())
    }

    /// Milliseconds to wait for something to do, rounded up. Never zero: a timeout that is still due after
    /// `handle_timeout` must not make the thread spin.
    fn patience(&self) -> i32 {
        let now = Time(sys::boottime());
        let due = self.engine.next_timeout().map_or(LONGEST_WAIT, |due| due.since(now));
        due.min(LONGEST_WAIT).div_ceil(Time::MILLISECOND).max(1) as i32
    }

    fn flush(&mut self, now: Time) {
        flush(&mut self.engine, &mut self.output, now);
    }

    fn handle_commands(&mut self) {
        self.shared.wake.clear();
        std::mem::swap(&mut *lock(&self.shared.commands), &mut self.commands);
        let now = Time(sys::boottime());
        while let Some(command) = self.commands.pop_front() {
            self.engine.handle_command(command, now, &mut self.output);
        }
        self.flush(now);
    }

    fn handle_given(&mut self) {
        let Some(handover) = &self.handover else { return };
        handover.take(&mut self.given);
        let now = Time(sys::boottime());
        for Packet { handed, vnet, bytes } in &mut self.given {
            self.engine.receive_handed(*handed, *vnet, bytes, now, &mut self.output);
        }
        handover.recycle(&mut self.given);
        self.flush(now);
    }

    fn handle_timeout(&mut self) {
        let now = Time(sys::boottime());
        if self.engine.next_timeout().is_some_and(|due| due <= now) {
            self.engine.handle_timeout(now, &mut self.output);
            self.flush(now);
        }
    }

    fn drain_tun(&mut self) -> io::Result<()> {
        let Some(tun) = &self.tun else { return Ok(()) };
        let now = Time(sys::boottime());
        for _ in 0..TUN_READS {
            match self.reader.read(tun) {
                Ok(Some((vnet, packet))) => {
                    self.engine.receive_tun(vnet, packet, now, &mut self.output);
                }
                Ok(None) => break,
                Err(error) => {
                    return Err(io::Error::other(format!("reading from the TUN: {error}")));
                }
            }
        }
        self.flush(now);
        Ok(())
    }

    /// False: there may be more in them.
    fn drain_sockets(&mut self, ready: u64) -> bool {
        let (mut emptied, drains) = (true, if self.rest.is_on() { DRAINS_AT_REST } else { 1 });
        for ((socket, overflow), token) in self.inlets.iter_mut().zip(SOCKETS..) {
            if ready & (1 << token) != 0 {
                let now = Time(sys::boottime());
                let (engine, output) = (&mut self.engine, &mut self.output);
                emptied &= (0..drains).any(|_| self.receiver.drain(socket, overflow, now, engine, output));
                flush(engine, output, now);
            }
        }
        emptied
    }
}
