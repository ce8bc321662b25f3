//! Sending through one UDP socket: batches at once, single datagrams collected until the end of a drain.
//!
//! The order per destination stays. A batch that the kernel cannot segment is sent again as single datagrams, and so
//! are the next ones to that destination for a while.

use crate::counters::Counters;
use crate::message::{Outgoing, Part};
use crate::refusals::Refusals;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// UDP_MAX_SEGMENTS before Linux 6.9.
const MAX_SEGMENTS: usize = 64;
/// Largest UDP payload with a plain IP header.
const MAX_BYTES_V4: usize = 65_507;
const MAX_BYTES_V6: usize = 65_487;
/// How long one drain may wait for a full send buffer, in all.
const PATIENCE: Duration = Duration::from_millis(1);
const SLAB: usize = 256 * 1024;
const MAX_PENDING: usize = 512;
/// How far back a single datagram looks for a message to its destination.
const REACH: usize = 16;

/// The socket, or a test's stand-in.
pub(crate) trait Transmit {
    /// Sends the first messages without waiting and returns how many; an error is that of the first one.
    fn send(&mut self, buffer: &[u8], parts: &[Part], messages: &[Outgoing]) -> io::Result<usize>;

    fn wait_writable(&mut self, timeout: Duration) -> bool;
}

/// A collected datagram; `next` continues the message it was put into.
#[derive(Clone, Copy, Debug)]
struct Pending {
    to: SocketAddr,
    part: Part,
}

/// A message being put together out of pending datagrams.
#[derive(Clone, Copy, Debug)]
struct Group {
    to: SocketAddr,
    segment: usize,
    bytes: usize,
    count: usize,
    /// Takes no more: its last datagram is shorter, or its destination takes no batches.
    closed: bool,
    /// Where its parts go; then where its next one goes.
    cursor: usize,
}

#[derive(Debug)]
pub(crate) struct Outbox<T> {
    transmit: T,
    counters: Arc<Counters>,
    gso: bool,
    refusals: Refusals,
    /// The smallest datagram that was too large for where it was to go, since `take_too_big`.
    too_big: Option<(SocketAddr, usize)>,
    max_bytes: usize,
    patience: Duration,
    slab: Vec<u8>,
    pending: Vec<Pending>,
    groups: Vec<Group>,
    /// Index of each pending datagram's group.
    member: Vec<u32>,
    parts: Vec<Part>,
    messages: Vec<Outgoing>,
}

impl<T: Transmit> Outbox<T> {
    pub(crate) fn new(transmit: T, v6: bool, gso: bool, counters: Arc<Counters>) -> Outbox<T> {
        Outbox {
            transmit,
            counters,
            gso,
            refusals: Refusals::default(),
            too_big: None,
            max_bytes: if v6 { MAX_BYTES_V6 } else { MAX_BYTES_V4 },
            patience: PATIENCE,
            slab: Vec::with_capacity(SLAB),
            pending: Vec::with_capacity(MAX_PENDING),
            groups: Vec::with_capacity(MAX_PENDING),
            member: Vec::with_capacity(MAX_PENDING),
            parts: Vec::with_capacity(MAX_PENDING),
            messages: Vec::with_capacity(MAX_PENDING),
        }
    }

    /// As `Sink::udp`.
    pub(crate) fn udp(&mut self, to: SocketAddr, batch: &[u8], segment: usize) {
        if batch.is_empty() {
            return;
        }
        if segment == 0 || segment > usize::from(u16::MAX) || batch.len() <= segment {
            self.collect(to, batch);
            return;
        }
        self.send_pending();
        self.parts.clear();
        self.messages.clear();
        let per_message = if self.batches_to(to.ip()) { (self.max_bytes / segment).clamp(1, MAX_SEGMENTS) } else { 1 };
        let mut from = 0;
        while from < batch.len() {
            let length = (per_message * segment).min(batch.len() - from);
            let segment = if length > segment { segment as u16 } else { 0 };
            self.messages.push(Outgoing { to, segment, parts: (self.parts.len() as u32, 1) });
            self.parts.push((from as u32, length as u32));
            from += length;
        }
        self.transmit(batch);
    }

    /// Ends a drain: everything collected leaves, and the next drain may wait anew.
    pub(crate) fn flush(&mut self) {
        self.send_pending();
        self.patience = PATIENCE;
    }

    /// Where the host refused a datagram for its size, and that size: evidence of what the way there carries.
    pub(crate) fn take_too_big(&mut self) -> Option<(SocketAddr, usize)> {
        self.too_big.take()
    }

    fn batches_to(&self, to: IpAddr) -> bool {
        self.gso && (self.refusals.is_empty() || !self.refusals.holds(to, Instant::now()))
    }

    fn collect(&mut self, to: SocketAddr, datagram: &[u8]) {
        let full = self.pending.len() == MAX_PENDING || self.slab.len() + datagram.len() > SLAB;
        if full {
            self.send_pending();
        }
        let part = (self.slab.len() as u32, datagram.len() as u32);
        self.slab.extend_from_slice(datagram);
        self.pending.push(Pending { to, part });
    }

    fn send_pending(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        self.group();
        let slab = std::mem::take(&mut self.slab);
        self.transmit(&slab);
        self.slab = slab;
        self.slab.clear();
        self.pending.clear();
    }

    /// Makes messages of the pending datagrams: those of equal size to one destination share one.
    fn group(&mut self) {
        self.groups.clear();
        self.member.clear();
        for datagram in &self.pending {
            let length = datagram.part.1 as usize;
            let recent = self.groups.len().saturating_sub(REACH);
            let open = self.groups[recent..].iter().rposition(|group| group.to == datagram.to);
            let index = match open.map(|at| recent + at) {
                Some(index) if takes(&self.groups[index], length, self.max_bytes) => index,
                _ => {
                    let batches = self.batches_to(datagram.to.ip());
                    self.groups.push(Group {
                        to: datagram.to,
                        segment: length,
                        bytes: 0,
                        count: 0,
                        closed: !batches,
                        cursor: 0,
                    });
                    self.groups.len() - 1
                }
            };
            let group = &mut self.groups[index];
            group.bytes += length;
            group.count += 1;
            group.closed |= length < group.segment;
            self.member.push(index as u32);
        }
        self.messages.clear();
        let mut cursor = 0;
        for group in &mut self.groups {
            let segment = if group.count > 1 { group.segment as u16 } else { 0 };
            let parts = (cursor as u32, group.count as u32);
            self.messages.push(Outgoing { to: group.to, segment, parts });
            group.cursor = cursor;
            cursor += group.count;
        }
        self.parts.clear();
        self.parts.resize(cursor, (0, 0));
        for (datagram, &index) in self.pending.iter().zip(&self.member) {
            let group = &mut self.groups[index as usize];
            self.parts[group.cursor] = datagram.part;
            group.cursor += 1;
        }
    }

    /// Sends `self.messages`, whose parts are ranges of `buffer`.
    fn transmit(&mut self, buffer: &[u8]) {
        let mut from = 0;
        while from < self.messages.len() {
            match self.transmit.send(buffer, &self.parts, &self.messages[from..]) {
                Ok(sent) => {
                    let to = (from + sent.max(1)).min(self.messages.len());
                    for i in from..to {
                        let message = self.messages[i];
                        let (datagrams, bytes) = self.size(&message);
                        self.count_sent(datagrams, bytes);
                        if message.segment > 0 && !self.refusals.is_empty() {
                            self.accept(message.to.ip());
                        }
                    }
                    from = to;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.wait() {
                        let lost = self.messages[from..].iter().map(|m| self.size(m).0).sum();
                        self.count_lost(lost, &error);
                        return;
                    }
                }
                Err(error) => {
                    let message = self.messages[from];
                    // The whole batch is refused, whichever datagram or mechanism is at fault.
                    let batch = message.segment > 0;
                    match error.raw_os_error() {
                        Some(errno @ (libc::EIO | libc::EINVAL | libc::EMSGSIZE)) if batch => {
                            self.replay(buffer, message, errno);
                        }
                        _ => {
                            let (datagrams, bytes) = self.size(&message);
                            self.count_lost(datagrams, &error);
                            self.note_size(message.to, bytes, &error);
                        }
                    }
                    from += 1;
                }
            }
        }
    }

    /// Sends a refused batch as single datagrams. If the first, which has the full size, leaves, segmentation was
    /// the reason and is not tried again to that destination for a while; if not, none of its size is tried.
    fn replay(&mut self, buffer: &[u8], message: Outgoing, errno: i32) {
        let segment = u32::from(message.segment);
        let parts = message.parts.0 as usize..(message.parts.0 + message.parts.1) as usize;
        let mut refused = None;
        let mut first = true;
        for i in parts {
            let (offset, length) = self.parts[i];
            let mut from = 0;
            while from < length {
                let part = (offset + from, segment.min(length - from));
                from += part.1;
                match &refused {
                    Some(error) if part.1 == segment => {
                        self.count_lost(1, error);
                        continue;
                    }
                    _ => {}
                }
                match self.send_single(buffer, message.to, part) {
                    Ok(()) if first => self.refuse(message.to.ip(), errno),
                    Ok(()) => {}
                    Err(error) => {
                        self.count_lost(1, &error);
                        self.note_size(message.to, part.1 as usize, &error);
                        refused = refused.or(Some(error));
                    }
                }
                first = false;
            }
        }
    }

    fn note_size(&mut self, to: SocketAddr, bytes: usize, error: &io::Error) {
        let smaller = self.too_big.is_none_or(|(_, known)| bytes < known);
        if error.raw_os_error() == Some(libc::EMSGSIZE) && smaller {
            self.too_big = Some((to, bytes));
        }
    }

    fn refuse(&mut self, to: IpAddr, errno: i32) {
        let (news, forgotten) = self.refusals.refuse(to, Instant::now());
        if news {
            self.counters.fallbacks.add(1);
            self.counters.offloads.publish(to, Some(errno));
        }
        if let Some(forgotten) = forgotten {
            self.counters.offloads.publish(forgotten, None);
        }
    }

    fn accept(&mut self, to: IpAddr) {
        if self.refusals.accept(to, Instant::now()) {
            self.counters.offloads.publish(to, None);
        }
    }

    fn send_single(&mut self, buffer: &[u8], to: SocketAddr, part: Part) -> io::Result<()> {
        let message = Outgoing { to, segment: 0, parts: (0, 1) };
        loop {
            match self.transmit.send(buffer, &[part], &[message]) {
                Ok(_) => {
                    self.count_sent(1, part.1 as usize);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && self.wait() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the socket became writable within what is left of this drain's patience.
    fn wait(&mut self) -> bool {
        if self.patience.is_zero() {
            return false;
        }
        let start = Instant::now();
        let writable = self.transmit.wait_writable(self.patience);
        // At least a little each time, so that a socket that only claims to be writable ends the loop.
        let spent = start.elapsed().max(Duration::from_micros(10));
        self.patience = self.patience.saturating_sub(spent);
        writable
    }

    /// Datagrams and bytes of a message.
    fn size(&self, message: &Outgoing) -> (usize, usize) {
        let first = message.parts.0 as usize;
        let parts = self.parts.iter().skip(first).take(message.parts.1 as usize);
        let bytes = parts.map(|part| part.1 as usize).sum::<usize>();
        match usize::from(message.segment) {
            0 => (1, bytes),
            segment => (bytes.div_ceil(segment), bytes),
        }
    }

    fn count_sent(&self, datagrams: usize, bytes: usize) {
        let io = &self.counters.io;
        io.udp_tx_batches.add(1);
        io.udp_tx_datagrams.add(datagrams);
        io.udp_tx_bytes.add(bytes);
    }

    fn count_lost(&self, datagrams: usize, error: &io::Error) {
        self.counters.io.udp_tx_errors.add(datagrams);
        let drops = &self.counters.drops;
        match error.raw_os_error() {
            Some(libc::EMSGSIZE) => drops.udp_send_too_big.add(datagrams),
            Some(libc::EAGAIN | libc::ENOBUFS) => drops.udp_send_full.add(datagrams),
            _ => drops.udp_send_refused.add(datagrams),
        }
    }
}

fn takes(group: &Group, length: usize, max_bytes: usize) -> bool {
    !group.closed && length <= group.segment && group.count < MAX_SEGMENTS && group.bytes + length <= max_bytes
}

#[cfg(test)]
mod tests;
