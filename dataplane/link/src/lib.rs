//! Impaired links for the lab: what happens to each frame is a pure function of the seed, the frame's number and the
//! time (`impairment`, `direction`, `schedule`, `frame`); `io` carries frames between two interfaces and `emulator`
//! joins both. The programs are `braid-link` (the emulator) and `braid-traffic` (numbered packets to measure with).

pub mod direction;
pub mod emulator;
pub mod frame;
pub mod impairment;
pub mod io;
pub mod protocol;
pub mod random;
pub mod schedule;
pub mod traffic;
