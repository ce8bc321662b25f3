//! System calls for TCP sockets that the standard library lacks, behind safe functions. No policy here.
#![allow(unsafe_code)]

use crate::name::Name;
use crate::sys::{check, owned};
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

/// Of linux/sockios.h: bytes that were not read, not acknowledged, not sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Queue {
    Unread = libc::FIONREAD as isize,
    Unacknowledged = libc::TIOCOUTQ as isize,
    Unsent = 0x894b,
}

/// A non-blocking TCP socket, closed on exec.
pub(crate) fn socket(v6: bool) -> io::Result<OwnedFd> {
    let family = if v6 { libc::AF_INET6 } else { libc::AF_INET };
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes integers only.
    owned(unsafe { libc::socket(family, kind, 0) })
}

pub(crate) fn connect(fd: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()> {
    let (name, length) = Name::encode(address);
    // SAFETY: `name` holds a socket address of `length` bytes for the duration of the call.
    check(unsafe { libc::connect(fd.as_raw_fd(), ptr::from_ref(&name).cast(), length as libc::socklen_t) })?;
    Ok(())
}

/// The connection is no more, for every descriptor of the socket.
pub(crate) fn disconnect(fd: BorrowedFd<'_>) -> io::Result<()> {
    let nowhere = libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
    let length = mem::size_of::<libc::sockaddr>() as libc::socklen_t;
    // SAFETY: `nowhere` is a socket address of `length` bytes for the duration of the call.
    check(unsafe { libc::connect(fd.as_raw_fd(), ptr::from_ref(&nowhere), length) })?;
    Ok(())
}

pub(crate) fn peer_address(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let mut name = Name::EMPTY;
    let mut length = Name::CAPACITY as libc::socklen_t;
    // SAFETY: `name` has room for `length` bytes, which the kernel does not exceed.
    check(unsafe { libc::getpeername(fd.as_raw_fd(), ptr::from_mut(&mut name).cast(), &mut length) })?;
    name.decode(length as usize).ok_or_else(|| io::Error::other("not an IP socket"))
}

pub(crate) fn set_bytes(fd: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int, value: &[u8]) -> io::Result<()> {
    let length = value.len() as libc::socklen_t;
    // SAFETY: the pointer and length are those of `value`, which the kernel only reads.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, value.as_ptr().cast(), length) })?;
    Ok(())
}

/// The first `N` bytes of an option's value; zero where it has fewer.
pub(crate) fn get_bytes<const N: usize>(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
) -> io::Result<[u8; N]> {
    let mut value = [0; N];
    let mut length = N as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, the size of `value`.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, option, value.as_mut_ptr().cast(), &mut length) })?;
    Ok(value)
}

/// Bytes that wait, without taking any, as many as there are or `into` holds.
pub(crate) fn peek(fd: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: the kernel writes at most `into.len()` bytes.
    let count = unsafe { libc::recv(fd.as_raw_fd(), into.as_mut_ptr().cast(), into.len(), flags) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// How many bytes the kernel took.
pub(crate) fn send(fd: BorrowedFd<'_>, data: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the kernel reads at most `data.len()` bytes.
    let count = unsafe { libc::send(fd.as_raw_fd(), data.as_ptr().cast(), data.len(), flags) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Bytes in one of a connection's queues.
pub(crate) fn queued(fd: BorrowedFd<'_>, queue: Queue) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: each of these requests writes one int through the pointer.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), queue as libc::c_ulong as _, &mut count) })?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Closing `fd` sends RST instead of FIN.
pub(crate) fn reset_on_close(fd: BorrowedFd<'_>) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = mem::size_of::<libc::linger>() as libc::socklen_t;
    let (level, option, value) = (libc::SOL_SOCKET, libc::SO_LINGER, ptr::from_ref(&linger).cast());
    // SAFETY: the pointer and length are those of one `linger`.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, value, size) })?;
    Ok(())
}
