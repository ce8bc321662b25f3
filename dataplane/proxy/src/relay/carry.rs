//! Bytes of one client connection on their way, and what its exchange wants done.

use super::servers::connect_reason;
use super::{Closing, Event, Relay, BOTH, CHUNK, LINGER, QUEUE, ROUNDS};
use crate::exchange::{Failure, Step};
use crate::socket::Got;
use mio::Token;
use std::net::Shutdown;
use std::os::fd::AsFd;

/// Bytes that are read first of an answer which may go on elsewhere: more than most heads.
const HEAD: usize = 4096;

impl Relay {
    /// Move one connection's bytes.
    pub(super) fn work(&mut self, slot: usize, now: f64) {
        if !self.clients[slot].server.is_some_and(|server| self.servers[server].connecting) {
            self.watch(slot);
        }
        for _ in 0..ROUNDS {
            let before = self.clients[slot].moved();
            self.read_client(slot, now);
            self.carry_out(slot, now);
            self.exchange_with_server(slot, now);
            self.carry_out(slot, now);
            self.write_client(slot);
            if self.clients[slot].gone {
                return self.remove(slot);
            }
            if self.clients[slot].moved() == before {
                return self.touch(slot, now);
            }
            self.clients[slot].active = now;
        }
        self.enqueue(slot);
        self.touch(slot, now);
    }

    /// Have the kernel tell what happens at a client's socket.
    fn watch(&mut self, slot: usize) {
        let client = &mut self.clients[slot];
        if !client.watched {
            client.watched = true;
            client.gone |= self.poll.registry().register(&mut client.socket.stream, Token(slot * 2), BOTH).is_err();
            (client.socket.readable, client.socket.writable) = (true, true);
            self.watches = true;
        }
    }

    pub(super) fn read_client(&mut self, slot: usize, now: f64) {
        let client = &mut self.clients[slot];
        if client.gone || client.resting || !client.socket.readable || !client.exchange.wants_client() {
            return;
        }
        match client.socket.read(&mut self.scratch) {
            Got::Data(count) => {
                client.bytes_in += count as u64;
                client.exchange.client_data(&self.scratch[..count]);
            }
            Got::End => {
                client.ended = true;
                client.exchange.client_end();
            }
            Got::Nothing => {}
            Got::Broken => client.gone = true,
        }
        client.active = now;
    }

    pub(super) fn exchange_with_server(&mut self, slot: usize, now: f64) {
        let Some(index) = self.clients[slot].server else { return };
        let server = &mut self.servers[index];
        if server.connecting {
            if !server.socket.writable {
                return;
            }
            match server.socket.stream.take_error() {
                Ok(None) => {}
                Ok(Some(error)) | Err(error) => {
                    return self.failed(slot, Failure::Connect, &connect_reason(&error), now);
                }
            }
            server.connecting = false;
            let client = &self.clients[slot];
            let may_depart = server.own && (client.exchange.is_plain() || client.settings.splice_above.is_some());
            if may_depart && braid_io::repair::keep_short(server.socket.stream.as_fd(), true).is_err() {
                return self.failed(slot, Failure::Connect, "connect_failed", now);
            }
            let (client, seconds) = (self.clients[slot].id, now - server.since);
            self.events.push(Event::Connected { client, seconds });
            self.watch(slot);
            self.read_client(slot, now);
        }
        self.write_server(slot, index, now);
        self.read_server(slot, index, now);
        if self.clients[slot].exchange.is_free() && !self.clients[slot].exchange.is_answered() {
            self.offer(slot, index);
        }
    }

    pub(super) fn write_server(&mut self, slot: usize, index: usize, now: f64) {
        let (client, server) = (&mut self.clients[slot], &mut self.servers[index]);
        if !server.preface.is_empty() && server.socket.writable {
            let sent = server.socket.write(&server.preface).unwrap_or(0);
            server.preface.drain(..sent);
        }
        let waiting = client.exchange.transmit.waiting();
        if !waiting.is_empty() && server.socket.writable && server.preface.is_empty() {
            match server.socket.write(waiting) {
                Ok(count) => {
                    client.exchange.transmit.advance(count);
                    client.asked_at = now;
                    client.asked = true;
                }
                Err(_) => {
                    // Why it takes no more, and what it sent before, the reading side finds.
                    server.socket.writable = false;
                    server.socket.readable = true;
                }
            }
        }
        if client.end_server && !server.shut && client.exchange.transmit.waiting().is_empty() {
            server.shut = true;
            let _ = server.socket.stream.shutdown(Shutdown::Write);
        }
    }

    pub(super) fn read_server(&mut self, slot: usize, index: usize, now: f64) {
        let (client, server) = (&mut self.clients[slot], &mut self.servers[index]);
        if client.resting || client.offered || !server.socket.readable || client.exchange.outbox.len() >= QUEUE {
            return;
        }
        if client.exchange.is_plain() && !client.exchange.is_answered() && self.offer_unread(slot, index, now) {
            return;
        }
        let (client, server) = (&mut self.clients[slot], &mut self.servers[index]);
        // The rest of what may be offered is better left where it is: what was read goes along as a copy.
        let room = if server.own && client.latency.is_none() { HEAD } else { CHUNK };
        match server.socket.read(&mut self.scratch[..room]) {
            Got::Data(count) => {
                client.latency.get_or_insert(now - client.asked_at);
                client.from_server += count as u64;
                self.note_answer(slot, now);
                self.clients[slot].exchange.server_data(&self.scratch[..count]);
                self.offer(slot, index);
            }
            Got::End => {
                if let Some(failure) = client.exchange.server_end() {
                    self.failed(slot, failure, "closed", now);
                }
            }
            Got::Nothing => {}
            Got::Broken => self.failed(slot, Failure::Reset, "reset", now),
        }
    }

    pub(super) fn write_client(&mut self, slot: usize) {
        let client = &mut self.clients[slot];
        let outbox = &mut client.exchange.outbox;
        if !outbox.is_empty() && client.socket.writable {
            match client.socket.write(outbox) {
                Ok(count) => {
                    client.bytes_out += count as u64;
                    outbox.drain(..count);
                }
                Err(_) => client.gone = true,
            }
        }
        if client.exchange.outbox.is_empty() && !client.shut && (client.end_client || client.closing.is_some()) {
            client.shut = true;
            let _ = client.socket.stream.shutdown(Shutdown::Write);
        }
        client.gone |= client.closing.is_some() && client.shut && client.ended;
    }

    pub(super) fn carry_out(&mut self, slot: usize, now: f64) {
        while let Some(step) = self.clients[slot].exchange.steps.pop_front() {
            let client = &mut self.clients[slot];
            let id = client.id;
            match step {
                Step::Select => self.events.push(Event::Request { client: id }),
                Step::Changed(elsewhere) => self.events.push(Event::Changed { client: id, elsewhere }),
                Step::Served(status, bytes) => {
                    let latency = client.latency.take().unwrap_or(0.0);
                    self.events.push(Event::Served { client: id, status, bytes, latency });
                }
                Step::Release => self.release(slot, now),
                Step::Drop => {
                    if let Some(server) = client.server {
                        self.forget_server(server);
                    }
                }
                Step::Tunnel => {}
                Step::EndServer => client.end_server = true,
                Step::EndClient => client.end_client = true,
                Step::Refused(reason, answered) => {
                    self.events.push(Event::Refused { client: id, reason, answered });
                }
                Step::Close => self.close(slot, now),
                Step::Reset => {
                    let _ = braid_io::reset_on_close(&client.socket.stream);
                    client.gone = true;
                }
            }
        }
        let client = &mut self.clients[slot];
        if client.end_client && client.end_server && client.closing.is_none() && client.drained() {
            self.close(slot, now);
        }
    }

    /// Until the client has read all and closed: closing on bytes that nobody read would reset.
    pub(super) fn close(&mut self, slot: usize, now: f64) {
        let client = &mut self.clients[slot];
        client.closing = Some(Closing { left: (usize::MAX, 0), due: now + LINGER });
        if let Some(server) = client.server {
            self.forget_server(server);
        }
    }
}
