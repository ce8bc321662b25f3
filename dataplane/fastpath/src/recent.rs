//! What is remembered of cookies that came back at the wrong time: a little, bounded, and only of clients that were really
//! given one.

use crate::cookie::Ends;
use braid_packet::Time;
use std::hash::{DefaultHasher, Hash, Hasher};

const SLOTS: usize = 4096;

/// What was said about a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mark {
    /// Its connection is over: the client was told.
    Spent,
    /// A segment came that bytes are missing before.
    Early,
}

/// A newer one may take the place of an older one.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    slots: Vec<(u64, Time)>,
}

impl Recent {
    /// `cookie` as the client acknowledges it.
    pub(crate) fn note(&mut self, mark: Mark, ends: &Ends, cookie: u32, now: Time) {
        self.slots.resize(SLOTS, (0, Time(0)));
        let key = key(mark, ends, cookie);
        self.slots[key as usize % SLOTS] = (key, now);
    }

    /// Since when it is known.
    pub(crate) fn since(&self, mark: Mark, ends: &Ends, cookie: u32) -> Option<Time> {
        let key = key(mark, ends, cookie);
        let &(known, since) = self.slots.get(key as usize % SLOTS)?;
        (known == key).then_some(since)
    }
}

fn key(mark: Mark, ends: &Ends, cookie: u32) -> u64 {
    let mut hasher = DefaultHasher::new();
    (mark, ends.client, ends.vip, cookie).hash(&mut hasher);
    hasher.finish()
}
