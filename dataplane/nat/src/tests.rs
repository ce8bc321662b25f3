//! The NAT from outside, on whole packets. Checksums are verified by `bytes::verify`, which shares no code with it.

mod bytes;
mod errors;
mod exhaustion;
mod fragments;
mod many;
mod model;
mod moved;
mod normal;
mod policy;
mod refusals;
mod tcp;
mod timeouts;
mod translation;
mod world;
