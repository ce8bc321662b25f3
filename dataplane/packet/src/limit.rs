use crate::Time;

/// Token bucket, for packets that we make ourselves (RFC 4443 2.4 f).
#[derive(Clone, Debug)]
pub struct RateLimit {
    interval: u64,
    burst: u64,
    /// Moment at which the bucket was, or will be, empty; never later than now.
    empty_at: Time,
}

impl RateLimit {
    /// `per_second` above zero on average, at most `burst` at once. Starts full.
    pub fn new(per_second: u32, burst: u32) -> RateLimit {
        let interval = Time::SECOND / u64::from(per_second.max(1));
        RateLimit { interval, burst: u64::from(burst.max(1)) * interval, empty_at: Time(0) }
    }

    /// Takes one token if there is one.
    pub fn allow(&mut self, now: Time) -> bool {
        let full = Time(now.0.saturating_sub(self.burst));
        let next = self.empty_at.max(full).after(self.interval);
        if next > now {
            return false;
        }
        self.empty_at = next;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let mut limit = RateLimit::new(10, 3);
        let start = Time(50 * Time::SECOND);
        let count = |limit: &mut RateLimit, at: Time| (0..9).filter(|_| limit.allow(at)).count();
        assert_eq!(count(&mut limit, start), 3);
        assert_eq!(count(&mut limit, start.after(Time::SECOND / 10)), 1);
        assert_eq!(count(&mut limit, start.after(100 * Time::SECOND)), 3);
    }
}
