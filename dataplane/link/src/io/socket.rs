//! What std does not offer about UDP and TCP sockets.

use std::net::{TcpStream, UdpSocket};
use std::os::fd::AsRawFd;

/// Asks for a receive buffer of `bytes`: beyond the system's limit as root, else as large as allowed.
pub fn set_receive_buffer(socket: &UdpSocket, bytes: i32) {
    for option in [libc::SO_RCVBUFFORCE, libc::SO_RCVBUF] {
        // SAFETY: the option value is one int that lives through the call.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const bytes).cast(),
                size_of::<i32>() as u32,
            )
        };
        if result == 0 {
            return;
        }
    }
}

/// Datagrams lost because the receive buffer was full (SO_MEMINFO, SK_MEMINFO_DROPS); None when the kernel does not tell.
pub fn receive_drops(socket: &UdpSocket) -> Option<u32> {
    const DROPS: usize = 8;
    let mut values = [0u32; DROPS + 1];
    let mut length = size_of_val(&values) as u32;
    // SAFETY: `values` has room for the `length` bytes the kernel may write.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    (result == 0 && length as usize == size_of_val(&values)).then_some(values[DROPS])
}

/// Retransmitted segments of the connection so far (TCP_INFO); None when the kernel does not tell.
pub fn retransmits(stream: &TcpStream) -> Option<u32> {
    // SAFETY: an all-zero tcp_info is a valid value of this plain C struct.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::tcp_info>() as u32;
    // SAFETY: `info` has room for the `length` bytes the kernel may write.
    let result = unsafe {
        libc::getsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut info).cast(), &raw mut length)
    };
    (result == 0).then_some(info.tcpi_total_retrans)
}
