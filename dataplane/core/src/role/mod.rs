//! What each role does with a packet; everything they share is in `node`.

pub mod connections;
pub mod cookies;
pub mod edge;
pub mod fast;
pub mod gateway;
pub mod intermediate;
pub mod normal;
pub mod pins;
pub mod proxied;
