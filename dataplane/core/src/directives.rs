//! Lists and `Cache-Control` in header fields (RFC 9110 5.6.1, RFC 9111 5.2), as `braid/from_store.py` reads them.

/// Names as they came, values; several lines of one name are one list (RFC 9110 5.3).
pub type Fields<'a> = [(&'a [u8], &'a [u8])];

/// RFC 9111 1.2.2.
const MOST_SECONDS: u64 = 1 << 31;
const MOST_DIGITS: usize = 10;

/// Lines of a field, joined; None without it.
pub fn field(fields: &Fields<'_>, name: &[u8]) -> Option<Vec<u8>> {
    let lines: Vec<&[u8]> =
        fields.iter().filter(|(word, _)| word.eq_ignore_ascii_case(name)).map(|(_, value)| *value).collect();
    (!lines.is_empty()).then(|| lines.join(&b", "[..]))
}

/// Of a list: split at commas that are in no quoted string; without those that are empty.
pub fn members(value: &[u8]) -> Vec<&[u8]> {
    let (mut found, mut begin, mut at, mut quoted) = (Vec::new(), 0, 0, false);
    while let Some(&byte) = value.get(at) {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => at += 1,
            b',' if !quoted => {
                found.push(&value[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    found.push(&value[begin..]);
    found.into_iter().map(|member| strip(member, b" \t")).filter(|member| !member.is_empty()).collect()
}

fn strip<'a>(mut bytes: &'a [u8], what: &[u8]) -> &'a [u8] {
    while let [first, rest @ ..] = bytes {
        if !what.contains(first) {
            break;
        }
        bytes = rest;
    }
    while let [rest @ .., last] = bytes {
        if !what.contains(last) {
            break;
        }
        bytes = rest;
    }
    bytes
}

/// Of a request: its `Cache-Control`, or `Pragma` where there is none.
pub struct Directives {
    /// Names in lower case.
    given: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Directives {
    pub fn of(fields: &Fields<'_>) -> Directives {
        let mut given = Vec::new();
        match field(fields, b"cache-control") {
            Some(written) => given.extend(members(&written).into_iter().map(|member| {
                let end = member.iter().position(|&byte| byte == b'=').unwrap_or(member.len());
                let value = member.get(end + 1..).unwrap_or(b"");
                (strip(&member[..end], b" \t\n\r\x0b\x0c").to_ascii_lowercase(), strip(value, b" \t\"").to_vec())
            })),
            None => {
                let pragma = field(fields, b"pragma").unwrap_or_default().to_ascii_lowercase();
                if pragma.windows(8).any(|window| window == b"no-cache") {
                    given.push((b"no-cache".to_vec(), Vec::new()));
                }
            }
        }
        Directives { given }
    }

    fn values<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.given.iter().filter(move |(word, _)| word == name).map(|(_, value)| &value[..])
    }

    /// Nothing that is stored, however new, answers it without a question to the origin.
    pub fn wants_new(&self) -> bool {
        self.values(b"no-cache").next().is_some() || self.seconds(b"max-age") == Some(0.0)
    }

    /// It is given without a value, and only so.
    pub(crate) fn is_bare(&self, name: &[u8]) -> bool {
        self.values(name).next().is_some() && self.values(name).all(<[u8]>::is_empty)
    }

    /// None when it is not given. What cannot be read, or is given twice and differs, is 0: not fresh.
    pub(crate) fn seconds(&self, name: &[u8]) -> Option<f64> {
        let first = self.values(name).next()?;
        let same = self.values(name).all(|value| value == first);
        if !same || first.is_empty() || !first.iter().all(u8::is_ascii_digit) {
            return Some(0.0);
        }
        if first.len() > MOST_DIGITS {
            return Some(MOST_SECONDS as f64);
        }
        let number = first.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
        Some(number.min(MOST_SECONDS) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str) -> Directives {
        Directives::of(&[(b"Cache-Control", value.as_bytes())])
    }

    #[test]
    fn lists_are_split_outside_of_quoted_strings() {
        assert_eq!(members(b" a ,\t,b=\"c,\\\"d\" , e"), [&b"a"[..], b"b=\"c,\\\"d\"", b"e"]);
        assert_eq!(members(b"a\\,b"), [&b"a\\"[..], b"b"], "no escape outside of them");
        assert_eq!(members(b"\"a,b"), [&b"\"a,b"[..]]);
        assert!(members(b" , ").is_empty());
    }

    #[test]
    fn seconds_are_those_of_one_number() {
        let seconds = |value| of(value).seconds(b"max-age");
        assert_eq!(seconds("Max-Age=5, no-store"), Some(5.0));
        assert_eq!(seconds("max-age = \"7\""), Some(7.0));
        assert_eq!(seconds("max-age=5, max-age=5"), Some(5.0));
        assert_eq!(
            (seconds("max-age=5, max-age=6"), seconds("max-age=x"), seconds("max-age")),
            (Some(0.0), Some(0.0), Some(0.0))
        );
        assert_eq!(seconds("max-age=99999999999"), Some(MOST_SECONDS as f64));
        assert_eq!(seconds("max-age=9999999999"), Some(MOST_SECONDS as f64));
        assert_eq!(seconds("min-fresh=5"), None);
        let lines = [(&b"cache-control"[..], &b"no-store"[..]), (b"CACHE-CONTROL", b"max-age=3")];
        assert_eq!(Directives::of(&lines).seconds(b"max-age"), Some(3.0));
    }

    #[test]
    fn what_wants_new_is_known() {
        assert!(of("no-cache").wants_new() && of("max-age=0").wants_new() && of("max-age=").wants_new());
        assert!(!of("max-age=1").wants_new());
        assert!(Directives::of(&[(b"pragma", b"No-Cache")]).wants_new());
        assert!(!Directives::of(&[(b"pragma", b"no-cache"), (b"cache-control", b"")]).wants_new());
        assert!(of("max-stale").is_bare(b"max-stale") && !of("max-stale, max-stale=1").is_bare(b"max-stale"));
        assert!(!of("").is_bare(b"max-stale"));
    }
}
