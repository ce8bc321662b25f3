//! The probe of one path's size, and its answer: the payloads of kind 8.
//!
//! ```text
//! 0 what 1 (1 probe, 2 answer) | 1 path 1 (of the probe's sender) | 2 size 2 | 4 number 4 | a probe: zeros up to `size`
//! ```
//! A probe's payload is `size` bytes, so its datagram is as long as that of an inner packet of this size. Big-endian.

/// Bytes of an answer, and the least of a probe.
pub const LEAST: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum What {
    Probe = 1,
    Answer = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeProbe {
    pub what: What,
    pub path: u8,
    pub size: u16,
    pub number: u32,
}

impl SizeProbe {
    /// Of its payload.
    pub fn length(&self) -> usize {
        match self.what {
            What::Probe => usize::from(self.size).max(LEAST),
            What::Answer => LEAST,
        }
    }

    /// Fills `out`, whose length must be `length`.
    pub fn encode(&self, out: &mut [u8]) {
        out.fill(0);
        if let Some(out) = out.first_chunk_mut::<LEAST>() {
            (out[0], out[1]) = (self.what as u8, self.path);
            out[2..4].copy_from_slice(&self.size.to_be_bytes());
            out[4..8].copy_from_slice(&self.number.to_be_bytes());
        }
    }

    pub fn decode(payload: &[u8]) -> Option<SizeProbe> {
        let (&[what, path, s, t, a, b, c, d], padding) = payload.split_first_chunk::<LEAST>()?;
        let what = match what {
            1 => What::Probe,
            2 => What::Answer,
            _ => return None,
        };
        let size = u16::from_be_bytes([s, t]);
        let probe = SizeProbe { what, path, size, number: u32::from_be_bytes([a, b, c, d]) };
        let long_enough = usize::from(size) >= LEAST && payload.len() == probe.length();
        (path < 16 && long_enough && padding.iter().all(|&byte| byte == 0)).then_some(probe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trips(answer: bool, path in 0u8..16, size in 8u16..2000, number: u32) {
            let what = if answer { What::Answer } else { What::Probe };
            let probe = SizeProbe { what, path, size, number };
            let mut out = vec![7; probe.length()];
            probe.encode(&mut out);
            prop_assert_eq!(SizeProbe::decode(&out), Some(probe));
            prop_assert_eq!(SizeProbe::decode(&out[..out.len() - 1]), None);
        }

        #[test]
        fn decodes_or_not(bytes in proptest::collection::vec(0u8..20, 0..40)) {
            if let Some(probe) = SizeProbe::decode(&bytes) {
                let mut out = vec![7; probe.length()];
                probe.encode(&mut out);
                prop_assert_eq!(&out[..], &bytes[..]);
            }
        }
    }
}
