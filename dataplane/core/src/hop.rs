//! The hop tag: proves to a neighbour that a header came from us unchanged and belongs to this ciphertext.
//!
//! SipHash-2-4 (64 bits) over header bytes 0..24, the datagram's length and its last 16 bytes (the AEAD tag, or the
//! end of the mac of a handshake message). Keyed per neighbour, direction and hop key epoch.

use crate::wire::{HEADER, OVERHEAD};
use siphasher::sip::SipHasher24;

#[derive(Clone)]
pub struct HopKey(SipHasher24);

impl HopKey {
    pub fn new(key: &[u8; 16]) -> HopKey {
        HopKey(SipHasher24::new_with_key(key))
    }

    fn tag(&self, datagram: &[u8]) -> Option<u64> {
        if datagram.len() < OVERHEAD {
            return None;
        }
        let mut covered = [0u8; 48];
        covered[..24].copy_from_slice(&datagram[..24]);
        covered[24..32].copy_from_slice(&(datagram.len() as u64).to_be_bytes());
        covered[32..].copy_from_slice(&datagram[datagram.len() - 16..]);
        Some(self.0.hash(&covered))
    }

    /// Writes the tag into a datagram whose other header bytes are final. Datagrams shorter than `OVERHEAD` stay untouched.
    pub fn sign(&self, datagram: &mut [u8]) {
        if let Some(tag) = self.tag(datagram) {
            datagram[24..HEADER].copy_from_slice(&tag.to_be_bytes());
        }
    }

    /// One 64-bit comparison: its time does not depend on where the tags differ.
    pub fn verify(&self, datagram: &[u8], tag: u64) -> bool {
        self.tag(datagram).is_some_and(|expected| expected ^ tag == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_flipped_bit_that_is_covered_is_noticed(mut datagram in proptest::collection::vec(any::<u8>(), OVERHEAD..200), bit in any::<prop::sample::Index>()) {
            let key = HopKey::new(&[7; 16]);
            key.sign(&mut datagram);
            let tag = u64::from_be_bytes(datagram[24..32].try_into().unwrap());
            prop_assert!(key.verify(&datagram, tag));
            prop_assert!(!HopKey::new(&[8; 16]).verify(&datagram, tag));
            let covered: Vec<usize> = (0..24).chain(datagram.len() - 16..datagram.len()).collect();
            let bit = bit.index(covered.len() * 8);
            datagram[covered[bit / 8]] ^= 1 << (bit % 8);
            prop_assert!(!key.verify(&datagram, tag));
            datagram[covered[bit / 8]] ^= 1 << (bit % 8);
            datagram.insert(HEADER, 0);
            prop_assert!(!key.verify(&datagram, tag));
        }
    }
}
