//! Sessions by the flow that they belong to.

use crate::records::Session;
use braid_packet::{FlowId, Slab};

/// Flows per piece of the list of places; a piece is made when the first of its flows needs it.
const PIECE: usize = 4096;
const NONE: u32 = u32::MAX;

/// As many sessions as there are flows, at most: one that takes the place of a flow takes that of its session.
#[derive(Debug, Default)]
pub(crate) struct Table {
    sessions: Slab<Session>,
    places: Vec<Option<Box<[u32; PIECE]>>>,
    /// Where the search for sessions without a flow goes on.
    hand: u32,
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    fn place(&self, index: u32) -> Option<u32> {
        let piece = self.places.get(index as usize / PIECE)?.as_ref()?;
        Some(piece[index as usize % PIECE]).filter(|&place| place != NONE)
    }

    fn set_place(&mut self, index: u32, place: u32) {
        let piece = index as usize / PIECE;
        if piece >= self.places.len() {
            self.places.resize_with(piece + 1, || None);
        }
        if let Some(piece) = self.places.get_mut(piece) {
            piece.get_or_insert_with(|| Box::new([NONE; PIECE]))[index as usize % PIECE] = place;
        }
    }

    pub(crate) fn get(&self, flow: FlowId) -> Option<&Session> {
        self.sessions.get(self.place(flow.index)?).filter(|session| session.flow == flow)
    }

    pub(crate) fn get_mut(&mut self, flow: FlowId) -> Option<&mut Session> {
        let place = self.place(flow.index)?;
        self.sessions.get_mut(place).filter(|session| session.flow == flow)
    }

    pub(crate) fn insert(&mut self, session: Session) {
        let index = session.flow.index;
        if let Some(old) = self.place(index) {
            self.sessions.remove(old);
        }
        let place = self.sessions.insert(session);
        self.set_place(index, place);
    }

    pub(crate) fn remove(&mut self, flow: FlowId) {
        if self.get(flow).is_none() {
            return;
        }
        if let Some(place) = self.place(flow.index) {
            self.sessions.remove(place);
            self.set_place(flow.index, NONE);
        }
    }

    /// Looks at `budget` sessions, from where it was before on, and drops those that are not to be kept, which are returned; and
    /// whether that were the last ones of a round.
    pub(crate) fn sweep(&mut self, budget: u32, mut keeps: impl FnMut(&Session) -> bool) -> (Vec<Session>, bool) {
        let mut dropped = Vec::new();
        let slots = self.sessions.slots();
        let end = slots.min(self.hand.saturating_add(budget));
        for place in self.hand..end {
            if let Some(&session) = self.sessions.get(place).filter(|session| !keeps(session)) {
                self.remove(session.flow);
                dropped.push(session);
            }
        }
        self.hand = if end < slots { end } else { 0 };
        (dropped, end == slots)
    }
}
