//! The AEAD of a session, one direction: each packet is sealed once, whatever the number of its copies.
//!
//! Nonce = 32-bit salt | 64-bit sequence. Key and salt come from one handshake and one direction, the sequence only grows
//! within its lane, and the lane is a part of it: so no nonce is used twice. `Sealer` refuses to go past the packet limit of
//! AES-GCM (RFC 9001 B.1.1: 2^28 for short packets), of which each lane has an equal share.

use crate::shard::Lanes;
use crate::wire::{aside_start, associated_data, lane_start, position, HEADER, OVERHEAD, TAG};
use ring::aead::{Aad, Algorithm, LessSafeKey, Nonce, UnboundKey, AES_256_GCM, CHACHA20_POLY1305};

/// Packets of all lanes after which new keys are asked for, and after which the old ones are dead.
pub const REKEY_AFTER: u64 = 1 << 27;
pub const REFUSE_AFTER: u64 = 1 << 28;
const REFUSE_ASIDE_AFTER: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Suite {
    Aes256Gcm = 1,
    ChaCha20Poly1305 = 2,
}

impl Suite {
    pub fn decode(value: u8) -> Option<Suite> {
        match value {
            1 => Some(Suite::Aes256Gcm),
            2 => Some(Suite::ChaCha20Poly1305),
            _ => None,
        }
    }

    /// What this machine does quickly: AES where it is in hardware.
    pub fn preferred() -> Suite {
        #[cfg(target_arch = "x86_64")]
        let aes = std::is_x86_feature_detected!("aes") && std::is_x86_feature_detected!("pclmulqdq");
        #[cfg(target_arch = "aarch64")]
        let aes = std::arch::is_aarch64_feature_detected!("aes");
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let aes = false;
        if aes {
            Suite::Aes256Gcm
        } else {
            Suite::ChaCha20Poly1305
        }
    }

    fn algorithm(self) -> &'static Algorithm {
        match self {
            Suite::Aes256Gcm => &AES_256_GCM,
            Suite::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        }
    }
}

/// Key material of one direction, as the key derivation gives it. Never printed, never cloned.
pub struct DirectionKeys {
    pub aead: zeroize::Zeroizing<[u8; 32]>,
    pub salt: [u8; 4],
    pub hop: zeroize::Zeroizing<[u8; 16]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// The key's packet limit is reached.
    Exhausted,
    /// The AEAD refused: wrong length or key.
    Aead,
}

struct Key {
    key: LessSafeKey,
    salt: [u8; 4],
}

impl Key {
    fn new(suite: Suite, keys: &DirectionKeys) -> Option<Key> {
        let key = UnboundKey::new(suite.algorithm(), keys.aead.as_ref()).ok()?;
        Some(Key { key: LessSafeKey::new(key), salt: keys.salt })
    }

    fn nonce(&self, sequence: u64) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&self.salt);
        nonce[4..].copy_from_slice(&sequence.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }
}

pub struct Sealer {
    key: Key,
    /// The last sequence number handed out, by slot.
    last: Box<[u64]>,
    /// The same of what is numbered aside.
    last_aside: Box<[u64]>,
    /// Of each lane.
    rekey_after: u64,
    refuse_after: u64,
}

impl Sealer {
    /// For these lanes; all that share the keys must differ in theirs.
    pub fn new(suite: Suite, keys: &DirectionKeys, lanes: Lanes) -> Option<Sealer> {
        let total = u64::from(lanes.total());
        Some(Sealer {
            key: Key::new(suite, keys)?,
            last: (0..lanes.slots()).map(|slot| lane_start(lanes.lane(slot))).collect(),
            last_aside: (0..lanes.slots()).map(|slot| aside_start(lanes.lane(slot))).collect(),
            rekey_after: REKEY_AFTER / total,
            refuse_after: REFUSE_AFTER / total,
        })
    }

    /// Packets sealed so far.
    pub fn sealed(&self) -> u64 {
        self.last.iter().copied().map(position).sum()
    }

    /// Whether new keys are due.
    pub fn is_worn(&self) -> bool {
        self.last.iter().any(|&last| position(last) > self.rekey_after)
    }

    /// The next packet's sequence number; each is handed out once.
    pub fn reserve(&mut self, slot: usize) -> Result<u64, SealError> {
        let last = self.last.get_mut(slot).ok_or(SealError::Exhausted)?;
        if position(*last) >= self.refuse_after {
            return Err(SealError::Exhausted);
        }
        *last += 1;
        Ok(*last)
    }

    /// The same for what is numbered aside: it is rare, and has so few numbers that the key's limit needs no share for it.
    pub fn reserve_aside(&mut self, slot: usize) -> Result<u64, SealError> {
        let last = self.last_aside.get_mut(slot).ok_or(SealError::Exhausted)?;
        if position(*last) >= REFUSE_ASIDE_AFTER {
            return Err(SealError::Exhausted);
        }
        *last += 1;
        Ok(*last)
    }

    /// Encrypts the payload between header and tag in place. The header's immutable bytes and sequence must be written.
    pub fn seal(&self, datagram: &mut [u8], sequence: u64) -> Result<(), SealError> {
        if datagram.len() < OVERHEAD {
            return Err(SealError::Aead);
        }
        let (header, rest) = datagram.split_first_chunk_mut::<HEADER>().ok_or(SealError::Aead)?;
        let (payload, tag_out) = rest.split_at_mut(rest.len() - TAG);
        let aad = Aad::from(associated_data(header));
        let tag = self
            .key
            .key
            .seal_in_place_separate_tag(self.key.nonce(sequence), aad, payload)
            .map_err(|_| SealError::Aead)?;
        tag_out.copy_from_slice(tag.as_ref());
        Ok(())
    }
}

pub struct Opener {
    key: Key,
}

impl Opener {
    pub fn new(suite: Suite, keys: &DirectionKeys) -> Option<Opener> {
        Some(Opener { key: Key::new(suite, keys)? })
    }

    /// Decrypts in place; the payload is `datagram[HEADER..HEADER + length]` for the length returned. None: forged or damaged,
    /// and the datagram's payload bytes are then undefined.
    pub fn open(&self, datagram: &mut [u8], sequence: u64) -> Option<usize> {
        let (header, rest) = datagram.split_first_chunk_mut::<HEADER>()?;
        let aad = Aad::from(associated_data(header));
        let payload = self.key.key.open_in_place(self.key.nonce(sequence), aad, rest).ok()?;
        Some(payload.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::Place;
    use proptest::prelude::*;

    fn keys(fill: u8) -> DirectionKeys {
        DirectionKeys { aead: [fill; 32].into(), salt: [fill; 4], hop: [fill; 16].into() }
    }

    proptest! {
        #[test]
        fn opens_what_was_sealed_and_nothing_else(payload in proptest::collection::vec(any::<u8>(), 0..300), bit in any::<prop::sample::Index>(), chacha in any::<bool>()) {
            let suite = if chacha { Suite::ChaCha20Poly1305 } else { Suite::Aes256Gcm };
            let (mut sealer, opener) = (Sealer::new(suite, &keys(1), Lanes::ONE).unwrap(), Opener::new(suite, &keys(1)).unwrap());
            let mut datagram = vec![0x14; HEADER];
            datagram.extend_from_slice(&payload);
            datagram.extend_from_slice(&[0; TAG]);
            let sequence = sealer.reserve(0).unwrap();
            sealer.seal(&mut datagram, sequence).unwrap();
            let immutable = [0, 2, 4, 5, 6, 7].into_iter().chain(HEADER..datagram.len()).collect::<Vec<_>>();
            let bit = bit.index(immutable.len() * 8);
            let mut forged = datagram.clone();
            forged[immutable[bit / 8]] ^= 1 << (bit % 8);
            prop_assert_eq!(opener.open(&mut forged, sequence), None);
            prop_assert_eq!(opener.open(&mut datagram.clone(), sequence + 1), None);
            let length = opener.open(&mut datagram, sequence).unwrap();
            prop_assert_eq!(&datagram[HEADER..HEADER + length], &payload[..]);
        }
    }

    #[test]
    fn the_packet_limit_is_an_error_and_never_wraps() {
        let mut sealer = Sealer::new(Suite::Aes256Gcm, &keys(1), Lanes::ONE).unwrap();
        sealer.last[0] = REFUSE_AFTER - 1;
        assert_eq!(sealer.reserve(0), Ok(REFUSE_AFTER));
        assert_eq!(sealer.reserve(0), Err(SealError::Exhausted));
        assert_eq!(sealer.reserve(0), Err(SealError::Exhausted));
        assert_eq!(sealer.sealed(), REFUSE_AFTER);
    }

    #[test]
    fn lanes_share_the_limit_of_their_key_and_never_a_nonce() {
        let mut all = std::collections::BTreeSet::new();
        for index in 0..2 {
            let lanes = Place::new(index, 2).unwrap().lanes(4);
            let mut sealer = Sealer::new(Suite::Aes256Gcm, &keys(1), lanes).unwrap();
            for slot in 0..2 {
                for _ in 0..3 {
                    assert!(all.insert(sealer.reserve(slot).unwrap()));
                }
                assert!(!sealer.is_worn());
                let start = lane_start(lanes.lane(slot));
                sealer.last[slot] = start + REKEY_AFTER / 4;
                sealer.reserve(slot).unwrap();
                assert!(sealer.is_worn());
                sealer.last[slot] = start + REFUSE_AFTER / 4 - 1;
                assert_eq!(sealer.reserve(slot).unwrap(), start + REFUSE_AFTER / 4);
                assert_eq!(sealer.reserve(slot), Err(SealError::Exhausted));
                sealer.last[slot] = start;
                let aside = sealer.reserve_aside(slot).unwrap();
                assert!(all.insert(aside) && all.insert(sealer.reserve_aside(slot).unwrap()));
                assert_eq!(position(aside), 1);
            }
            assert_eq!(sealer.reserve(2), Err(SealError::Exhausted), "no such lane");
        }
        assert_eq!(all.len(), 20);
        assert_eq!(
            all.iter().map(|sequence| sequence >> 56).collect::<std::collections::BTreeSet<_>>(),
            (0..4).collect()
        );
    }
}
