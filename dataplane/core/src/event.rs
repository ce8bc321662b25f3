//! What the data plane tells the control side, and what it is told.

use crate::desired::Desired;
use crate::handshake::{Message, NewSession};
use crate::measure::Stream;
use crate::path::SentOn;
use crate::role::fast::FlowRecord;
use crate::wire::Kind;
use braid_fastpath::PeriodKey;
use serde_json::Value;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A handshake message that passed the cheap checks. `neighbour` handed it to us.
    Handshake {
        kind: Kind,
        neighbour: u16,
        adjacent: bool,
        receiver: u32,
        body: Vec<u8>,
    },
    /// Keys are confirmed and used for sending.
    Established {
        peer: u16,
        adjacent: bool,
        epoch: u8,
        initiator: bool,
    },
    Up {
        peer: u16,
        adjacent: bool,
    },
    Down {
        peer: u16,
        adjacent: bool,
    },
    /// The packet limit of the current keys is near.
    Rekey {
        peer: u16,
        adjacent: bool,
    },
    Control {
        peer: u16,
        adjacent: bool,
        message: Vec<u8>,
    },
    /// What became of packets on measured sets: about 100 ms after a loss, once a second in quiet times.
    Losses(Box<Losses>),
}

/// Of the packets to one peer, in one lane, since the last time. Paths go by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Losses {
    pub peer: u16,
    pub nanoseconds: u64,
    pub streams: Vec<Stream>,
    /// Packets that did not come on a path.
    pub lost: Vec<(u8, u32)>,
    /// Packets that came on neither of two paths, the lower id first.
    pub both: Vec<(u8, u8, u32)>,
    pub sent: Vec<SentOn>,
    /// Microseconds one way, four times the jitter included.
    pub delays: Vec<(u8, u32)>,
}

/// Where events go. Bounded by its owner, who counts what does not fit.
pub trait Outbox {
    fn event(&mut self, event: Event);
}

/// Answers of the data thread to questions of the control side.
pub trait Reply<T>: Send {
    fn reply(self: Box<Self>, answer: T);
}

pub enum Command {
    Configure(Box<Desired>),
    /// Sends a handshake message to a neighbour or along all paths to a peer.
    Send {
        peer: u16,
        adjacent: bool,
        message: Message,
    },
    /// Adds the keys of a session. In a node of several shards an initiator's are not used to send until `Activate`.
    Install {
        session: Arc<NewSession>,
        /// Hears whether they were taken.
        taken: Option<Box<dyn Reply<bool>>>,
    },
    /// All shards have the keys of the session with this index of ours: use them.
    Activate(u32),
    /// Whether a peer is up in all shards.
    Admit {
        peer: u16,
        adjacent: bool,
        usable: bool,
    },
    Close {
        peer: u16,
        adjacent: bool,
    },
    Control {
        peer: u16,
        adjacent: bool,
        message: Vec<u8>,
        sent: Box<dyn Reply<bool>>,
    },
    /// The same to neighbours, all in one turn; what cannot be sent is nobody's concern.
    Tell(Vec<(u16, Vec<u8>)>),
    /// Counts something the control side refused.
    Count(&'static str),
    Snapshot(Box<dyn Reply<Value>>),
    /// At most so many, those used last first. Answered after some turns.
    Flows(usize, Box<dyn Reply<Vec<FlowRecord>>>),
    /// A fresh secret for cookies.
    CookieSecret([u8; 32]),
    /// Keys of SYN cookies: the current period, and those whose cookies are believed. At an edge they are those of these
    /// gateways.
    SynKeys {
        current: u64,
        keys: Arc<[PeriodKey]>,
        gateways: Arc<[u16]>,
    },
}
