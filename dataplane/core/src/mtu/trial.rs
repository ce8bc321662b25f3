//! Probes of two sizes in turn: is the larger one lost for its size, or does the path just lose?
//!
//! Fisher's exact test. If size made no difference, the `c` probes that came of `2n` would be spread over both sizes; that
//! none of them is a large one has the probability `C(n, c) / C(2n, c)`. Below the doubt that is allowed, size is the reason.
//! No loss rate has to be known: a path that loses half of everything takes more probes, and is not mistaken.

use braid_packet::Time;

/// Between two pairs.
pub(super) const GAP: u64 = 15 * Time::MILLISECOND;
pub(super) const MOST_PAIRS: usize = 24;
/// After so many pairs in a row of which nothing came, the smaller size does not pass either, or the path carries nothing now.
const ENOUGH_OF_NOTHING: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Open,
    /// The larger size does not pass.
    Lost,
    /// Nothing comes any more.
    Nothing,
    /// Too much is lost to tell.
    Undecided,
}

#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    /// Number of the larger one; the other has the next.
    number: u32,
    at: Time,
    control_came: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Trial {
    pub(super) size: u16,
    pub(super) control: u16,
    /// Probability at which it counts as no chance.
    doubt: f64,
    /// Pairs after which that can be reached; so many are waited for before more go out.
    round: usize,
    pairs: [Pair; MOST_PAIRS],
    sent: usize,
    /// The first so many had their time at the last verdict.
    settled: usize,
    next: Time,
}

impl Trial {
    pub(super) fn new(size: u16, control: u16, doubt: f64, now: Time) -> Trial {
        let round = (1..MOST_PAIRS).find(|&pairs| chance(pairs, pairs) <= doubt).unwrap_or(MOST_PAIRS);
        Trial { size, control, doubt, round, pairs: [Pair::default(); MOST_PAIRS], sent: 0, settled: 0, next: now }
    }

    pub(super) fn wants_pair(&self, now: Time) -> bool {
        self.may_send() && now >= self.next
    }

    fn may_send(&self) -> bool {
        self.sent < MOST_PAIRS && self.sent / self.round <= self.settled / self.round
    }

    /// A pair went out: `size` as this number, `control` as the next.
    pub(super) fn sent(&mut self, number: u32, now: Time) {
        if let Some(pair) = self.pairs.get_mut(self.sent) {
            *pair = Pair { number, at: now, control_came: false };
            self.sent += 1;
            self.next = now.after(GAP);
        }
    }

    pub(super) fn receive_answer(&mut self, number: u32) {
        let of = self.pairs[..self.sent].iter_mut().find(|pair| pair.number.wrapping_add(1) == number);
        if let Some(pair) = of {
            pair.control_came = true;
        }
    }

    /// What the pairs say whose answers had their time; none of the larger size has come.
    pub(super) fn verdict(&mut self, timeout: u64, now: Time) -> Verdict {
        let sent = &self.pairs[..self.sent];
        let pairs = sent.iter().take_while(|pair| now.since(pair.at) >= timeout).count();
        let came = sent[..pairs].iter().filter(|pair| pair.control_came).count();
        let nothing = sent[..pairs].iter().rev().take_while(|pair| !pair.control_came).count();
        self.settled = pairs;
        if came > 0 && chance(pairs, came) <= self.doubt {
            Verdict::Lost
        } else if nothing >= ENOUGH_OF_NOTHING {
            Verdict::Nothing
        } else if pairs == MOST_PAIRS {
            Verdict::Undecided
        } else {
            Verdict::Open
        }
    }

    pub(super) fn next_timeout(&self, timeout: u64) -> Time {
        let next = if self.may_send() { self.next } else { Time(u64::MAX) };
        self.pairs[..self.sent].get(self.settled).map_or(next, |pair| next.min(pair.at.after(timeout)))
    }
}

/// That all of the `came` are of the smaller size, if size made no difference.
fn chance(pairs: usize, came: usize) -> f64 {
    (0..came).map(|i| (pairs - i) as f64 / (2 * pairs - i) as f64).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_that_of_the_exact_test() {
        assert!((chance(3, 3) - 1.0 / 20.0).abs() < 1e-12);
        assert!((chance(8, 8) - 1.0 / 12_870.0).abs() < 1e-12);
        // 4 of 10 came, all small: C(5, 4) / C(10, 4).
        assert!((chance(5, 4) - 5.0 / 210.0).abs() < 1e-12);
    }

    fn run(control_comes: impl Fn(u32) -> bool) -> (Verdict, usize) {
        let (mut trial, timeout) = (Trial::new(1420, 1280, 1e-4, Time(0)), 100 * Time::MILLISECOND);
        for ms in 0..2000 {
            let now = Time(ms * Time::MILLISECOND);
            if trial.wants_pair(now) {
                let number = 2 * trial.sent as u32;
                trial.sent(number, now);
                if control_comes(number / 2) {
                    trial.receive_answer(number + 1);
                }
            }
            let verdict = trial.verdict(timeout, now);
            if verdict != Verdict::Open {
                return (verdict, trial.sent);
            }
        }
        (Verdict::Open, trial.sent)
    }

    #[test]
    fn more_loss_takes_more_probes_and_silence_says_nothing_of_size() {
        assert_eq!(run(|_| true).0, Verdict::Lost);
        assert_eq!(run(|_| true).1, 8);
        assert_eq!(run(|i| i % 2 == 0).0, Verdict::Lost);
        assert!(run(|i| i % 2 == 0).1 > run(|_| true).1 + 4);
        assert_eq!(run(|_| false).0, Verdict::Nothing);
        assert_eq!(run(|i| i < 3).0, Verdict::Nothing);
        assert_eq!(run(|i| i % 5 == 4), (Verdict::Undecided, MOST_PAIRS));
    }
}
