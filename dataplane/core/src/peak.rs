//! The largest value of late.

use braid_packet::Time;

/// Of the last one to two spans of time. All that feed one use the same span.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peak {
    /// In this span and in the one before.
    values: [u64; 2],
    began: Option<Time>,
}

impl Peak {
    pub fn add(&mut self, value: u64, span: u64, now: Time) {
        match self.began {
            Some(began) if now.since(began) < span => {}
            began => {
                let follows = began.is_some_and(|began| now.since(began) < 2 * span);
                self.values = [0, if follows { self.values[0] } else { 0 }];
                self.began = Some(now);
            }
        }
        self.values[0] = self.values[0].max(value);
    }

    /// As of the last `add`; 0 before the first.
    pub fn last(&self) -> u64 {
        self.values[0].max(self.values[1])
    }

    /// None when nothing was added for two spans.
    pub fn now(&self, span: u64, now: Time) -> Option<u64> {
        self.began.filter(|&began| now.since(began) < 2 * span).map(|_| self.last())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_for_one_to_two_spans() {
        let mut peak = Peak::default();
        assert_eq!((peak.now(10, Time(0)), peak.last()), (None, 0));
        peak.add(7, 10, Time(100));
        peak.add(3, 10, Time(109));
        assert_eq!(peak.last(), 7);
        peak.add(1, 10, Time(110));
        assert_eq!(peak.last(), 7);
        peak.add(1, 10, Time(120));
        assert_eq!((peak.last(), peak.now(10, Time(139)), peak.now(10, Time(140))), (1, Some(1), None));
        peak.add(9, 10, Time(150));
        peak.add(2, 10, Time(171));
        assert_eq!(peak.last(), 2, "a silent span lay between");
    }
}
