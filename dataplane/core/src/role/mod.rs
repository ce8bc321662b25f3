//! What each role does with a packet; everything they share is in `node`.

pub mod edge;
pub mod gateway;
pub mod intermediate;
pub mod pins;
