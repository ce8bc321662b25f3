//! Transfers that a content proxy refuses without its control side, for which a client's request would wait: those of keys that it
//! does not serve, those that no answer fits which is stored (`answer.rs`), and all of them while it drains or has no room. The
//! control side says what it serves, exactly, and judges what this table cannot; it hears what was refused when the client is
//! likely to have its answer.
//!
//! `TRANSFER_REFUSE` has its picture in `braid/transfer.py`, keys have theirs in `braid/stored.py`.

use crate::answer::{Answer, Use};
use crate::asked::{Asked, REQUEST, VERSION};
use crate::event::{Event, Outbox};
use crate::node::Node;
use crate::transmit::Over;
use crate::wire::Kind;
use blake2::digest::consts::U11;
use blake2::{Blake2b, Digest};
use braid_packet::{Sink, Time};
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::net::IpAddr;

const REFUSE: u8 = 18;
/// Keys, more than are ever stored; VIPs.
const MOST_KEYS: usize = 131_072;
const MOST_VIPS: usize = 65_536;
/// A request is repeated for a tenth of that at most.
const REMEMBER: u64 = Time::SECOND;
/// For so long the processor is the origin's, for which the client waits.
const PAUSE: u64 = 20 * Time::MILLISECOND;
/// Requests that are remembered, or wait to be told.
const MOST: usize = 1024;

/// Of `braid.transfer.Reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Content = 1,
    Busy = 3,
    Draining = 7,
    Variant = 10,
}

impl Reason {
    /// Of those that need no look at a request.
    pub fn from_number(number: u8) -> Option<Reason> {
        [Reason::Content, Reason::Busy, Reason::Draining].into_iter().find(|&reason| reason as u8 == number)
    }
}

/// What the control side says of what it serves.
#[derive(Clone, Debug, PartialEq)]
pub enum Serving {
    /// It judges everything from now on, as at first.
    Unknown,
    /// Connections of this VIP are refused here if one of these gateways asks. None of them: it judges them.
    Vip(IpAddr, Vec<u16>),
    /// With all that is stored under them. Nothing said of a key: what asks for it is judged by the control side.
    Keys(Vec<(u64, Vec<Answer>)>),
    NoKeys(Vec<u64>),
    /// Whatever is asked for is refused, or not any more.
    Nothing(Option<Reason>),
    /// What the time is when ours is zero, in Unix seconds.
    Clock(f64),
}

/// A key as the control side names it: the first bytes of its hash.
pub fn key_of(content: &[u8]) -> u64 {
    let hash = Blake2b::<U11>::digest(content);
    hash.iter().take(8).fold(0, |key, &byte| key << 8 | u64::from(byte))
}

#[derive(Default)]
pub struct Refusing {
    vips: HashMap<IpAddr, Vec<u16>>,
    keys: HashMap<u64, Box<[Answer]>>,
    clock: Option<f64>,
    nothing: Option<Reason>,
    /// Too much was said to be kept: what is known is not all.
    overflown: bool,
    /// Requests that the control side has, which answers their repetitions too; until when.
    judged: HashMap<[u8; 16], Time>,
    /// What was refused, and when it is told; by whom it was asked.
    told: VecDeque<(Time, u16, Reason, Vec<u8>)>,
    /// Came in this batch, and from whom.
    came: Vec<(u16, Vec<u8>)>,
}

impl Refusing {
    pub fn learn(&mut self, serving: Serving) {
        match serving {
            Serving::Unknown => {
                self.vips.clear();
                self.keys.clear();
                (self.nothing, self.overflown, self.clock) = (None, false, None);
            }
            Serving::Vip(vip, gateways) if gateways.is_empty() => {
                self.vips.remove(&vip);
            }
            Serving::Vip(vip, gateways) => {
                if self.vips.len() < MOST_VIPS {
                    self.vips.insert(vip, gateways);
                }
            }
            Serving::Keys(keys) => {
                self.overflown |= self.keys.len() + keys.len() > MOST_KEYS;
                if !self.overflown {
                    self.keys.extend(keys.into_iter().map(|(key, answers)| (key, answers.into())));
                }
            }
            Serving::NoKeys(keys) => keys.iter().for_each(|key| {
                self.keys.remove(key);
            }),
            Serving::Nothing(reason) => self.nothing = reason,
            Serving::Clock(seconds) => self.clock = Some(seconds),
        }
    }

    /// Whether a neighbour's message is one to be decided here; it is kept then until `Node::receive_asked`.
    pub(crate) fn takes(&mut self, peer: u16, message: &[u8]) -> bool {
        let takes = !self.vips.is_empty() && message.get(1) == Some(&REQUEST);
        if takes {
            self.came.push((peer, message.to_vec()));
        }
        takes
    }

    /// Why a request is refused. None: the control side judges it, and whatever repeats it.
    pub fn judge(&mut self, peer: u16, message: &[u8], now: Time) -> Option<(Reason, [u8; 16])> {
        let asked = Asked::decode(message).ok()?;
        if let Some((.., reason, _)) =
            self.told.iter().find(|(_, sender, _, told)| *sender == peer && told[4..20] == asked.id)
        {
            return Some((*reason, asked.id));
        }
        if self.judged.contains_key(&asked.id) {
            return None;
        }
        let decides = self.vips.get(&asked.vip).is_some_and(|gateways| gateways.contains(&peer));
        let room = self.told.len() < MOST && self.judged.len() < MOST;
        let reason = (decides && room).then(|| self.nothing.or_else(|| self.reason(&asked, now))).flatten();
        match reason {
            Some(reason) => {
                self.told.push_back((now.after(PAUSE), peer, reason, message.to_vec()));
                Some((reason, asked.id))
            }
            None => {
                if self.judged.len() < MOST {
                    self.judged.insert(asked.id, now.after(REMEMBER));
                }
                None
            }
        }
    }

    fn reason(&self, asked: &Asked<'_>, now: Time) -> Option<Reason> {
        if self.overflown {
            return None;
        }
        let Some(answers) = self.keys.get(&key_of(asked.content)) else { return Some(Reason::Content) };
        if answers.is_empty() {
            return None;
        }
        let wall = self.clock? + now.0 as f64 / Time::SECOND as f64;
        let fits = asked.with_fields(|fields| {
            answers.iter().any(|each| each.is_selected(fields) && each.judge(fields, wall) != Use::Validate)
        });
        (fits == Some(false)).then_some(Reason::Variant)
    }

    /// The next that the control side is to hear of.
    pub fn next_told(&mut self, now: Time) -> Option<(u16, Reason, Vec<u8>)> {
        self.next_timeout().filter(|&due| due <= now)?;
        let (_, peer, reason, message) = self.told.pop_front()?;
        Some((peer, reason, message))
    }

    pub fn next_timeout(&self) -> Option<Time> {
        self.told.front().map(|(due, ..)| *due)
    }

    pub(crate) fn expire(&mut self, now: Time) {
        self.judged.retain(|_, until| *until > now);
    }
}

fn refusal(id: [u8; 16], reason: Reason) -> Vec<u8> {
    [&[VERSION, REFUSE, 0, 21], &id[..], &[reason as u8]].concat()
}

impl<O: Outbox> Node<O> {
    pub(crate) fn receive_asked(&mut self, now: Time, sink: &mut impl Sink) {
        for (peer, message) in std::mem::take(&mut self.refusing.came) {
            match self.refusing.judge(peer, &message, now) {
                Some((reason, id)) => {
                    self.net.send_sealed((peer, true), 0, Kind::Control, Over::Widest, &refusal(id, reason), sink);
                }
                None => self.outbox.event(Event::Control { peer, adjacent: true, message }),
            }
        }
    }

    pub(crate) fn tell_refused(&mut self, now: Time) {
        while let Some((peer, reason, message)) = self.refusing.next_told(now) {
            self.outbox.event(Event::Refused { peer, reason, message });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asked::tests::{self as asked, bytes, golden, KEY, VIP};

    const GATEWAY: u16 = 31;

    fn request(id: u8, vip: [u8; 4], content: &[u8]) -> Vec<u8> {
        asked::request(id, vip, content, b"GET /a HTTP/1.1\r\nHost: shop.apps.example\r\n\r\n")
    }

    fn serving() -> Refusing {
        let mut refusing = Refusing::default();
        refusing.learn(Serving::Keys(vec![(key_of(KEY), Vec::new())]));
        refusing.learn(Serving::Vip(VIP.into(), vec![GATEWAY]));
        refusing
    }

    fn reason(refusing: &mut Refusing, message: &[u8]) -> Option<Reason> {
        refusing.judge(GATEWAY, message, Time(0)).map(|(reason, _)| reason)
    }

    #[test]
    fn messages_and_keys_are_those_that_python_knows() {
        let found = golden("request_of_a_connection");
        let asked = Asked::decode(&found).unwrap();
        assert_eq!(refusal(asked.id, Reason::Content), golden("refuse"));
        let key = bytes(include_str!("../../../tests/vectors/stored.txt"), "key");
        assert_eq!(key_of(KEY).to_be_bytes(), key[..]);
    }

    #[test]
    fn the_key_alone_decides_where_a_gateway_asks_about_a_vip() {
        let mut refusing = serving();
        assert_eq!(reason(&mut refusing, &request(1, VIP, b"http://shop.apps.example/b")), Some(Reason::Content));
        assert_eq!(reason(&mut refusing, &request(2, VIP, KEY)), None, "it is served, most likely");
        assert_eq!(reason(&mut refusing, &request(3, [10, 0, 0, 1], b"http://x/")), None, "of another VIP");
        let strange = refusing.judge(GATEWAY + 1, &request(4, VIP, b"http://x/"), Time(0));
        assert_eq!(strange, None, "of a node that may not ask");
        refusing.learn(Serving::Nothing(Some(Reason::Draining)));
        assert_eq!(reason(&mut refusing, &request(5, VIP, KEY)), Some(Reason::Draining));
        refusing.learn(Serving::Nothing(None));
        refusing.learn(Serving::NoKeys(vec![key_of(KEY)]));
        assert_eq!(reason(&mut refusing, &request(6, VIP, KEY)), Some(Reason::Content));
        refusing.learn(Serving::Unknown);
        assert_eq!(reason(&mut refusing, &request(7, VIP, KEY)), None);
        assert!(!refusing.takes(GATEWAY, &request(7, VIP, KEY)));
    }

    #[test]
    fn what_was_said_is_said_again() {
        let mut refusing = serving();
        let (lacked, served) = (request(1, VIP, b"http://x/"), request(2, VIP, KEY));
        assert_eq!(reason(&mut refusing, &lacked), Some(Reason::Content));
        assert_eq!(reason(&mut refusing, &served), None);
        refusing.learn(Serving::Keys(vec![(key_of(b"http://x/"), Vec::new())]));
        refusing.learn(Serving::NoKeys(vec![key_of(KEY)]));
        assert_eq!(reason(&mut refusing, &lacked), Some(Reason::Content));
        assert_eq!(refusing.told.len(), 1, "told once");
        assert_eq!(reason(&mut refusing, &served), None, "the control side may have accepted it");
        refusing.expire(Time(REMEMBER));
        assert_eq!(reason(&mut refusing, &served), Some(Reason::Content));
    }

    #[test]
    fn the_control_side_hears_of_it_a_little_later() {
        let mut refusing = serving();
        let lacked = request(1, VIP, b"http://x/");
        reason(&mut refusing, &lacked);
        assert_eq!(refusing.next_timeout(), Some(Time(PAUSE)));
        assert_eq!(refusing.next_told(Time(PAUSE - 1)), None);
        assert_eq!(refusing.next_told(Time(PAUSE)), Some((GATEWAY, Reason::Content, lacked)));
        assert_eq!(refusing.next_timeout(), None);
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_rest_left_to_the_control_side() {
        let mut refusing = serving();
        for number in 0..MOST as u32 {
            let mut message = request(1, VIP, b"http://x/");
            message[4..8].copy_from_slice(&number.to_be_bytes());
            assert_eq!(reason(&mut refusing, &message), Some(Reason::Content));
        }
        assert_eq!(reason(&mut refusing, &request(255, VIP, b"http://x/")), None);
        let mut refusing = serving();
        refusing.learn(Serving::Keys((0..MOST_KEYS as u64).map(|key| (key, Vec::new())).collect()));
        assert_eq!(reason(&mut refusing, &request(1, VIP, b"http://x/")), None, "not all is known");
        assert!(refusing.keys.len() <= MOST_KEYS);
    }

    #[test]
    fn what_no_stored_answer_fits_is_refused() {
        let answer = Answer {
            received: 990.0,
            age: 0.0,
            lifetime: 60.0,
            behind: None,
            shareable: false,
            no_cache: false,
            must_validate: false,
            selecting: vec![(b"accept".to_vec(), b"a".to_vec())],
        };
        let other = Answer { selecting: vec![(b"accept".to_vec(), b"b".to_vec())], lifetime: 5.0, ..answer.clone() };
        let mut refusing = serving();
        refusing.learn(Serving::Keys(vec![(key_of(KEY), vec![answer, other])]));
        let mut id = 0;
        let mut asks = |refusing: &mut Refusing, fields: &str, now| {
            id += 1;
            let head = format!("GET /a HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
            let message = asked::request(id, VIP, KEY, head.as_bytes());
            refusing.judge(GATEWAY, &message, Time(now * Time::SECOND)).map(|(reason, _)| reason)
        };
        assert_eq!(asks(&mut refusing, "Accept: c\r\n", 10), None, "the time is not known");
        refusing.learn(Serving::Clock(990.0));
        assert_eq!(asks(&mut refusing, "Accept: a\r\n", 10), None);
        assert_eq!(asks(&mut refusing, "Accept: a\r\nCache-Control: max-age=10\r\n", 10), None);
        let refused = Some(Reason::Variant);
        assert_eq!(asks(&mut refusing, "Accept: a\r\nCache-Control: max-age=9\r\n", 10), refused);
        assert_eq!(asks(&mut refusing, "Accept: a\r\nCache-Control: min-fresh=51\r\n", 10), refused);
        assert_eq!(asks(&mut refusing, "Accept: a\r\nAuthorization: x\r\n", 10), refused);
        assert_eq!(asks(&mut refusing, "Accept: a\r\n", 60), refused, "stale");
        assert_eq!(asks(&mut refusing, "Accept: b\r\n", 10), refused, "stale");
        assert_eq!(asks(&mut refusing, "Accept: c\r\n", 10), refused, "another variant");
        assert_eq!(asks(&mut refusing, "Accept: c\r\nConnection: accept\r\n", 10), None, "not here");
        let told = refusing.told.back().map(|(_, _, reason, _)| *reason);
        assert_eq!(told, refused);
    }
}
