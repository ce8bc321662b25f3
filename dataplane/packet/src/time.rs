/// Nanoseconds on a monotonic clock that counts through suspend (CLOCK_BOOTTIME). Only differences mean anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    pub const SECOND: u64 = 1_000_000_000;
    pub const MILLISECOND: u64 = 1_000_000;

    /// Nanoseconds from `earlier` to `self`; zero if the clock seems to run backwards.
    pub fn since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    pub fn after(self, nanoseconds: u64) -> Time {
        Time(self.0.saturating_add(nanoseconds))
    }
}
