//! What each role does with a packet; everything they share is in `node`.

pub mod connections;
pub mod cookies;
pub mod edge;
pub mod ends;
pub mod fast;
pub mod gateway;
pub mod intermediate;
pub mod normal;
pub mod owners;
pub mod pins;
pub mod proxied;
pub mod seen;
pub mod sibling;
pub mod transferred;
