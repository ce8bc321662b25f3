//! A UDP socket of somebody else's, read and answered in batches: what comes is given out datagram by datagram, and an
//! answer goes back to where its question came from. Never waits.

use crate::message::{Outgoing, Part, ReceiveArrays, SendArrays};
use crate::sys;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd, RawFd};

#[derive(Debug)]
pub struct Exchange {
    fd: OwnedFd,
    incoming: ReceiveArrays,
    outgoing: SendArrays,
    slab: Vec<u8>,
    slot: usize,
    /// The last batch: where each datagram came from, its place in the slab.
    batch: Vec<(SocketAddr, Range<usize>)>,
    answers: Vec<u8>,
    parts: Vec<Part>,
    messages: Vec<Outgoing>,
}

impl Exchange {
    /// Duplicates `fd`, a bound UDP socket. A batch has at most `count` datagrams; what a datagram has beyond `size`
    /// bytes is cut off.
    pub fn adopt(fd: RawFd, count: usize, size: usize) -> io::Result<Exchange> {
        let fd = sys::duplicate(fd)?;
        sys::local_address(fd.as_fd())?;
        let (count, slot) = (count.max(1), size.max(1));
        Ok(Exchange {
            fd,
            incoming: ReceiveArrays::new(count),
            outgoing: SendArrays::new(count, count),
            slab: vec![0; count * slot],
            slot,
            batch: Vec::with_capacity(count),
            answers: Vec::new(),
            parts: Vec::with_capacity(count),
            messages: Vec::with_capacity(count),
        })
    }

    /// Takes the next batch off the socket and returns how many datagrams it has; forgets the one before, and what was
    /// to be answered to it.
    pub fn receive(&mut self) -> io::Result<usize> {
        self.batch.clear();
        self.forget_answers();
        let received = match self.incoming.receive(self.fd.as_fd(), &mut self.slab, self.slot) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => 0,
            other => other?,
        };
        for i in 0..received {
            let message = self.incoming.message(i);
            // The kernel names the sender of every datagram on an IP socket.
            if let Some(from) = message.from {
                let start = i * self.slot;
                self.batch.push((from, start..start + message.length.min(self.slot)));
            }
        }
        Ok(self.batch.len())
    }

    /// Datagram `i` of the last batch, and where it came from.
    pub fn datagram(&self, i: usize) -> Option<(SocketAddr, &[u8])> {
        let (from, place) = self.batch.get(i)?;
        Some((*from, self.slab.get(place.clone())?))
    }

    /// Puts an answer to datagram `i` of the last batch with those that `send` sends.
    pub fn answer(&mut self, i: usize, bytes: &[u8]) {
        if let Some((to, _)) = self.batch.get(i) {
            let part = self.parts.len() as u32;
            self.parts.push((self.answers.len() as u32, bytes.len() as u32));
            self.answers.extend_from_slice(bytes);
            self.messages.push(Outgoing { to: *to, segment: 0, parts: (part, 1) });
        }
    }

    /// Sends the answers, in their order, and returns how many the kernel refused: those are lost.
    pub fn send(&mut self) -> usize {
        let (mut done, mut refused) = (0, 0);
        while let Some(rest @ [_, ..]) = self.messages.get(done..) {
            match self.outgoing.send(self.fd.as_fd(), &self.answers, &self.parts, rest) {
                Ok(sent) => done += sent.max(1),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    done += 1;
                    refused += 1;
                }
            }
        }
        self.forget_answers();
        refused
    }

    fn forget_answers(&mut self) {
        self.answers.clear();
        self.parts.clear();
        self.messages.clear();
    }
}
