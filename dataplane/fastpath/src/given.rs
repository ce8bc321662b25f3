//! Connections that two gateways have: whether one can move, whose word counts, and what one of them knows by halves.
//!
//! What translates alike both may do. The control side is asked by one of them alone: by the gateway that leaves until it has told
//! the other one, and then by that.

use crate::hold::Held;
use crate::moved::{is_same, ToldSession};
use crate::records::{mark, ClientSession, ProxySession, Session, State};
use crate::segment::parse;
use crate::verdict::Side;
use crate::window::{at_most, later};
use crate::FastPath;
use braid_packet::{FlowId, Tcp};

/// Whether another gateway can have a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Movable {
    /// All there is of it is its record.
    Now,
    /// The same, and whoever has it asks the control side one day: for one of the two gateways only.
    Asks,
    /// Its server has yet to answer, it owes something, or something of it is held.
    Soon,
    /// A stack has it.
    No,
}

/// Which of two gateways has gone on with a connection that both had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Further {
    Here,
    There,
}

/// The most that a client says between two moments at which the two gateways tell each other of its connection. Numbers that
/// are further apart are those of another connection with the same ports.
const MOST_SAID: u32 = 1 << 28;

impl FastPath {
    pub fn movable(&self, flow: FlowId) -> Movable {
        let Some(session) = self.table.get(flow) else { return Movable::No };
        match session.proxy.state {
            State::Open => Movable::Now,
            State::Spliced | State::Waiting if session.proxy.has(mark::OWES) || session.proxy.held > 0 => Movable::Soon,
            State::Waiting => Movable::Asks,
            State::Spliced if session.proxy.has(mark::AGAIN) => Movable::Asks,
            State::Spliced => Movable::Now,
            State::Opening(_) | State::Asking(_) => Movable::Soon,
            State::Normal | State::Held => Movable::No,
        }
    }

    /// Whether a packet, as it came, is of a time when another gateway had the say that has this connection too: it acknowledges
    /// what nobody has said here or, of one that it was given to, is behind the answer that was under way. What comes of a
    /// client whose connection the stack gave away is, too: as long as the node is to have it that it went to, nothing comes
    /// this far.
    pub fn is_beyond(&self, flow: FlowId, from: Side, packet: &[u8]) -> bool {
        let marks = if from == Side::Client { mark::GIVEN | mark::SHARED } else { mark::GIVEN };
        let Some(session) = self.table.get(flow).filter(|session| session.proxy.has(marks)) else { return false };
        let Ok((_, tcp)) = parse(packet) else { return false };
        if session.is_parted() {
            return from == Side::Client && !tcp.has(Tcp::SYN);
        }
        let proxy = &session.proxy;
        let last = match proxy.state {
            State::Waiting => proxy.sender.end,
            // Behind its client's end nobody asks, and the end of its server, which is behind the answer, goes through as well.
            State::Spliced if proxy.has(mark::AGAIN) && !proxy.has(mark::CLIENT_END) => proxy.until,
            _ => return false,
        };
        let acknowledges = |known: u32, shift: u32| {
            tcp.has(Tcp::ACK) && !tcp.has(Tcp::RST) && !at_most(tcp.acknowledgement.wrapping_add(shift), known)
        };
        match from {
            Side::Client => acknowledges(last, proxy.shift),
            Side::Server => {
                let end = tcp.sequence.wrapping_add(tcp.payload as u32);
                acknowledges(session.client.sender.end, 0) || tcp.payload > 0 && !at_most(end, last)
            }
        }
    }

    /// Who is further with a connection: by what its client was told to have got, or is to get, before the control side is asked
    /// again, which only grows. When a packet came last says nothing: it may have come to the gateway that is behind, and word
    /// of it takes its time. None: both know the same, or it does not show.
    pub fn further(&self, flow: FlowId, told: &ToldSession) -> Option<Further> {
        let known = self.table.get(flow)?;
        if is_same(known, &told.client, &told.proxy) {
            return None;
        }
        let given = || known.proxy.has(mark::GIVEN).then_some(Further::There);
        let positions = Position::of(&known.client, &known.proxy).zip(Position::of(&told.client, &told.proxy));
        let Some((ours, theirs)) = positions else { return given() };
        match known.proxy.state {
            // The stack may have said more by now than it is known to have.
            State::Normal | State::Held if !known.is_parted() => theirs.is_near(&ours).then_some(Further::Here),
            _ if theirs.is_ahead_of(&ours) => Some(Further::There),
            _ if ours.is_ahead_of(&theirs) => Some(Further::Here),
            State::Asking(_) => theirs.is_near(&ours).then_some(Further::Here),
            _ => given(),
        }
    }

    /// Another gateway has the connection alone. What is held of it here.
    pub fn leave(&mut self, flow: FlowId) -> Vec<Held> {
        let held = self.hold.take(flow);
        if let Some(session) = self.table.get_mut(flow) {
            session.proxy.held = 0;
        }
        self.forget(flow);
        held
    }

    /// Whether a connection, of which another gateway may have made something else since, must not be served by what is known
    /// here: it was given away and is not back, or (`all`) was with another gateway at all.
    pub fn is_outdated(&self, flow: FlowId, all: bool) -> bool {
        self.table.get(flow).is_some_and(|session| {
            let asks = session.proxy.state == State::Waiting
                || session.proxy.state == State::Spliced && session.proxy.has(mark::AGAIN);
            asks && session.proxy.has(if all { mark::SHARED } else { mark::GIVEN })
        })
    }

    /// The stack gave it to another node: what is left here is the server's side.
    pub fn is_parted(&self, flow: FlowId) -> bool {
        self.table.get(flow).is_some_and(Session::is_parted)
    }

    /// Whether it was told, and nothing has become of it here since.
    pub fn is_given(&self, flow: FlowId) -> bool {
        self.table.get(flow).is_some_and(|session| session.proxy.has(mark::GIVEN))
    }

    /// Whether it was with another gateway, in this drain or an earlier one.
    pub fn is_shared(&self, flow: FlowId) -> bool {
        self.table.get(flow).is_some_and(|session| session.proxy.has(mark::SHARED))
    }
}

/// How far a connection is, in the client's numbers.
struct Position {
    /// Behind the last byte that the client gets before the control side is asked again, and behind the last one of its own.
    said: u32,
    heard: u32,
    /// Between two requests, without a server: it was given up behind the last answer.
    alone: bool,
}

impl Position {
    /// None of one that the control side is never asked about.
    fn of(client: &ClientSession, proxy: &ProxySession) -> Option<Position> {
        let (said, heard) = match proxy.state {
            State::Waiting | State::Asking(_) if !proxy.has(mark::SERVED) => {
                (client.snd_isn.wrapping_add(1), client.rcv_isn.wrapping_add(1))
            }
            State::Spliced | State::Asking(_) => {
                (proxy.until.wrapping_sub(proxy.shift), client.sender.end.wrapping_sub(proxy.client_shift))
            }
            State::Normal | State::Held => (proxy.sender.end, client.sender.end),
            State::Waiting | State::Opening(_) | State::Open => return None,
        };
        Some(Position { said, heard, alone: proxy.state == State::Waiting })
    }

    fn is_near(&self, other: &Position) -> bool {
        self.heard.wrapping_sub(other.heard).wrapping_add(MOST_SAID) <= 2 * MOST_SAID
    }

    fn is_ahead_of(&self, other: &Position) -> bool {
        let more = match self.said == other.said {
            true => self.alone && !other.alone,
            false => at_most(other.said, self.said),
        };
        more && self.heard.wrapping_sub(other.heard) <= MOST_SAID
    }
}

impl Session {
    /// What one side echoes of the other's timestamps may have come to it by another gateway.
    pub(crate) fn note_seen_by_client(&mut self, echo: u32) {
        if self.is_seen_in_part() {
            self.proxy.ts_recent = later(self.proxy.ts_recent, echo.wrapping_sub(self.proxy.ts_shift));
        }
    }

    pub(crate) fn note_seen_by_server(&mut self, echo: u32) {
        if self.is_seen_in_part() {
            self.client.ts_recent = later(self.client.ts_recent, echo.wrapping_sub(self.proxy.client_ts_shift));
        }
    }

    fn is_seen_in_part(&self) -> bool {
        self.proxy.has(mark::SHARED) && self.proxy.timestamps && self.proxy.state == State::Spliced
    }
}
