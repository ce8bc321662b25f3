use crate::address::widen_v4;
use crate::key::Key;
use crate::Nat;
use braid_packet::ip::{TCP, UDP};

/// Below this the table is in a near cache anyway.
const FEW: usize = 1 << 12;
/// Packets at once: what is brought for them is to be there still when their turn comes.
const MOST: usize = 512;

/// Hashes of packets to come and where their flows may be; kept, so that no batch allocates.
#[derive(Debug)]
pub(crate) struct Ahead {
    hashes: Vec<u64>,
    places: Vec<u32>,
}

impl Ahead {
    pub(crate) fn new() -> Ahead {
        Ahead { hashes: Vec::with_capacity(MOST), places: Vec::with_capacity(MOST) }
    }
}

impl Nat {
    /// To be told what packets `forward` will get next, in any number: with very many flows most of its time is
    /// waiting for memory, and the waits of different packets can overlap. Changes nothing else.
    pub fn look_ahead<'a>(&mut self, packets: impl Iterator<Item = &'a [u8]>) {
        if self.table.len() < FEW {
            return;
        }
        let (keyed, Ahead { hashes, places }) = (self.table.keyed(), &mut self.ahead);
        hashes.clear();
        hashes.extend(packets.take(MOST).filter_map(glance).map(|key| keyed.hash(&key)));
        self.table.fetch(hashes, places);
    }
}

/// The key of an ordinary packet, unchecked: whatever it is, it is only a hint.
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
