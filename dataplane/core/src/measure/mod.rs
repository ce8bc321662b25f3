//! Measuring paths: `inbound` notes when probes and copies come, `outbound` learns from the peer's reports what became of
//! those that were sent. Both only count; what the counts mean is decided elsewhere.

/// Probes of which both ends remember what is needed: 2.8 s of them.
const REMEMBERED: usize = 28;

mod delay;
mod inbound;
mod outbound;

pub use delay::Delay;
pub use inbound::Inbound;
pub use outbound::Outbound;
