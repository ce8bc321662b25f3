use braid_packet::{FlowId, Unreachable};

/// What became of a packet from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Translated in place: on to the TUN.
    Pass,
    /// Refused; `Nat::reply` holds the ICMP error or reset for the client, to go back to the edge it came from.
    Reply,
    Drop(Reason),
    /// A fragment whose first is not here yet: kept, comes out of `Nat::take_released`.
    Held,
    /// TCP to an application of the fast path, and of no flow. Unchanged; all but TCP was checked. The number is the application's.
    Stranger(u16),
    /// Of a flow of the fast path, unchanged: `Nat::pass` carries on what has been translated.
    Fast(FlowId),
}

/// What became of a packet from a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reverse {
    /// Translated in place: to this edge, on this set of paths.
    Pass {
        edge: u16,
        set: u8,
        app: u16,
        /// Of the fast path, which has yet to translate it.
        fast: Option<FlowId>,
    },
    /// Unchanged, of a connection that a TCP stack has or is to get; also an ICMP error about it.
    Normal(FlowId),
    /// Refused; `Nat::reply` holds the reset for the server, to go to the TUN.
    Reply,
    Drop(Reason),
    /// A fragment whose first is not here yet: kept, comes out of `Nat::take_released`.
    Held,
}

/// A translated fragment that had been held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    pub packet: Vec<u8>,
    pub direction: Direction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Forward,
    Reverse { edge: u16, set: u8, app: u16 },
}

/// Why a packet was not carried. `as_str` is its metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    Malformed,
    /// The VIP belongs to another edge than the one that sent the packet.
    WrongEdge,
    /// A source address that no client can have: ours, a server's, loopback, multicast ...
    BadSource,
    UnknownVip,
    PortRefused,
    NoTarget,
    PortsExhausted,
    TableFull,
    ClientShare,
    /// TCP in mid-stream, or anything from a server, without a flow.
    NoFlow,
    IcmpType,
    IcmpChecksum,
    /// An ICMP error whose quoted packet matches no flow, or is not in its window.
    IcmpUnmatched,
    /// More fragments waiting for their first one than are kept.
    FragmentsFull,
    /// The first fragment never came.
    FragmentsExpired,
    /// The first fragment was refused.
    FragmentsRefused,
}

impl Reason {
    pub const ALL: [Reason; 16] = [
        Reason::Malformed,
        Reason::WrongEdge,
        Reason::BadSource,
        Reason::UnknownVip,
        Reason::PortRefused,
        Reason::NoTarget,
        Reason::PortsExhausted,
        Reason::TableFull,
        Reason::ClientShare,
        Reason::NoFlow,
        Reason::IcmpType,
        Reason::IcmpChecksum,
        Reason::IcmpUnmatched,
        Reason::FragmentsFull,
        Reason::FragmentsExpired,
        Reason::FragmentsRefused,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Malformed => "nat_malformed",
            Reason::WrongEdge => "nat_wrong_edge",
            Reason::BadSource => "nat_bad_source",
            Reason::UnknownVip => "nat_unknown_vip",
            Reason::PortRefused => "nat_port_refused",
            Reason::NoTarget => "nat_no_target",
            Reason::PortsExhausted => "nat_ports_exhausted",
            Reason::TableFull => "nat_table_full",
            Reason::ClientShare => "nat_client_share",
            Reason::NoFlow => "nat_no_flow",
            Reason::IcmpType => "nat_icmp_type",
            Reason::IcmpChecksum => "nat_icmp_checksum",
            Reason::IcmpUnmatched => "nat_icmp_unmatched",
            Reason::FragmentsFull => "nat_fragments_full",
            Reason::FragmentsExpired => "nat_fragments_expired",
            Reason::FragmentsRefused => "nat_fragments_refused",
        }
    }
}

/// Why a packet does not pass, inside the crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Hold,
    /// Not refused: for the fast path.
    Stranger(u16),
    Fast(FlowId),
    Normal(FlowId),
    Drop(Reason),
    /// Drop, and tell the sender in the name of the packet's destination.
    Answer(Reason, Answer),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Unreachable(Unreachable),
    Reset,
}

/// Where a packet from a server goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) edge: u16,
    pub(crate) set: u8,
    pub(crate) app: u16,
    pub(crate) fast: Option<FlowId>,
}
