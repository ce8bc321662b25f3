//! How many datagrams may be without an answer at once: so a machine that is late sends no burst, which queues on the way would
//! have to hold, and how much is under way does not depend on how quick it is.

/// Without any answer for so long, what is under way is lost.
const PATIENCE: u64 = 1_000_000_000;

#[derive(Debug)]
pub struct Window {
    most: u64,
    answered: u64,
    lost: u64,
    /// When the last answer came, or the last ones were given up.
    since: u64,
}

impl Window {
    /// Times are nanoseconds.
    pub fn new(most: u64, now: u64) -> Window {
        Window { most, answered: 0, lost: 0, since: now }
    }

    /// How many more may be sent, of which so many were sent and answered.
    pub fn room(&mut self, sent: u64, answered: u64, now: u64) -> u64 {
        if answered != self.answered {
            (self.answered, self.since) = (answered, now);
        }
        if now.saturating_sub(self.since) > PATIENCE {
            (self.lost, self.since) = (sent.saturating_sub(answered), now);
        }
        self.most.saturating_sub(sent.saturating_sub(answered + self.lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_under_way_than_may_be() {
        let mut window = Window::new(8, 0);
        assert_eq!(window.room(0, 0, 0), 8);
        assert_eq!(window.room(8, 0, 10), 0);
        assert_eq!(window.room(8, 3, 20), 3);
        assert_eq!(window.room(11, 3, PATIENCE), 0);
    }

    #[test]
    fn what_is_lost_does_not_stop_it_and_may_come_late() {
        let mut window = Window::new(4, 0);
        assert_eq!(window.room(4, 1, 10), 1);
        assert_eq!(window.room(5, 1, 10 + PATIENCE), 0);
        assert_eq!(window.room(5, 1, 11 + PATIENCE), 4);
        assert_eq!(window.room(9, 1, 12 + PATIENCE), 0);
        assert_eq!(window.room(9, 9, 13 + PATIENCE), 4);
    }
}
