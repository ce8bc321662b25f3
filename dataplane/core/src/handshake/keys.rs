//! From what Noise leaves behind to the keys of the two directions (HKDF-SHA256, RFC 5869).

use super::{HandshakeError, PROLOGUE};
use crate::seal::DirectionKeys;
use ring::hkdf;
use snow::HandshakeState;
use zeroize::Zeroizing;

/// Keys from initiator to responder, and back.
pub(super) fn split(noise: &mut HandshakeState) -> Result<(DirectionKeys, DirectionKeys), HandshakeError> {
    let (a, b) = noise.dangerously_get_raw_split();
    let (a, b) = (Zeroizing::new(a), Zeroizing::new(b));
    Ok((derive(&a)?, derive(&b)?))
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// A transport key of Noise becomes the keys of its direction.
pub fn derive(secret: &[u8; 32]) -> Result<DirectionKeys, HandshakeError> {
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, PROLOGUE).extract(secret);
    let mut okm = Zeroizing::new([0u8; 52]);
    prk.expand(&[b"aead salt hop"], Length(okm.len()))
        .and_then(|expanded| expanded.fill(okm.as_mut()))
        .map_err(|_| HandshakeError::Key)?;
    let mut keys = DirectionKeys { aead: Zeroizing::new([0; 32]), salt: [0; 4], hop: Zeroizing::new([0; 16]) };
    keys.aead.copy_from_slice(&okm[..32]);
    keys.salt.copy_from_slice(&okm[32..36]);
    keys.hop.copy_from_slice(&okm[36..]);
    Ok(keys)
}
