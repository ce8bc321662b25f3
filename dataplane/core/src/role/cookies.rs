//! SYNs that an edge answers in the name of a gateway, with the keys of its region. Nothing is remembered of them: the gateway
//! believes the cookie that comes back, as if it were its own.
//!
//! The gateway tells the edge of each connection that it opens so, by a SYN-ACK with a closed window. That is for the edge
//! alone: by it the edge knows the connection (`connections`), as it does by the SYN-ACKs of others.

use braid_fastpath::{FastPath, PeriodKey, Stranger};
use braid_packet::{Ip, Tcp, Time, Transport};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Cookies {
    by_gateway: BTreeMap<u16, FastPath>,
}

impl Cookies {
    /// Of these gateways. `mtu`: of inner packets.
    pub fn set_keys(&mut self, gateways: &[u16], current: u64, keys: &[PeriodKey], mtu: u16) {
        for &gateway in gateways {
            self.by_gateway.entry(gateway).or_insert_with(|| FastPath::new(mtu)).set_keys(current, keys);
        }
    }

    /// Forgets the keys of gateways that do not matter any more.
    pub fn retain(&mut self, mut matters: impl FnMut(u16) -> bool) {
        self.by_gateway.retain(|&gateway, _| matters(gateway));
    }

    pub fn has(&self, gateway: u16) -> bool {
        self.by_gateway.contains_key(&gateway)
    }

    /// The packet that answers a SYN, for the client; or why there is none.
    pub fn answer(
        &mut self,
        gateway: u16,
        packet: &[u8],
        partial: bool,
        app: u16,
        now: Time,
    ) -> Result<&mut [u8], &'static str> {
        let fast = self.by_gateway.get_mut(&gateway).ok_or("fast_no_key")?;
        match fast.receive_stranger(packet, partial, app, now) {
            Stranger::Reply => Ok(fast.answer_mut()),
            Stranger::Drop(reason) => Err(reason.as_str()),
            Stranger::Open(_) => Err("malformed"),
        }
    }

    /// SYNs answered.
    pub fn sent(&self) -> u64 {
        self.by_gateway.values().map(|fast| fast.counters().cookies).sum()
    }
}

/// A packet that asks for a connection.
pub fn asks(ip: &Ip) -> bool {
    matches!(ip.transport, Transport::Tcp(tcp) if tcp.flags & (Tcp::SYN | Tcp::ACK | Tcp::RST | Tcp::FIN) == Tcp::SYN)
        && !ip.is_fragment()
}

/// What a gateway says of a connection that it opened.
pub fn is_notice(ip: &Ip) -> bool {
    matches!(ip.transport, Transport::Tcp(tcp) if tcp.has(Tcp::SYN) && tcp.has(Tcp::ACK) && tcp.window == 0)
}
