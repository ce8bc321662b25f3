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
    /// Initial sequence number of the client; or, of one that was parked, of the last byte before what it says next. The same of
    /// the cookie.
    pub rcv_isn: u32,
    /// The cookie.
    pub snd_isn: u32,
    /// Its last timestamp.
    pub ts_recent: u32,
    /// What it echoed of ours, at first; or, of one that was parked, the stack's last one.
    pub ts_echo: u32,
    pub sender: Sender,
    /// As in its last header.
    pub window: u16,
    /// Index into `MSS`.
    pub mss: u8,
    /// Bytes of a segment that it was told to send at most.
    pub told: u16,
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
    /// Of a proxied application: nothing has come that would have to be served, be it since the last answer.
    Waiting,
    /// The control side was told so many times that there is something to serve.
    Asking(u8),
    /// A TCP stack has it.
    Normal,
    /// The stack is to give it back: what comes for it is kept.
    Held,
    /// As `Open`, after the stack had both sides: the client's numbers are shifted too.
    Spliced,
}

/// What is to be remembered of a connection: bits of `ProxySession::marks`.
pub mod mark {
    /// What a client sends behind the last byte of all before is a service request.
    pub const AGAIN: u16 = 1;
    /// It was spliced: the numbers of both sides are known.
    pub const SERVED: u16 = 2;
    /// A FIN or RST of the client, of the stack towards it, and on the server's side; with `AGAIN` one that waits.
    pub const CLIENT_END: u16 = 4;
    pub const STACK_END: u16 = 8;
    pub const SERVER_END: u16 = 16;
    pub const ENDS: u16 = CLIENT_END | STACK_END | SERVER_END;
    /// Bytes that were acknowledged to the other side are still owed to this one.
    pub const OWES_CLIENT: u16 = 32;
    pub const OWES_SERVER: u16 = 64;
    pub const OWES: u16 = OWES_CLIENT | OWES_SERVER;
    /// What this side says goes to `owed` first: it is owed something, or the other one was promised more room than it has.
    pub const SETTLES_CLIENT: u16 = 512;
    pub const SETTLES_SERVER: u16 = 1024;
    pub const SETTLES: u16 = SETTLES_CLIENT | SETTLES_SERVER;
    /// The stack's: it is held by itself when its server sends the first bytes.
    pub const HOLDS: u16 = 2048;
    /// One side has reset the other.
    pub const RESET: u16 = 256;
    /// Its end was told.
    pub const TOLD: u16 = 128;
    /// Another gateway has it too: it was told, or told this one. Between two drains that says nothing.
    pub const SHARED: u16 = 4096;
    /// It was told, and nothing has been told back or decided here since; or another node has it that a stack gave it to.
    pub const GIVEN: u16 = 8192;
    /// The server was asked twice at once, and answers twice.
    pub const TWICE: u16 = 16_384;
    /// The stack's SYN has gone out, and nothing that acknowledges the answer.
    pub const UNTOLD: u16 = 32_768;
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
    /// The same for what the client sends: the server's idea less the client's number, or timestamp. Zero unless spliced.
    pub client_shift: u32,
    pub client_ts_shift: u32,
    /// Behind the last byte of the answer that a spliced connection carries, of the server's.
    pub until: u32,
    /// The server's last timestamp, where a stack has or had the connection.
    pub ts_recent: u32,
    pub sender: Sender,
    pub mss: u16,
    pub scale: Option<u8>,
    /// Window scale that the server was told; zero without.
    pub told: u8,
    pub marks: u16,
    /// Tells timers of earlier states.
    pub turn: u16,
    /// What both sides have.
    pub timestamps: bool,
    /// What the server's side has.
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

impl ProxySession {
    /// Of a connection without a server.
    pub(crate) fn new(state: State) -> ProxySession {
        ProxySession {
            server_isn: 0,
            shift: 0,
            ts_shift: 0,
            client_shift: 0,
            client_ts_shift: 0,
            until: 0,
            ts_recent: 0,
            sender: Sender::default(),
            mss: 0,
            scale: None,
            told: 0,
            marks: 0,
            turn: 0,
            timestamps: false,
            sack: false,
            held: 0,
            state,
        }
    }

    /// Both sides have ended, or one has reset the other.
    pub(crate) fn is_over(&self) -> bool {
        let both = mark::CLIENT_END | mark::SERVER_END;
        self.has(mark::RESET) || self.marks & both == both
    }

    pub(crate) fn has(&self, marks: u16) -> bool {
        self.marks & marks != 0
    }
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
        matches!(self.proxy.state, State::Open | State::Spliced)
    }

    /// The stack gave it to another node, and has not got it back.
    pub(crate) fn is_parted(&self) -> bool {
        self.proxy.state == State::Normal && self.proxy.has(mark::GIVEN)
    }

    /// Everything is translated by the core itself or not at all: the client's packets are looked at as they are.
    pub(crate) fn is_with_stack(&self) -> bool {
        match self.proxy.state {
            State::Normal | State::Held => true,
            State::Asking(_) => self.proxy.has(mark::SERVED),
            _ => false,
        }
    }

    /// It has no server, and has not been given to a stack.
    pub(crate) fn is_unserved(&self) -> bool {
        match self.proxy.state {
            State::Waiting => true,
            State::Asking(_) => !self.proxy.has(mark::SERVED),
            _ => false,
        }
    }

    /// What the server is told of the client's window: the scale is what it was told, if it has scales at all.
    pub(crate) fn window_for_server(&self, window: u16) -> u16 {
        if self.client.scale.unwrap_or(0) == self.proxy.told {
            return window;
        }
        u16::try_from(self.client.scaled(window) >> self.proxy.told).unwrap_or(u16::MAX)
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
