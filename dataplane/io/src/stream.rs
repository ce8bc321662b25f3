//! What the standard library lacks of TCP connections, for the proxy.

use crate::sys;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, RawFd};

/// A connection's socket under a second descriptor, non-blocking. EBADF if `fd` is none.
pub fn adopt_stream(fd: RawFd) -> io::Result<TcpStream> {
    let stream = TcpStream::from(sys::duplicate(fd)?);
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Closing sends RST instead of FIN.
pub fn reset_on_close(stream: &impl AsFd) -> io::Result<()> {
    sys::reset_on_close(stream.as_fd())
}

/// Bytes that the other end has not acknowledged.
pub fn unacknowledged(stream: &impl AsFd) -> io::Result<usize> {
    Ok(usize::try_from(sys::unacknowledged(stream.as_fd())?).unwrap_or(0))
}
