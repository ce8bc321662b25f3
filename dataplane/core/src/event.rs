//! What the data plane tells the control side, and what it is told.

use crate::desired::Desired;
use crate::handshake::{Message, NewSession};
use crate::measure::Stream;
use crate::path::SentOn;
use crate::refusing::{Reason, Serving};
use crate::role::ends::Ends;
use crate::role::fast::FlowRecord;
use crate::role::owners::Owner;
use crate::role::sibling::{Copied, Took, Which};
use crate::wire::Kind;
use braid_fastpath::{Park, PeriodKey, Splice};
use braid_nat::Prefix;
use braid_packet::{TcpRecord, Time};
use serde_json::Value;
use std::net::SocketAddr;
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
        /// Of the peer's process: another one has forgotten all that this one was told.
        boot: u64,
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
    /// A neighbour's request for a transfer that was refused here, a moment ago: the client has its answer by now.
    Refused {
        peer: u16,
        reason: Reason,
        message: Vec<u8>,
    },
    /// A connection of a proxied application has something to serve. Told again until it is taken or refused.
    ServiceRequest(Box<ServiceRequest>),
    /// A connection of which that was asked for is held: its server has begun to send. `Order::Splice`, or `Order::Take`.
    /// What comes later than that is too late: the hold ends by itself.
    Held {
        connection: u64,
        at: Time,
    },
    /// A connection that the control side was told of is over, without its stack: it was spliced, or never taken, or is gone.
    Ended {
        connection: u64,
        why: &'static str,
        /// Of IP packets from and to the client.
        bytes_in: u64,
        bytes_out: u64,
    },
    /// What became of packets on measured sets: about 100 ms after a loss, once a second in quiet times.
    Losses(Box<Losses>),
}

/// Records are encoded, with nothing in their queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRequest {
    pub connection: u64,
    pub app: u16,
    /// Node that the client came by.
    pub edge: u16,
    pub client: Vec<u8>,
    /// If it was spliced before.
    pub server: Option<Vec<u8>>,
    /// Bytes of the client's packets that wait, and since when.
    pub held: usize,
    pub held_at: Option<Time>,
    /// Whether another gateway has had it.
    pub shared: bool,
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

/// What becomes of a connection. Of one that is gone nothing does; `Take`, `Splice` and `Park` are then answered by `Event::Ended`.
pub enum Order {
    /// The stack has it.
    Take,
    /// It is refused.
    Reset,
    /// Nothing is to reach the stack any more. Whether that can be.
    Hold(Box<dyn Reply<bool>>),
    /// The same, of one that has no server now.
    HoldAlone(Box<dyn Reply<bool>>),
    /// It gets a server. From where that is talked to; None if it cannot be.
    OpenServer {
        server: SocketAddr,
        /// Whether nobody wants to see what the server sends first: `Event::Held` comes instead, if that can be.
        hold: bool,
        leased: Box<dyn Reply<Option<SocketAddr>>>,
    },
    /// Both of its sockets are gone, silently.
    Splice(Box<Splice>),
    /// Its client's socket is, and it has no server: it waits for what its client says next.
    Park(Box<Park>),
    /// What another gateway is to be told of it, if it is one of the flows of these pools; nothing has become of it yet.
    Tell(Vec<Prefix>, Which, Box<dyn Reply<Option<Vec<u8>>>>),
    /// That gateway has it.
    Leave,
}

/// What a snapshot tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    Whole,
    /// All but the sessions with neighbours.
    Short,
    /// Which of the paths in use and spare ones arrive, and how long they take.
    Arrivals,
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
        /// Leaves if they were taken: a peer that has an answer uses the keys.
        answer: Option<Message>,
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
    /// About a connection of a proxied application; for the shard that has it.
    Connection(u64, Order),
    /// The stack has built a socket by a record, of a connection that another node had; for the shard of its packets. Its number;
    /// None: it may not have it. `guest`: another gateway has had it before.
    Adopt {
        record: Box<TcpRecord>,
        guest: bool,
        adopted: Box<dyn Reply<Option<u64>>>,
    },
    /// Counts something the control side refused.
    Count(&'static str),
    Snapshot {
        detail: Detail,
        reply: Box<dyn Reply<Value>>,
    },
    /// At most so many, those used last first. Answered after some turns.
    Flows(usize, Box<dyn Reply<Vec<FlowRecord>>>),
    /// The flows of some pools from a place on that were used since then, for another gateway. Answered with a part of them.
    CopyFlows {
        pools: Vec<Prefix>,
        which: Which,
        from: u32,
        since: Time,
        reply: Box<dyn Reply<Copied>>,
    },
    /// Takes over a piece of another gateway's flows.
    TakeFlows(Vec<u8>, Box<dyn Reply<Took>>),
    /// Ends, from a place on, flows that another gateway may have gone on with: those that have not come back, or all that were
    /// with another gateway. Answered with the place to go on at.
    ForgetGiven {
        from: u32,
        all: bool,
        reply: Box<dyn Reply<Option<u32>>>,
    },
    /// A fresh secret for cookies.
    CookieSecret([u8; 32]),
    /// Who has a client's connection from now on. At an edge `by` is the gateway that says so, and hears whether it may.
    Own {
        ends: Ends,
        owner: Option<Owner>,
        by: Option<u16>,
        done: Box<dyn Reply<bool>>,
    },
    /// What a content proxy serves, for transfers to be refused without asking the control side.
    Serve(Serving),
    /// Keys of SYN cookies: the current period, and those whose cookies are believed. At an edge they are those of these
    /// gateways.
    SynKeys {
        current: u64,
        keys: Arc<[PeriodKey]>,
        gateways: Arc<[u16]>,
    },
}
