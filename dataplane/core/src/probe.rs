//! The probe: the payload of a keepalive. It measures the way there, and reports what was measured of the way back.
//!
//! ```text
//!  0 clock 8 (sender's, ns) | 8 echo 8 (receiver's clock last seen, 0: none) | 16 kept 8 (ns since that one came)
//! 24 number 4 | 28 sent 2 (paths this probe takes) | 30 used 2 (paths that data takes now)
//! 32 heard 2 (the receiver's paths heard in the last second) | 34 fresh 2 (in the last 230 ms)
//! 36 settled 4 (a number of the receiver's probes) | 40 outcomes 8 x 2 (paths on which settled - 7 ..= settled came)
//! 56 report 12 for each path of `heard`, lowest first:
//!     number 4 (of the last probe on it) | delay 4 (its arrival less its clock, us modulo 2^32) | received 4 (copies until then)
//! then records: kind 1 | length 2 (of the body) | body. Unknown kinds are passed over.
//!     kind 1 ask       nothing: tell which copies of each packet came
//!     kind 2 copies    epoch 1 (of the session) | first 8 (a packet's number in its lane) | runs of 4:
//!                      packets 2 (in a row, from first on) | came 2 (paths on which their copies came)
//! ```
//! Sets of paths are bits, bit 0 for path 0. A neighbour's probe knows one path, number 0. Big-endian throughout.

/// Path ids are below this.
pub const PATHS: usize = 16;
pub const OUTCOMES: usize = 8;
const FIXED: usize = 56;
const REPORT: usize = 12;
/// Most bytes of one probe.
pub const MOST: usize = FIXED + PATHS * REPORT + 2 * RECORD + COPIES + MOST_RUNS * RUN;

const RECORD: usize = 3;
const ASK: u8 = 1;
const COPIES_KIND: u8 = 2;
/// Of the record's body before the runs.
const COPIES: usize = 9;
const RUN: usize = 4;
pub const MOST_RUNS: usize = 64;

/// Packets in a row whose copies came on the same paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    pub packets: u16,
    pub came: u16,
}

/// On which paths the copies of packets came, of one lane of a session. Each packet is told of once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyReport {
    pub epoch: u8,
    pub first: u64,
    pub count: usize,
    pub runs: [Run; MOST_RUNS],
}

impl Default for CopyReport {
    fn default() -> CopyReport {
        CopyReport { epoch: 0, first: 0, count: 0, runs: [Run::default(); MOST_RUNS] }
    }
}

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
    /// The sender wants to know which copies of each packet came.
    pub ask: bool,
    pub copies: Option<CopyReport>,
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
        if self.ask {
            out[end..end + RECORD].copy_from_slice(&[ASK, 0, 0]);
            end += RECORD;
        }
        if let Some(copies) = &self.copies {
            end = copies.encode(out, end);
        }
        end
    }

    pub fn decode(bytes: &[u8]) -> Option<Probe> {
        let (fixed, reports) = bytes.split_first_chunk::<FIXED>()?;
        let heard = half(&fixed[32..]);
        let (reports, records) = reports.split_at_checked(heard.count_ones() as usize * REPORT)?;
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
        probe.decode_records(records)?;
        Some(probe)
    }

    fn decode_records(&mut self, mut records: &[u8]) -> Option<()> {
        while !records.is_empty() {
            let (head, rest) = records.split_first_chunk::<RECORD>()?;
            let (body, rest) = rest.split_at_checked(usize::from(half(&head[1..])))?;
            match head[0] {
                ASK => self.ask = true,
                COPIES_KIND => self.copies = Some(CopyReport::decode(body)?),
                _ => {}
            }
            records = rest;
        }
        Some(())
    }

    /// Round-trip time in nanoseconds, if the sender has seen a probe of ours.
    pub fn round_trip(&self, now: u64) -> Option<u64> {
        (self.echo != 0).then(|| now.saturating_sub(self.echo).saturating_sub(self.kept))
    }
}

impl CopyReport {
    fn encode(&self, out: &mut [u8; MOST], start: usize) -> usize {
        let body = COPIES + self.count * RUN;
        out[start] = COPIES_KIND;
        out[start + 1..start + RECORD].copy_from_slice(&(body as u16).to_be_bytes());
        let at = start + RECORD;
        out[at] = self.epoch;
        out[at + 1..at + COPIES].copy_from_slice(&self.first.to_be_bytes());
        for (slot, run) in out[at + COPIES..].chunks_exact_mut(RUN).zip(&self.runs[..self.count]) {
            slot[..2].copy_from_slice(&run.packets.to_be_bytes());
            slot[2..].copy_from_slice(&run.came.to_be_bytes());
        }
        at + body
    }

    fn decode(body: &[u8]) -> Option<CopyReport> {
        let (fixed, runs) = body.split_first_chunk::<COPIES>()?;
        let count = runs.len() / RUN;
        if runs.len() % RUN != 0 || count > MOST_RUNS {
            return None;
        }
        let mut report = CopyReport { epoch: fixed[0], first: long(&fixed[1..]), count, ..CopyReport::default() };
        for (run, bytes) in report.runs.iter_mut().zip(runs.chunks_exact(RUN)) {
            *run = Run { packets: half(bytes), came: half(&bytes[2..]) };
        }
        Some(report)
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
        let runs = proptest::collection::vec(any::<(u16, u16)>(), 0..=MOST_RUNS);
        let records = (any::<bool>(), proptest::option::of((any::<(u8, u64)>(), runs)));
        (clocks, fields, any::<[(u32, u32, u32); PATHS]>(), records).prop_map(|(clocks, fields, reports, records)| {
            let (number, sent, used, heard, fresh, settled, outcomes) = fields;
            let mut probe = Probe { clock: clocks.0, echo: clocks.1, kept: clocks.2, ..Probe::default() };
            probe = Probe { number, sent, used, heard, fresh, settled, outcomes, ..probe };
            for path in paths(heard) {
                let (number, delay, received) = reports[path];
                probe.reports[path] = Report { number, delay, received };
            }
            probe.ask = records.0;
            probe.copies = records.1.map(|((epoch, first), runs)| {
                let mut copies = CopyReport { epoch, first, count: runs.len(), ..CopyReport::default() };
                for (slot, (packets, came)) in copies.runs.iter_mut().zip(runs) {
                    *slot = Run { packets, came };
                }
                copies
            });
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
                prop_assert!(length <= bytes.len(), "only records that are not known are left out");
                prop_assert_eq!(Probe::decode(&out[..length]), Some(probe));
            }
        }
    }
}
