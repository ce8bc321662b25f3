use crate::address::widen_v4;
use crate::key::Key;
use crate::Nat;
use braid_packet::ip::{TCP, UDP};

/// Below this the table is in a near cache anyway.
const FEW: usize = 1 << 12;
/// Packets at once: what is brought for them is to be there still when their turn comes.
const MOST: usize = 512;

/// Packets to come: their hashes, and where their flows probably are. Kept, so that no batch allocates.
#[derive(Debug)]
pub(crate) struct Ahead {
    hashes: Vec<u64>,
    places: Vec<u32>,
    /// How many of them have come.
    come: usize,
}

impl Ahead {
    pub(crate) fn new() -> Ahead {
        Ahead { hashes: Vec::with_capacity(MOST), places: Vec::with_capacity(MOST), come: 0 }
    }

    /// The next packet comes: probably of the flow at this place.
    pub(crate) fn next(&mut self) -> Option<u32> {
        let place = self.places.get(self.come).copied();
        self.come += 1;
        place
    }
}

impl Nat {
    /// To be told what packets `forward` will get next, in this order: with very many flows most of its time is
    /// waiting for memory, and the waits of different packets can overlap. What it is told is not relied on.
    pub fn look_ahead<'a>(&mut self, packets: impl Iterator<Item = &'a [u8]>) {
        let Ahead { hashes, places, come } = &mut self.ahead;
        hashes.clear();
        places.clear();
        *come = 0;
        if self.table.len() < FEW {
            return;
        }
        let keyed = self.table.keyed();
        hashes.extend(packets.take(MOST).map(|packet| glance(packet).map_or(0, |key| keyed.hash(&key))));
        self.table.fetch(hashes, places);
    }
}

/// The key of an ordinary packet, unchecked: whatever it is, it is only a hint.
#[inline]
pub(crate) fn glance(packet: &[u8]) -> Option<Key> {
    let first = *packet.first()?;
    let (near, far, protocol, ports) = if first >> 4 == 4 {
        let header: &[u8; 20] = packet.first_chunk()?;
        let addresses = u64::from_be_bytes(*header.last_chunk()?);
        let [near, far] = [addresses >> 32, addresses].map(|address| widen_v4(address as u32));
        (near, far, header[9], packet.get(usize::from(first & 15) * 4..)?)
    } else {
        let (header, ports) = packet.split_first_chunk::<40>()?;
        let near = u128::from_be_bytes(*header.get(8..)?.first_chunk()?);
        (near, u128::from_be_bytes(*header.last_chunk()?), header[6], ports)
    };
    let ports = u32::from_be_bytes(*ports.first_chunk()?);
    let (near_port, far_port) = ((ports >> 16) as u16, ports as u16);
    matches!(protocol, TCP | UDP).then_some(Key { near, far, near_port, far_port, protocol })
}
