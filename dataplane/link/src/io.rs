//! The only place that talks to Linux: packet sockets, bridge membership, timers and clocks.

#![allow(unsafe_code)]

pub mod bridge;
pub mod packet;
pub mod poll;
pub mod raw;
pub mod socket;

use std::io::Error;

/// -1 means errno.
fn check(result: libc::c_int) -> Result<libc::c_int, Error> {
    if result < 0 {
        return Err(Error::last_os_error());
    }
    Ok(result)
}

/// Nanoseconds of CLOCK_MONOTONIC: since boot, the same in all processes.
pub fn monotonic() -> u64 {
    clock(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds of CLOCK_REALTIME: what the kernel stamps received frames with.
pub fn realtime() -> u64 {
    clock(libc::CLOCK_REALTIME)
}

fn clock(id: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for one timespec; both clocks exist on every Linux.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
