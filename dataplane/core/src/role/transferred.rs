//! Connections of proxied applications that the gateway's stack gives to another node, and has again: their flows.

use crate::role::ends::Ends;
use crate::role::gateway::Gateway;
use braid_packet::{TcpRecord, Time};
use std::net::SocketAddr;

impl Gateway {
    /// Another node has a connection that the stack had.
    pub(crate) fn part(&mut self, ends: &Ends, now: Time) {
        let client = SocketAddr::new(ends.client, ends.client_port);
        let Some(flow) = self.nat.find_normal(client, SocketAddr::new(ends.vip, ends.port), now) else { return };
        if self.fast.give_away(flow) {
            self.nat.set_open(flow, false, false);
        }
    }

    /// The stack has built a socket by this record, of a connection that another node had. Its number; None if the fast path does
    /// not accept connections of that VIP, or there is no room, or another one of the same ends.
    pub(crate) fn adopt(&mut self, record: &TcpRecord, guest: bool, now: Time) -> Option<u64> {
        let flow = self.nat.adopt(record.remote, record.local, now)?;
        self.fast.adopt(flow, record, guest);
        Some(self.number(flow))
    }
}
