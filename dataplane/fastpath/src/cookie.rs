//! SYN cookies: the sequence number of a SYN-ACK says all that its ACK brings back (RFC 4987 3.6).
//!
//! ```text
//! cookie = options + high of isn (modulo 2^10) | low of isn, enciphered 22       isn: the client's initial sequence number
//! options = slot 2 | mss 3 | scale 4 | sack 1                                    isn = high 10 | low 22
//! cipher = Feistel network of four rounds on halves of 11 bits; round n adds key n to the right half, multiplies by 0x9e3779b1
//!          modulo 2^32, and the top 11 bits of that go into the left one by exclusive or; then the halves change places
//! keys   = SipHash-2-4(key of the period; client 16 | VIP 16 | client port 2 | VIP port 2 | options 2 | high 2),
//!          in four words of 16 bits, low ones first
//! ```
//!
//! An IPv4 address is hashed as `::ffff:a.b.c.d`, a number in network byte order. `slot` is the period modulo 4. Because the
//! client's number is enciphered and not hashed, a later segment of the same client is known as such, and how far it is
//! ahead; because it is not just added, a segment of a connection that has carried as much one way as the other is not
//! taken for the first one. What is negotiated is in the sequence number itself, so that clients without timestamps keep
//! window scale and SACK. The timestamp of the SYN-ACK begins at a number of its own for each cookie (RFC 7323 7.1).

use siphasher::sip::SipHasher24;
use std::net::{IpAddr, SocketAddr};

/// Segment sizes that a cookie can say; the client's is rounded down. Inner MTUs of overlays are just below 1500 or 9000.
pub const MSS: [u16; 8] = [536, 1220, 1300, 1340, 1360, 1380, 1440, 8900];
/// Largest window scale (RFC 7323 2.3).
pub const MOST_SCALE: u8 = 14;
/// Stands for no window scale.
const NO_SCALE: u32 = 15;

const SLOTS: usize = 4;
/// Of the client's number, enciphered.
const LOW_BITS: u32 = 22;
const LOW: u32 = (1 << LOW_BITS) - 1;
const HALF_BITS: u32 = LOW_BITS / 2;
const HALF: u32 = (1 << HALF_BITS) - 1;
const ROUNDS: u32 = 4;
const TOP: u32 = (1 << 10) - 1;

/// The two ends of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub client: SocketAddr,
    pub vip: SocketAddr,
}

/// What a client negotiated, as far as a cookie says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Index into `MSS`.
    pub mss: u8,
    /// Window scale of the client.
    pub scale: Option<u8>,
    pub sack: bool,
}

impl Carried {
    /// What remains of a SYN's options.
    pub fn new(mss: u16, scale: Option<u8>, sack: bool) -> Carried {
        let index = MSS.iter().rposition(|&known| known <= mss).unwrap_or(0);
        Carried { mss: index as u8, scale: scale.map(|scale| scale.min(MOST_SCALE)), sack }
    }

    /// Bytes.
    pub fn mss(&self) -> u16 {
        MSS[usize::from(self.mss & 7)]
    }

    fn encode(self, slot: usize) -> u32 {
        let scale = self.scale.map_or(NO_SCALE, u32::from);
        (slot as u32) << 8 | u32::from(self.mss & 7) << 5 | scale << 1 | u32::from(self.sack)
    }

    fn decode(bits: u32) -> Carried {
        let scale = bits >> 1 & 15;
        Carried { mss: (bits >> 5 & 7) as u8, scale: (scale != NO_SCALE).then_some(scale as u8), sack: bits & 1 == 1 }
    }
}

/// The key of one period. All gateways of a region have the same; how long a period lasts is its giver's matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeriodKey {
    pub period: u64,
    pub key: [u8; 16],
}

/// What a client's first acknowledgement is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It is the answer to a SYN-ACK of ours.
    Valid(Carried),
    /// It acknowledges a SYN-ACK of ours, but bytes before it have not come.
    Early,
    Forged,
}

/// Keys of the periods whose cookies are good now.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    by_slot: [Option<SipHasher24>; SLOTS],
    /// Whose cookies are made.
    current: usize,
}

impl Keys {
    /// Cookies are made with the key of `current`, and believed with any of `all`: the period before it, and for gateways
    /// whose clocks are ahead the one after.
    pub fn new(current: u64, all: &[PeriodKey]) -> Keys {
        let mut by_slot = [const { None }; SLOTS];
        for key in all.iter().filter(|key| key.period.abs_diff(current) <= 1) {
            by_slot[slot(key.period)] = Some(SipHasher24::new_with_key(&key.key));
        }
        Keys { by_slot, current: slot(current) }
    }

    pub fn is_empty(&self) -> bool {
        self.by_slot.iter().all(Option::is_none)
    }

    /// The sequence number of the SYN-ACK, and where its timestamps begin. None while there is no key.
    pub fn make(&self, ends: &Ends, sequence: u32, carried: Carried) -> Option<(u32, u32)> {
        let (options, high) = (carried.encode(self.current), sequence >> LOW_BITS);
        let keys = self.hash(ends, options, high)?;
        Some(((options.wrapping_add(high) & TOP) << LOW_BITS | encipher(keys, sequence & LOW), (keys >> 32) as u32))
    }

    /// Of a segment with ACK that belongs to no connection. It is `Early` up to `ahead` bytes behind the first one.
    pub fn check(&self, ends: &Ends, sequence: u32, acknowledgement: u32, ahead: u32) -> Checked {
        // Both numbers are one more than those of SYN and SYN-ACK.
        let (newest, cookie) = (sequence.wrapping_sub(1), acknowledgement.wrapping_sub(1));
        let oldest = newest.wrapping_sub(ahead);
        let highs = [newest >> LOW_BITS, oldest >> LOW_BITS];
        for &high in if highs[0] == highs[1] { &highs[..1] } else { &highs } {
            let options = (cookie >> LOW_BITS).wrapping_sub(high) & TOP;
            let Some(keys) = self.hash(ends, options, high) else { continue };
            match newest.wrapping_sub(high << LOW_BITS | decipher(keys, cookie & LOW)) {
                0 => return Checked::Valid(Carried::decode(options)),
                bytes if bytes <= ahead => return Checked::Early,
                _ => {}
            }
        }
        Checked::Forged
    }

    fn hash(&self, ends: &Ends, options: u32, high: u32) -> Option<u64> {
        let hasher = self.by_slot[options as usize >> 8 & (SLOTS - 1)].as_ref()?;
        let mut bytes = [0; 40];
        bytes[..16].copy_from_slice(&widen(ends.client.ip()));
        bytes[16..32].copy_from_slice(&widen(ends.vip.ip()));
        bytes[32..34].copy_from_slice(&ends.client.port().to_be_bytes());
        bytes[34..36].copy_from_slice(&ends.vip.port().to_be_bytes());
        bytes[36..38].copy_from_slice(&(options as u16).to_be_bytes());
        bytes[38..].copy_from_slice(&(high as u16).to_be_bytes());
        Some(hasher.hash(&bytes))
    }
}

fn encipher(keys: u64, low: u32) -> u32 {
    let (mut left, mut right) = (low >> HALF_BITS, low & HALF);
    for n in 0..ROUNDS {
        (left, right) = (right, left ^ round(keys, n, right));
    }
    left << HALF_BITS | right
}

fn decipher(keys: u64, low: u32) -> u32 {
    let (mut left, mut right) = (low >> HALF_BITS, low & HALF);
    for n in (0..ROUNDS).rev() {
        (left, right) = (right ^ round(keys, n, left), left);
    }
    left << HALF_BITS | right
}

fn round(keys: u64, n: u32, half: u32) -> u32 {
    let key = (keys >> (16 * n)) as u32 & 0xffff;
    half.wrapping_add(key).wrapping_mul(0x9e37_79b1) >> (32 - HALF_BITS)
}

fn slot(period: u64) -> usize {
    (period % SLOTS as u64) as usize
}

fn widen(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AHEAD: u32 = 16_384;

    fn ends(port: u16) -> Ends {
        let client = SocketAddr::new("192.0.2.7".parse().unwrap(), port);
        Ends { client, vip: "203.0.113.1:80".parse().unwrap() }
    }

    fn key(period: u64) -> PeriodKey {
        PeriodKey { period, key: [period as u8; 16] }
    }

    fn keys(current: u64) -> Keys {
        Keys::new(current, &[key(current - 1), key(current), key(current + 1)])
    }

    fn any_carried() -> impl Strategy<Value = Carried> {
        (0u8..8, proptest::option::of(0u8..=14), any::<bool>()).prop_map(|(mss, scale, sack)| Carried {
            mss,
            scale,
            sack,
        })
    }

    proptest! {
        #[test]
        fn an_answer_says_what_was_negotiated(isn: u32, port: u16, carried in any_carried()) {
            let (cookie, _) = keys(9).make(&ends(port), isn, carried).unwrap();
            let checked = keys(9).check(&ends(port), isn.wrapping_add(1), cookie.wrapping_add(1), AHEAD);
            prop_assert_eq!(checked, Checked::Valid(carried));
        }

        #[test]
        fn a_later_segment_is_early_and_one_beyond_is_forged(isn: u32, port: u16, carried in any_carried(), by in 1..=AHEAD) {
            let (cookie, _) = keys(9).make(&ends(port), isn, carried).unwrap();
            let at = |by: u32| keys(9).check(&ends(port), isn.wrapping_add(1).wrapping_add(by), cookie.wrapping_add(1), AHEAD);
            prop_assert_eq!(at(by), Checked::Early);
            prop_assert_eq!(at(by + AHEAD), Checked::Forged);
        }

        /// The gateway has started again, and this is the middle of a connection from before.
        #[test]
        fn a_segment_of_a_connection_that_has_carried_bytes_is_forged(
            isn: u32, port: u16, carried in any_carried(), sent in 0u32..100_000, received in 1u32..100_000, equal: bool
        ) {
            let received = if equal { sent.max(1) } else { received };
            let (cookie, _) = keys(9).make(&ends(port), isn, carried).unwrap();
            let (sequence, acknowledgement) = (isn.wrapping_add(1 + sent), cookie.wrapping_add(1 + received));
            let checked = keys(9).check(&ends(port), sequence, acknowledgement, AHEAD);
            // By chance one of 256 counts as early.
            prop_assert!(!matches!(checked, Checked::Valid(_)));
        }

        #[test]
        fn cookies_live_two_periods_and_clocks_may_differ_by_one(made in 5u64..9, checked in 5u64..9, isn: u32) {
            let carried = Carried::new(1460, Some(7), true);
            let (cookie, _) = keys(made).make(&ends(4000), isn, carried).unwrap();
            let worth = keys(checked).check(&ends(4000), isn.wrapping_add(1), cookie.wrapping_add(1), AHEAD);
            prop_assert_eq!(worth == Checked::Valid(carried), made.abs_diff(checked) <= 1);
        }
    }

    #[test]
    fn the_middle_of_a_connection_is_mostly_forged_and_not_early() {
        let (cookie, _) = keys(9).make(&ends(4000), 77, Carried::new(1460, Some(7), true)).unwrap();
        let early = (1..10_000)
            .filter(|n| keys(9).check(&ends(4000), 78 + n, cookie.wrapping_add(1 + n), AHEAD) != Checked::Forged);
        let early = early.count();
        assert!(early < 100, "{early} of 10,000");
    }

    #[test]
    fn forgers_have_no_more_luck_than_the_mac_allows() {
        let keys = keys(9);
        let valid = (0..4_000_000_u32)
            .filter(|n| {
                let acknowledgement = n.wrapping_mul(2_654_435_761);
                matches!(keys.check(&ends(4000), 1, acknowledgement, AHEAD), Checked::Valid(_))
            })
            .count();
        // 0.72 are expected.
        assert!(valid < 8, "{valid}");
    }

    #[test]
    fn sizes_are_rounded_down_and_no_key_makes_no_cookie() {
        for (size, said) in [(0, 536), (536, 536), (1219, 536), (1220, 1220), (1364, 1360), (1460, 1440), (9999, 8900)]
        {
            assert_eq!(Carried::new(size, None, false).mss(), said);
        }
        assert_eq!(Keys::default().make(&ends(1), 0, Carried::new(1460, None, true)), None);
        assert_eq!(Keys::default().check(&ends(1), 1, 2, AHEAD), Checked::Forged);
    }
}
