//! The hold queue: what clients send before their server has answered. The only packets that the fast path ever keeps.

use braid_packet::FlowId;

/// Bytes of all, and segments of one connection; its bytes are bounded by the window that the client was told.
const MOST_BYTES: usize = 4 << 20;
pub(crate) const MOST_SEGMENTS: u8 = 32;

#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) flow: FlowId,
    sequence: u32,
    pub(crate) partial: bool,
    pub(crate) packet: Vec<u8>,
}

#[derive(Debug, Default)]
pub(crate) struct Hold {
    queue: Vec<Held>,
    bytes: usize,
}

impl Hold {
    /// Whether this segment, or one at the same place and as long, is kept already: a retransmission.
    pub(crate) fn has(&self, flow: FlowId, sequence: u32, length: usize) -> bool {
        self.queue.iter().any(|held| held.flow == flow && held.sequence == sequence && held.packet.len() >= length)
    }

    /// False if there is no room.
    pub(crate) fn keep(&mut self, flow: FlowId, sequence: u32, packet: &[u8], partial: bool) -> bool {
        if self.bytes + packet.len() > MOST_BYTES {
            return false;
        }
        self.bytes += packet.len();
        self.queue.push(Held { flow, sequence, partial, packet: packet.to_vec() });
        true
    }

    /// Takes out what belongs to a connection, in the order in which it came.
    pub(crate) fn take(&mut self, flow: FlowId) -> Vec<Held> {
        let mut taken = Vec::new();
        for held in std::mem::take(&mut self.queue) {
            if held.flow == flow {
                taken.push(held);
            } else {
                self.queue.push(held);
            }
        }
        self.bytes -= taken.iter().map(|held| held.packet.len()).sum::<usize>();
        taken
    }
}
