//! Latent error detection (IEEE 802.1CB 7.4.4): redundancy that is gone while packets still come.
//!
//! The standard compares sums over all paths; here each path is known by itself. A period in which a path that the peer's data
//! takes brought no copy at all, not even of probes, while another path did, is a latent error.

use braid_packet::Time;

/// frerSeqRcvyLatentErrorPeriod's default.
const PERIOD: u64 = 2 * Time::SECOND;
const PATHS: usize = 16;

/// Of one lane.
#[derive(Default)]
pub struct Latent {
    ends: Time,
    /// Paths that the peer's data took when the period began, as bits.
    due: u16,
    /// Copies on each path until then, modulo 2^32.
    copies: [u32; PATHS],
    pub errors: u64,
}

impl Latent {
    /// To be called at least once in each period. `used`: the paths that data takes now, 0 if that is not known.
    pub fn handle_timeout(&mut self, used: u16, copies: impl Fn(u8) -> u64, now: Time) {
        if now < self.ends {
            return;
        }
        let mut came = 0u16;
        for (path, before) in self.copies.iter_mut().enumerate() {
            let count = copies(path as u8) as u32;
            came |= u16::from(count != std::mem::replace(before, count)) << path;
        }
        // Those that were in use all the time; one that was replaced is not missed any more.
        let missing = self.due & used & !came;
        self.errors += u64::from(missing != 0 && came != 0);
        (self.due, self.ends) = (used, now.after(PERIOD));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Errors after each period; in each, these paths are used and so many copies come on the first two.
    fn errors(periods: &[(u16, [u64; 2])]) -> Vec<u64> {
        let (mut latent, mut copies) = (Latent::default(), [0; 2]);
        let steps = periods.iter().enumerate().map(|(i, (used, came))| {
            copies = [copies[0] + came[0], copies[1] + came[1]];
            latent.handle_timeout(
                *used,
                |path| copies.get(usize::from(path)).copied().unwrap_or(0),
                Time(i as u64 * PERIOD),
            );
            latent.errors
        });
        steps.collect()
    }

    #[test]
    fn a_path_in_use_that_brings_nothing_is_one_error_per_period() {
        assert_eq!(errors(&[(3, [9, 9]), (3, [9, 1]), (3, [9, 0]), (3, [9, 0]), (3, [0, 9])]), [0, 0, 1, 2, 3]);
    }

    #[test]
    fn a_path_that_is_not_used_or_was_replaced_is_not_missed_nor_is_one_of_a_silent_peer() {
        assert_eq!(errors(&[(1, [9, 9]), (1, [9, 0]), (1, [9, 0])]), [0, 0, 0]);
        assert_eq!(errors(&[(2, [9, 9]), (1, [9, 0]), (1, [9, 0])]), [0, 0, 0]);
        assert_eq!(errors(&[(3, [9, 9]), (3, [0, 0]), (3, [0, 0])]), [0, 0, 0]);
        assert_eq!(errors(&[(0, [9, 9]), (3, [9, 0]), (3, [9, 9])]), [0, 0, 0], "in use for a part of the period");
    }

    #[test]
    fn a_period_is_two_seconds() {
        let mut latent = Latent::default();
        for tenth in 0..=60 {
            let now = Time(Time::SECOND + tenth * Time::SECOND / 10);
            latent.handle_timeout(3, |path| if path == 0 { tenth + 1 } else { 0 }, now);
        }
        assert_eq!(latent.errors, 3);
    }
}
