//! The gate in front of handshakes: what costs a Diffie-Hellman passes only after everything cheap was checked.
//!
//! mac1, a copy filter (handshakes are replicated on purpose), a token bucket per neighbour, and under load a cookie.

use crate::cookie::{self, Secret};
use crate::handshake::{mac1_is_good, mac2_is_good, macs, MACS};
use crate::wire::Kind;
use braid_packet::Time;
use hashbrown::HashMap;
use std::net::SocketAddr;

const PER_SECOND: u64 = 20;
const BURST: u64 = 40;
/// Initiations in one second, over all neighbours, above which an adjacent one must carry our cookie.
const LOAD: u64 = 200;
const REMEMBERED: usize = 256;
/// Noise message 2 with its payload, and both macs: nothing shorter is a handshake.
const SHORTEST: usize = 32 + 16 + MACS;

#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// Send this cookie message body back.
    Cookie([u8; cookie::BODY]),
    Drop(&'static str),
}

pub struct Gate {
    public: [u8; 32],
    secret: Option<Secret>,
    /// By neighbour, cookie messages apart: those have no mac1, so anybody who spoofs the neighbour's address can make them.
    buckets: HashMap<(u16, bool), (u64, Time)>,
    recent: [[u8; 16]; REMEMBERED],
    next: usize,
    second: (u64, u64),
    nonce: u64,
}

impl Gate {
    pub fn new(public: [u8; 32]) -> Gate {
        Gate {
            public,
            secret: None,
            buckets: HashMap::new(),
            recent: [[0; 16]; REMEMBERED],
            next: 0,
            second: (0, 0),
            nonce: 0,
        }
    }

    pub fn set_secret(&mut self, random: [u8; 32]) {
        self.secret = Some(Secret::new(random));
    }

    /// `neighbour` handed us the message; `from` is its address if the handshake is between the two of us.
    pub fn check(
        &mut self,
        kind: Kind,
        receiver: u32,
        body: &[u8],
        neighbour: u16,
        from: Option<&SocketAddr>,
        now: Time,
    ) -> Verdict {
        if kind == Kind::Cookie {
            return if body.len() == cookie::BODY {
                self.spend(neighbour, true, now)
            } else {
                Verdict::Drop("handshake_length")
            };
        }
        if body.len() < SHORTEST || !mac1_is_good(kind, receiver, body, &self.public) {
            return Verdict::Drop("handshake_mac1");
        }
        let Some((_, mac1, _)) = macs(body) else { return Verdict::Drop("handshake_length") };
        if self.recent.contains(&mac1) {
            return Verdict::Drop("handshake_copy");
        }
        if let (Kind::Initiation, Some(from), Some(secret)) = (kind, from, &self.secret) {
            let (second, count) = self.second;
            self.second = if second == now.0 / Time::SECOND { (second, count + 1) } else { (now.0 / Time::SECOND, 1) };
            let cookie = secret.cookie(from);
            if self.second.1 > LOAD && !mac2_is_good(body, &cookie) {
                self.nonce += 1;
                let mut nonce = [0; 12];
                nonce[..8].copy_from_slice(&(self.nonce ^ now.0).to_be_bytes());
                return match cookie::seal(&cookie, &self.public, &mac1, nonce) {
                    Some(reply) => Verdict::Cookie(reply),
                    None => Verdict::Drop("handshake_load"),
                };
            }
        }
        let verdict = self.spend(neighbour, false, now);
        if verdict == Verdict::Pass {
            self.recent[self.next] = mac1;
            self.next = (self.next + 1) % REMEMBERED;
        }
        verdict
    }

    fn spend(&mut self, neighbour: u16, cookie: bool, now: Time) -> Verdict {
        let full = BURST * Time::SECOND;
        let (tokens, at) = self.buckets.entry((neighbour, cookie)).or_insert((full, now));
        *tokens = full.min(tokens.saturating_add(now.since(*at).saturating_mul(PER_SECOND)));
        *at = now;
        if *tokens < Time::SECOND {
            return Verdict::Drop("handshake_rate");
        }
        *tokens -= Time::SECOND;
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::Handshaker;

    fn initiation(gate_public: &[u8; 32], seed: u64) -> crate::handshake::Message {
        let mut state = seed;
        let random = Box::new(move || {
            state += 1;
            state
        });
        Handshaker::new([3; 32], 1, random).unwrap().initiate(2, true, gate_public, b"", Time(0)).unwrap()
    }

    fn public() -> [u8; 32] {
        crate::handshake::public_key(&[5; 32]).unwrap()
    }

    #[test]
    fn a_copy_and_a_forgery_cost_nothing_more() {
        let mut gate = Gate::new(public());
        let m = initiation(&public(), 1);
        assert_eq!(gate.check(m.kind, m.receiver, &m.body, 7, None, Time(0)), Verdict::Pass);
        assert_eq!(gate.check(m.kind, m.receiver, &m.body, 8, None, Time(0)), Verdict::Drop("handshake_copy"));
        let other = initiation(&[9; 32], 1);
        assert_eq!(gate.check(m.kind, m.receiver, &other.body, 7, None, Time(0)), Verdict::Drop("handshake_mac1"));
    }

    #[test]
    fn one_neighbour_cannot_use_up_the_rate_of_another() {
        let mut gate = Gate::new(public());
        let mut passed = 0;
        for seed in 0..100 {
            let m = initiation(&public(), seed * 1000);
            passed += u64::from(gate.check(m.kind, m.receiver, &m.body, 7, None, Time(0)) == Verdict::Pass);
        }
        assert_eq!(passed, BURST);
        let m = initiation(&public(), 1_000_000);
        assert_eq!(gate.check(m.kind, m.receiver, &m.body, 8, None, Time(0)), Verdict::Pass);
        let m = initiation(&public(), 2_000_000);
        assert_eq!(gate.check(m.kind, m.receiver, &m.body, 7, None, Time(Time::SECOND)), Verdict::Pass);
    }

    #[test]
    fn forged_cookies_do_not_use_up_the_rate_of_handshakes() {
        let mut gate = Gate::new(public());
        let forged = [7; cookie::BODY];
        let passed =
            (0..1000).filter(|_| gate.check(Kind::Cookie, 1, &forged, 7, None, Time(0)) == Verdict::Pass).count();
        assert_eq!(passed as u64, BURST);
        let m = initiation(&public(), 1);
        assert_eq!(gate.check(m.kind, m.receiver, &m.body, 7, None, Time(0)), Verdict::Pass);
    }

    #[test]
    fn under_load_a_smaller_cookie_answers() {
        let mut gate = Gate::new(public());
        gate.set_secret([1; 32]);
        let from: SocketAddr = "10.0.0.1:7400".parse().unwrap();
        let mut cookies = 0;
        for seed in 0..300 {
            let m = initiation(&public(), seed * 1000);
            match gate.check(m.kind, m.receiver, &m.body, seed as u16 % 100, Some(&from), Time(0)) {
                Verdict::Cookie(reply) => {
                    assert!(reply.len() < m.body.len() / 2);
                    cookies += 1;
                }
                verdict => assert_eq!(verdict, Verdict::Pass),
            }
        }
        assert_eq!(cookies, 300 - LOAD);
    }
}
