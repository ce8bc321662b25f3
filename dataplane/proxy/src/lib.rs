//! HTTP/1.1 connections carried between clients and servers; which server, Python decides.

mod body;
mod exchange;
mod head;
mod onward;
mod pool;
mod relay;
mod socket;
mod transmit;

pub use exchange::{Exchange, Failure, Step, Verdict};
pub use head::{Bad, RequestHead};
pub use onward::Forwarded;
pub use relay::{Departing, Event, Flow, Newcomer, Relay, Settings};
