/// Why a packet did not pass. `as_str` is its metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A SYN or a cookie while there is no key.
    NoKey,
    /// Neither a SYN nor an answer to one of ours: forged, or of a connection that this gateway does not know.
    CookieForged,
    /// Bytes before it have not come, so nothing is known of its connection yet.
    CookieEarly,
    /// A cookie whose connection has ended already: whoever sends it was told once.
    CookieSpent,
    /// Wrong TCP checksum where one packet decides much.
    Checksum,
    /// Option lengths that lie.
    Options,
    /// Outside the window that the other side has left open.
    Window,
    /// Acknowledges what was never sent, or what was acknowledged long ago.
    Acknowledgement,
    /// A SYN on a connection: answered, as RFC 5961 4 says.
    StraySyn,
    /// More than is kept came before the server answered.
    HoldFull,
    /// TCP in IP fragments.
    Fragment,
    /// More connections wait for their servers than are remembered.
    OpeningFull,
    /// A connection that the table does not know any more.
    NoSession,
    /// The server reset the connection that we asked for: the client got a reset.
    ServerRefused,
    /// The server never answered: the client got a reset.
    ServerSilent,
    /// The client reset its connection before the server answered.
    ClientReset,
    /// From the server before it agreed to the connection.
    ServerStray,
    /// An ICMP error that quotes nothing that is under way.
    Quoted,
    /// The control side never took the connection: the client got a reset.
    NormalSilent,
    /// It refused the connection: the client got a reset.
    NormalRefused,
    /// A reset of the stack for a connection that it does not have.
    NormalGuarded,
    /// Of the stack, and of no connection.
    NormalNoFlow,
    /// Packets were held for a splice that never came: the stack got them.
    NormalHoldExpired,
    /// What was owed after a splice was never acknowledged: both sides got a reset.
    NormalOwed,
    /// A splice of a connection that is not held.
    NormalNotHeld,
}

impl Reason {
    pub const ALL: [Reason; 25] = [
        Reason::NoKey,
        Reason::CookieForged,
        Reason::CookieEarly,
        Reason::CookieSpent,
        Reason::Checksum,
        Reason::Options,
        Reason::Window,
        Reason::Acknowledgement,
        Reason::StraySyn,
        Reason::HoldFull,
        Reason::Fragment,
        Reason::OpeningFull,
        Reason::NoSession,
        Reason::ServerRefused,
        Reason::ServerSilent,
        Reason::ClientReset,
        Reason::ServerStray,
        Reason::Quoted,
        Reason::NormalSilent,
        Reason::NormalRefused,
        Reason::NormalGuarded,
        Reason::NormalNoFlow,
        Reason::NormalHoldExpired,
        Reason::NormalOwed,
        Reason::NormalNotHeld,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Reason::NoKey => "fast_no_key",
            Reason::CookieForged => "fast_cookie_forged",
            Reason::CookieEarly => "fast_cookie_early",
            Reason::CookieSpent => "fast_cookie_spent",
            Reason::Checksum => "fast_checksum",
            Reason::Options => "fast_options",
            Reason::Window => "fast_window",
            Reason::Acknowledgement => "fast_acknowledgement",
            Reason::StraySyn => "fast_stray_syn",
            Reason::HoldFull => "fast_hold_full",
            Reason::Fragment => "fast_fragment",
            Reason::OpeningFull => "fast_opening_full",
            Reason::NoSession => "fast_no_session",
            Reason::ServerRefused => "fast_server_refused",
            Reason::ServerSilent => "fast_server_silent",
            Reason::ClientReset => "fast_client_reset",
            Reason::ServerStray => "fast_server_stray",
            Reason::Quoted => "fast_quoted",
            Reason::NormalSilent => "normal_silent",
            Reason::NormalRefused => "normal_refused",
            Reason::NormalGuarded => "normal_guarded",
            Reason::NormalNoFlow => "normal_no_flow",
            Reason::NormalHoldExpired => "normal_hold_expired",
            Reason::NormalOwed => "normal_residual_silent",
            Reason::NormalNotHeld => "normal_splice_refused",
        }
    }
}

/// Since the fast path was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// SYNs answered, without a trace of them here.
    pub cookies: u64,
    /// Cookies that came back: a server was asked for each.
    pub valid: u64,
    /// Servers that answered.
    pub established: u64,
    /// Segments kept until the server answered.
    pub held: u64,
    /// Service requests: connections that the control side was told of, and those of them that had been spliced before.
    pub service_requests: u64,
    pub again: u64,
    /// Connections that a stack took, and that came back with a server, and without one.
    pub taken: u64,
    pub spliced: u64,
    pub parked: u64,
    /// Segments sent again of what was owed.
    pub owed_resent: u64,
    /// SYNs to servers sent again.
    pub syn_retransmitted: u64,
    /// Resets and acknowledgements not sent because of their rate limit.
    pub replies_suppressed: u64,
    refused: [u64; Reason::ALL.len()],
}

impl Counters {
    /// Packets that did not pass, answered or not.
    pub fn refused(&self, reason: Reason) -> u64 {
        self.refused[reason as usize]
    }

    pub fn all_refused(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.into_iter().zip(self.refused)
    }

    pub(crate) fn refuse(&mut self, reason: Reason) {
        self.refused[reason as usize] += 1;
    }
}
