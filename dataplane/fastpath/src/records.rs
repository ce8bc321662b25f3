//! What is known of a connection: client session record #1 and proxy session record #1. Addresses, ports and traffic are in
//! the NAT's flow of the same number.
//!
//! The client's sequence numbers go to the server as they are: our SYN to the server has the client's. The server's are
//! shifted, as the client got a cookie for them. Timestamps likewise.

use crate::cookie::MSS;
use crate::window::Sender;
use braid_packet::{FlowId, Time};

/// Window scale that clients are told; with less than the smallest segment as its unit no window is rounded to nothing
/// that holds a segment.
pub const OUR_SCALE: u8 = 9;
/// Window that clients are told before their server has answered: what a client sends at once (RFC 6928).
pub const OUR_WINDOW: u16 = 14_600;

/// Timestamps count milliseconds.
pub(crate) fn clock(now: Time) -> u32 {
    (now.0 / Time::MILLISECOND) as u32
}

/// Client session record #1: what the cookie and its acknowledgement said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSession {
    /// Initial sequence number of the client.
    pub rcv_isn: u32,
    /// The cookie.
    pub snd_isn: u32,
    /// Its last timestamp.
    pub ts_recent: u32,
    /// What it echoed of ours, at first.
    pub ts_echo: u32,
    pub sender: Sender,
    /// As in its last header.
    pub window: u16,
    /// Index into `MSS`.
    pub mss: u8,
    pub scale: Option<u8>,
    pub timestamps: bool,
    pub sack: bool,
}

/// How far the server's side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Our SYN was sent so many times.
    Opening(u8),
    Open,
}

/// Proxy session record #1: the server's side, and what lies between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxySession {
    /// Initial sequence number of the server.
    pub server_isn: u32,
    /// Server's sequence number less the client's idea of it.
    pub shift: u32,
    /// The client's idea of a server's timestamp less that timestamp; without timestamps of the server where our own begin.
    pub ts_shift: u32,
    pub sender: Sender,
    pub mss: u16,
    pub scale: Option<u8>,
    /// What both sides have.
    pub timestamps: bool,
    pub sack: bool,
    /// Segments kept until the server answers.
    pub held: u8,
    pub state: State,
}

/// Both records, linked until the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    pub(crate) flow: FlowId,
    pub client: ClientSession,
    pub proxy: ProxySession,
}

impl ClientSession {
    /// In bytes, for a header of the client.
    pub(crate) fn scaled(&self, window: u16) -> u32 {
        u32::from(window) << self.scale.unwrap_or(0)
    }

    pub fn mss(&self) -> u16 {
        MSS[usize::from(self.mss & 7)]
    }
}

impl Session {
    pub fn is_open(&self) -> bool {
        self.proxy.state == State::Open
    }

    /// What the server is told of the client's window: the scale is the client's own, if the server has scales at all.
    pub(crate) fn window_for_server(&self, window: u16) -> u16 {
        match (self.client.scale, self.proxy.scale) {
            (Some(_), None) => u16::try_from(self.client.scaled(window)).unwrap_or(u16::MAX),
            _ => window,
        }
    }

    /// In bytes, for a header of the server that is no SYN.
    pub(crate) fn server_scaled(&self, window: u16) -> u32 {
        u32::from(window) << self.proxy.scale.unwrap_or(0)
    }

    pub(crate) fn window_for_client(&self, window: u16) -> u16 {
        let ours = self.client.scale.map_or(0, |_| OUR_SCALE);
        u16::try_from(self.server_scaled(window) >> ours).unwrap_or(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use braid_packet::Slab;

    #[test]
    fn a_connection_costs_at_most_256_bytes() {
        // A flow of the NAT takes at most 128, and the place of its session 4.
        let each = Slab::<Session>::EACH;
        assert!(each + 4 <= 128, "{each}");
    }
}
