//! Connections to servers: made, kept for others, found broken.

use super::{Event, Relay, Server, BOTH};
use crate::exchange::{Failure, Verdict};
use crate::socket::Socket;
use crate::RequestHead;
use mio::net::TcpStream;
use mio::Token;
use std::io;

/// For one request. An address that NAT has no connection from may be one that the kernel still ends one from.
const MOST_SOURCES: u32 = 4;

impl Relay {
    /// A connection to the chosen server: one that is kept, or a new one.
    pub(super) fn attach(&mut self, slot: usize, now: f64) {
        let client = &mut self.clients[slot];
        let key = (client.newcomer.application, client.chosen);
        if let Some(server) = client.server {
            if self.servers[server].key == key {
                client.asked_at = now;
                return;
            }
            self.forget_server(server);
        }
        let client = &mut self.clients[slot];
        let repeatable = client.exchange.request().is_some_and(RequestHead::is_idempotent);
        let shared = repeatable && client.newcomer.preface.is_empty() && client.own.is_none();
        let kept = if shared { self.pool.take(key) } else { None };
        if let Some(server) = kept {
            client.server = Some(server);
            client.asked_at = now;
            self.servers[server].client = Some(slot);
            return;
        }
        self.connect(slot, now);
    }

    pub(super) fn connect(&mut self, slot: usize, now: f64) {
        let client = &mut self.clients[slot];
        let entry = self.servers.vacant_entry();
        let token = Token(entry.key() * 2 + 1);
        let (own, address) = (client.own.take(), self.addresses[client.chosen as usize]);
        let is_own = own.is_some();
        client.sources += u32::from(is_own);
        let made = match own {
            Some(own) => braid_io::connect(&own, address).map(|()| TcpStream::from_std(own)),
            None => TcpStream::connect(address),
        };
        let made = made.and_then(|mut stream| {
            let _ = stream.set_nodelay(true);
            self.poll.registry().register(&mut stream, token, BOTH)?;
            Ok(stream)
        });
        match made {
            Ok(stream) => {
                client.server = Some(entry.key());
                client.asked_at = now;
                entry.insert(Server {
                    socket: Socket::new(stream),
                    key: (client.newcomer.application, client.chosen),
                    client: Some(slot),
                    connecting: true,
                    reused: false,
                    own: is_own,
                    shut: false,
                    since: now,
                    preface: client.newcomer.preface.clone(),
                    pool_timeout: client.settings.pool_timeout,
                });
            }
            Err(error)
                if is_own && error.kind() == io::ErrorKind::AddrNotAvailable && client.sources < MOST_SOURCES =>
            {
                self.events.push(Event::Again { client: client.id });
            }
            Err(error) => self.failed(slot, Failure::Connect, &connect_reason(&error), now),
        }
    }

    /// The server of a client's request failed, whether a connection is there or not.
    pub(super) fn failed(&mut self, slot: usize, failure: Failure, reason: &str, now: f64) {
        let client = &mut self.clients[slot];
        let reused = client.server.is_some_and(|server| self.servers[server].reused);
        let own = client.server.is_some_and(|server| self.servers[server].own);
        // What has answered and passes bytes as they are is not to blame for how they end.
        let asked = client.exchange.has_server() && !(client.exchange.is_plain() && client.exchange.is_answered());
        let verdict = client.exchange.server_failed(failure, reused);
        let id = client.id;
        if let Some(server) = client.server {
            self.forget_server(server);
        }
        match verdict {
            Verdict::Again if own => self.events.push(Event::Again { client: id }),
            Verdict::Again => self.connect(slot, now),
            Verdict::Another => {
                self.events.push(Event::Failed { client: id, reason: reason.to_owned(), another: true })
            }
            Verdict::Over if asked => {
                self.events.push(Event::Failed { client: id, reason: reason.to_owned(), another: false });
            }
            Verdict::Over => {}
        }
    }

    pub(super) fn forget_server(&mut self, server: usize) {
        let gone = self.servers.remove(server);
        match gone.client {
            Some(client) => self.clients[client].server = None,
            None => self.pool.remove(gone.key, server),
        }
    }

    pub(super) fn release(&mut self, slot: usize, now: f64) {
        let client = &mut self.clients[slot];
        let Some(index) = client.server else { return };
        let server = &mut self.servers[index];
        server.reused = true;
        if server.socket.readable || !server.socket.writable {
            self.forget_server(index);
        } else if client.newcomer.preface.is_empty() && !server.own {
            if self.pool.put(server.key, index, client.settings.pool) {
                client.server = None;
                server.client = None;
                server.since = now;
                self.earliest = self.earliest.min(now + server.pool_timeout);
            } else {
                self.forget_server(index);
            }
        }
    }
}

pub(super) fn connect_reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect_econnrefused".to_owned(),
        io::ErrorKind::TimedOut => "connect_etimedout".to_owned(),
        io::ErrorKind::ConnectionReset => "connect_econnreset".to_owned(),
        io::ErrorKind::HostUnreachable => "connect_ehostunreach".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect_enetunreach".to_owned(),
        _ => "connect_failed".to_owned(),
    }
}
