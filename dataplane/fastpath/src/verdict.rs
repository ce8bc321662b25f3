use crate::records::{ClientSession, ProxySession, Session, State};
use crate::Reason;
use braid_packet::{FlowId, Ip, Tcp};

/// What became of the first packet of something that has no flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// `FastPath::answer` goes back to the client. Nothing is remembered.
    Reply,
    Drop(Reason),
    /// A cookie came back: give the connection a flow and call `FastPath::open`, or `FastPath::turn_away`.
    Open(Admitted),
}

/// What is known of a client whose cookie came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted(pub(crate) ClientSession);

/// What became of a packet of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Translated in place.
    Pass,
    /// Translated; `FastPath::take_grown` goes on instead.
    Grown,
    /// Unchanged, for the TCP stack that has the connection.
    Stack,
    /// Noted or held. Look at `FastPath::take_outputs`.
    Taken,
    /// `FastPath::answer` goes back to the sender.
    Reply,
    Drop(Reason),
    /// The connection is over: its flow ends after the outputs have gone out.
    End,
    /// The client has begun another one with the same ports. This one is forgotten: its flow ends, and then the packet, which
    /// has not been changed, is a stranger's.
    Reopened,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

/// A packet that came, and what was read of it. `partial`: its checksum is one of the pseudo header alone.
#[derive(Clone, Copy)]
pub(crate) struct Arrived<'a> {
    pub packet: &'a [u8],
    pub ip: &'a Ip,
    pub tcp: &'a Tcp,
    pub partial: bool,
}

/// A packet beside the one that was given. In the client's addresses, as all that the fast path sees: one to the server
/// goes from the client to the VIP and has yet to be translated by the NAT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub flow: FlowId,
    pub to: Side,
    pub packet: Vec<u8>,
    /// Its transport checksum is only that of the pseudo-header.
    pub partial: bool,
}

/// A connection, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    pub client: ClientSession,
    pub proxy: ProxySession,
}

impl SessionInfo {
    /// `cookie`: the client is connected, its server has yet to answer, or a stack has yet to take it. `fast`: both are.
    /// `normal`: a stack has it. `spliced`: a stack had it.
    pub fn mode(&self) -> &'static str {
        match self.proxy.state {
            State::Opening(_) | State::Waiting | State::Asking(_) => "cookie",
            State::Open => "fast",
            State::Normal | State::Held => "normal",
            State::Spliced => "spliced",
        }
    }

    /// Whether the control side serves it, or is to.
    pub fn is_proxied(&self) -> bool {
        !matches!(self.proxy.state, State::Opening(_) | State::Open)
    }
}

impl From<&Session> for SessionInfo {
    fn from(session: &Session) -> SessionInfo {
        SessionInfo { client: session.client, proxy: session.proxy }
    }
}
