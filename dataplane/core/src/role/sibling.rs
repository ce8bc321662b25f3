//! Two gateways of a region while flows of one are with the other, or on their way. Whoever has a flow serves it; a packet of a
//! flow that is not here goes to the sibling, once. Flows are told piece by piece, so that no packet waits for it.

use crate::role::gateway::Gateway;
use braid_fastpath::{Ends, Movable};
use braid_nat::{Miss, Prefix};
use braid_packet::{Rest, Time};

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

/// A part of the flows whose servers see addresses of some pools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Each a piece for `take_flows` of the same shard at the other gateway.
    pub pieces: Vec<Vec<u8>>,
    pub flows: u32,
    /// Flows looked at that cannot move now: connections that are being opened or owe something, and those that a stack has, or
    /// is to get again.
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
    pub(crate) fn elsewhere_for_client(&self, packet: &[u8], now: Time) -> Option<u16> {
        let sibling = self.sibling?;
        let to_sibling = match self.nat.miss_from_client(packet, now)? {
            Miss::Later => sibling.leaving || !self.fast.brings_cookie(packet),
            Miss::First => sibling.leaving,
        };
        to_sibling.then_some(sibling.node)
    }

    /// The sibling, if it is to have a server's packet.
    pub(crate) fn elsewhere_for_server(&self, packet: &[u8], now: Time) -> Option<u16> {
        let sibling = self.sibling?;
        self.nat.misses_from_server(packet, now).then_some(sibling.node)
    }

    /// The flows from place `from` on that were used at or after `since`, or could not move before.
    pub(crate) fn copy_flows(&mut self, pools: &[Prefix], from: u32, since: Time, now: Time) -> Copied {
        let mut copied = Copied { at: now, ..Copied::default() };
        let (places, mut piece) = (self.nat.places(), Vec::new());
        let end = places.min(from.saturating_add(PLACES));
        copied.next = (end < places).then_some(end);
        for place in from..end {
            let Some(placed) = self.nat.placed(place, pools, now) else { continue };
            match if placed.fast { self.fast.movable(placed.flow) } else { Movable::Now } {
                Movable::Now => {}
                Movable::Soon => {
                    copied.opening += 1;
                    continue;
                }
                Movable::No => {
                    copied.stay += 1;
                    continue;
                }
            }
            if placed.last < since && (!placed.fast || self.fast.is_shared(placed.flow)) {
                continue;
            }
            if piece.len() + LONGEST + 1 > PIECE {
                copied.pieces.push(std::mem::take(&mut piece));
                if copied.pieces.len() == PIECES {
                    copied.next = Some(place);
                    break;
                }
            }
            let start = piece.len();
            piece.push(0);
            let whole = self.nat.write_flow(placed.flow, now, &mut piece)
                && (!placed.fast || self.fast.write_session(placed.flow, now, &mut piece));
            match (whole, u8::try_from(piece.len() - start - 1), piece.get_mut(start)) {
                (true, Ok(length), Some(first)) => {
                    *first = length;
                    copied.flows += 1;
                }
                _ => piece.truncate(start),
            }
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
        let taken = self.nat.take_flow(rest, now)?;
        let Some((client, vip)) = self.nat.client_and_vip(taken.flow) else { return Err("malformed") };
        let ends = Ends { client, vip };
        if taken.fast && self.fast.take_session(taken.flow, &ends, rest, taken.younger, now).is_none() {
            if taken.new {
                self.nat.end_flow(taken.flow);
            }
            return Err("malformed");
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
