//! Sockets, time and the pool of server connections around `Exchange`. One thread, no waiting: whoever owns the relay
//! waits for its descriptor and its timeout, and calls `turn`.

mod carry;
mod depart;
mod servers;
mod timeouts;
mod words;

use crate::exchange::Exchange;
use crate::pool::Pool;
use crate::socket::Socket;
use crate::RequestHead;
pub use depart::Departure;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::rc::Rc;
use std::time::Duration;
pub use words::{Event, Flow, Newcomer, Settings, Speech};

/// Bytes that wait for a slow client; the server is not read while there are as many.
const QUEUE: usize = 262_144;
const CHUNK: usize = 65_536;
/// Events taken, and connections served, in one turn: others of the thread wait for its end.
const TURN: usize = 256;
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);
/// Of no client and no server: there are never so many.
const WAKER: Token = Token(usize::MAX);
/// How often one connection's bytes are moved before others have their turn.
const ROUNDS: usize = 8;
/// Seconds that a client may go without taking any of the last bytes before its connection is dropped.
const LINGER: f64 = 2.0;

#[derive(Debug)]
struct Closing {
    /// Unsent and unacknowledged bytes when it was last looked at.
    left: (usize, usize),
    due: f64,
}

#[derive(Debug)]
struct Client {
    id: u64,
    socket: Socket,
    /// The kernel tells what happens at the socket.
    watched: bool,
    exchange: Exchange,
    settings: Rc<Settings>,
    newcomer: Newcomer,
    server: Option<usize>,
    chosen: u32,
    active: f64,
    pending_since: Option<f64>,
    asked_at: f64,
    latency: Option<f64>,
    /// Whether the server was sent something.
    asked: bool,
    end_server: bool,
    end_client: bool,
    /// To connect to the chosen server, made by the owner.
    own: Option<std::net::TcpStream>,
    /// How many of these the request under way has had.
    sources: u32,
    /// How often the answer under way was offered to be carried on elsewhere.
    offers: u32,
    /// The owner has not said yet what becomes of it: until then nothing more is read from the server.
    offered: bool,
    /// Nothing is read from the server, so that less waits for the client.
    resting: bool,
    /// FIN was sent.
    shut: bool,
    /// The client sends nothing more.
    ended: bool,
    gone: bool,
    closing: Option<Closing>,
    queued: bool,
    bytes_in: u64,
    bytes_out: u64,
    from_server: u64,
}

#[derive(Debug)]
struct Server {
    socket: Socket,
    key: (u32, u32),
    client: Option<usize>,
    connecting: bool,
    /// It has served a request before this one.
    reused: bool,
    /// Made by the owner, for this client alone.
    own: bool,
    shut: bool,
    /// When connecting began, or it became idle.
    since: f64,
    preface: Vec<u8>,
    pool_timeout: f64,
}

#[derive(Debug)]
pub struct Relay {
    poll: Poll,
    ready: Events,
    clients: Slab<Client>,
    servers: Slab<Server>,
    addresses: Vec<SocketAddr>,
    pool: Pool,
    queue: VecDeque<usize>,
    events: Vec<Event>,
    scratch: Vec<u8>,
    /// A socket is new to the kernel.
    watches: bool,
    serial: u64,
    /// No timeout is due before.
    earliest: f64,
}

impl Relay {
    pub fn new() -> io::Result<Relay> {
        Ok(Relay {
            poll: Poll::new()?,
            ready: Events::with_capacity(TURN),
            clients: Slab::new(),
            servers: Slab::new(),
            addresses: Vec::new(),
            pool: Pool::default(),
            queue: VecDeque::new(),
            events: Vec::new(),
            scratch: vec![0; CHUNK],
            watches: false,
            serial: 0,
            earliest: f64::INFINITY,
        })
    }

    /// Readable while there is something for `turn`.
    pub fn fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    /// Makes `fd` readable, from any thread.
    pub fn waker(&self) -> io::Result<Waker> {
        Waker::new(self.poll.registry(), WAKER)
    }

    /// When `turn` is due though the descriptor is not readable; at once if something waits for it.
    pub fn next_timeout(&self) -> f64 {
        if self.queue.is_empty() {
            self.earliest
        } else {
            f64::NEG_INFINITY
        }
    }

    /// The number of a server's address, for `serve`.
    pub fn server(&mut self, address: SocketAddr) -> u32 {
        let known = self.addresses.iter().position(|each| *each == address);
        known.unwrap_or_else(|| {
            self.addresses.push(address);
            self.addresses.len() - 1
        }) as u32
    }

    /// Take over a client's connection, which does not block; its number in events.
    pub fn adopt(
        &mut self,
        stream: std::net::TcpStream,
        newcomer: Newcomer,
        settings: Rc<Settings>,
        now: f64,
    ) -> io::Result<u64> {
        // Not of a TCP connection: there is none of it to set.
        let _ = stream.set_nodelay(true);
        let exchange = match newcomer.speech {
            Speech::Http => Exchange::new(settings.buffer, newcomer.forwarded.clone()),
            Speech::Plain => Exchange::plain(settings.buffer, false),
            Speech::PlainByBytes => Exchange::plain(settings.buffer, true),
        };
        if newcomer.promoted && exchange.is_plain() {
            braid_io::repair::keep_short(stream.as_fd(), true)?;
        }
        let entry = self.clients.vacant_entry();
        let slot = entry.key();
        let mut stream = TcpStream::from_std(stream);
        // One whose server is chosen at once is not read until it is there: its bytes need not wake anybody before.
        let watched = newcomer.speech != Speech::Plain;
        if watched {
            self.poll.registry().register(&mut stream, Token(slot * 2), BOTH)?;
        }
        self.serial += 1;
        let id = self.serial << 32 | slot as u64;
        entry.insert(Client {
            id,
            socket: Socket::new(stream),
            watched,
            exchange,
            settings,
            newcomer,
            server: None,
            chosen: 0,
            active: now,
            pending_since: None,
            asked_at: now,
            latency: None,
            asked: false,
            end_server: false,
            end_client: false,
            own: None,
            sources: 0,
            offers: 0,
            offered: false,
            resting: false,
            shut: false,
            ended: false,
            gone: false,
            closing: None,
            queued: false,
            bytes_in: 0,
            bytes_out: 0,
            from_server: 0,
        });
        self.touch(slot, now);
        Ok(id)
    }

    pub fn request(&self, client: u64) -> Option<&RequestHead> {
        self.clients.get(self.slot(client)?)?.exchange.request()
    }

    /// The verdict on a request. Both are ignored when its client has gone. `own`: a socket that connects to the server, for
    /// this client alone.
    pub fn serve(&mut self, client: u64, server: u32, cookie: &str, own: Option<std::net::TcpStream>, now: f64) {
        let Some(slot) = self.slot(client) else { return };
        let client = &mut self.clients[slot];
        client.chosen = server;
        client.own = own;
        client.sources = 0;
        client.offers = 0;
        client.latency = None;
        client.asked = false;
        client.exchange.select(cookie);
        // The client transmit buffer holds packets and server: a connection may be initiated.
        if client.exchange.is_present() {
            self.attach(slot, now);
        }
        self.work(slot, now);
    }

    pub fn refuse(&mut self, client: u64, reason: String, status: u16, now: f64) {
        let Some(slot) = self.slot(client) else { return };
        self.clients[slot].exchange.refuse(reason, status);
        self.work(slot, now);
    }

    /// What a client has sent of which no server has had anything, where a server is to be chosen by it.
    pub fn first_bytes(&self, client: u64) -> Option<&[u8]> {
        self.clients.get(self.slot(client)?)?.exchange.first_bytes()
    }

    /// End a client's connection where bytes pass as they are: with an answer, or with a reset where there is none.
    pub fn refuse_with(&mut self, client: u64, reason: String, answer: &[u8], now: f64) {
        let Some(slot) = self.slot(client) else { return };
        self.clients[slot].exchange.refuse_with(reason, answer);
        self.work(slot, now);
    }

    /// The socket of a connection whose request waits for its server, and the request, where another node could go on with
    /// it; see `Exchange::movable`. The socket stays the relay's.
    pub fn movable(&self, client: u64) -> Option<(RawFd, &[u8])> {
        let client = self.clients.get(self.slot(client)?)?;
        let still = client.closing.is_none() && !client.ended && !client.gone;
        let head = client.exchange.movable().filter(|_| still)?;
        Some((client.socket.stream.as_raw_fd(), head))
    }

    /// Go on with a connection of `movable` whose socket was frozen since, and serve its request as `serve` does. The client's
    /// address and ours. None: it is not as it was, or the kernel does not let it go on; nothing was asked then.
    pub fn take_up(&mut self, client: u64, server: u32, cookie: &str, now: f64) -> Option<(SocketAddr, SocketAddr)> {
        let slot = self.slot(client).filter(|_| self.movable(client).is_some())?;
        let stream = &self.clients[slot].socket.stream;
        let ends = (stream.peer_addr().ok()?, stream.local_addr().ok()?);
        braid_io::repair::start(stream.as_fd(), &[]).ok()?;
        self.serve(client, server, cookie, None, now);
        Some(ends)
    }

    /// Have a client's socket, which is frozen, without a connection: nobody hears of it. Counts as ended in order.
    pub fn give_up(&mut self, client: u64, now: f64) {
        let Some(slot) = self.slot(client) else { return };
        // As in `hand_back::leave`.
        let _ = braid_io::repair::dissolve(self.clients[slot].socket.stream.as_fd());
        self.clients[slot].closing = Some(Closing { left: (0, 0), due: now });
        self.remove(slot);
    }

    /// End between two requests: now, or after the one that is under way.
    pub fn finish(&mut self, client: u64, now: f64) {
        let Some(slot) = self.slot(client) else { return };
        self.clients[slot].exchange.drain();
        self.work(slot, now);
    }

    pub fn reset(&mut self, client: u64) {
        let Some(slot) = self.slot(client) else { return };
        let _ = braid_io::reset_on_close(&self.clients[slot].socket.stream);
        self.remove(slot);
    }

    pub fn flow(&self, client: u64, now: f64) -> Option<Flow> {
        let client = self.clients.get(self.slot(client)?)?;
        let server = client.server.and_then(|server| self.servers.get(server));
        let state = match server {
            _ if client.closing.is_some() => "ended",
            None => "waiting",
            Some(server) if server.connecting => "connecting",
            Some(_) => "established",
        };
        let local = server.and_then(|server| server.socket.stream.local_addr().ok());
        let (bytes_in, bytes_out) = (client.bytes_in, client.bytes_out);
        Some(Flow { state, idle: now - client.active, bytes_in, bytes_out, local })
    }

    /// Move what can be moved; what the owner has to know since the last time. `more`: call again without waiting.
    pub fn turn(&mut self, now: f64) -> io::Result<(Vec<Event>, bool)> {
        self.poll(now)?;
        if std::mem::take(&mut self.watches) {
            // What the kernel says at once of a socket that is new to it would wake the owner for nothing.
            self.poll(now)?;
        }
        if now >= self.earliest {
            self.handle_timeouts(now);
        }
        Ok((self.said(), !self.queue.is_empty()))
    }

    fn poll(&mut self, now: f64) -> io::Result<()> {
        match self.poll.poll(&mut self.ready, Some(Duration::ZERO)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let ready = std::mem::replace(&mut self.ready, Events::with_capacity(0));
        for event in &ready {
            let slot = event.token().0 / 2;
            if event.token().0 % 2 == 0 {
                if let Some(client) = self.clients.get_mut(slot) {
                    client.socket.note(event);
                    self.enqueue(slot);
                }
            } else if let Some(server) = self.servers.get_mut(slot) {
                server.socket.note(event);
                match server.client {
                    Some(client) => self.enqueue(client),
                    None if server.socket.readable => self.forget_server(slot),
                    None => {}
                }
            }
        }
        self.ready = ready;
        for _ in 0..self.queue.len().min(TURN) {
            let Some(slot) = self.queue.pop_front() else { break };
            if let Some(client) = self.clients.get_mut(slot) {
                client.queued = false;
                self.work(slot, now);
            }
        }
        Ok(())
    }

    /// What the owner has to know since the last time.
    pub fn said(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    fn slot(&self, client: u64) -> Option<usize> {
        let slot = (client & 0xffff_ffff) as usize;
        self.clients.get(slot).filter(|there| there.id == client).map(|_| slot)
    }

    fn enqueue(&mut self, slot: usize) {
        let client = &mut self.clients[slot];
        if !client.queued {
            client.queued = true;
            self.queue.push_back(slot);
        }
    }

    fn remove(&mut self, slot: usize) {
        if let Some(server) = self.clients[slot].server {
            self.forget_server(server);
        }
        let client = self.clients.remove(slot);
        self.events.push(Event::Ended { client: client.id, whole: client.closing.is_some() });
    }
}
