//! Connections carried between clients and servers, of HTTP/1.1 or of bytes as they are; which server, Python decides.

mod body;
mod exchange;
mod hand_back;
mod head;
mod onward;
mod pool;
mod relay;
mod socket;
mod transmit;

pub use exchange::{Exchange, Failure, Step, Verdict};
pub use hand_back::{give_back, DataPlane};
pub use head::{Bad, RequestHead};
pub use mio::Waker;
pub use onward::Forwarded;
pub use relay::{Departure, Event, Flow, Newcomer, Relay, Settings, Speech};
