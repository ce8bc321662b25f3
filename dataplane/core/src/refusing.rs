//! Transfers that a content proxy refuses without its control side, for which a client's request would wait: those of keys that it
//! does not serve, and all of them while it drains or has no room. The control side says what it serves, exactly, and judges what
//! this table cannot; it hears what was refused when the client is likely to have its answer.
//!
//! `TRANSFER_REQUEST` and `TRANSFER_REFUSE` have their pictures in `braid/transfer.py`, keys theirs in `braid/stored.py`.

use crate::event::{Event, Outbox};
use crate::node::Node;
use crate::transmit::Over;
use crate::wire::Kind;
use blake2::digest::consts::U11;
use blake2::{Blake2b, Digest};
use braid_packet::{Sink, TcpRecord, Time};
use hashbrown::{HashMap, HashSet};
use std::collections::VecDeque;
use std::net::IpAddr;

const VERSION: u8 = 1;
const REQUEST: u8 = 16;
const REFUSE: u8 = 18;
/// Where the key of what is asked for begins.
const HEAD: usize = 40;
const MOST_CONTENT: usize = 1024;
/// Keys, more than are ever stored; VIPs.
const MOST_KEYS: usize = 131_072;
const MOST_VIPS: usize = 65_536;
/// A request is repeated for a tenth of that at most.
const REMEMBER: u64 = Time::SECOND;
/// For so long the processor is the origin's, for which the client waits.
const PAUSE: u64 = 20 * Time::MILLISECOND;
/// Requests that are remembered, or wait to be told.
const MOST: usize = 1024;

/// Of `braid.transfer.Reason`, those that need no look at a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Content = 1,
    Busy = 3,
    Draining = 7,
}

impl Reason {
    pub fn from_number(number: u8) -> Option<Reason> {
        [Reason::Content, Reason::Busy, Reason::Draining].into_iter().find(|&reason| reason as u8 == number)
    }
}

/// What the control side says of what it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serving {
    /// It judges everything from now on, as at first.
    Unknown,
    /// Connections of this VIP are refused here if one of these gateways asks. None of them: it judges them.
    Vip(IpAddr, Vec<u16>),
    Keys(Vec<u64>),
    NoKeys(Vec<u64>),
    /// Whatever is asked for is refused, or not any more.
    Nothing(Option<Reason>),
}

/// Why a message is no request that can be decided here. The control side says what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRequest {
    Short,
    Version,
    Kind,
    Length,
    Content,
    Record(&'static str),
}

/// What decides, of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    pub id: [u8; 16],
    pub vip: IpAddr,
    pub content: &'a [u8],
}

impl Asked<'_> {
    pub fn decode(message: &[u8]) -> Result<Asked<'_>, BadRequest> {
        let (head, rest) = message.split_first_chunk::<HEAD>().ok_or(BadRequest::Short)?;
        let number = |at: usize| usize::from(u16::from_be_bytes([head[at], head[at + 1]]));
        if head[0] != VERSION {
            return Err(BadRequest::Version);
        }
        if head[1] != REQUEST {
            return Err(BadRequest::Kind);
        }
        if number(2) != message.len() {
            return Err(BadRequest::Length);
        }
        let length = number(38);
        if length == 0 || length > MOST_CONTENT {
            return Err(BadRequest::Content);
        }
        let (content, record) = rest.split_at_checked(length).ok_or(BadRequest::Short)?;
        let vip = TcpRecord::local_host(record).map_err(BadRequest::Record)?;
        let id = std::array::from_fn(|at| head[4 + at]);
        Ok(Asked { id, vip, content })
    }
}

/// A key as the control side names it: the first bytes of its hash.
pub fn key_of(content: &[u8]) -> u64 {
    let hash = Blake2b::<U11>::digest(content);
    hash.iter().take(8).fold(0, |key, &byte| key << 8 | u64::from(byte))
}

#[derive(Default)]
pub struct Refusing {
    vips: HashMap<IpAddr, Vec<u16>>,
    keys: HashSet<u64>,
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
                (self.nothing, self.overflown) = (None, false);
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
                    self.keys.extend(keys);
                }
            }
            Serving::NoKeys(keys) => keys.iter().for_each(|key| {
                self.keys.remove(key);
            }),
            Serving::Nothing(reason) => self.nothing = reason,
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
        let lacks = || !self.overflown && !self.keys.contains(&key_of(asked.content));
        let room = self.told.len() < MOST && self.judged.len() < MOST;
        let reason = self.nothing.or_else(|| lacks().then_some(Reason::Content)).filter(|_| decides && room);
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
    use proptest::prelude::*;

    const GATEWAY: u16 = 31;
    const VIP: [u8; 4] = [10, 91, 1, 173];
    const KEY: &[u8] = b"http://shop.apps.example/a";

    fn bytes(text: &str, name: &str) -> Vec<u8> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap();
        let digits: Vec<u8> = line.bytes().filter(|byte| *byte != b' ').collect();
        let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
        digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
    }

    fn golden(name: &str) -> Vec<u8> {
        bytes(include_str!("../../../tests/vectors/transfer.txt"), name)
    }

    /// With an id of its own.
    fn request(id: u8, vip: [u8; 4], content: &[u8]) -> Vec<u8> {
        let record = TcpRecord {
            local: (vip, 80).into(),
            remote: ([192, 0, 2, 7], 4000).into(),
            send_next: 1,
            receive_next: 2,
            mss: 1360,
            scales: None,
            sack: false,
            timestamp: None,
            window: Default::default(),
            unread: b"GET".to_vec(),
            unacknowledged: Vec::new(),
            unsent: Vec::new(),
        };
        let mut message = golden("request")[..HEAD].to_vec();
        message[4..20].fill(id);
        message[38..40].copy_from_slice(&(content.len() as u16).to_be_bytes());
        message.extend_from_slice(content);
        message.extend(record.encode());
        let length = message.len() as u16;
        message[2..4].copy_from_slice(&length.to_be_bytes());
        message
    }

    fn serving() -> Refusing {
        let mut refusing = Refusing::default();
        refusing.learn(Serving::Keys(vec![key_of(KEY)]));
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
        assert_eq!((asked.vip, asked.content), (IpAddr::from(VIP), KEY));
        assert_eq!(refusal(asked.id, Reason::Content), golden("refuse"));
        assert_eq!(Asked::decode(&golden("request")), Err(BadRequest::Record("record_truncated")));
        assert_eq!(Asked::decode(&golden("accept")), Err(BadRequest::Short));
        let key = bytes(include_str!("../../../tests/vectors/stored.txt"), "key");
        assert_eq!(key_of(KEY).to_be_bytes(), key[..]);
    }

    #[test]
    fn what_is_no_request_is_not_decided() {
        let good = request(1, VIP, KEY);
        let wrong = |at: usize, value: u8| {
            let mut message = good.clone();
            message[at] = value;
            Asked::decode(&message).map(|_| ()).unwrap_err()
        };
        assert_eq!(wrong(0, 2), BadRequest::Version);
        assert_eq!(wrong(1, 17), BadRequest::Kind);
        assert_eq!(wrong(3, good[3] ^ 1), BadRequest::Length);
        assert_eq!(wrong(39, 0), BadRequest::Content);
        assert_eq!(wrong(38, 4), BadRequest::Content);
        assert_eq!(wrong(38, 3), BadRequest::Short);
        assert_eq!(wrong(HEAD + KEY.len(), 2), BadRequest::Record("record_version"));
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
        refusing.learn(Serving::Keys(vec![key_of(b"http://x/")]));
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
        refusing.learn(Serving::Keys((0..MOST_KEYS as u64).collect()));
        assert_eq!(reason(&mut refusing, &request(1, VIP, b"http://x/")), None, "not all is known");
        assert!(refusing.keys.len() <= MOST_KEYS);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_left(at in 0usize..120, value in any::<u8>(), keep in 0usize..130, tail in proptest::collection::vec(any::<u8>(), 0..9)) {
            let mut message = request(1, VIP, KEY);
            if let Some(byte) = message.get_mut(at) {
                *byte = value;
            }
            message.truncate(keep);
            message.extend(tail);
            let length = message.len() as u16;
            for length_too in [false, true] {
                if length_too && message.len() > 3 {
                    message[2..4].copy_from_slice(&length.to_be_bytes());
                }
                if let Ok(asked) = Asked::decode(&message) {
                    prop_assert_eq!(&message[4..20], &asked.id);
                    prop_assert_eq!(&message[HEAD..HEAD + asked.content.len()], asked.content);
                }
                serving().judge(GATEWAY, &message, Time(0));
            }
        }
    }
}
