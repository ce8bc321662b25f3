//! One UDP socket of the underlay.

use crate::message::{Outgoing, Part, ReceiveArrays, SendArrays};
use crate::outbox::Transmit;
use crate::sys;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

const BUFFER: libc::c_int = 8 * 1024 * 1024;

/// Offload switches of a socket. Both are tried, neither is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Send several datagrams in one message (UDP_SEGMENT).
    pub gso: bool,
    /// Receive several datagrams in one message (UDP_GRO).
    pub gro: bool,
}

impl Default for SocketOptions {
    fn default() -> Self {
        SocketOptions { gso: true, gro: true }
    }
}

#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    local: SocketAddr,
    gso: bool,
    gro: bool,
}

/// A socket in the calling thread's network namespace. IPv6 sockets carry IPv6 only; datagrams are never
/// fragmented, and the kernel's path MTU cache is not consulted (RFC 8899: the overlay probes itself).
pub fn bind(address: SocketAddr, options: SocketOptions) -> io::Result<Socket> {
    let fd = sys::udp_socket(address.is_ipv6())?;
    let borrowed = fd.as_fd();
    if address.is_ipv6() {
        sys::set_option(borrowed, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
        let probe = libc::IPV6_PMTUDISC_PROBE;
        sys::set_option(borrowed, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, probe)?;
    } else {
        let probe = libc::IP_PMTUDISC_PROBE;
        sys::set_option(borrowed, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, probe)?;
    }
    enlarge(borrowed, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF)?;
    enlarge(borrowed, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)?;
    sys::set_option(borrowed, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
    let gro = options.gro && sys::set_option(borrowed, libc::SOL_UDP, libc::UDP_GRO, 1).is_ok();
    let gso = options.gso && sys::get_option(borrowed, libc::SOL_UDP, libc::UDP_SEGMENT).is_ok();
    sys::bind(borrowed, address)?;
    let local = sys::local_address(borrowed)?;
    Ok(Socket { fd, local, gso, gro })
}

/// Past the system's limit with CAP_NET_ADMIN, else up to it.
fn enlarge(fd: BorrowedFd<'_>, force: libc::c_int, plain: libc::c_int) -> io::Result<()> {
    sys::set_option(fd, libc::SOL_SOCKET, force, BUFFER)
        .or_else(|_| sys::set_option(fd, libc::SOL_SOCKET, plain, BUFFER))
}

impl Socket {
    /// The bound address; with the kernel's choice of port if none was asked for.
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// Whether the kernel knows UDP_SEGMENT; a route may still refuse it later.
    pub fn gso(&self) -> bool {
        self.gso
    }

    pub fn gro(&self) -> bool {
        self.gro
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn receive(&self, arrays: &mut ReceiveArrays, slab: &mut [u8], slot: usize) -> io::Result<usize> {
        arrays.receive(self.fd(), slab, slot)
    }
}

/// A socket that sends, with its arrays.
#[derive(Debug)]
pub(crate) struct Sender {
    socket: std::sync::Arc<Socket>,
    arrays: SendArrays,
}

impl Sender {
    pub(crate) fn new(socket: std::sync::Arc<Socket>) -> Sender {
        Sender { socket, arrays: SendArrays::new(64, 512) }
    }
}

impl Transmit for Sender {
    fn send(&mut self, buffer: &[u8], parts: &[Part], messages: &[Outgoing]) -> io::Result<usize> {
        self.arrays.send(self.socket.fd(), buffer, parts, messages)
    }

    fn wait_writable(&mut self, timeout: Duration) -> bool {
        sys::wait_writable(self.socket.fd(), timeout)
    }
}
