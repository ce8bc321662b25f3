use crate::Reason;

/// Since the NAT was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Flows set up.
    pub created: u64,
    /// Flows ended, by time or by a policy that no longer has their application.
    pub expired: u64,
    /// ICMP errors and resets made; those not made because of the rate limit.
    pub replies: u64,
    pub replies_suppressed: u64,
    /// Targets of the current policy that can never be used: addresses that are ours or no host's.
    pub targets_refused: u64,
    refused: [u64; Reason::ALL.len()],
}

impl Counters {
    /// Packets not carried, answered or not.
    pub fn refused(&self, reason: Reason) -> u64 {
        self.refused[reason as usize]
    }

    pub fn all_refused(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.into_iter().zip(self.refused)
    }

    pub(crate) fn refuse(&mut self, reason: Reason) {
        self.refused[reason as usize] += 1;
    }
}
