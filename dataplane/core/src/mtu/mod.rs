//! How large a packet each path to an end-to-end peer carries: packetization layer path MTU discovery (RFC 8899, RFC 4821).
//!
//! `search` is the state machine of one path; `trial` tells a size that does not pass from a path that loses. Both only
//! decide: `sizing` sends what they ask for, `size_probe` has the bytes. Sizes are those of inner packets.

mod search;
mod trial;

pub use search::{Search, State, BASE};
