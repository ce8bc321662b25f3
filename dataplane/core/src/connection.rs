//! What the control side says about connections of proxied applications.

use crate::event::{Order, Outbox};
use crate::node::Node;
use braid_packet::{Sink, TcpRecord, Time};

impl<O: Outbox> Node<O> {
    pub(crate) fn handle_order(&mut self, connection: u64, order: Order, now: Time, sink: &mut impl Sink) {
        let Some(gateway) = &mut self.gateway else { return };
        match order {
            Order::Take => gateway.take(connection, now),
            Order::Reset => gateway.reset(connection, now),
            Order::Hold(held) => held.reply(gateway.hold(connection, now)),
            Order::HoldAlone(held) => held.reply(gateway.hold_alone(connection, now)),
            Order::OpenServer { server, hold, leased } => {
                leased.reply(gateway.open_server(connection, server, hold, now));
            }
            Order::Splice(splice) => gateway.splice(connection, &splice, now),
            Order::Park(park) => gateway.park(connection, &park, now),
            Order::Tell(pools, which, told) => told.reply(gateway.write_asked(connection, &pools, which, now)),
            Order::Leave => self.leave(connection, now, sink),
        }
        self.receive_again(now, sink);
    }

    pub(crate) fn adopt(&mut self, record: &TcpRecord, guest: bool, now: Time) -> Option<u64> {
        self.gateway.as_mut()?.adopt(record, guest, now)
    }

    /// Packets of servers that were held; and what the fast path made, and has to tell.
    pub(crate) fn receive_again(&mut self, now: Time, sink: &mut impl Sink) {
        self.send_made(now, sink);
        let again = self.gateway.as_mut().map(|gateway| std::mem::take(&mut gateway.again)).unwrap_or_default();
        for (vnet, mut packet) in again {
            self.receive_from_server(vnet, &mut packet, now, sink);
        }
    }
}
