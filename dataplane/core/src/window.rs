//! How large the recovery window of a lane is: as large as traffic and paths need it.
//!
//! A number may be forgotten when its slowest copy must have come: after twice the paths' skew, and a little. Each
//! time the highest number enters another eighth of the window, that is before anything is forgotten, the age of what would be
//! is looked at; if it is too young, the window is doubled first. So rate times skew is never estimated but kept, and a jump
//! in the rate, or of the sequence, is met before it does harm. A window that was four times larger than needed for `ROOMY_FOR`
//! is halved. It takes authenticated packets to move any of this.

use crate::peak::Peak;
use crate::sequence::Recovery;
use braid_packet::Time;

/// Bits of a window that nobody needs larger, and at most: 512 bytes, and 128 KiB.
pub const LEAST: usize = 4096;
pub const MOST: usize = 1 << 20;
/// Bytes of all windows of a node, or of all its shards together.
pub const MOST_OF_NODE: usize = 64 << 20;
const PARTS: u64 = 8;
/// Less skew is never assumed: probes at rest do not show the queues that a relay has under load. And what is kept beyond
/// twice the skew.
const LEAST_SKEW: u64 = 100 * Time::MILLISECOND;
const BEYOND: u64 = 10 * Time::MILLISECOND;
const ROOMY_FOR: u64 = 10 * Time::SECOND;
/// The margin is the least one of the last one to two of these.
const MARGIN_OVER: u64 = 10 * Time::SECOND;

/// Sequence numbers of an eighth of the window.
fn part(recovery: &Recovery) -> u64 {
    recovery.window() / PARTS
}

/// How long numbers must be remembered where copies come `skew` nanoseconds apart.
pub fn needed(skew: Option<u64>) -> u64 {
    2 * skew.unwrap_or(0).max(LEAST_SKEW) + BEYOND
}

pub struct Window {
    /// When the highest number entered each of the last eight parts, by part modulo eight; None: not known any more.
    entered: [Option<Time>; PARTS as usize],
    /// The sequence number at which to `turn`.
    due: u64,
    roomy_since: Option<Time>,
    /// It should be larger than it may be.
    pub capped: bool,
    /// How far behind the highest number the last accepted copies were.
    behind: u64,
    furthest: Peak,
}

impl Window {
    pub fn new(recovery: &Recovery) -> Window {
        let due = part(recovery);
        Window { due, ..Window::fixed() }
    }

    /// Of one that keeps its size.
    pub fn fixed() -> Window {
        Window {
            entered: [None; PARTS as usize],
            due: u64::MAX,
            roomy_since: None,
            capped: false,
            behind: 0,
            furthest: Peak::default(),
        }
    }

    /// Whether to `turn` before this number is committed.
    #[inline]
    pub fn is_due(&self, sequence: u64) -> bool {
        sequence >= self.due
    }

    /// A copy was accepted, first or later, so far behind the highest number.
    #[inline]
    pub fn accepted(&mut self, behind: u64) {
        self.behind = self.behind.max(behind);
    }

    /// The highest number is about to enter another part: makes room first, where what would be forgotten is younger than
    /// `needed`. `spare` is how many bytes it may take; returns whether the size is another one.
    #[cold]
    pub fn turn(&mut self, recovery: &mut Recovery, sequence: u64, needed: u64, now: Time, spare: &mut usize) -> bool {
        let before = recovery.bits();
        while self.forgets_too_early(recovery, sequence, needed, now) {
            let more = recovery.bits() / 8;
            self.capped = recovery.bits() >= MOST || *spare < more;
            if self.capped {
                break;
            }
            *spare -= more;
            self.resize(recovery, recovery.bits() * 2, now);
        }
        let part = part(recovery);
        let (from, to) = (recovery.highest() / part, sequence / part);
        for entered in (from + 1).max(to.saturating_sub(PARTS - 1))..=to {
            self.entered[(entered % PARTS) as usize] = Some(now);
        }
        self.due = (to + 1) * part;
        if !self.remembers(to.saturating_sub(1), needed, now) {
            self.roomy_since = None;
        }
        recovery.bits() != before
    }

    /// Would the numbers of the part that leaves be younger than that?
    fn forgets_too_early(&self, recovery: &Recovery, sequence: u64, needed: u64, now: Time) -> bool {
        let part = part(recovery);
        let (from, to) = (recovery.highest() / part, sequence / part);
        // The last of them came when the next part was entered, or is passed over just now.
        to >= PARTS && (to - PARTS + 1 > from || !self.remembers(to - PARTS + 1, needed, now))
    }

    /// Was that part entered so long ago?
    fn remembers(&self, part: u64, needed: u64, now: Time) -> bool {
        self.entered[(part % PARTS) as usize].is_none_or(|entered| now.since(entered) >= needed)
    }

    fn resize(&mut self, recovery: &mut Recovery, bits: usize, now: Time) {
        let old = part(recovery);
        recovery.resize(bits);
        let new = part(recovery);
        let last = recovery.highest() / new;
        let mut entered = [None; PARTS as usize];
        for part in last.saturating_sub(PARTS - 1)..=last {
            entered[(part % PARTS) as usize] = self.passed(part * new, old, recovery.highest(), now);
        }
        self.entered = entered;
        self.due = (last + 1) * new;
    }

    /// When the highest number passed this one, as near as it is known; None: not any more.
    fn passed(&self, number: u64, part: u64, highest: u64, now: Time) -> Option<Time> {
        let (within, newest) = (number / part, highest / part);
        if within + PARTS <= newest {
            return None;
        }
        let from = self.entered[(within % PARTS) as usize]?;
        let (to, numbers) = match within {
            _ if within == newest => (now, highest - within * part),
            _ => (self.entered[((within + 1) % PARTS) as usize]?, part),
        };
        let share = u128::from(to.since(from)) * u128::from(number - within * part);
        Some(from.after((share / u128::from(numbers.max(1))) as u64))
    }

    /// To be called every now and then: gives back what has not been needed for long. Returns whether the size is another one.
    pub fn handle_timeout(&mut self, recovery: &mut Recovery, needed: u64, now: Time) -> bool {
        self.furthest.add(std::mem::take(&mut self.behind), MARGIN_OVER, now);
        if self.due == u64::MAX {
            return false;
        }
        let last = recovery.highest() / part(recovery);
        if last >= 2 && !self.remembers(last - 1, needed, now) {
            self.roomy_since = None;
            return false;
        }
        let since = *self.roomy_since.get_or_insert(now);
        if now.since(since) < ROOMY_FOR || recovery.bits() <= LEAST {
            return false;
        }
        self.roomy_since = None;
        self.capped = false;
        self.resize(recovery, recovery.bits() / 2, now);
        true
    }

    /// How far behind the highest number the furthest accepted copy of the last 10 to 20 s was, in packets.
    pub fn furthest(&self) -> u64 {
        self.furthest.last().max(self.behind)
    }
}

#[cfg(test)]
mod tests;
