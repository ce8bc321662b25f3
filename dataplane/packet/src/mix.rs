/// One number from several: the same for everybody and for ever, for choices that all nodes must make alike. No secret
/// is in it, so it can be steered. SplitMix64's finaliser.
#[inline]
pub fn mix(words: &[u64]) -> u64 {
    words.iter().fold(0x9e37_79b9_7f4a_7c15, |state, word| finalise(state ^ word))
}

#[inline]
fn finalise(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
