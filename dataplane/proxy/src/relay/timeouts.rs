//! What is due when.

use super::{Client, Closing, Relay, Server, LINGER};
use crate::exchange::Failure;
use slab::Slab;

impl Relay {
    pub(super) fn touch(&mut self, slot: usize, now: f64) {
        let client = &mut self.clients[slot];
        client.pending_since = client.exchange.is_pending().then(|| client.pending_since.unwrap_or(now));
        let due = client.due(&self.servers);
        self.earliest = self.earliest.min(due);
    }

    pub(super) fn handle_timeouts(&mut self, now: f64) {
        let late: Vec<usize> =
            self.clients.iter().filter(|(_, client)| client.due(&self.servers) <= now).map(|(slot, _)| slot).collect();
        for slot in late {
            self.handle_timeout(slot, now);
        }
        let idle = |server: &Server| server.client.is_none() && server.since + server.pool_timeout <= now;
        let stale: Vec<usize> = self.servers.iter().filter(|(_, each)| idle(each)).map(|(index, _)| index).collect();
        stale.into_iter().for_each(|server| self.forget_server(server));
        let clients = self.clients.iter().map(|(_, client)| client.due(&self.servers));
        let servers = self.servers.iter().filter(|(_, each)| each.client.is_none());
        self.earliest =
            clients.chain(servers.map(|(_, each)| each.since + each.pool_timeout)).fold(f64::INFINITY, f64::min);
    }

    pub(super) fn handle_timeout(&mut self, slot: usize, now: f64) {
        let client = &mut self.clients[slot];
        if let Some(closing) = &mut client.closing {
            let unacknowledged = braid_io::unacknowledged(&client.socket.stream).unwrap_or(0);
            let left = (client.exchange.outbox.len(), unacknowledged);
            client.gone = left == closing.left || left == (0, 0);
            *closing = Closing { left, due: now + LINGER };
        } else if client.pending_since.is_some_and(|since| since + client.settings.select_timeout <= now) {
            client.exchange.refuse("select_timeout", 408);
        } else if client.server.is_some_and(|server| self.servers[server].connecting) {
            self.failed(slot, Failure::Connect, "connect_etimedout", now);
        } else if client.awaits_answer() && client.asked_at + client.settings.answer_timeout <= now {
            self.failed(slot, Failure::Silent, "answer_timeout", now);
        } else {
            client.exchange.idle();
        }
        self.work(slot, now);
    }
}

impl Client {
    /// Changes when bytes were moved.
    pub(super) fn moved(&self) -> (u64, u64, u64, usize, bool) {
        let waiting = self.exchange.transmit.waiting().len();
        (self.bytes_in, self.bytes_out, self.from_server, waiting, self.gone)
    }

    pub(super) fn drained(&self) -> bool {
        self.exchange.outbox.is_empty() && self.exchange.transmit.waiting().is_empty()
    }

    pub(super) fn awaits_answer(&self) -> bool {
        self.server.is_some() && self.exchange.expects_answer() && self.exchange.transmit.waiting().is_empty()
    }

    pub(super) fn due(&self, servers: &Slab<Server>) -> f64 {
        if let Some(closing) = &self.closing {
            return closing.due;
        }
        let settings = &self.settings;
        let mut due = self.active + settings.idle_timeout;
        if let Some(since) = self.pending_since {
            due = due.min(since + settings.select_timeout);
        }
        if let Some(server) = self.server.and_then(|server| servers.get(server)).filter(|server| server.connecting) {
            due = due.min(server.since + settings.connect_timeout);
        }
        if self.awaits_answer() {
            due = due.min(self.asked_at + settings.answer_timeout);
        }
        due
    }
}
