//! The two macs at the end of every handshake message (after WireGuard's).

use super::MOST_MESSAGE;
use crate::wire::Kind;
use blake2::digest::{consts::U16, KeyInit, Mac};
use blake2::Blake2sMac;

pub(super) const MAC: usize = 16;
/// Both macs at the end of a message.
pub const MACS: usize = 2 * MAC;

/// Keyed BLAKE2s-128 over the parts; the key is at most 32 bytes.
pub(crate) fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; MAC] {
    let Ok(mut state) = <Blake2sMac<U16> as KeyInit>::new_from_slice(key) else { return [0; MAC] };
    for part in parts {
        Mac::update(&mut state, part);
    }
    state.finalize().into_bytes().into()
}

pub(super) fn mac1_of(kind: Kind, receiver: u32, message: &[u8], recipient: &[u8; 32]) -> [u8; MAC] {
    mac(recipient, &[b"mac1", &[kind as u8], &receiver.to_be_bytes(), message])
}

/// Splits a handshake message into Noise part, mac1 and mac2.
pub fn macs(body: &[u8]) -> Option<(&[u8], [u8; MAC], [u8; MAC])> {
    if body.len() > MOST_MESSAGE {
        return None;
    }
    let (rest, mac2) = body.split_last_chunk::<MAC>()?;
    let (message, mac1) = rest.split_last_chunk::<MAC>()?;
    Some((message, *mac1, *mac2))
}

/// In a time that does not depend on where they differ.
fn equal(a: [u8; MAC], b: [u8; MAC]) -> bool {
    u128::from_ne_bytes(a) ^ u128::from_ne_bytes(b) == 0
}

/// The cheap first check: was this made by somebody who knows our public key?
pub fn mac1_is_good(kind: Kind, receiver: u32, body: &[u8], own_public: &[u8; 32]) -> bool {
    macs(body).is_some_and(|(message, mac1, _)| equal(mac1, mac1_of(kind, receiver, message, own_public)))
}

/// Does mac2 prove that the sender received our cookie at its address?
pub fn mac2_is_good(body: &[u8], cookie: &[u8; MAC]) -> bool {
    macs(body).is_some_and(|(_, _, mac2)| {
        let covered = &body[..body.len() - MAC];
        equal(mac2, mac(cookie, &[covered]))
    })
}
