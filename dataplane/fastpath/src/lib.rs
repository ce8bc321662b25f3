//! The fast path: TCP connections of clients answered by SYN cookies, and carried between client and server without
//! buffers (US 9,386,088). Pure: bytes, keys and the time in, verdicts out.
//!
//! It sees packets in the client's addresses, client and VIP, and knows a connection by the flow that the NAT has for it.

mod again;
mod client;
pub mod cookie;
mod debt;
mod fast_path;
mod given;
mod grow;
mod hold;
mod moved;
mod near;
mod normal;
mod note;
mod opening;
mod options;
mod owed;
mod owing;
mod park;
mod quoted;
mod reason;
mod recent;
mod records;
mod segment;
mod server;
mod service;
mod splice;
mod stranger;
mod table;
mod transferred;
mod translate;
mod verdict;
mod waiting;
mod window;

pub use cookie::{Ends, PeriodKey};
pub use fast_path::FastPath;
pub use given::{Further, Movable};
pub use grow::Grown;
pub use hold::Held;
pub use moved::ToldSession;
pub use near::Passage;
pub use park::Park;
pub use reason::{Counters, Reason};
pub use records::{mark, ClientSession, ProxySession, State, OUR_SCALE, OUR_WINDOW};
pub use service::Request;
pub use splice::Splice;

pub use verdict::{Admitted, Output, SessionInfo, Side, Stranger, Verdict};
pub use waiting::Seen;
pub use window::Sender;
