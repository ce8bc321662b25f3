//! What a receiver saw of one run of numbered packets.

use serde::Serialize;

/// Highest number followed; a stray packet must not make the receiver use gigabytes.
const HIGHEST: u64 = 1 << 32;
/// Delays are kept in bins of 10 microseconds up to 5 seconds.
const BIN: u64 = 10_000;
const BINS: usize = 500_000;

/// Times in, on one clock, are nanoseconds.
#[derive(Debug)]
pub struct Tally {
    seen: Vec<u64>,
    distinct: u64,
    duplicated: u64,
    damaged: u64,
    reordered: u64,
    distance: u64,
    lateness: u64,
    highest: Option<u64>,
    newest_sent: u64,
    announced: Option<u64>,
    first_arrival: Option<u64>,
    last_arrival: u64,
    gap: u64,
    gap_at: u64,
    delays: Vec<u32>,
    delay_total: u128,
    delay_least: u64,
    delay_most: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            seen: Vec::new(),
            distinct: 0,
            duplicated: 0,
            damaged: 0,
            reordered: 0,
            distance: 0,
            lateness: 0,
            highest: None,
            newest_sent: 0,
            announced: None,
            first_arrival: None,
            last_arrival: 0,
            gap: 0,
            gap_at: 0,
            delays: vec![0; BINS + 1],
            delay_total: 0,
            delay_least: u64::MAX,
            delay_most: 0,
        }
    }
}

#[derive(Debug, PartialEq, Serialize)]
pub struct Report {
    /// As the sender announced, or one more than the highest number seen.
    pub sent: u64,
    pub received: u64,
    pub lost: u64,
    pub duplicated: u64,
    /// Arrived after a packet with a higher number (RFC 4737).
    pub reordered: u64,
    /// The largest difference of numbers among those.
    pub reorder_packets_max: u64,
    /// How much later a packet that overtook one was sent, at most.
    pub reorder_ms_max: f64,
    pub damaged: u64,
    /// Whether the sender's announcement of the end arrived: else losses at the end of the run are not known.
    pub complete: bool,
    pub delay_ms_min: f64,
    pub delay_ms_mean: f64,
    pub delay_ms_p50: f64,
    pub delay_ms_p99: f64,
    pub delay_ms_max: f64,
    /// The longest time without a packet, and when it began after the first packet.
    pub gap_ms_max: f64,
    pub gap_at_s: f64,
    pub seconds: f64,
    /// The first numbers that are missing.
    pub missing: Vec<u64>,
}

impl Tally {
    pub fn damaged(&mut self) {
        self.damaged += 1;
    }

    pub fn announce(&mut self, count: u64) {
        self.announced = Some(count);
    }

    pub fn announced(&self) -> bool {
        self.announced.is_some()
    }

    /// Whether all that were announced are here.
    pub fn whole(&self) -> bool {
        self.announced == Some(self.distinct)
    }

    /// Packet `number` of the run, sent at `sent`, arrived at `now`.
    pub fn arrive(&mut self, number: u64, sent: u64, now: u64) {
        if number >= HIGHEST {
            self.damaged += 1;
            return;
        }
        let (word, bit) = ((number / 64) as usize, 1u64 << (number % 64));
        if word >= self.seen.len() {
            self.seen.resize(word + 1, 0);
        }
        if self.seen[word] & bit != 0 {
            self.duplicated += 1;
            return;
        }
        self.seen[word] |= bit;
        self.distinct += 1;
        match self.highest {
            Some(highest) if number < highest => {
                self.reordered += 1;
                self.distance = self.distance.max(highest - number);
                self.lateness = self.lateness.max(self.newest_sent.saturating_sub(sent));
            }
            _ => {
                self.highest = Some(number);
                self.newest_sent = sent;
            }
        }
        let first = *self.first_arrival.get_or_insert(now);
        let gap = if self.distinct == 1 { 0 } else { now.saturating_sub(self.last_arrival) };
        if gap > self.gap {
            self.gap = gap;
            self.gap_at = self.last_arrival - first;
        }
        self.last_arrival = now;
        let delay = now.saturating_sub(sent);
        self.delays[((delay / BIN) as usize).min(BINS)] += 1;
        self.delay_total += u128::from(delay);
        self.delay_least = self.delay_least.min(delay);
        self.delay_most = self.delay_most.max(delay);
    }

    pub fn report(&self) -> Report {
        let sent = self.announced.unwrap_or_else(|| self.highest.map_or(0, |highest| highest + 1));
        let some = self.distinct > 0;
        Report {
            sent,
            received: self.distinct,
            lost: sent.saturating_sub(self.distinct),
            duplicated: self.duplicated,
            reordered: self.reordered,
            reorder_packets_max: self.distance,
            reorder_ms_max: self.lateness as f64 / 1e6,
            damaged: self.damaged,
            complete: self.announced.is_some(),
            delay_ms_min: if some { self.delay_least as f64 / 1e6 } else { 0.0 },
            delay_ms_mean: if some { (self.delay_total / u128::from(self.distinct)) as f64 / 1e6 } else { 0.0 },
            delay_ms_p50: self.percentile(0.50),
            delay_ms_p99: self.percentile(0.99),
            delay_ms_max: self.delay_most as f64 / 1e6,
            gap_ms_max: self.gap as f64 / 1e6,
            gap_at_s: self.gap_at as f64 / 1e9,
            seconds: self.first_arrival.map_or(0.0, |first| (self.last_arrival - first) as f64 / 1e9),
            missing: (0..sent.min(HIGHEST)).filter(|number| !self.has(*number)).take(20).collect(),
        }
    }

    fn has(&self, number: u64) -> bool {
        self.seen.get((number / 64) as usize).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    /// The upper end of the bin in which the share lies.
    fn percentile(&self, share: f64) -> f64 {
        let wanted = (self.distinct as f64 * share).ceil() as u64;
        let mut passed = 0;
        for (bin, count) in self.delays.iter().enumerate() {
            passed += u64::from(*count);
            if passed >= wanted.max(1) {
                return ((bin as u64 + 1) * BIN) as f64 / 1e6;
            }
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn loss_duplicates_and_lateness_are_told_apart() {
        let mut tally = Tally::default();
        // Packets 0..6 are sent every 10 ms; 2 overtakes nobody late, 4 is lost, 3 arrives behind 5, 0 twice.
        for (number, arrival) in [(0, 1), (0, 2), (1, 11), (2, 21), (5, 51), (3, 52)] {
            tally.arrive(number, number * 10 * MS, arrival * MS);
        }
        tally.announce(7);
        tally.damaged();
        let report = tally.report();
        assert_eq!((report.sent, report.received, report.lost, report.duplicated), (7, 5, 2, 1));
        assert_eq!((report.reordered, report.reorder_packets_max), (1, 2));
        assert_eq!((report.reorder_ms_max, report.gap_ms_max), (20.0, 30.0));
        assert_eq!(report.missing, [4, 6]);
        assert_eq!((report.damaged, report.complete), (1, true));
        assert_eq!((report.delay_ms_min, report.delay_ms_max, report.delay_ms_p50), (1.0, 22.0, 1.01));
    }

    proptest! {
        #[test]
        fn counts_add_up(numbers in proptest::collection::vec(0u64..300, 0..400)) {
            let mut tally = Tally::default();
            for (i, number) in numbers.iter().enumerate() {
                tally.arrive(*number, *number, i as u64);
            }
            tally.announce(300);
            let report = tally.report();
            let distinct: std::collections::BTreeSet<_> = numbers.iter().collect();
            prop_assert_eq!(report.received, distinct.len() as u64);
            prop_assert_eq!(report.received + report.lost, 300);
            prop_assert_eq!(report.received + report.duplicated, numbers.len() as u64);
        }
    }
}
