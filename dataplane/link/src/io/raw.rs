//! IPv4 packets with headers of their own, in batches.

use super::check;
use std::io::Error;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Sends to one destination; needs `CAP_NET_RAW`. The kernel writes the IP checksum.
pub struct RawSocket(OwnedFd);

impl RawSocket {
    pub fn open(destination: Ipv4Addr) -> Result<RawSocket, Error> {
        // SAFETY: the call takes no pointers, and its result is checked before it becomes an owned descriptor.
        let socket = unsafe {
            OwnedFd::from_raw_fd(check(libc::socket(
                libc::AF_INET,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                libc::IPPROTO_RAW,
            ))?)
        };
        // SAFETY: an all-zero sockaddr_in is a valid value of this plain C struct.
        let mut name: libc::sockaddr_in = unsafe { std::mem::zeroed() };
        name.sin_family = libc::AF_INET as u16;
        name.sin_addr.s_addr = u32::from(destination).to_be();
        // SAFETY: `name` lives through the call, and the length is its own.
        check(unsafe {
            libc::connect(socket.as_raw_fd(), (&raw const name).cast(), size_of::<libc::sockaddr_in>() as u32)
        })?;
        Ok(RawSocket(socket))
    }

    /// How many of the packets the kernel took, one after the other; it takes none behind one that it refuses.
    pub fn send(&self, packets: &[Vec<u8>]) -> usize {
        let mut parts: Vec<libc::iovec> = packets
            .iter()
            .map(|packet| libc::iovec { iov_base: packet.as_ptr().cast_mut().cast(), iov_len: packet.len() })
            .collect();
        let mut messages: Vec<libc::mmsghdr> = parts
            .iter_mut()
            .map(|part| {
                // SAFETY: an all-zero mmsghdr is a valid value of this plain C struct.
                let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
                message.msg_hdr.msg_iov = part;
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        // SAFETY: every message points to an iovec in `parts` and that to a packet; all live through the call, and the
        // kernel only reads what they point to.
        let sent = unsafe { libc::sendmmsg(self.0.as_raw_fd(), messages.as_mut_ptr(), messages.len() as u32, 0) };
        usize::try_from(sent).unwrap_or(0)
    }
}
