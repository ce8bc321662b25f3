//! Noise IK between two nodes (`snow`), with the cheap first check and the cookie of WireGuard in front of it.
//!
//! ```text
//! initiation: Noise message 1 (e, es, s, ss, payload) | mac1 16 | mac2 16
//!   payload:  1 version | 1 adjacent | 2 number | 4 index | 1 epoch | 1 suite | 8 boot | 8 counter | certificate
//! response:   Noise message 2 (e, ee, se, payload) | mac1 16 | mac2 16
//!   payload:  4 index | 1 epoch | 1 suite | 8 boot
//! ```
//! mac1 is keyed with the recipient's public key, mac2 with the cookie it handed out. A message processed twice is a no-op:
//! an initiation's counter must grow within one boot of its sender, a response consumes the initiation it answers.

mod keys;
mod mac;
#[cfg(test)]
mod tests;

pub use keys::derive;
pub(crate) use mac::mac;
pub use mac::{mac1_is_good, mac2_is_good, macs, MACS};

use crate::seal::{DirectionKeys, Suite};
use crate::wire::Kind;
use braid_packet::Time;
use hashbrown::HashMap;
use snow::{Builder, HandshakeState};
use zeroize::Zeroizing;

use keys::split;
use mac::{mac1_of, MAC};

const PATTERN: &str = "Noise_IK_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE: &[u8] = b"braid 1";
const VERSION: u8 = 1;
const PREFIX: usize = 26;
const RESPONSE_PAYLOAD: usize = 14;
/// Largest handshake message: fits an IPv6 minimum-MTU datagram with the hop header.
pub const MOST_MESSAGE: usize = 1200;
const PENDING_PER_PEER: usize = 4;
const PENDING_ACCEPTS: usize = 256;
const PENDING_LIFETIME: u64 = 5 * Time::SECOND;
const COOKIE_LIFETIME: u64 = 120 * Time::SECOND;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    Length,
    Noise,
    Payload,
    /// An initiation that was accepted before, or older than one that was.
    Stale,
    /// Answers no pending initiation.
    Unexpected,
    Busy,
    /// A public key that Noise refuses.
    Key,
}

impl HandshakeError {
    pub fn as_str(self) -> &'static str {
        match self {
            HandshakeError::Length => "handshake_length",
            HandshakeError::Noise => "handshake_noise",
            HandshakeError::Payload => "handshake_payload",
            HandshakeError::Stale => "handshake_stale",
            HandshakeError::Unexpected => "handshake_unexpected",
            HandshakeError::Busy => "handshake_busy",
            HandshakeError::Key => "handshake_key",
        }
    }
}

/// Everything the data plane needs to use a session whose handshake is done.
pub struct NewSession {
    pub peer: u16,
    pub adjacent: bool,
    pub initiator: bool,
    /// Ours: the peer puts it in `receiver`.
    pub local_index: u32,
    pub remote_index: u32,
    pub local_epoch: u8,
    pub remote_epoch: u8,
    /// Another one each time the peer's process starts.
    pub remote_boot: u64,
    pub suite: Suite,
    pub tx: DirectionKeys,
    pub rx: DirectionKeys,
}

/// An initiation that decrypted: who it claims to be, proved to own `static_key`; the certificate is yet to be verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initiation {
    pub id: u64,
    pub peer: u16,
    pub adjacent: bool,
    pub static_key: [u8; 32],
    pub certificate: Vec<u8>,
}

/// A message to send: `receiver` goes into the header, `body` behind it.
#[derive(Debug)]
pub struct Message {
    pub kind: Kind,
    pub receiver: u32,
    pub body: Vec<u8>,
}

struct Sent {
    index: u32,
    epoch: u8,
    peer: u16,
    adjacent: bool,
    mac1: [u8; MAC],
    at: Time,
    noise: HandshakeState,
}

struct Received {
    id: u64,
    at: Time,
    peer: u16,
    adjacent: bool,
    remote_index: u32,
    remote_epoch: u8,
    suite: Suite,
    boot: u64,
    counter: u64,
    static_key: [u8; 32],
    noise: HandshakeState,
}

/// All handshakes of one node. Not safe for concurrent use. Destroyed with the process: nothing of it is ever stored.
pub struct Handshaker {
    private: Zeroizing<[u8; 32]>,
    public: [u8; 32],
    number: u16,
    boot: u64,
    counter: u64,
    next_id: u64,
    random: Box<dyn FnMut() -> u64 + Send>,
    sent: Vec<Sent>,
    received: Vec<Received>,
    /// Newest accepted initiation by peer: (boot, counter).
    latest: HashMap<(u16, bool), (u64, u64)>,
    epochs: HashMap<(u16, bool), u8>,
    cookies: HashMap<u16, ([u8; MAC], Time)>,
}

impl Handshaker {
    /// `random` must be cryptographically strong: indices and the boot id come from it.
    pub fn new(
        private: [u8; 32],
        number: u16,
        mut random: Box<dyn FnMut() -> u64 + Send>,
    ) -> Result<Handshaker, HandshakeError> {
        let public = public_key(&private).ok_or(HandshakeError::Key)?;
        let boot = random();
        Ok(Handshaker {
            private: Zeroizing::new(private),
            public,
            number,
            boot,
            counter: 0,
            next_id: 1,
            random,
            sent: Vec::new(),
            received: Vec::new(),
            latest: HashMap::new(),
            epochs: HashMap::new(),
            cookies: HashMap::new(),
        })
    }

    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    fn index(&mut self) -> u32 {
        loop {
            let index = (self.random)() as u32;
            if index != 0 {
                return index;
            }
        }
    }

    fn epoch(&mut self, peer: u16, adjacent: bool) -> u8 {
        let epoch = self.epochs.entry((peer, adjacent)).or_insert(0);
        *epoch = epoch.wrapping_add(1);
        *epoch
    }

    pub fn initiate(
        &mut self,
        peer: u16,
        adjacent: bool,
        peer_static: &[u8; 32],
        certificate: &[u8],
        now: Time,
    ) -> Result<Message, HandshakeError> {
        self.expire(now);
        let of_peer = |s: &Sent| s.peer == peer && s.adjacent == adjacent;
        if self.sent.iter().filter(|s| of_peer(s)).count() >= PENDING_PER_PEER {
            if let Some(oldest) = self.sent.iter().position(of_peer) {
                self.sent.remove(oldest);
            }
        }
        let mut noise = builder(&self.private)?
            .remote_public_key(peer_static)
            .and_then(Builder::build_initiator)
            .map_err(|_| HandshakeError::Key)?;
        let (index, epoch) = (self.index(), self.epoch(peer, adjacent));
        self.counter += 1;
        let mut payload = Vec::with_capacity(PREFIX + certificate.len());
        payload.extend_from_slice(&[VERSION, u8::from(adjacent)]);
        payload.extend_from_slice(&self.number.to_be_bytes());
        payload.extend_from_slice(&index.to_be_bytes());
        payload.extend_from_slice(&[epoch, Suite::preferred() as u8]);
        payload.extend_from_slice(&self.boot.to_be_bytes());
        payload.extend_from_slice(&self.counter.to_be_bytes());
        payload.extend_from_slice(certificate);
        let body = write(&mut noise, &payload)?;
        let cookie = self.cookies.get(&peer).filter(|(_, at)| now.since(*at) < COOKIE_LIFETIME).map(|(c, _)| *c);
        let message = finish(Kind::Initiation, index, body, peer_static, cookie)?;
        let mac1 = macs(&message.body).map(|(_, mac1, _)| mac1).ok_or(HandshakeError::Length)?;
        self.sent.push(Sent { index, epoch, peer, adjacent, mac1, at: now, noise });
        Ok(message)
    }

    /// Reads an initiation whose mac1 was checked. Costs two Diffie-Hellman operations.
    pub fn receive_initiation(&mut self, body: &[u8], now: Time) -> Result<Initiation, HandshakeError> {
        self.expire(now);
        if self.received.len() >= PENDING_ACCEPTS {
            return Err(HandshakeError::Busy);
        }
        let (message, _, _) = macs(body).ok_or(HandshakeError::Length)?;
        let mut noise = builder(&self.private)?.build_responder().map_err(|_| HandshakeError::Key)?;
        let mut payload = vec![0; message.len()];
        let length = noise.read_message(message, &mut payload).map_err(|_| HandshakeError::Noise)?;
        payload.truncate(length);
        let (prefix, certificate) = payload.split_first_chunk::<PREFIX>().ok_or(HandshakeError::Payload)?;
        let suite = Suite::decode(prefix[9]).ok_or(HandshakeError::Payload)?;
        if prefix[0] != VERSION || prefix[1] > 1 {
            return Err(HandshakeError::Payload);
        }
        let (peer, adjacent) = (u16::from_be_bytes([prefix[2], prefix[3]]), prefix[1] == 1);
        let (boot, counter) = (number(&prefix[10..18]), number(&prefix[18..]));
        if self.latest.get(&(peer, adjacent)).is_some_and(|&(b, c)| b == boot && counter <= c) {
            return Err(HandshakeError::Stale);
        }
        if self
            .received
            .iter()
            .any(|r| r.peer == peer && r.adjacent == adjacent && r.boot == boot && r.counter == counter)
        {
            return Err(HandshakeError::Stale);
        }
        let static_key: [u8; 32] =
            noise.get_remote_static().and_then(|key| key.try_into().ok()).ok_or(HandshakeError::Noise)?;
        let id = self.next_id;
        self.next_id += 1;
        self.received.push(Received {
            id,
            at: now,
            peer,
            adjacent,
            remote_index: u32::from_be_bytes([prefix[4], prefix[5], prefix[6], prefix[7]]),
            remote_epoch: prefix[8],
            suite: if suite == Suite::preferred() { suite } else { Suite::ChaCha20Poly1305 },
            boot,
            counter,
            static_key,
            noise,
        });
        Ok(Initiation { id, peer, adjacent, static_key, certificate: certificate.to_vec() })
    }

    /// Answers an initiation whose certificate is good. The session must be installed before the response is sent.
    pub fn accept(&mut self, id: u64, now: Time) -> Result<(NewSession, Message), HandshakeError> {
        self.expire(now);
        let at = self.received.iter().position(|r| r.id == id).ok_or(HandshakeError::Unexpected)?;
        let mut pending = self.received.swap_remove(at);
        let key = (pending.peer, pending.adjacent);
        if self.latest.get(&key).is_some_and(|&(b, c)| b == pending.boot && pending.counter <= c) {
            return Err(HandshakeError::Stale);
        }
        let (local_index, local_epoch) = (self.index(), self.epoch(pending.peer, pending.adjacent));
        let mut payload = [0; RESPONSE_PAYLOAD];
        payload[..4].copy_from_slice(&local_index.to_be_bytes());
        payload[4..6].copy_from_slice(&[local_epoch, pending.suite as u8]);
        payload[6..].copy_from_slice(&self.boot.to_be_bytes());
        let body = write(&mut pending.noise, &payload)?;
        let message = finish(Kind::Response, pending.remote_index, body, &pending.static_key, None)?;
        let (from_initiator, from_responder) = split(&mut pending.noise)?;
        self.latest.insert(key, (pending.boot, pending.counter));
        let session = NewSession {
            peer: pending.peer,
            adjacent: pending.adjacent,
            initiator: false,
            local_index,
            remote_index: pending.remote_index,
            local_epoch,
            remote_epoch: pending.remote_epoch,
            remote_boot: pending.boot,
            suite: pending.suite,
            tx: from_responder,
            rx: from_initiator,
        };
        Ok((session, message))
    }

    pub fn refuse(&mut self, id: u64) {
        self.received.retain(|r| r.id != id);
    }

    /// Reads the answer to the initiation with our index `receiver`; that initiation is consumed by success only.
    pub fn receive_response(&mut self, receiver: u32, body: &[u8], now: Time) -> Result<NewSession, HandshakeError> {
        self.expire(now);
        let at = self.sent.iter().position(|s| s.index == receiver).ok_or(HandshakeError::Unexpected)?;
        let (message, _, _) = macs(body).ok_or(HandshakeError::Length)?;
        let mut payload = vec![0; message.len()];
        let length = self.sent[at].noise.read_message(message, &mut payload).map_err(|_| HandshakeError::Noise)?;
        let mut sent = self.sent.swap_remove(at);
        let payload: [u8; RESPONSE_PAYLOAD] = payload[..length].try_into().map_err(|_| HandshakeError::Payload)?;
        let suite = Suite::decode(payload[5]).ok_or(HandshakeError::Payload)?;
        let (from_initiator, from_responder) = split(&mut sent.noise)?;
        Ok(NewSession {
            peer: sent.peer,
            adjacent: sent.adjacent,
            initiator: true,
            local_index: sent.index,
            remote_index: u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]]),
            local_epoch: sent.epoch,
            remote_epoch: payload[4],
            remote_boot: number(&payload[6..]),
            suite,
            tx: from_initiator,
            rx: from_responder,
        })
    }

    /// A cookie for the pending initiation `receiver`: later initiations to that peer carry it.
    pub fn receive_cookie(
        &mut self,
        receiver: u32,
        body: &[u8],
        peer_static: &[u8; 32],
        now: Time,
    ) -> Result<(), HandshakeError> {
        let sent = self.sent.iter().find(|s| s.index == receiver).ok_or(HandshakeError::Unexpected)?;
        let cookie = crate::cookie::open(body, peer_static, &sent.mac1).ok_or(HandshakeError::Noise)?;
        self.cookies.insert(sent.peer, (cookie, now));
        Ok(())
    }

    /// Whom a pending initiation went to.
    pub fn pending_peer(&self, receiver: u32) -> Option<u16> {
        self.sent.iter().find(|s| s.index == receiver).map(|s| s.peer)
    }

    fn expire(&mut self, now: Time) {
        self.sent.retain(|s| now.since(s.at) < PENDING_LIFETIME);
        self.received.retain(|r| now.since(r.at) < PENDING_LIFETIME);
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

fn builder(private: &[u8; 32]) -> Result<Builder<'_>, HandshakeError> {
    let params = PATTERN.parse().map_err(|_| HandshakeError::Key)?;
    Builder::new(params).prologue(PROLOGUE).and_then(|b| b.local_private_key(private)).map_err(|_| HandshakeError::Key)
}

/// X25519 public key; None where the private one is unusable.
pub fn public_key(private: &[u8; 32]) -> Option<[u8; 32]> {
    use snow::params::DHChoice;
    use snow::resolvers::{CryptoResolver, DefaultResolver};
    let mut dh = DefaultResolver.resolve_dh(&DHChoice::Curve25519)?;
    dh.set(private);
    dh.pubkey().try_into().ok()
}

fn write(noise: &mut HandshakeState, payload: &[u8]) -> Result<Vec<u8>, HandshakeError> {
    let mut body = vec![0; payload.len() + 128];
    let length = noise.write_message(payload, &mut body).map_err(|_| HandshakeError::Noise)?;
    body.truncate(length);
    if body.len() + MACS > MOST_MESSAGE {
        return Err(HandshakeError::Length);
    }
    Ok(body)
}

fn finish(
    kind: Kind,
    receiver: u32,
    mut body: Vec<u8>,
    recipient: &[u8; 32],
    cookie: Option<[u8; MAC]>,
) -> Result<Message, HandshakeError> {
    let mac1 = mac1_of(kind, receiver, &body, recipient);
    body.extend_from_slice(&mac1);
    let mac2 = cookie.map_or([0; MAC], |cookie| mac(&cookie, &[&body]));
    body.extend_from_slice(&mac2);
    Ok(Message { kind, receiver, body })
}
