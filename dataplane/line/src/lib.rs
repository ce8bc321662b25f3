//! What the data threads tell others at once, past this process's Python: a content proxy's worker (`line.rs`), and the relay
//! that holds a request which a proxy was asked about (`refusals.rs`). And by what that relay asks one at once (`plan.rs`,
//! `stored.rs`, `under_way.rs`).

mod line;
pub mod plan;
mod refusals;
pub mod stored;
pub mod under_way;
mod words;

pub use line::{Hears, Line, Says};
pub use refusals::{Id, Refusals};

/// For a command whose answer nobody waits for.
pub struct Unheard;

impl<T> braid_core::Reply<T> for Unheard {
    fn reply(self: Box<Self>, _answer: T) {}
}
