//! What one direction of a link does to frames, as asked for.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JitterShape {
    Uniform,
    Normal,
}

/// Times are milliseconds, probabilities 0..=1. Absent fields mean a perfect link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Impairment {
    pub delay_ms: f64,
    /// Half the width (uniform) or the standard deviation (normal); a delay is never negative.
    pub jitter_ms: f64,
    pub jitter_shape: JitterShape,
    /// Independent loss per frame.
    pub loss: f64,
    /// Gilbert-Elliott: probability per frame of good -> bad, bad -> good, and of loss in either state.
    pub burst_enter: f64,
    pub burst_leave: f64,
    pub burst_loss_good: f64,
    pub burst_loss_bad: f64,
    /// Shared risk: time is cut into slots; a slot is lost with this probability, decided by (`joint_seed`, slot) alone.
    /// Links with equal seed, probability and slot length lose the same slots.
    pub joint_seed: u64,
    pub joint_loss: f64,
    pub joint_slot_ms: f64,
    /// Of whole Ethernet frames; 0 is no limit.
    pub rate_mbit: f64,
    /// The longest wait for the rate limit; what would wait longer is lost.
    pub queue_ms: f64,
    /// Probability that a frame is held back by `reorder_ms` without holding back the ones behind it.
    pub reorder: f64,
    pub reorder_ms: f64,
    pub duplicate: f64,
    /// Probability that one bit behind the Ethernet header flips.
    pub corrupt: f64,
    pub blackhole: bool,
    /// Longer IP packets are lost without a word; 0 is no limit.
    pub mtu: u32,
    pub seed: u64,
}

impl Default for Impairment {
    fn default() -> Self {
        Self {
            delay_ms: 0.0,
            jitter_ms: 0.0,
            jitter_shape: JitterShape::Uniform,
            loss: 0.0,
            burst_enter: 0.0,
            burst_leave: 1.0,
            burst_loss_good: 0.0,
            burst_loss_bad: 1.0,
            joint_seed: 0,
            joint_loss: 0.0,
            joint_slot_ms: 10.0,
            rate_mbit: 0.0,
            queue_ms: 50.0,
            reorder: 0.0,
            reorder_ms: 5.0,
            duplicate: 0.0,
            corrupt: 0.0,
            blackhole: false,
            mtu: 0,
            seed: 1,
        }
    }
}

impl Impairment {
    /// Names the first field out of range.
    pub fn check(&self) -> Result<(), String> {
        let probabilities = [
            ("loss", self.loss),
            ("burst_enter", self.burst_enter),
            ("burst_leave", self.burst_leave),
            ("burst_loss_good", self.burst_loss_good),
            ("burst_loss_bad", self.burst_loss_bad),
            ("joint_loss", self.joint_loss),
            ("reorder", self.reorder),
            ("duplicate", self.duplicate),
            ("corrupt", self.corrupt),
        ];
        let times = [
            ("delay_ms", self.delay_ms),
            ("jitter_ms", self.jitter_ms),
            ("joint_slot_ms", self.joint_slot_ms),
            ("queue_ms", self.queue_ms),
            ("reorder_ms", self.reorder_ms),
        ];
        for (name, value) in probabilities {
            if !(0.0..=1.0).contains(&value) {
                return Err(format!("{name} {value} is not within 0..=1"));
            }
        }
        for (name, value) in times {
            if !(0.0..=60_000.0).contains(&value) {
                return Err(format!("{name} {value} is not within 0..=60000"));
            }
        }
        if self.joint_slot_ms < 0.001 {
            return Err("joint_slot_ms is below 0.001".into());
        }
        if self.mtu != 0 && !(68..=65_535).contains(&self.mtu) {
            return Err(format!("mtu {} is not 0 and not within 68..=65535", self.mtu));
        }
        if !(0.0..=1_000_000.0).contains(&self.rate_mbit) {
            return Err(format!("rate_mbit {} is not within 0..=1000000", self.rate_mbit));
        }
        Ok(())
    }
}

/// Milliseconds as whole nanoseconds.
pub fn nanoseconds(milliseconds: f64) -> u64 {
    (milliseconds * 1e6) as u64
}
