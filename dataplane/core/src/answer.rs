//! What of a stored answer decides which requests it may serve (RFC 9111 4, RFC 5861): the one definition, by which a content
//! proxy's worker answers (`content/policy.py`) and its data thread refuses (`refusing.rs`).
//!
//! ```text
//! 0 received 8 | 8 age then 8 | 16 lifetime 8 (seconds, IEEE 754) | 24 stale-while-revalidate 4 (all ones: not)
//! 28 flags 1 (1 may be shared, 2 not without a question to the origin, 4 not once it is stale)
//! 29 fields that Vary names 1 | each: name length 1 | name | value length 2 | value
//! ```

use crate::directives::{field, members, Directives, Fields};
use braid_packet::Rest;

const SHAREABLE: u8 = 1;
const NO_CACHE: u8 = 2;
const MUST_VALIDATE: u8 = 4;
const NEVER: u32 = u32::MAX;
/// Seconds by which a clock is set in ordinary operation (`content/freshness.py`).
const SET_BACK: f64 = 5.0;

/// Times are Unix seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub received: f64,
    /// How old it was then.
    pub age: f64,
    /// Seconds for which it is fresh.
    pub lifetime: f64,
    /// Seconds for which it may be used behind that, while it is asked for anew.
    pub behind: Option<u32>,
    /// Also with requests that say who asks.
    pub shareable: bool,
    pub no_cache: bool,
    pub must_validate: bool,
    /// Names and values of the fields by which it was selected, as `selecting` writes them.
    pub selecting: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What it is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Fresh,
    /// It answers, and is asked for anew meanwhile.
    Stale,
    Validate,
}

/// A request's value of a field that `Vary` names, so written that equal meanings compare equal.
pub fn selecting(fields: &Fields<'_>, name: &[u8]) -> Vec<u8> {
    members(&field(fields, name).unwrap_or_default()).join(&b',')
}

impl Answer {
    /// The one that the bytes begin with, and what is behind it.
    pub fn decode(bytes: &[u8]) -> Option<(Answer, &[u8])> {
        let mut rest = Rest(bytes);
        let mut number = || Some(f64::from_be_bytes(rest.take()?)).filter(|number| number.is_finite());
        let (received, age, lifetime) = (number()?, number()?, number()?);
        let behind = u32::from_be_bytes(rest.take()?);
        let [flags, count] = rest.take()?;
        if flags & !(SHAREABLE | NO_CACHE | MUST_VALIDATE) != 0 {
            return None;
        }
        let mut bytes = |length: usize| {
            let (found, behind) = rest.0.split_at_checked(length)?;
            rest.0 = behind;
            Some(found)
        };
        let mut selecting = Vec::with_capacity(count.into());
        for _ in 0..count {
            let name = bytes(1)?[0];
            let name = bytes(name.into())?.to_vec();
            let length: [u8; 2] = bytes(2)?.try_into().ok()?;
            selecting.push((name, bytes(u16::from_be_bytes(length).into())?.to_vec()));
        }
        let answer = Answer {
            received,
            age,
            lifetime,
            behind: Some(behind).filter(|&seconds| seconds != NEVER),
            shareable: flags & SHAREABLE != 0,
            no_cache: flags & NO_CACHE != 0,
            must_validate: flags & MUST_VALIDATE != 0,
            selecting,
        };
        Some((answer, rest.0))
    }

    /// Whether it is the variant that a request asks for.
    pub fn is_selected(&self, fields: &Fields<'_>) -> bool {
        self.selecting.iter().all(|(name, value)| selecting(fields, name) == *value)
    }

    /// Of a request that selects it, now. A clock that was set back a little makes nothing younger than it was when it came;
    /// what came later than now by more than that may be of any age.
    pub fn judge(&self, fields: &Fields<'_>, now: f64) -> Use {
        if field(fields, b"authorization").is_some() && !self.shareable {
            return Use::Validate;
        }
        let asked = Directives::of(fields);
        if asked.wants_new() || self.no_cache || now < self.received - SET_BACK {
            return Use::Validate;
        }
        let age = self.age + (now - self.received).max(0.0);
        let left = self.lifetime - age;
        let (most_age, least_left) = (asked.seconds(b"max-age"), asked.seconds(b"min-fresh"));
        if most_age.is_some_and(|most| age > most) || least_left.is_some_and(|least| left < least) {
            return Use::Validate;
        }
        if left > 0.0 {
            return Use::Fresh;
        }
        if self.must_validate {
            return Use::Validate;
        }
        // Who says how old it may be wants nothing stale, without a word on that (RFC 9111 5.2.1.1).
        let behind = self.behind.filter(|_| most_age.is_none()).map(f64::from);
        let most_stale = match asked.is_bare(b"max-stale") {
            true => Some(f64::INFINITY),
            false => asked.seconds(b"max-stale"),
        };
        match [behind, most_stale].into_iter().flatten().any(|seconds| -left <= seconds) {
            true => Use::Stale,
            false => Use::Validate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asked::tests::bytes;
    use proptest::prelude::*;

    fn answer() -> Answer {
        Answer {
            received: 1000.0,
            age: 2.5,
            lifetime: 60.0,
            behind: None,
            shareable: false,
            no_cache: false,
            must_validate: false,
            selecting: Vec::new(),
        }
    }

    fn judged(answer: &Answer, asked: &str, now: f64) -> Use {
        answer.judge(&[(b"cache-control", asked.as_bytes())], now)
    }

    #[test]
    fn it_has_its_picture() {
        let golden = bytes(include_str!("../../../tests/vectors/stored.txt"), "answer");
        let wanted = Answer {
            behind: Some(256),
            shareable: true,
            must_validate: true,
            selecting: vec![(b"accept".to_vec(), b"a,b".to_vec())],
            ..answer()
        };
        assert_eq!(Answer::decode(&[&golden[..], b"more"].concat()), Some((wanted, &b"more"[..])));
        for length in 0..golden.len() {
            assert_eq!(Answer::decode(&golden[..length]), None, "{length}");
        }
        let mut wrong = golden.clone();
        wrong[28] = 8;
        assert_eq!(Answer::decode(&wrong), None);
        wrong = golden;
        wrong[..8].copy_from_slice(&f64::NAN.to_be_bytes());
        assert_eq!(Answer::decode(&wrong), None);
    }

    #[test]
    fn what_a_request_says_of_age_decides() {
        let answer = answer();
        assert_eq!(judged(&answer, "", 1000.0), Use::Fresh);
        assert_eq!(judged(&answer, "", 995.0), Use::Fresh, "a clock that was set back a little");
        assert_eq!(judged(&answer, "max-stale", 994.9), Use::Validate, "it may be of any age");
        assert_eq!(
            (judged(&answer, "max-age=12", 1009.5), judged(&answer, "max-age=12", 1009.6)),
            (Use::Fresh, Use::Validate)
        );
        assert_eq!(
            (judged(&answer, "min-fresh=50", 1007.5), judged(&answer, "min-fresh=50", 1007.6)),
            (Use::Fresh, Use::Validate)
        );
        assert_eq!((judged(&answer, "", 1057.4), judged(&answer, "", 1057.5)), (Use::Fresh, Use::Validate));
        assert_eq!(
            (judged(&answer, "no-cache", 1000.0), judged(&answer, "max-age=0", 1000.0)),
            (Use::Validate, Use::Validate)
        );
        assert_eq!(judged(&Answer { no_cache: true, ..answer }, "", 1000.0), Use::Validate);
    }

    #[test]
    fn what_is_stale_may_do_for_a_while() {
        let stale = Answer { behind: Some(10), ..answer() };
        assert_eq!((judged(&stale, "", 1067.5), judged(&stale, "", 1067.6)), (Use::Stale, Use::Validate));
        assert_eq!(judged(&stale, "max-age=500", 1060.0), Use::Validate);
        assert_eq!(judged(&stale, "max-stale=20", 1077.5), Use::Stale);
        assert_eq!(judged(&stale, "max-stale", 9000.0), Use::Stale);
        assert_eq!(judged(&stale, "max-stale, max-stale=1", 9000.0), Use::Validate);
        assert_eq!(judged(&Answer { must_validate: true, ..stale }, "max-stale", 1060.0), Use::Validate);
    }

    #[test]
    fn who_says_who_asks_is_served_what_may_be_shared() {
        let asked = [(&b"Authorization"[..], &b"Basic eA=="[..])];
        assert_eq!(answer().judge(&asked, 1000.0), Use::Validate);
        assert_eq!(Answer { shareable: true, ..answer() }.judge(&asked, 1000.0), Use::Fresh);
    }

    #[test]
    fn the_fields_that_vary_names_select() {
        let answer =
            Answer { selecting: vec![(b"accept".to_vec(), b"a,b".to_vec()), (b"x".to_vec(), Vec::new())], ..answer() };
        assert!(answer.is_selected(&[(b"Accept", b"a, b")]));
        assert!(answer.is_selected(&[(b"Accept", b"a"), (b"accept", b" b,"), (b"X", b" ")]));
        assert!(!answer.is_selected(&[(b"accept", b"b, a")]));
        assert!(!answer.is_selected(&[(b"accept", b"a,b"), (b"x", b"1")]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_left(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some((_, rest)) = Answer::decode(&bytes) {
                prop_assert!(bytes.ends_with(rest));
            }
        }
    }
}
