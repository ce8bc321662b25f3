//! How much a socket may hold: what arrives, or leaves, at a rate within a delay.

use crate::sys;
use serde::Serialize;
use std::io;
use std::os::fd::BorrowedFd;

/// No buffer is asked for that would not hold a batch of the largest size several times over.
const LEAST: u64 = 256 * 1024;
/// The option is an int, and the kernel doubles it.
const MOST: u64 = 1 << 30;

/// What a node's sockets are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    /// Of the underlay, in Mbit/s.
    pub rate_mbit: u32,
    /// What the receive buffer bridges: the longest time that the data thread is away from a socket, in microseconds.
    pub receive_us: u32,
    /// What the send buffer may hold back: more would be delay, since what is late is sent over another path too.
    pub send_us: u32,
}

impl Default for Buffers {
    fn default() -> Self {
        Buffers { rate_mbit: 10_000, receive_us: 5_000, send_us: 1_000 }
    }
}

impl Buffers {
    pub(crate) fn receive_bytes(self) -> libc::c_int {
        bytes(self.rate_mbit, self.receive_us)
    }

    pub(crate) fn send_bytes(self) -> libc::c_int {
        bytes(self.rate_mbit, self.send_us)
    }
}

/// Mbit/s by microseconds are bits. The kernel doubles the value, for what it needs beside the payload (socket(7)).
fn bytes(rate_mbit: u32, delay_us: u32) -> libc::c_int {
    (u64::from(rate_mbit) * u64::from(delay_us) / 8).clamp(LEAST, MOST) as libc::c_int
}

/// A buffer's size in bytes, without the kernel's doubling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BufferState {
    pub wanted: u32,
    /// Less than wanted: net.core.rmem_max or net.core.wmem_max caps it, and the process has no CAP_NET_ADMIN.
    pub got: u32,
}

/// Past the system's limit with CAP_NET_ADMIN, else up to it.
pub(crate) fn receive(fd: BorrowedFd<'_>, bytes: libc::c_int) -> io::Result<BufferState> {
    set(fd, bytes, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF)
}

pub(crate) fn send(fd: BorrowedFd<'_>, bytes: libc::c_int) -> io::Result<BufferState> {
    set(fd, bytes, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)
}

fn set(fd: BorrowedFd<'_>, bytes: libc::c_int, force: libc::c_int, plain: libc::c_int) -> io::Result<BufferState> {
    sys::set_option(fd, libc::SOL_SOCKET, force, bytes)
        .or_else(|_| sys::set_option(fd, libc::SOL_SOCKET, plain, bytes))?;
    let doubled = sys::get_option(fd, libc::SOL_SOCKET, plain)?;
    Ok(BufferState { wanted: bytes.unsigned_abs(), got: doubled.unsigned_abs() / 2 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_buffer_holds_what_comes_at_the_rate_within_the_delay() {
        let buffers = Buffers { rate_mbit: 8_000, receive_us: 4_000, send_us: 500 };
        assert_eq!((buffers.receive_bytes(), buffers.send_bytes()), (4_000_000, 500_000));
        assert_eq!(Buffers { rate_mbit: 1, ..buffers }.receive_bytes(), LEAST as libc::c_int);
        let most = Buffers { rate_mbit: u32::MAX, receive_us: u32::MAX, send_us: 0 };
        assert_eq!(most.receive_bytes(), MOST as libc::c_int);
    }

    #[test]
    fn what_the_kernel_gives_is_told() {
        let socket = sys::udp_socket(false).unwrap();
        let given = receive(socket.as_fd(), 100_000).unwrap();
        assert_eq!(given, BufferState { wanted: 100_000, got: 100_000 }, "below any system's limit");
        let given = send(socket.as_fd(), 100_000).unwrap();
        assert_eq!(given, BufferState { wanted: 100_000, got: 100_000 });
    }
}
