//! One direction of a link: decides the fate of each frame and counts it.
//!
//! Order of decisions: blackhole, size, joint loss, burst loss, random loss, rate limit; then corruption, duplication, delay.

use crate::frame::ETHERNET;
use crate::impairment::{nanoseconds, Impairment, JitterShape};
use crate::random::{bits, derive, unit, Purpose};
use serde::Serialize;

/// received + duplicated = delivered + queued + send_errors + lost_* + blackholed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    pub received: u64,
    pub delivered: u64,
    pub lost_random: u64,
    pub lost_burst: u64,
    pub lost_joint: u64,
    pub lost_rate: u64,
    /// Larger than the MTU that was set.
    pub lost_size: u64,
    /// The memory for delayed frames was full.
    pub lost_queue: u64,
    pub blackholed: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub corrupted: u64,
    /// Waiting for their time now.
    pub queued: u64,
    /// The outgoing interface refused the frame.
    pub send_errors: u64,
    /// Lost by the kernel before the emulator saw them; not in `received`.
    pub kernel_drops: u64,
}

/// What to do with one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Lost,
    Carried {
        /// Nanoseconds on the clock of `now`.
        due: u64,
        twice: bool,
        /// Chooses the bit to flip.
        corrupt: Option<u64>,
    },
}

/// Time is nanoseconds of a clock that never goes back, common to all links.
#[derive(Debug)]
pub struct Direction {
    name: String,
    setting: Option<Impairment>,
    seed: u64,
    index: u64,
    in_burst: bool,
    busy_until: u64,
    last_due: u64,
    pub counters: Counters,
}

impl Direction {
    /// `name` makes its random numbers differ from those of other directions with the same seed.
    pub fn new(name: String) -> Self {
        Self {
            name,
            setting: None,
            seed: 0,
            index: 0,
            in_burst: false,
            busy_until: 0,
            last_due: 0,
            counters: Counters::default(),
        }
    }

    pub fn setting(&self) -> Option<&Impairment> {
        self.setting.as_ref()
    }

    /// Replaces the setting and starts its random numbers anew. Frames under way keep their time and their order.
    pub fn set(&mut self, setting: Option<Impairment>) {
        self.seed = setting.as_ref().map_or(0, |setting| derive(setting.seed, &self.name));
        self.index = 0;
        self.in_burst = false;
        self.busy_until = 0;
        self.setting = setting;
    }

    /// The next frame, of `length` bytes, arrived at `now`.
    pub fn decide(&mut self, now: u64, length: usize) -> Fate {
        self.counters.received += 1;
        let Some(setting) = &self.setting else {
            self.last_due = self.last_due.max(now);
            return Fate::Carried { due: self.last_due, twice: false, corrupt: None };
        };
        let (seed, index) = (self.seed, self.index);
        self.index += 1;
        let chance = |probability: f64, purpose: Purpose| unit(seed, index, purpose) < probability;

        // The state moves on with every frame that arrives, whatever else happens to the frame.
        let moved = if self.in_burst { setting.burst_leave } else { setting.burst_enter };
        if chance(moved, Purpose::BurstState) {
            self.in_burst = !self.in_burst;
        }
        let burst_loss = if self.in_burst { setting.burst_loss_bad } else { setting.burst_loss_good };

        if setting.blackhole {
            self.counters.blackholed += 1;
            return Fate::Lost;
        }
        if setting.mtu != 0 && length > setting.mtu as usize + ETHERNET {
            self.counters.lost_size += 1;
            return Fate::Lost;
        }
        if slot_is_lost(setting, now) {
            self.counters.lost_joint += 1;
            return Fate::Lost;
        }
        if chance(burst_loss, Purpose::BurstLoss) {
            self.counters.lost_burst += 1;
            return Fate::Lost;
        }
        if chance(setting.loss, Purpose::Loss) {
            self.counters.lost_random += 1;
            return Fate::Lost;
        }
        let mut departure = now;
        if setting.rate_mbit > 0.0 {
            let start = self.busy_until.max(now);
            if start - now > nanoseconds(setting.queue_ms) {
                self.counters.lost_rate += 1;
                return Fate::Lost;
            }
            departure = start + (length as f64 * 8_000.0 / setting.rate_mbit) as u64;
            self.busy_until = departure;
        }
        let due = departure + delay(setting, seed, index);
        let due = if chance(setting.reorder, Purpose::Reorder) {
            self.counters.reordered += 1;
            due.max(self.last_due) + nanoseconds(setting.reorder_ms)
        } else {
            self.last_due = self.last_due.max(due);
            self.last_due
        };
        let corrupt = chance(setting.corrupt, Purpose::Corrupt).then(|| bits(seed, index, Purpose::CorruptBit));
        let twice = chance(setting.duplicate, Purpose::Duplicate);
        self.counters.corrupted += u64::from(corrupt.is_some());
        self.counters.duplicated += u64::from(twice);
        Fate::Carried { due, twice, corrupt }
    }
}

/// Whether the time slot of `now` is lost on every link that shares the risk.
pub fn slot_is_lost(setting: &Impairment, now: u64) -> bool {
    setting.joint_loss > 0.0 && {
        let slot = now / nanoseconds(setting.joint_slot_ms).max(1);
        unit(setting.joint_seed, slot, Purpose::JointSlot) < setting.joint_loss
    }
}

fn delay(setting: &Impairment, seed: u64, index: u64) -> u64 {
    if setting.jitter_ms == 0.0 {
        return nanoseconds(setting.delay_ms);
    }
    let u = unit(seed, index, Purpose::Jitter);
    let deviation = match setting.jitter_shape {
        JitterShape::Uniform => 2.0 * u - 1.0,
        // Box-Muller; 1 - u is never 0.
        JitterShape::Normal => {
            (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * unit(seed, index, Purpose::JitterAngle)).cos()
        }
    };
    nanoseconds((setting.delay_ms + setting.jitter_ms * deviation).max(0.0))
}

#[cfg(test)]
mod tests;
