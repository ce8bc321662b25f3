//! What the standard library lacks of TCP connections, for the proxy.

use crate::{sys, sys_tcp};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd, RawFd};

/// A connection's socket under a second descriptor, non-blocking. EBADF if `fd` is none.
pub fn adopt_stream(fd: RawFd) -> io::Result<TcpStream> {
    let stream = TcpStream::from(sys::duplicate(fd)?);
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// A second descriptor for a connection's socket, which stays its owner's. EBADF if `fd` is none.
pub fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    sys::duplicate(fd)
}

/// Whether packets to an address stay on this host, as it is one of its own.
pub fn is_own(host: IpAddr) -> bool {
    let any: IpAddr = if host.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // No packet leaves: a UDP socket learns by connecting from where it would send.
    let from = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((host, 9))?;
        socket.local_addr()
    });
    from.is_ok_and(|from| from.ip() == host)
}

/// Begins to connect a non-blocking socket.
pub fn connect(socket: &impl AsFd, address: SocketAddr) -> io::Result<()> {
    match sys_tcp::connect(socket.as_fd(), address) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        done => done,
    }
}

/// Closing sends RST instead of FIN.
pub fn reset_on_close(stream: &impl AsFd) -> io::Result<()> {
    sys_tcp::reset_on_close(stream.as_fd())
}

/// Bytes that the other end has not acknowledged.
pub fn unacknowledged(stream: &impl AsFd) -> io::Result<usize> {
    sys_tcp::queued(stream.as_fd(), sys_tcp::Queue::Unacknowledged)
}
