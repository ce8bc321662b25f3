//! Connections that go on elsewhere in the middle of an answer, and come back for the next request.

use super::{Event, Relay, Server, BOTH};
use crate::hand_back::{give_back, park, DataPlane, MOST_RESIDUE, TOO_MUCH};
use crate::socket::Socket;
use braid_io::repair::unread;
use mio::net::TcpStream;
use mio::Token;
use std::borrow::Cow;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// How often one answer is offered.
const OFFERS: u32 = 16;
/// And while it has at most so many to come: half of TCP's numbers lie ahead, half behind.
const MOST: u64 = 1 << 30;

/// What became of a connection that was to go on elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub enum Departure {
    /// It is not here any more. Of an answer under way: its status (0: none is), the bytes of its whole body, seconds to the
    /// first of them.
    /// Where bytes pass as they are the seconds are zero if they were told before, or are not known.
    Went { status: u16, bytes: u64, latency: f64 },
    /// The reason is a word. `read_on`: what is too much becomes less by being read, and the rest is offered again.
    Stays { reason: Cow<'static, str>, read_on: bool },
}

impl Relay {
    pub(super) fn offer(&mut self, slot: usize, index: usize) {
        let client = &mut self.clients[slot];
        if !self.servers[index].own || client.offers >= OFFERS || client.offered {
            return;
        }
        let long = |above| client.exchange.opaque().is_some_and(|left| left > above && left <= MOST);
        if client.exchange.is_free() || client.settings.splice_above.is_some_and(long) {
            client.offers += 1;
            // At the head of an answer little is under way. Once it was too much, it becomes less by being read.
            client.offered = client.offers == 1;
            self.events.push(Event::Opaque { client: client.id });
        }
    }

    /// Where bytes pass as they are: what a server sends first goes along unread, if its connection goes now. False: it is to
    /// be read.
    pub(super) fn offer_unread(&mut self, slot: usize, index: usize, now: f64) -> bool {
        let server = &self.servers[index];
        if !server.own || !unread(server.socket.stream.as_fd()).is_ok_and(|count| count > 0) {
            return false;
        }
        self.note_answer(slot, now);
        self.clients[slot].exchange.answer_begins();
        let offers = self.clients[slot].offers;
        self.offer(slot, index);
        offers != self.clients[slot].offers
    }

    /// A server's first byte is here.
    pub(super) fn note_answer(&mut self, slot: usize, now: f64) {
        let client = &mut self.clients[slot];
        let latency = now - client.asked_at;
        if client.exchange.is_plain() && !client.exchange.is_answered() && client.asked {
            self.events.push(Event::Answered { client: client.id, latency });
        }
    }

    /// What was offered stays for now: go on with what waits.
    pub fn go_on(&mut self, client: u64) {
        if let Some(slot) = self.slot(client) {
            self.clients[slot].offered = false;
            self.enqueue(slot);
        }
    }

    /// The sockets of a client and its server that may go on elsewhere, and how many bytes the server's has yet to give of an
    /// answer (None: whatever comes). None when they are not as they were when they were offered. `held`: the data plane has
    /// the server's first bytes.
    pub fn departing(&self, client: u64, held: bool) -> Option<(BorrowedFd<'_>, BorrowedFd<'_>, Option<u64>)> {
        let client = self.clients.get(self.slot(client)?)?;
        let may = |server: &&Server| server.own && server.preface.is_empty() && !server.connecting;
        let server = self.servers.get(client.server?).filter(may)?;
        let free = if held { client.exchange.is_free_when_answered() } else { client.exchange.is_free() };
        let to_come = || match client.exchange.is_resting() {
            true => Some(0),
            false => client.exchange.opaque().filter(|&left| left <= MOST),
        };
        let left = if free { None } else { Some(to_come()?) };
        Some((client.socket.stream.as_fd(), server.socket.stream.as_fd(), left))
    }

    /// Give what was offered to the data plane, which knows the connection by a number of its own; see `give_back`. None when
    /// it is not as it was. No event follows. `held`: the data plane holds it since then, as the server has begun to send.
    pub fn depart<P: DataPlane>(
        &mut self,
        client: u64,
        plane: &P,
        connection: u64,
        held: Option<f64>,
    ) -> Result<Option<Departure>, P::Error> {
        let (Some(slot), Some((near, far, left))) = (self.slot(client), self.departing(client, held.is_some())) else {
            return Ok(None);
        };
        let client = &self.clients[slot];
        let waiting = (&client.exchange.outbox[..], client.exchange.transmit.waiting());
        if let Some(reason) = give_back(plane, connection, (near, far), waiting, left, held.is_some())? {
            let read_on =
                reason == TOO_MUCH && left.is_some() && unread(far).is_ok_and(|count| count > MOST_RESIDUE / 2);
            return Ok(Some(Departure::Stays { reason, read_on }));
        }
        let (status, came) = if client.exchange.has_server() { client.exchange.answered() } else { (0, 0) };
        let latency = match held {
            Some(at) => Some(at - client.asked_at).filter(|_| client.asked),
            None => client.latency.filter(|_| !client.exchange.is_plain()),
        };
        let latency = latency.unwrap_or(0.0);
        if let Some(server) = client.server {
            self.forget_server(server);
        }
        self.clients.remove(slot);
        Ok(Some(Departure::Went { status, bytes: came + left.unwrap_or(0), latency }))
    }

    /// Give a client that is between two requests to the data plane, without a server: one that it has still ends. None while
    /// something is under way.
    pub fn park<P: DataPlane>(
        &mut self,
        client: u64,
        plane: &P,
        connection: u64,
    ) -> Result<Option<Departure>, P::Error> {
        let Some(slot) = self.slot(client) else { return Ok(None) };
        let client = &self.clients[slot];
        let rests = client.exchange.is_resting() && client.closing.is_none() && !(client.ended || client.gone);
        if !rests || client.exchange.is_plain() || !client.newcomer.promoted {
            return Ok(None);
        }
        if let Some(server) = client.server {
            // Its end has to pass before the connection goes.
            self.forget_server(server);
            return Ok(None);
        }
        let near = client.socket.stream.as_fd();
        if let Some(reason) = park(plane, connection, near, &client.exchange.outbox)? {
            return Ok(Some(Departure::Stays { reason, read_on: false }));
        }
        self.clients.remove(slot);
        Ok(Some(Departure::Went { status: 0, bytes: 0, latency: 0.0 }))
    }

    /// A client's connections are not offered any more, and may have large windows from here on.
    pub fn stay(&mut self, client: u64) {
        let Some(slot) = self.slot(client) else { return };
        let client = &mut self.clients[slot];
        client.offers = OFFERS;
        let server = client.server.map(|index| &self.servers[index]).filter(|server| server.own);
        let ends = [Some(&client.socket), server.map(|server| &server.socket)];
        for socket in ends.into_iter().flatten() {
            // Without it a window stays small, and that is all.
            let _ = braid_io::repair::keep_short(socket.stream.as_fd(), false);
        }
    }

    /// Read nothing more from a client and its server, or go on.
    pub fn rest(&mut self, client: u64, resting: bool) {
        let Some(slot) = self.slot(client) else { return };
        self.clients[slot].resting = resting;
        if !resting {
            self.clients[slot].offered = false;
            self.enqueue(slot);
        }
    }

    /// Give a client that was just adopted the connection to a server that it had.
    pub fn adopt_server(&mut self, client: u64, opened: std::net::TcpStream, server: u32, now: f64) -> io::Result<()> {
        let Some(slot) = self.slot(client) else { return Ok(()) };
        let mut stream = TcpStream::from_std(opened);
        let entry = self.servers.vacant_entry();
        let token = Token(entry.key() * 2 + 1);
        self.poll.registry().register(&mut stream, token, BOTH)?;
        let client = &mut self.clients[slot];
        client.server = Some(entry.key());
        entry.insert(Server {
            socket: Socket::new(stream),
            key: (client.newcomer.application, server),
            client: Some(slot),
            connecting: false,
            reused: true,
            own: true,
            shut: false,
            since: now,
            preface: Vec::new(),
            pool_timeout: client.settings.pool_timeout,
        });
        Ok(())
    }

    /// The server that a client has a connection of its own to, and the socket of that.
    pub fn own_server(&self, client: u64) -> Option<(u32, RawFd)> {
        let server = self.servers.get(self.clients.get(self.slot(client)?)?.server?)?;
        server.own.then(|| (server.key.1, server.socket.stream.as_raw_fd()))
    }

    /// Reset a client's connection to a server, if it has one.
    pub fn drop_server(&mut self, client: u64) {
        let server = self.slot(client).and_then(|slot| self.clients[slot].server);
        if let Some(server) = server {
            let _ = braid_io::reset_on_close(&self.servers[server].socket.stream);
            self.forget_server(server);
        }
    }

    /// Another connection to the server that was chosen, after `Event::Again`.
    pub fn reconnect(&mut self, client: u64, own: Option<std::net::TcpStream>, now: f64) {
        let Some(slot) = self.slot(client) else { return };
        self.clients[slot].own = own;
        self.connect(slot, now);
        self.work(slot, now);
    }
}
