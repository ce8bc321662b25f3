//! Packets that one shard read from the TUN and another one owns: a bounded queue into each shard.

use crate::sys::EventFd;
use braid_packet::{Handed, VnetHdr};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What waits for one shard at most. Its packets are milliseconds old at worst, so this is a burst and no backlog.
const MOST_PACKETS: usize = 1024;
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// Buffers kept for reuse.
const MOST_SPARE: usize = 64;

#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) handed: Handed,
    pub(crate) vnet: VnetHdr,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct Queue {
    packets: Vec<Packet>,
    bytes: usize,
    spare: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    wake: EventFd,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One shard's ends of the queues between the shards of a node.
#[derive(Debug)]
pub struct Handover {
    inbox: Arc<Shared>,
    /// By shard, its own included.
    outlets: Vec<Outlet>,
}

/// The end at which packets for one shard go in.
#[derive(Clone, Debug)]
pub(crate) struct Outlet(Arc<Shared>);

/// The ends of all shards of a node, in their order.
pub fn handovers(shards: usize) -> io::Result<Vec<Handover>> {
    let queue = |_| Ok(Arc::new(Shared { queue: Mutex::default(), wake: EventFd::new()? }));
    let queues: Vec<Arc<Shared>> = (0..shards).map(queue).collect::<io::Result<_>>()?;
    let outlets: Vec<Outlet> = queues.iter().cloned().map(Outlet).collect();
    Ok(queues.into_iter().map(|inbox| Handover { inbox, outlets: outlets.clone() }).collect())
}

impl Handover {
    pub(crate) fn outlets(&self) -> Vec<Outlet> {
        self.outlets.clone()
    }

    /// Readable while packets wait.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.inbox.wake.fd()
    }

    /// Swaps what waits, oldest first, for an empty vector.
    pub(crate) fn take(&self, packets: &mut Vec<Packet>) {
        self.inbox.wake.clear();
        let mut queue = self.inbox.lock();
        std::mem::swap(&mut queue.packets, packets);
        queue.bytes = 0;
    }

    /// Gives the buffers of packets that were dealt with back for reuse.
    pub(crate) fn recycle(&self, packets: &mut Vec<Packet>) {
        let mut queue = self.inbox.lock();
        let room = MOST_SPARE.saturating_sub(queue.spare.len());
        queue.spare.extend(packets.drain(..).take(room).map(|packet| packet.bytes));
    }
}

impl Outlet {
    /// Copies the packet in; false when there is no room.
    pub(crate) fn give(&self, handed: Handed, vnet: VnetHdr, packet: &[u8]) -> bool {
        let mut queue = self.0.lock();
        if queue.packets.len() >= MOST_PACKETS || queue.bytes + packet.len() > MOST_BYTES {
            return false;
        }
        let mut bytes = queue.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(packet);
        queue.bytes += packet.len();
        queue.packets.push(Packet { handed, vnet, bytes });
        let first = queue.packets.len() == 1;
        drop(queue);
        if first {
            self.0.wake.signal();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_out_in_order_and_no_more_of_them_than_there_is_room_for() {
        let ends = handovers(2).unwrap();
        let outlet = &ends[0].outlets()[1];
        let give = |n: usize, size: usize| outlet.give(Handed::Owned(n as u32), VnetHdr::default(), &vec![7; size]);
        assert!((0..MOST_PACKETS).all(|n| give(n, 60)));
        assert!(!give(0, 60));
        let mut taken = Vec::new();
        ends[0].take(&mut taken);
        assert!(taken.is_empty(), "nothing for the first");
        ends[1].take(&mut taken);
        let numbers = taken.iter().map(|packet| packet.handed);
        assert!(numbers.eq((0..MOST_PACKETS as u32).map(Handed::Owned)));
        ends[1].recycle(&mut taken);
        assert!(taken.is_empty());
        assert_eq!((0..100).filter(|&n| give(n, 60_000)).count(), MOST_BYTES / 60_000);
    }
}
