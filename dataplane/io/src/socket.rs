//! One UDP socket of the underlay.

use crate::buffers::{self, Buffers};
use crate::counters::SocketState;
use crate::message::{Outgoing, Part, ReceiveArrays, SendArrays};
use crate::offloads::Probe;
use crate::outbox::Transmit;
use crate::probe;
use crate::sys;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// What a socket is to do. Both offloads are probed, neither is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Send several datagrams in one message (UDP_SEGMENT).
    pub gso: bool,
    /// Receive several datagrams in one message (UDP_GRO).
    pub gro: bool,
    pub buffers: Buffers,
}

impl Default for SocketOptions {
    fn default() -> Self {
        SocketOptions { gso: true, gro: true, buffers: Buffers::default() }
    }
}

#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    state: SocketState,
    gso: Probe,
    gro: Probe,
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
    let receive_buffer = buffers::receive(borrowed, options.buffers.receive_bytes())?;
    let send_buffer = buffers::send(borrowed, options.buffers.send_bytes())?;
    sys::set_option(borrowed, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
    let probed = probe::udp(address.is_ipv6());
    let gso = if options.gso { probed.gso } else { Probe::Off };
    let mut gro = if options.gro { probed.gro } else { Probe::Off };
    if gro.usable() {
        gro = gro.and(Probe::of(sys::set_option(borrowed, libc::SOL_UDP, libc::UDP_GRO, 1)));
    }
    sys::bind(borrowed, address)?;
    let address = sys::local_address(borrowed)?;
    Ok(Socket { fd, state: SocketState { address, receive_buffer, send_buffer }, gso, gro })
}

impl Socket {
    /// The bound address; with the kernel's choice of port if none was asked for.
    pub fn local_address(&self) -> SocketAddr {
        self.state.address
    }

    pub(crate) fn state(&self) -> SocketState {
        self.state.clone()
    }

    /// Whether UDP_SEGMENT works here; a route may still refuse it later.
    pub fn gso(&self) -> Probe {
        self.gso
    }

    pub fn gro(&self) -> Probe {
        self.gro
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether the kernel says of each datagram when it came. It costs all sockets of the host a little per packet.
    pub(crate) fn stamp(&self, on: bool) {
        // Without stamps the time of reading counts.
        let _ = sys::set_option(self.fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, i32::from(on));
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
