//! Packet sockets (packet(7)) bound to one interface, read and written in batches, each frame behind a virtio_net_hdr.

use super::check;
use crate::frame::HEADER;
use std::io::Error;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

pub const BATCH: usize = 64;
/// Largest frame taken, with its header: a whole segmentation batch.
const FRAME: usize = HEADER + 14 + 65_536;
const RECEIVE_BUFFER: libc::c_int = 64 << 20;
/// Kernel buffer for one timespec as ancillary data.
const CONTROL: usize = 64;

pub struct PacketSocket {
    fd: OwnedFd,
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl PacketSocket {
    /// Receives every frame that arrives on the interface from now on; needs CAP_NET_RAW.
    pub fn open(ifindex: i32) -> Result<Self, Error> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: socket(2) takes no pointers; the result is checked before it becomes an owned descriptor.
        // Protocol 0 receives nothing until bind.
        let fd = unsafe { OwnedFd::from_raw_fd(check(libc::socket(libc::AF_PACKET, kind, 0))?) };
        let socket = Self { fd };
        socket.option(libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1)?;
        // Frames sent here must not come back; kernels before 4.20 have no such option, `receive` filters too.
        let _ = socket.option(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1);
        socket.option(libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
        socket.option(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER)?;
        // SAFETY: an all-zero sockaddr_ll is a valid value of this plain C struct.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = ifindex;
        // SAFETY: `address` is a valid sockaddr_ll of the length given.
        check(unsafe {
            libc::bind(socket.fd.as_raw_fd(), (&raw const address).cast(), size_of::<libc::sockaddr_ll>() as u32)
        })?;
        Ok(socket)
    }

    /// Frames the kernel had no room for since the last call.
    pub fn take_kernel_drops(&self) -> u64 {
        let mut stats = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = size_of::<libc::tpacket_stats>() as u32;
        // SAFETY: `stats` has room for the `length` bytes the kernel may write.
        let result = unsafe {
            libc::getsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut stats).cast(),
                &raw mut length,
            )
        };
        if result == 0 {
            u64::from(stats.tp_drops)
        } else {
            0
        }
    }

    fn option(&self, level: i32, name: i32, value: libc::c_int) -> Result<(), Error> {
        // SAFETY: the option value is one int that lives through the call.
        check(unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                level,
                name,
                (&raw const value).cast(),
                size_of::<libc::c_int>() as u32,
            )
        })?;
        Ok(())
    }
}

/// Room for one batch of received frames, used again and again.
pub struct Receiver {
    frames: Vec<u8>,
    controls: Vec<u8>,
    addresses: Vec<libc::sockaddr_ll>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl Default for Receiver {
    fn default() -> Self {
        // SAFETY: all-zero values are valid for these plain C structs.
        let (address, header): (libc::sockaddr_ll, libc::mmsghdr) = unsafe { std::mem::zeroed() };
        let vector = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        Self {
            frames: vec![0; BATCH * FRAME],
            controls: vec![0; BATCH * CONTROL],
            addresses: vec![address; BATCH],
            vectors: vec![vector; BATCH],
            headers: vec![header; BATCH],
        }
    }
}

impl Receiver {
    /// Passes each waiting frame, with its header, and its CLOCK_REALTIME arrival in nanoseconds to `take`.
    /// Returns how many frames were read; less than `BATCH` means that no more wait.
    pub fn receive(&mut self, socket: &PacketSocket, mut take: impl FnMut(&[u8], u64)) -> Result<usize, Error> {
        let (frames, controls) = (self.frames.as_mut_ptr(), self.controls.as_mut_ptr());
        for i in 0..BATCH {
            // SAFETY: i < BATCH, so both places lie within their buffers of BATCH pieces.
            let (frame, control) = unsafe { (frames.add(i * FRAME), controls.add(i * CONTROL)) };
            self.vectors[i] = libc::iovec { iov_base: frame.cast(), iov_len: FRAME };
            let header = &mut self.headers[i].msg_hdr;
            header.msg_name = (&raw mut self.addresses[i]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_ll>() as u32;
            header.msg_iov = &raw mut self.vectors[i];
            header.msg_iovlen = 1;
            header.msg_control = control.cast();
            header.msg_controllen = CONTROL as _;
        }
        // SAFETY: every header points to buffers of the lengths it names, all owned by `self`, which is borrowed
        // mutably through the call.
        let count = check(unsafe {
            libc::recvmmsg(
                socket.fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        });
        let count = match count {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => return Ok(0),
            Err(error) => return Err(error),
            Ok(count) => count as usize,
        };
        for i in 0..count {
            let header = &self.headers[i];
            let whole = header.msg_hdr.msg_flags & libc::MSG_TRUNC == 0;
            if whole && self.addresses[i].sll_pkttype != libc::PACKET_OUTGOING {
                let length = (header.msg_len as usize).min(FRAME);
                take(&self.frames[i * FRAME..i * FRAME + length], stamp(&header.msg_hdr));
            }
        }
        Ok(count)
    }
}

/// The kernel's arrival time; 0 when it gave none.
fn stamp(header: &libc::msghdr) -> u64 {
    // SAFETY: the kernel filled the control buffer that `header` describes, which is still alive; CMSG_FIRSTHDR
    // checks its length, and the timespec is read unaligned after its type was checked.
    unsafe {
        let control = libc::CMSG_FIRSTHDR(header);
        if control.is_null()
            || (*control).cmsg_level != libc::SOL_SOCKET
            || (*control).cmsg_type != libc::SCM_TIMESTAMPNS
        {
            return 0;
        }
        let time: libc::timespec = std::ptr::read_unaligned(libc::CMSG_DATA(control).cast());
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }
}

/// Room to send one batch, used again and again.
pub struct Sender {
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl Default for Sender {
    fn default() -> Self {
        // SAFETY: an all-zero mmsghdr is a valid value of this plain C struct.
        let header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        let vector = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        Self { vectors: vec![vector; BATCH], headers: vec![header; BATCH] }
    }
}

impl Sender {
    /// Sends frames with their headers, in order; returns how many the interface refused.
    pub fn send(&mut self, socket: &PacketSocket, frames: &[Vec<u8>]) -> usize {
        let mut refused = 0;
        for batch in frames.chunks(BATCH) {
            for (i, frame) in batch.iter().enumerate() {
                self.vectors[i] = libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() };
                self.headers[i].msg_hdr.msg_iov = &raw mut self.vectors[i];
                self.headers[i].msg_hdr.msg_iovlen = 1;
            }
            let mut done = 0;
            while done < batch.len() {
                // SAFETY: headers done..batch.len() point to frames that are borrowed through the call; the kernel
                // only reads them.
                let sent = unsafe {
                    libc::sendmmsg(
                        socket.fd.as_raw_fd(),
                        self.headers.as_mut_ptr().add(done),
                        (batch.len() - done) as u32,
                        libc::MSG_DONTWAIT as _,
                    )
                };
                if sent > 0 {
                    done += sent as usize;
                } else if Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
                    // The error is that of the first frame; the ones behind it may fare better.
                    refused += 1;
                    done += 1;
                }
            }
        }
        refused
    }
}
