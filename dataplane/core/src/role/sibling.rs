//! Two gateways of a region while flows of one are with the other, or on their way. Whoever has a flow serves it; a packet of a
//! flow that is not here goes to the sibling, once. Flows are told piece by piece, so that no packet waits for it.

use crate::role::gateway::Gateway;
use crate::role::normal::flow_of;
use braid_fastpath::{Ends, Further, Held, Movable, Side, ToldSession};
use braid_nat::{InTheWay, Place, Placed, Prefix, ToldFlow};
use braid_packet::{FlowId, Rest, Time};

/// Places of the flow table looked at for one question, and bytes of flows in its answer: well below a millisecond.
const PLACES: u32 = 1 << 13;
const PIECES: usize = 16;
/// Of a piece, which is to fit into a control message.
const PIECE: usize = 1000;
/// No flow is longer.
const LONGEST: usize = u8::MAX as usize;

/// The other gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sibling {
    pub(crate) node: u16,
    /// It gets what begins anew, too.
    pub(crate) leaving: bool,
}

/// Which of the flows that use some pools go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that never ask the control side: both gateways may have them.
    Steady,
    /// All, and those without a server, and those whose servers see their clients: what they ask next the other gateway is
    /// asked.
    All,
    /// The same, as far as they were the other gateway's.
    Guests,
}

/// A part of the flows whose servers see addresses of some pools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Each a piece for `take_flows` of the same shard at the other gateway.
    pub pieces: Vec<Vec<u8>>,
    pub flows: u32,
    /// Flows looked at that cannot move now: connections that are being opened or owe something, and those that a stack has.
    pub opening: u32,
    pub stay: u32,
    /// The place to go on at; None: that was all.
    pub next: Option<u32>,
    /// When this was, for `since` of another time.
    pub at: Time,
}

/// What became of a piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Took {
    pub new: u32,
    pub again: u32,
    pub refused: u32,
    /// The reason of the last refusal.
    pub why: &'static str,
}

impl Gateway {
    /// The sibling, if it is to have a client's packet.
    pub(crate) fn elsewhere_for_client(&mut self, packet: &[u8], now: Time) -> Option<u16> {
        let sibling = self.sibling?;
        let to_sibling = match self.nat.place_from_client(packet, now)? {
            Place::Flow(flow) => self.is_beyond(flow, Side::Client, packet),
            Place::Later => sibling.leaving || !self.fast.brings_cookie(packet),
            Place::First => sibling.leaving,
        };
        to_sibling.then_some(sibling.node)
    }

    /// The sibling, if it is to have a server's packet.
    pub(crate) fn elsewhere_for_server(&mut self, packet: &[u8], now: Time) -> Option<u16> {
        let sibling = self.sibling?;
        let to_sibling = match self.nat.place_from_server(packet, now)? {
            Place::Flow(flow) => self.is_beyond(flow, Side::Server, packet),
            Place::First | Place::Later => true,
        };
        to_sibling.then_some(sibling.node)
    }

    /// Whether the sibling, which was told of the connection, has gone on with it beyond what is known here: it is gone here
    /// then.
    fn is_beyond(&mut self, flow: FlowId, from: Side, packet: &[u8]) -> bool {
        let beyond = self.fast.is_beyond(flow, from, packet);
        if beyond {
            self.give_away(flow);
        }
        beyond
    }

    /// What was held of it.
    fn give_away(&mut self, flow: FlowId) -> Vec<Held> {
        self.tell_moved(flow);
        let held = self.fast.leave(flow);
        self.nat.end_flow(flow);
        held
    }

    /// A connection that the control side was asked about, for the sibling: as a piece for `take_flows`. None if it is no one of
    /// those, or of other pools.
    pub(crate) fn write_asked(
        &mut self,
        connection: u64,
        pools: &[Prefix],
        which: Which,
        now: Time,
    ) -> Option<Vec<u8>> {
        let flow = flow_of(connection);
        let placed = self.nat.placed(flow.index, pools, now).filter(|placed| placed.flow == flow)?;
        let mut piece = Vec::new();
        (self.is_one_of(&placed, which) && self.write(&placed, now, &mut piece)).then_some(piece)
    }

    /// The sibling has a connection: the packets that wait for the control side are its.
    pub(crate) fn leave(&mut self, connection: u64) -> Option<(u16, Vec<Held>)> {
        let (flow, sibling) = (flow_of(connection), self.sibling?);
        self.nat.is_live(flow).then(|| (sibling.node, self.give_away(flow)))
    }

    /// Ends, of the flows from place `from` on, those that another gateway may have gone on with: that have not come back, or
    /// that are another's (`all`). The place to go on at.
    pub(crate) fn forget_given(&mut self, from: u32, all: bool) -> Option<u32> {
        let places = self.nat.places();
        let end = places.min(from.saturating_add(PLACES));
        for place in from..end {
            let Some(flow) = self.nat.flow_at(place).filter(|&flow| self.fast.is_outdated(flow, all)) else { continue };
            self.give_away(flow);
        }
        (end < places).then_some(end)
    }

    fn is_one_of(&self, placed: &Placed, which: Which) -> bool {
        placed.pooled || which != Which::Guests || self.fast.is_shared(placed.flow)
    }

    /// Appends a flow, behind its length.
    fn write(&mut self, placed: &Placed, now: Time, piece: &mut Vec<u8>) -> bool {
        let start = piece.len();
        piece.push(0);
        let whole = self.nat.write_flow(placed.flow, now, piece)
            && (!placed.fast || self.fast.write_session(placed.flow, now, piece));
        match (whole, u8::try_from(piece.len() - start - 1), piece.get_mut(start)) {
            (true, Ok(length), Some(first)) => {
                *first = length;
                true
            }
            _ => {
                piece.truncate(start);
                false
            }
        }
    }

    /// The flows from place `from` on that were used at or after `since`, or could not move before.
    pub(crate) fn copy_flows(&mut self, pools: &[Prefix], which: Which, from: u32, since: Time, now: Time) -> Copied {
        let mut copied = Copied { at: now, ..Copied::default() };
        let (places, mut piece) = (self.nat.places(), Vec::new());
        let end = places.min(from.saturating_add(PLACES));
        copied.next = (end < places).then_some(end);
        for place in from..end {
            let Some(placed) = self.nat.placed(place, pools, now).filter(|placed| self.is_one_of(placed, which)) else {
                continue;
            };
            match if placed.fast { self.fast.movable(placed.flow) } else { Movable::Now } {
                Movable::Now => {}
                Movable::Asks if which != Which::Steady => {}
                Movable::Asks | Movable::Soon => {
                    copied.opening += 1;
                    continue;
                }
                Movable::No => {
                    copied.stay += u32::from(!placed.over);
                    continue;
                }
            }
            if placed.last < since && (!placed.fast || self.fast.is_given(placed.flow)) {
                continue;
            }
            if piece.len() + LONGEST + 1 > PIECE {
                copied.pieces.push(std::mem::take(&mut piece));
                if copied.pieces.len() == PIECES {
                    copied.next = Some(place);
                    break;
                }
            }
            copied.flows += u32::from(self.write(&placed, now, &mut piece));
        }
        if !piece.is_empty() {
            copied.pieces.push(piece);
        }
        copied
    }

    /// Takes over a piece of `copy_flows`.
    pub(crate) fn take_flows(&mut self, piece: &[u8], now: Time) -> Took {
        let (mut took, mut rest) = (Took::default(), Rest(piece));
        while !rest.is_empty() {
            let flow = rest.take::<1>().and_then(|[length]| rest.split(usize::from(length)));
            let Some(mut flow) = flow else {
                took.refuse("malformed");
                break;
            };
            match self.take_flow(&mut flow, now) {
                Ok(true) => took.new += 1,
                Ok(false) => took.again += 1,
                Err(why) => took.refuse(why),
            }
        }
        took
    }

    fn take_flow(&mut self, rest: &mut Rest<'_>, now: Time) -> Result<bool, &'static str> {
        let told = ToldFlow::read(rest, now).ok_or("malformed")?;
        let session = if told.is_fast() { Some(ToldSession::read(rest).ok_or("malformed")?) } else { None };
        let further =
            self.nat.same_client(&told).zip(session.as_ref()).and_then(|(flow, told)| self.fast.further(flow, told));
        if further == Some(Further::Here) {
            return Ok(false);
        }
        let beyond = further == Some(Further::There);
        let InTheWay { before, other } = self.nat.in_the_way(&told, beyond)?;
        for flow in [before, other].into_iter().flatten() {
            self.give_away(flow);
        }
        let taken = self.nat.take_flow(&told, beyond)?;
        if let Some(session) = session {
            if beyond {
                // Whatever it was here: no stack of this gateway has it, or is to get it.
                self.nat.set_normal(taken.flow, false);
            }
            if self.fast.is_parted(taken.flow) {
                // The sibling has got it back from the node that it was given to here.
                self.nat.set_open(taken.flow, true, false);
            }
            let Some((client, vip)) = self.nat.client_and_vip(taken.flow) else { return Err("malformed") };
            self.fast.take_session(taken.flow, &Ends { client, vip }, session, taken.younger, now);
        }
        Ok(taken.new)
    }
}

impl Took {
    fn refuse(&mut self, why: &'static str) {
        self.refused += 1;
        self.why = why;
    }
}
