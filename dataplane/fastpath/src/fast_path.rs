use crate::cookie::{Keys, PeriodKey};
use crate::grow::Grown;
use crate::hold::Hold;
use crate::near::Late;
use crate::opening::Timers;
use crate::owed::Owed;
use crate::recent::Recent;
use crate::service::Request;
use crate::table::Table;
use crate::verdict::{Output, SessionInfo};
use crate::waiting::Waiting;
use crate::Counters;
use braid_packet::{tcp_reset, FlowId, RateLimit, Segment, Time};
use std::collections::BTreeMap;

/// Connections whose clients are answered by cookie and whose packets are translated, not kept.
pub struct FastPath {
    pub(crate) keys: Keys,
    pub(crate) table: Table,
    pub(crate) hold: Hold,
    pub(crate) late: Late,
    pub(crate) timers: Timers,
    pub(crate) owed: Owed,
    pub(crate) grown: Grown,
    pub(crate) recent: Recent,
    pub(crate) waiting: Waiting,
    pub(crate) counters: Counters,
    pub(crate) answer: Vec<u8>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) requests: Vec<Request>,
    /// Connections whose hold is over without an answer.
    pub(crate) released: Vec<FlowId>,
    pub(crate) answered: Vec<FlowId>,
    /// Connections that an end or reset went through; those that are open now, or that a stack has and are over.
    pub(crate) ending: Vec<FlowId>,
    pub(crate) changed: Vec<(FlowId, bool)>,
    /// The smallest segment size that servers of an application have asked for, so that clients are told it.
    pub(crate) server_mss: BTreeMap<u16, u16>,
    /// Inner MTU.
    pub(crate) mtu: u16,
    /// Another gateway translates packets of the same connections.
    pub(crate) loose: bool,
    resets: RateLimit,
    challenges: RateLimit,
}

impl FastPath {
    pub fn new(mtu: u16) -> FastPath {
        FastPath {
            keys: Keys::default(),
            table: Table::default(),
            hold: Hold::default(),
            late: Late::default(),
            timers: Timers::default(),
            owed: Owed::default(),
            grown: Grown::default(),
            recent: Recent::default(),
            waiting: Waiting::default(),
            counters: Counters::default(),
            answer: Vec::new(),
            outputs: Vec::new(),
            requests: Vec::new(),
            released: Vec::new(),
            answered: Vec::new(),
            ending: Vec::new(),
            changed: Vec::new(),
            server_mss: BTreeMap::new(),
            mtu,
            loose: false,
            resets: RateLimit::new(10_000, 2000),
            challenges: RateLimit::new(1000, 200),
        }
    }

    /// As `Keys::new`.
    pub fn set_keys(&mut self, current: u64, all: &[PeriodKey]) {
        self.keys = Keys::new(current, all);
    }

    /// The packet to send back after a `Reply`.
    pub fn answer(&self) -> &[u8] {
        &self.answer
    }

    /// The same, for whoever has to change it on its way.
    pub fn answer_mut(&mut self) -> &mut [u8] {
        &mut self.answer
    }

    /// What goes on after a `Grown`. To be put back, so that its buffers serve again.
    pub fn take_grown(&mut self) -> Grown {
        std::mem::take(&mut self.grown)
    }

    pub fn put_back(&mut self, grown: Grown) {
        self.grown = grown;
    }

    /// To be called after everything but `Reply` and `Drop`: what a side is owed can go out with any packet of a connection.
    #[inline]
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Connections, and ended ones that `sweep` has not come to yet.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn session(&self, flow: FlowId) -> Option<SessionInfo> {
        self.table.get(flow).map(SessionInfo::from)
    }

    /// A flow for a client whose cookie was good could not be had: the client gets a reset for this packet, in `answer`.
    /// False if resets are at their limit.
    pub fn turn_away(&mut self, packet: &[u8], now: Time) -> bool {
        tcp_reset(&mut self.answer, packet).is_some() && self.may_reset(now)
    }

    pub(crate) fn may_reset(&mut self, now: Time) -> bool {
        let may = self.resets.allow(now);
        self.counters.replies_suppressed += u64::from(!may);
        may
    }

    pub(crate) fn may_challenge(&mut self, now: Time) -> bool {
        let may = self.challenges.allow(now);
        self.counters.replies_suppressed += u64::from(!may);
        may
    }

    /// False if the segment does not fit, which cannot be.
    pub(crate) fn write_answer(&mut self, segment: &Segment<'_>) -> bool {
        segment.write(&mut self.answer).is_some()
    }
}
