//! `sendmmsg` and `recvmmsg` behind safe functions.
#![allow(unsafe_code)]
// The integer types of `msghdr` differ between C libraries.
#![allow(clippy::unnecessary_cast)]

use crate::control::{Control, Received};
use crate::name::Name;
use crate::sys::check;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// One message to send: `parts.1` entries of the part list from `parts.0` on, back to back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing {
    pub(crate) to: SocketAddr,
    /// Bytes per datagram; 0 if the message is one datagram.
    pub(crate) segment: u16,
    pub(crate) parts: (u32, u32),
}

/// A range of the buffer that is sent from: offset, length.
pub(crate) type Part = (u32, u32);

fn zeroed_headers(count: usize) -> Vec<libc::mmsghdr> {
    // SAFETY: all-zero is a valid `mmsghdr` (null pointers, zero lengths).
    (0..count).map(|_| unsafe { mem::zeroed() }).collect()
}

/// Arrays for `sendmmsg`, allocated once. They hold pointers only during a call.
#[derive(Debug)]
pub(crate) struct SendArrays {
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
    names: Vec<Name>,
    controls: Vec<Control>,
}

impl SendArrays {
    /// For at most `messages` of `parts` parts in all per call.
    pub(crate) fn new(messages: usize, parts: usize) -> SendArrays {
        SendArrays {
            headers: zeroed_headers(messages),
            vectors: Vec::with_capacity(parts),
            names: vec![Name::EMPTY; messages],
            controls: vec![Control::EMPTY; messages],
        }
    }

    /// Sends the first messages, as many as fit the arrays and the kernel takes; never waits. Parts outside
    /// `buffer` are sent empty.
    pub(crate) fn send(
        &mut self,
        fd: BorrowedFd<'_>,
        buffer: &[u8],
        parts: &[Part],
        messages: &[Outgoing],
    ) -> io::Result<usize> {
        self.vectors.clear();
        let mut count = 0;
        for message in messages.iter().take(self.headers.len()) {
            let (first, length) = (message.parts.0 as usize, message.parts.1 as usize);
            if count > 0 && self.vectors.len() + length > self.vectors.capacity() {
                break;
            }
            let (name, name_length) = Name::encode(message.to);
            self.names[count] = name;
            let start = self.vectors.len();
            for &(offset, length) in parts.iter().skip(first).take(length) {
                let (from, to) = (offset as usize, offset as usize + length as usize);
                let slice = buffer.get(from..to).unwrap_or(&[]);
                self.vectors.push(libc::iovec { iov_base: slice.as_ptr().cast_mut().cast(), iov_len: slice.len() });
            }
            let header = &mut self.headers[count].msg_hdr;
            header.msg_namelen = name_length as libc::socklen_t;
            // The count here, the pointers below: `vectors` may still move.
            header.msg_iovlen = (self.vectors.len() - start) as _;
            header.msg_controllen = 0;
            if message.segment > 0 {
                self.controls[count] = Control::segment(message.segment);
                header.msg_controllen = Control::SEGMENT_LEN as _;
            }
            count += 1;
        }
        let mut vectors = self.vectors.as_mut_ptr();
        for i in 0..count {
            let header = &mut self.headers[i].msg_hdr;
            header.msg_name = ptr::from_mut(&mut self.names[i]).cast();
            header.msg_control = ptr::from_mut(&mut self.controls[i]).cast();
            header.msg_iov = vectors;
            // SAFETY: the headers' vector counts add up to `vectors.len()`, so this stays inside or one past it.
            vectors = unsafe { vectors.add(header.msg_iovlen as usize) };
        }
        // SAFETY: every header points at a name, a control buffer and vectors that live in `self`, the vectors
        // at `buffer`; all outlive the call and the kernel only reads them (it writes `msg_len`).
        let sent = check(unsafe {
            libc::sendmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        })?;
        Ok(sent as usize)
    }
}

/// One received message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming {
    pub(crate) from: Option<SocketAddr>,
    pub(crate) length: usize,
    /// The message or its ancillary data did not fit.
    pub(crate) truncated: bool,
    pub(crate) control: Received,
}

/// Arrays for `recvmmsg`, allocated once. They hold pointers only during a call.
#[derive(Debug)]
pub(crate) struct ReceiveArrays {
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
    names: Vec<Name>,
    controls: Vec<Control>,
}

impl ReceiveArrays {
    pub(crate) fn new(slots: usize) -> ReceiveArrays {
        let vector = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        ReceiveArrays {
            headers: zeroed_headers(slots),
            vectors: vec![vector; slots],
            names: vec![Name::EMPTY; slots],
            controls: vec![Control::EMPTY; slots],
        }
    }

    /// Receives into the first slots of `slab`, each `slot` bytes; returns how many. Never waits.
    pub(crate) fn receive(&mut self, fd: BorrowedFd<'_>, slab: &mut [u8], slot: usize) -> io::Result<usize> {
        let mut count = 0;
        for bytes in slab.chunks_exact_mut(slot).take(self.headers.len()) {
            self.vectors[count] = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            let header = &mut self.headers[count].msg_hdr;
            header.msg_name = ptr::from_mut(&mut self.names[count]).cast();
            header.msg_namelen = Name::CAPACITY as libc::socklen_t;
            header.msg_iov = ptr::from_mut(&mut self.vectors[count]);
            header.msg_iovlen = 1;
            header.msg_control = ptr::from_mut(&mut self.controls[count]).cast();
            header.msg_controllen = Control::CAPACITY as _;
            header.msg_flags = 0;
            count += 1;
        }
        // SAFETY: every header points at a name, a control buffer and a vector inside `self`, the vectors at
        // disjoint slots of `slab`; all live and are exclusively ours during the call, with their true lengths.
        let received = check(unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        })?;
        Ok(received as usize)
    }

    /// Message `i` of the last `receive`.
    pub(crate) fn message(&self, i: usize) -> Incoming {
        let header = &self.headers[i];
        let flags = header.msg_hdr.msg_flags;
        Incoming {
            from: self.names[i].decode(header.msg_hdr.msg_namelen as usize),
            length: header.msg_len as usize,
            truncated: flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0,
            control: self.controls[i].received(header.msg_hdr.msg_controllen as usize),
        }
    }
}
