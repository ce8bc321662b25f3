//! Numbered packets and bulk streams to measure a network with.

pub mod flood;
pub mod options;
pub mod packet;
pub mod report;
pub mod tcp;
pub mod udp;
pub mod window;
