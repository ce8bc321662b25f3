//! Destinations whose path refused UDP_SEGMENT, and for how long that is believed.
//!
//! EIO: the device of that route has no checksum offload, or a transformation is in its way. EINVAL, EMSGSIZE: the
//! route's own limits. Other destinations are not concerned, and a route can change: so it is tried again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// A refused batch costs its being sent once more in single datagrams.
pub(crate) const RETRY: Duration = Duration::from_secs(60);
/// A node's neighbours are few; with more destinations than that the oldest refusal is forgotten.
const MOST: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Refusals {
    until: HashMap<IpAddr, Instant>,
}

impl Refusals {
    /// No destination has refused: the usual case, which needs no clock.
    pub(crate) fn is_empty(&self) -> bool {
        self.until.is_empty()
    }

    /// Whether batches to `to` go out in single datagrams for now.
    pub(crate) fn holds(&self, to: IpAddr, now: Instant) -> bool {
        self.until.get(&to).is_some_and(|until| now < *until)
    }

    /// Whether that is news. `forgotten` is a destination that had to make room.
    pub(crate) fn refuse(&mut self, to: IpAddr, now: Instant) -> (bool, Option<IpAddr>) {
        let news = !self.holds(to, now);
        let mut forgotten = None;
        if self.until.len() >= MOST && !self.until.contains_key(&to) {
            forgotten = self.until.iter().min_by_key(|(_, until)| **until).map(|(oldest, _)| *oldest);
            if let Some(oldest) = forgotten {
                self.until.remove(&oldest);
            }
        }
        self.until.insert(to, now + RETRY);
        (news, forgotten)
    }

    /// A batch went through. Whether there was a refusal to forget: one whose time was over.
    pub(crate) fn accept(&mut self, to: IpAddr, now: Instant) -> bool {
        !self.holds(to, now) && self.until.remove(&to).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: usize) -> IpAddr {
        IpAddr::from([10, 0, (n >> 8) as u8, n as u8])
    }

    #[test]
    fn a_refusal_concerns_one_destination_for_a_while() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        assert!(refusals.is_empty());
        assert_eq!(refusals.refuse(address(1), start), (true, None));
        assert_eq!(refusals.refuse(address(1), start), (false, None), "known");
        assert!(refusals.holds(address(1), start));
        assert!(!refusals.holds(address(2), start));
        assert!(refusals.holds(address(1), start + RETRY - Duration::from_millis(1)));
        assert!(!refusals.holds(address(1), start + RETRY), "tried again");
        assert!(!refusals.accept(address(1), start), "a batch of the same call went through: too soon");
        assert!(refusals.accept(address(1), start + RETRY));
        assert!(!refusals.accept(address(1), start + RETRY));
        assert!(refusals.is_empty());
    }

    #[test]
    fn the_oldest_makes_room() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        for n in 0..MOST {
            refusals.refuse(address(n), start + Duration::from_millis(n as u64));
        }
        let now = start + Duration::from_secs(1);
        assert_eq!(refusals.refuse(address(MOST), now), (true, Some(address(0))));
        assert!(!refusals.holds(address(0), now));
        assert!(refusals.holds(address(1), now));
    }
}
