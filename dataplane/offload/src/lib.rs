//! Segmentation and coalescing of IP packets, so that one system call and one flow lookup serve many of them.
//! Pure: no system calls, no clocks.

mod coalesce;
mod layout;
mod segment;

pub use coalesce::{Coalescer, Delivered, Limits, MAX_SEGMENTS};
pub use segment::{SegmentError, Segments};
