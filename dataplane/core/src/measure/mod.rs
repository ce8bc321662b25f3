//! Measuring paths: `inbound` notes when probes and copies come, `outbound` learns from the peer's reports what became of
//! those that were sent. Where the control side asks for it, `copies` and `log` do so for every packet and `tally` adds up
//! what was lost. All only count; what the counts mean is decided elsewhere.

/// Probes of which both ends remember what is needed: 2.8 s of them.
const REMEMBERED: usize = 28;

mod copies;
mod delay;
mod inbound;
mod log;
mod outbound;
mod tally;

pub use copies::Copies;
pub use delay::Delay;
pub use inbound::Inbound;
pub use log::SentLog;
pub use outbound::Outbound;
pub use tally::{settle, Stream, Tally};
