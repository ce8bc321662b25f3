//! The cookie of a node under a flood of handshakes (after WireGuard's): stateless proof that a sender receives at its address.
//!
//! ```text
//! cookie message body: 12 nonce | ChaCha20-Poly1305(16 cookie) + 16 tag      AAD = mac1 of the initiation it answers
//! ```

use crate::handshake::mac;
use ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey, CHACHA20_POLY1305};
use std::net::{IpAddr, SocketAddr};

/// Shorter than any initiation: a cookie is never an amplifier.
pub const BODY: usize = 44;

/// From which cookies are made; replaced by its owner every two minutes.
pub struct Secret([u8; 32]);

impl Secret {
    pub fn new(random: [u8; 32]) -> Secret {
        Secret(random)
    }

    /// Bound to address and port.
    pub fn cookie(&self, source: &SocketAddr) -> [u8; 16] {
        let port = source.port().to_be_bytes();
        match source.ip() {
            IpAddr::V4(address) => mac(&self.0, &[&address.octets(), &port]),
            IpAddr::V6(address) => mac(&self.0, &[&address.octets(), &port]),
        }
    }
}

fn key(responder: &[u8; 32]) -> Option<LessSafeKey> {
    let low = mac(responder, &[b"cookie 1"]);
    let high = mac(responder, &[b"cookie 2"]);
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&low);
    bytes[16..].copy_from_slice(&high);
    UnboundKey::new(&CHACHA20_POLY1305, &bytes).ok().map(LessSafeKey::new)
}

/// The key is public to everyone who knows the responder's, so a random nonce's collision reveals nothing.
pub fn seal(cookie: &[u8; 16], responder: &[u8; 32], mac1: &[u8; 16], nonce: [u8; 12]) -> Option<[u8; BODY]> {
    let mut body = [0; BODY];
    body[..12].copy_from_slice(&nonce);
    body[12..28].copy_from_slice(cookie);
    let tag = key(responder)?
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(mac1), &mut body[12..28])
        .ok()?;
    body[28..].copy_from_slice(tag.as_ref());
    Some(body)
}

pub fn open(body: &[u8], responder: &[u8; 32], mac1: &[u8; 16]) -> Option<[u8; 16]> {
    let body: [u8; BODY] = body.try_into().ok()?;
    let (nonce, sealed) = body.split_first_chunk::<12>()?;
    let mut sealed = sealed.to_vec();
    let plain =
        key(responder)?.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(mac1), &mut sealed).ok()?;
    (&*plain).try_into().ok()
}
