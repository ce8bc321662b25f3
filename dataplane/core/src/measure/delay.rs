//! One-way delays between two clocks that do not agree: a value modulo 2^32 microseconds, of which only the changes, and the
//! sum with a delay of the opposite direction, mean anything.

use braid_packet::Time;

/// The least delay is that of the last one to two of these.
const MINIMUM_OVER: u64 = 10 * Time::SECOND;

/// Follows a delay: smoothed as RFC 6298 smooths a round trip (gain 1/8), jitter as in RFC 3550 6.4.1 (gain 1/16).
#[derive(Clone, Copy, Debug)]
pub struct Delay {
    base: u32,
    /// Sixteenths of microseconds above `base`.
    smoothed: i64,
    jitter: i64,
    last: i64,
    least: [i64; 2],
    since: Time,
}

impl Delay {
    pub fn new(sample: u32, now: Time) -> Delay {
        Delay { base: sample, smoothed: 0, jitter: 0, last: 0, least: [0; 2], since: now }
    }

    pub fn add(&mut self, sample: u32, now: Time) {
        // The difference of two close values modulo 2^32 is small and signed.
        let value = i64::from(sample.wrapping_sub(self.base) as i32);
        self.smoothed += (value * 16 - self.smoothed) / 8;
        self.jitter += ((value - self.last).abs() * 16 - self.jitter) / 16;
        self.last = value;
        if now.since(self.since) >= MINIMUM_OVER {
            self.least = [value, self.least[0]];
            self.since = now;
        } else {
            self.least[0] = self.least[0].min(value);
        }
    }

    /// Microseconds modulo 2^32.
    pub fn smoothed(&self) -> u32 {
        self.base.wrapping_add((self.smoothed / 16) as u32)
    }

    /// The least of the last 10 to 20 s, microseconds modulo 2^32.
    pub fn least(&self) -> u32 {
        self.base.wrapping_add(self.least[0].min(self.least[1]) as u32)
    }

    /// Microseconds.
    pub fn jitter(&self) -> u32 {
        (self.jitter / 16) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENTH: u64 = 100 * Time::MILLISECOND;

    #[test]
    fn follows_a_step_and_forgets_an_old_minimum() {
        let mut delay = Delay::new(u32::MAX - 50, Time(0));
        for i in 1..100 {
            delay.add(u32::MAX - 50, Time(i * TENTH));
        }
        assert_eq!((delay.smoothed(), delay.least(), delay.jitter()), (u32::MAX - 50, u32::MAX - 50, 0));
        for i in 100..400 {
            delay.add(49, Time(i * TENTH));
        }
        // 100 us more, over the end of the numbers.
        assert!(delay.smoothed().wrapping_sub(49).wrapping_add(1) <= 1, "{}", delay.smoothed());
        assert_eq!((delay.least(), delay.jitter()), (49, 0));
    }

    #[test]
    fn jitter_is_the_mean_change() {
        let mut delay = Delay::new(1000, Time(0));
        for i in 1..600u64 {
            delay.add(if i % 2 == 0 { 1000 } else { 1400 }, Time(i * TENTH));
        }
        assert!((395..=400).contains(&delay.jitter()), "{}", delay.jitter());
        assert!((1150..=1250).contains(&delay.smoothed()), "{}", delay.smoothed());
        assert_eq!(delay.least(), 1000);
    }
}
