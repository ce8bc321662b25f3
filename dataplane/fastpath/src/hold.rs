//! The hold queue: what clients send before their server has answered, and both sides while a connection changes hands. The
//! only packets that the fast path ever keeps.

use crate::verdict::Side;
use braid_packet::{FlowId, Time, VnetHdr};
use std::collections::BTreeMap;

/// Bytes of all, and segments of one connection; before its server has answered its bytes are bounded by the window that the
/// client was told.
const MOST_BYTES: usize = 4 << 20;
pub(crate) const MOST_SEGMENTS: u8 = 32;
/// While a connection changes hands: what both sides may send then, which is up to a window of each.
pub(crate) const MOST_IN_BETWEEN: u8 = 250;

/// A packet that waits, unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub from: Side,
    sequence: u32,
    only_acknowledges: bool,
    pub vnet: VnetHdr,
    pub packet: Vec<u8>,
    /// When it came.
    pub at: Time,
}

impl Held {
    pub(crate) fn new(from: Side, sequence: u32, vnet: VnetHdr, packet: &[u8], at: Time) -> Held {
        Held { from, sequence, only_acknowledges: false, vnet, packet: packet.to_vec(), at }
    }
}

/// What became of a packet that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    More,
    Instead,
    Full,
}

#[derive(Debug, Default)]
pub(crate) struct Hold {
    /// By index and serial of the flow.
    queues: BTreeMap<(u32, u32), Vec<Held>>,
    bytes: usize,
}

impl Hold {
    /// Whether this segment of the client, or one at the same place and as long, is kept already: a retransmission.
    pub(crate) fn has(&self, flow: FlowId, sequence: u32, length: usize) -> bool {
        let same = |held: &Held| held.from == Side::Client && held.sequence == sequence && held.packet.len() >= length;
        self.queues.get(&(flow.index, flow.serial)).is_some_and(|queue| queue.iter().any(same))
    }

    /// False if there is no room.
    pub(crate) fn keep(&mut self, flow: FlowId, held: Held) -> bool {
        if self.bytes + held.packet.len() > MOST_BYTES {
            return false;
        }
        self.bytes += held.packet.len();
        self.queues.entry((flow.index, flow.serial)).or_default().push(held);
        true
    }

    /// As `keep`; one that only acknowledges takes the place of one before it that did.
    pub(crate) fn keep_latest(&mut self, flow: FlowId, held: Held, only_acknowledges: bool) -> Kept {
        let queue = self.queues.get_mut(&(flow.index, flow.serial));
        let last = queue.and_then(|queue| queue.last_mut()).filter(|last| last.from == held.from);
        if let Some(last) = last.filter(|last| only_acknowledges && last.only_acknowledges) {
            self.bytes = self.bytes + held.packet.len() - last.packet.len();
            *last = Held { only_acknowledges, ..held };
            return Kept::Instead;
        }
        match self.keep(flow, Held { only_acknowledges, ..held }) {
            true => Kept::More,
            false => Kept::Full,
        }
    }

    /// What waits of a connection: bytes of packets, and since when.
    pub(crate) fn waiting(&self, flow: FlowId) -> (usize, Option<Time>) {
        let queue = self.queues.get(&(flow.index, flow.serial)).map_or(&[][..], |queue| queue);
        (queue.iter().map(|held| held.packet.len()).sum(), queue.first().map(|held| held.at))
    }

    /// Packets of all.
    pub(crate) fn len(&self) -> usize {
        self.queues.values().map(Vec::len).sum()
    }

    /// Takes out what belongs to a connection, in the order in which it came.
    pub(crate) fn take(&mut self, flow: FlowId) -> Vec<Held> {
        let taken = self.queues.remove(&(flow.index, flow.serial)).unwrap_or_default();
        self.bytes -= taken.iter().map(|held| held.packet.len()).sum::<usize>();
        taken
    }
}
