//! The fast path's tests in one program: linking is most of what a test program costs.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

mod edges;
mod grow;
mod handshake;
mod hostile;
mod model;
mod moved;
mod near;
mod normal;
mod parked;
mod spliced;
mod vectors;
mod world;
