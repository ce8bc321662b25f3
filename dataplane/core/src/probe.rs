//! The probe: the payload of a keepalive. It measures the way there, and reports what was measured of the way back.
//!
//! ```text
//!  0 clock 8 (sender's, ns) | 8 echo 8 (receiver's clock last seen, 0: none) | 16 kept 8 (ns since that one came)
//! 24 number 4 | 28 sent 2 (paths this probe takes) | 30 used 2 (paths that data takes now)
//! 32 heard 2 (the receiver's paths heard in the last second) | 34 fresh 2 (in the last 230 ms)
//! 36 settled 4 (a number of the receiver's probes) | 40 outcomes 8 x 2 (paths on which settled - 7 ..= settled came)
//! 56 report 12 for each path of `heard`, lowest first:
//!     number 4 (of the last probe on it) | delay 4 (its arrival less its clock, us modulo 2^32) | received 4 (copies until then)
//! ```
//! Sets of paths are bits, bit 0 for path 0. A neighbour's probe knows one path, number 0. Big-endian throughout.

/// Path ids are below this.
pub const PATHS: usize = 16;
pub const OUTCOMES: usize = 8;
const FIXED: usize = 56;
const REPORT: usize = 12;
/// Most bytes of one probe.
pub const MOST: usize = FIXED + PATHS * REPORT;

/// What came on one path of the probe's receiver. Counts and times are modulo 2^32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub number: u32,
    /// Microseconds between two clocks that do not agree: only sums with the opposite direction mean anything.
    pub delay: u32,
    pub received: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    pub clock: u64,
    pub echo: u64,
    pub kept: u64,
    pub number: u32,
    pub sent: u16,
    pub used: u16,
    pub heard: u16,
    pub fresh: u16,
    pub settled: u32,
    pub outcomes: [u16; OUTCOMES],
    /// By path id; those of `heard` count.
    pub reports: [Report; PATHS],
}

impl Probe {
    /// Writes it and returns its length.
    pub fn encode(&self, out: &mut [u8; MOST]) -> usize {
        for (slot, value) in out[..24].chunks_exact_mut(8).zip([self.clock, self.echo, self.kept]) {
            slot.copy_from_slice(&value.to_be_bytes());
        }
        out[24..28].copy_from_slice(&self.number.to_be_bytes());
        for (slot, value) in out[28..36].chunks_exact_mut(2).zip([self.sent, self.used, self.heard, self.fresh]) {
            slot.copy_from_slice(&value.to_be_bytes());
        }
        out[36..40].copy_from_slice(&self.settled.to_be_bytes());
        for (slot, value) in out[40..FIXED].chunks_exact_mut(2).zip(self.outcomes) {
            slot.copy_from_slice(&value.to_be_bytes());
        }
        let mut end = FIXED;
        for path in paths(self.heard) {
            let report = &self.reports[path];
            for (slot, value) in
                out[end..end + REPORT].chunks_exact_mut(4).zip([report.number, report.delay, report.received])
            {
                slot.copy_from_slice(&value.to_be_bytes());
            }
            end += REPORT;
        }
        end
    }

    pub fn decode(bytes: &[u8]) -> Option<Probe> {
        let (fixed, reports) = bytes.split_first_chunk::<FIXED>()?;
        let heard = half(&fixed[32..]);
        if reports.len() != heard.count_ones() as usize * REPORT {
            return None;
        }
        let mut probe = Probe {
            clock: long(&fixed[0..]),
            echo: long(&fixed[8..]),
            kept: long(&fixed[16..]),
            number: word(&fixed[24..]),
            sent: half(&fixed[28..]),
            used: half(&fixed[30..]),
            heard,
            fresh: half(&fixed[34..]),
            settled: word(&fixed[36..]),
            ..Probe::default()
        };
        for (outcome, bytes) in probe.outcomes.iter_mut().zip(fixed[40..].chunks_exact(2)) {
            *outcome = half(bytes);
        }
        for (path, bytes) in paths(heard).zip(reports.chunks_exact(REPORT)) {
            probe.reports[path] = Report { number: word(bytes), delay: word(&bytes[4..]), received: word(&bytes[8..]) };
        }
        Some(probe)
    }

    /// Round-trip time in nanoseconds, if the sender has seen a probe of ours.
    pub fn round_trip(&self, now: u64) -> Option<u64> {
        (self.echo != 0).then(|| now.saturating_sub(self.echo).saturating_sub(self.kept))
    }
}

/// The path ids of a set, lowest first.
pub fn paths(set: u16) -> impl Iterator<Item = usize> {
    (0..PATHS).filter(move |path| set >> path & 1 == 1)
}

fn number(bytes: &[u8], length: usize) -> u64 {
    bytes.iter().take(length).fold(0, |value, &byte| value << 8 | u64::from(byte))
}

fn long(bytes: &[u8]) -> u64 {
    number(bytes, 8)
}

fn word(bytes: &[u8]) -> u32 {
    number(bytes, 4) as u32
}

fn half(bytes: &[u8]) -> u16 {
    number(bytes, 2) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_probe() -> impl Strategy<Value = Probe> {
        let clocks = any::<(u64, u64, u64)>();
        let fields = any::<(u32, u16, u16, u16, u16, u32, [u16; OUTCOMES])>();
        (clocks, fields, any::<[(u32, u32, u32); PATHS]>()).prop_map(|(clocks, fields, reports)| {
            let (number, sent, used, heard, fresh, settled, outcomes) = fields;
            let mut probe = Probe { clock: clocks.0, echo: clocks.1, kept: clocks.2, ..Probe::default() };
            probe = Probe { number, sent, used, heard, fresh, settled, outcomes, ..probe };
            for path in paths(heard) {
                let (number, delay, received) = reports[path];
                probe.reports[path] = Report { number, delay, received };
            }
            probe
        })
    }

    proptest! {
        #[test]
        fn round_trips(probe in any_probe()) {
            let mut out = [0; MOST];
            let length = probe.encode(&mut out);
            prop_assert_eq!(Probe::decode(&out[..length]), Some(probe));
            prop_assert_eq!(Probe::decode(&out[..length - 1]), None);
        }

        #[test]
        fn decodes_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..MOST + 20)) {
            if let Some(probe) = Probe::decode(&bytes) {
                let mut out = [0; MOST];
                let length = probe.encode(&mut out);
                prop_assert_eq!(&out[..length], &bytes[..]);
            }
        }
    }
}
