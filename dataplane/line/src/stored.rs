//! What content proxies store, by what they say, what they refused and what has changed, as a gateway knows it. Pure.
//!
//! Pages and marks have their picture in `braid/stored.py`.

use blake2::digest::consts::{U11, U16};
use blake2::{Blake2b, Digest};
use std::collections::{HashMap, HashSet, VecDeque};

const PAGES: u8 = 128;

/// What tells a key from others.
pub type Name = [u8; 11];
/// What stands for a request's fields.
pub type Fields = [u8; 16];
/// Whatever a request's fields are.
pub const ANY: Fields = [0; 16];

type Cold = (u16, Name, Fields);

pub fn name_of(key: &[u8]) -> Name {
    Blake2b::<U11>::digest(key).into()
}

/// Of a request's head, without its first line: a client says the same ones again, mostly.
pub fn fields_of(head: &[u8]) -> Fields {
    let end = head.windows(2).position(|two| two == b"\r\n").map_or(head.len(), |at| at + 2);
    Blake2b::<U16>::digest(&head[end..]).into()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Is {
    Stored,
    Absent,
    Cold,
    Outdated,
    Unknown,
}

impl Is {
    pub fn word(self) -> &'static str {
        match self {
            Is::Stored => "stored",
            Is::Absent => "absent",
            Is::Cold => "cold",
            Is::Outdated => "outdated",
            Is::Unknown => "unknown",
        }
    }
}

#[derive(Debug)]
struct Page {
    bits: Vec<u8>,
    order: u32,
    at: f64,
}

/// How long what was heard counts, in seconds, and how much is remembered.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub good_for: f64,
    pub cold: f64,
    pub most_cold: usize,
}

#[derive(Debug)]
pub struct Stored {
    limits: Limits,
    /// By proxy and number of the page.
    pages: HashMap<(u16, u8), Page>,
    /// Until when it is not asked for, and whether the pages had it nevertheless.
    cold: HashMap<Cold, (f64, bool)>,
    /// The oldest first; some were remembered anew since.
    order: VecDeque<(f64, Cold)>,
    outdated: HashSet<(u16, Name)>,
}

impl Stored {
    pub fn new(limits: Limits) -> Stored {
        Stored { limits, pages: HashMap::new(), cold: HashMap::new(), order: VecDeque::new(), outdated: HashSet::new() }
    }

    /// One page, of a message with that order.
    pub fn receive(&mut self, proxy: u16, order: u32, number: u8, bits: &[u8], now: f64) {
        let known = self.pages.get(&(proxy, number));
        let later = known.is_some_and(|page| is_later(page.order, order) && now - page.at <= self.limits.good_for);
        if !later {
            self.pages.insert((proxy, number), Page { bits: bits.to_vec(), order, at: now });
        }
    }

    pub fn forget(&mut self, proxy: u16) {
        self.pages.retain(|(of, _), _| *of != proxy);
    }

    /// The proxy has not what was asked for; with fields that are not `ANY` it has, but for other requests.
    pub fn remember_cold(&mut self, proxy: u16, name: Name, fields: Fields, now: f64) {
        while let Some(&(until, oldest)) = self.order.front() {
            if until > now && self.order.len() < self.limits.most_cold {
                break;
            }
            self.order.pop_front();
            if self.cold.get(&oldest).is_some_and(|(still, _)| *still <= until) {
                self.cold.remove(&oldest);
            }
        }
        let (until, cold) = (now + self.limits.cold, (proxy, name, fields));
        self.cold.insert(cold, (until, self.told(proxy, &name, now) == Is::Stored));
        self.order.push_back((until, cold));
    }

    /// Whether what the proxy may store is older than what the origin has.
    pub fn mark_outdated(&mut self, proxy: u16, name: Name, outdated: bool) {
        match outdated {
            true => self.outdated.insert((proxy, name)),
            false => self.outdated.remove(&(proxy, name)),
        };
    }

    pub fn is_outdated(&self, proxy: u16, name: &Name) -> bool {
        self.outdated.contains(&(proxy, *name))
    }

    /// Whether it was not there when it was asked for, a moment ago, and the proxy has not told of it since.
    pub fn is_cold(&self, proxy: u16, name: &Name, now: f64) -> bool {
        self.cold
            .get(&(proxy, *name, ANY))
            .is_some_and(|&(until, told)| until > now && (told || self.told(proxy, name, now) != Is::Stored))
    }

    pub fn look_up(&self, proxy: u16, name: &Name, fields: Fields, now: f64) -> Is {
        let unfit = fields != ANY && self.cold.get(&(proxy, *name, fields)).is_some_and(|(until, _)| *until > now);
        if unfit || self.is_cold(proxy, name, now) {
            return Is::Cold;
        }
        self.told(proxy, name, now)
    }

    /// By the pages alone.
    fn told(&self, proxy: u16, name: &Name, now: f64) -> Is {
        match self.pages.get(&(proxy, name[0] % PAGES)) {
            Some(page) if now - page.at <= self.limits.good_for => match has(&page.bits, name) {
                true => Is::Stored,
                false => Is::Absent,
            },
            _ => Is::Unknown,
        }
    }
}

fn has(bits: &[u8], name: &Name) -> bool {
    let last = (bits.len() * 8).wrapping_sub(1);
    !bits.is_empty()
        && name[1..].chunks_exact(2).all(|two| {
            let at = usize::from(u16::from_be_bytes([two[0], two[1]]));
            bits[(at & last) >> 3] & 1 << (at & 7) != 0
        })
}

/// Of 32 bits that wrap (RFC 1982).
fn is_later(order: u32, than: u32) -> bool {
    (1..1 << 31).contains(&order.wrapping_sub(than))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: u16 = 51;
    const KEY: &[u8] = b"http://shop.apps.example/a";

    fn table() -> Stored {
        Stored::new(Limits { good_for: 300.0, cold: 2.0, most_cold: 3 })
    }

    #[test]
    fn the_later_page_counts_until_it_is_old() {
        let (mut table, name) = (table(), name_of(KEY));
        let tell =
            |table: &mut Stored, order, bits: &[u8], now| table.receive(PROXY, order, name[0] % PAGES, bits, now);
        assert_eq!(table.look_up(PROXY, &name, ANY, 0.0), Is::Unknown);
        tell(&mut table, u32::MAX, &[255; 32], 0.0);
        assert_eq!(table.look_up(PROXY, &name, ANY, 0.0), Is::Stored);
        tell(&mut table, 1, &[], 1.0);
        tell(&mut table, 0, &[255; 32], 2.0);
        assert_eq!(table.look_up(PROXY, &name, ANY, 2.0), Is::Absent, "what was overtaken");
        tell(&mut table, 0, &[0; 32], 302.0);
        assert_eq!(table.look_up(PROXY, &name, ANY, 602.0), Is::Absent, "it counts from when it came");
        assert_eq!(table.look_up(PROXY, &name, ANY, 602.5), Is::Unknown);
        tell(&mut table, 3, &[255; 32], 603.0);
        table.forget(PROXY + 1);
        assert_eq!(table.look_up(PROXY, &name, ANY, 603.0), Is::Stored);
        table.forget(PROXY);
        assert_eq!(table.look_up(PROXY, &name, ANY, 603.0), Is::Unknown);
    }

    #[test]
    fn what_was_refused_is_cold_for_a_while_and_the_oldest_goes_first() {
        let (mut table, names) = (table(), [b"a", b"b", b"c", b"d"].map(|key| name_of(key)));
        let fields = fields_of(b"GET / HTTP/1.1\r\nA: b\r\n\r\n");
        table.remember_cold(PROXY, names[0], ANY, 0.0);
        table.remember_cold(PROXY, names[1], fields, 0.5);
        table.remember_cold(PROXY, names[0], ANY, 1.0);
        assert!(table.is_cold(PROXY, &names[0], 2.5) && !table.is_cold(PROXY, &names[0], 3.0));
        assert_eq!(table.look_up(PROXY, &names[1], fields, 1.0), Is::Cold);
        assert_eq!(table.look_up(PROXY, &names[1], ANY, 1.0), Is::Unknown);
        table.remember_cold(PROXY, names[2], ANY, 1.1);
        assert!(table.is_cold(PROXY, &names[0], 1.1), "it was remembered anew");
        table.remember_cold(PROXY, names[3], ANY, 1.2);
        assert_eq!(table.look_up(PROXY, &names[1], fields, 1.2), Is::Unknown);
        assert!(table.is_cold(PROXY, &names[0], 1.2) && table.is_cold(PROXY, &names[3], 1.2));
    }

    #[test]
    fn what_is_told_after_a_refusal_is_not_cold() {
        let (mut table, name) = (table(), name_of(KEY));
        table.remember_cold(PROXY, name, ANY, 0.0);
        table.receive(PROXY, 1, name[0] % PAGES, &[255; 32], 0.1);
        assert!(!table.is_cold(PROXY, &name, 0.1));
        table.remember_cold(PROXY, name, ANY, 0.2);
        assert!(table.is_cold(PROXY, &name, 0.3), "it was refused although the pages had it");
        table.mark_outdated(PROXY, name, true);
        assert!(table.is_outdated(PROXY, &name) && !table.is_outdated(PROXY + 1, &name));
        table.mark_outdated(PROXY, name, false);
        assert!(!table.is_outdated(PROXY, &name));
    }
}
