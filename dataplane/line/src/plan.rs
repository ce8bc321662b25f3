//! By which row of the routing table a request on one connection is offered, to which content proxy, as `braid/transfer_table.py`
//! and `gateway/transfer` have it. Pure. What this does not decide Python does: `Verdict::Undecided`.

use blake2::digest::consts::U8;
use blake2::{Blake2b, Digest};
use braid_core::directives::{field, Directives};
use braid_proxy::RequestHead;

/// One that is up, takes connections, and may have those of this VIP.
#[derive(Clone, Debug)]
pub struct Proxy {
    pub name: String,
    pub number: u16,
    /// Hosts whose connections it may have.
    pub hosts: Vec<String>,
}

/// Which of several proxies is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    First,
    ByPath,
    /// Not decided here.
    Other,
}

/// A row that a connection's ends let hold.
#[derive(Clone, Debug)]
pub struct Row {
    pub path: String,
    pub methods: Vec<String>,
    /// None: any.
    pub hosts: Vec<String>,
    /// Unix seconds.
    pub until: Option<f64>,
    /// It has conditions that are not looked at here.
    pub conditional: bool,
    /// Its proxies serve also what they do not store.
    pub serves: bool,
    pub policy: Policy,
    pub proxies: Vec<Proxy>,
}

/// What is decided of a connection's requests ahead.
#[derive(Clone, Debug)]
pub struct Plan {
    pub rows: Vec<Row>,
    /// Of the VIP.
    pub port: u16,
    /// All content proxies: what one lacks it fetches by this way.
    pub fetchers: Vec<String>,
}

#[derive(Debug)]
pub enum Verdict<'a> {
    Undecided,
    /// No row names it.
    Origin,
    /// To that proxy, by that row.
    Offer(&'a Row, &'a Proxy),
}

impl Plan {
    /// `wall`: Unix seconds.
    pub fn choose(&self, head: &RequestHead, wall: f64) -> Verdict<'_> {
        let (host, (path, _)) = (host_of(head), split(head.path_and_query()));
        let holds = |row: &&Row| {
            row.methods.iter().any(|each| each.as_bytes() == head.method())
                && path.starts_with(row.path.as_bytes())
                && (row.hosts.is_empty() || is_named(&host, &row.hosts))
                && row.until.is_none_or(|until| wall < until)
        };
        let Some(row) = self.rows.iter().find(holds) else { return Verdict::Origin };
        let has = |name: &[u8]| head.fields().any(|(word, _)| word.eq_ignore_ascii_case(name));
        if row.conditional || (row.serves && has(b"upgrade")) {
            return Verdict::Undecided;
        }
        let mut usable = row.proxies.iter().filter(|proxy| is_named(&host, &proxy.hosts)).peekable();
        let Some(first) = usable.next() else { return Verdict::Undecided };
        let chosen = match row.policy {
            _ if usable.peek().is_none() => first,
            Policy::First => first,
            Policy::ByPath => heaviest(first, usable, &[&host, &b"\0"[..], path].concat()),
            Policy::Other => return Verdict::Undecided,
        };
        let via = |(name, value): (&[u8], &'_ [u8])| name.eq_ignore_ascii_case(b"via").then(|| value.to_vec());
        let via = head.fields().filter_map(via).collect::<Vec<_>>().join(&b", "[..]);
        if !via.iter().all(|byte| (b' '..=b'~').contains(byte) || *byte == b'\t') {
            return Verdict::Undecided;
        }
        let passed = match row.serves {
            true => self.fetchers.iter().any(|name| has_passed(&via, name)),
            false => has_passed(&via, &chosen.name),
        };
        match passed {
            true => Verdict::Origin,
            false => Verdict::Offer(row, chosen),
        }
    }

    /// As content proxies name what they store.
    pub fn key_of(&self, head: &RequestHead) -> Vec<u8> {
        let mut key = b"http://".to_vec();
        key.extend(host_of(head));
        if self.port != 80 {
            key.extend(format!(":{}", self.port).bytes());
        }
        let (path, query) = split(head.path_and_query());
        key.extend(path);
        if !query.is_empty() {
            key.push(b'?');
            key.extend(query);
        }
        key
    }
}

/// Whether no stored answer may serve it, by its own fields: a reload, or a condition that only the origin knows.
pub fn is_for_origin(head: &RequestHead) -> bool {
    let fields: Vec<(&[u8], &[u8])> = head.fields().collect();
    let value = |name: &[u8]| field(&fields, name);
    let conditions = [value(b"if-match"), value(b"if-unmodified-since")];
    if conditions.iter().all(Option::is_none) && value(b"cache-control").is_none() && value(b"pragma").is_none() {
        return false;
    }
    !matches!(head.method(), b"GET" | b"HEAD")
        || conditions.into_iter().flatten().any(|value| !value.is_empty())
        || Directives::of(&fields).wants_new()
}

/// The one with the greatest weight (rendezvous hashing); of equal ones the first.
fn heaviest<'a>(first: &'a Proxy, others: impl Iterator<Item = &'a Proxy>, by: &[u8]) -> &'a Proxy {
    let weight = |proxy: &Proxy| -> [u8; 8] {
        let hash = Blake2b::<U8>::new_with_prefix(proxy.name.as_bytes()).chain_update(b"\0").chain_update(by);
        hash.finalize().into()
    };
    let heavier = |best: ([u8; 8], &'a Proxy), each: &'a Proxy| match weight(each) {
        more if more > best.0 => (more, each),
        _ => best,
    };
    others.fold((weight(first), first), heavier).1
}

/// Whether a proxy names itself in a Via field (RFC 9110 7.6.3).
fn has_passed(via: &[u8], proxy: &str) -> bool {
    via.split(|&byte| byte == b',').any(|each| {
        let mut words = each.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        words.nth(1).is_some_and(|word| word.to_ascii_lowercase() == proxy.as_bytes())
    })
}

/// Lower case, without a port.
fn host_of(head: &RequestHead) -> Vec<u8> {
    let authority = head.authority().to_ascii_lowercase();
    let until = |byte| authority.iter().position(|&each| each == byte).unwrap_or(authority.len());
    match authority.strip_prefix(b"[") {
        Some(rest) => rest[..until(b']').saturating_sub(1).min(rest.len())].to_vec(),
        None => {
            let host = &authority[..until(b':')];
            host.strip_suffix(b".").unwrap_or(host).to_vec()
        }
    }
}

/// Path and query.
fn split(target: &[u8]) -> (&[u8], &[u8]) {
    let end = target.iter().position(|&byte| byte == b'?').unwrap_or(target.len());
    (&target[..end], target.get(end + 1..).unwrap_or(b""))
}

/// Whether one of the patterns is the name, or `*.` and a name above it.
fn is_named(name: &[u8], patterns: &[String]) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_prefix('*').filter(|above| above.starts_with('.')) {
        Some(above) => name.len() > above.len() && name.ends_with(above.as_bytes()),
        None => name == pattern.as_bytes(),
    })
}
