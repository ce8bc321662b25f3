//! Counter-based random numbers: each is a function of a seed, an index and a purpose, so that no decision depends on
//! how many numbers another one took.

/// What a number decides; two purposes never share a number.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub enum Purpose {
    Loss = 1,
    BurstState,
    BurstLoss,
    JointSlot,
    Jitter,
    JitterAngle,
    Reorder,
    Duplicate,
    Corrupt,
    CorruptBit,
}

/// 64 well-mixed bits (the finalizer of splitmix64, twice).
pub fn bits(seed: u64, index: u64, purpose: Purpose) -> u64 {
    mix(mix(seed ^ (purpose as u64).wrapping_mul(0xd1b5_4a32_d192_ed03))
        .wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// Uniform in [0, 1).
pub fn unit(seed: u64, index: u64, purpose: Purpose) -> f64 {
    (bits(seed, index, purpose) >> 11) as f64 / (1u64 << 53) as f64
}

/// A seed for one direction of one link: links with equal settings still lose independently.
pub fn derive(seed: u64, name: &str) -> u64 {
    name.bytes().fold(mix(seed), |state, byte| mix(state ^ u64::from(byte)))
}

fn mix(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
