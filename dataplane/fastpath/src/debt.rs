//! Bytes that one side of a spliced connection is owed, and when they are sent: slow start, a timer, three duplicates of an
//! acknowledgement, probes of a closed window. More join them as long as a promise lasts: that of a socket, to the other side,
//! of room that this side does not have. Knows nothing of packets.

use crate::window::{at_most, later};
use braid_packet::Time;

const FIRST_PAUSE: u64 = 300 * Time::MILLISECOND;
const LONGEST_PAUSE: u64 = 10 * Time::SECOND;
/// Times that nothing is acknowledged until the connection is given up, half a minute after the first.
const MOST_TRIES: u8 = 8;
/// Segments that are sent before anything is acknowledged (RFC 6928).
const FIRST_SEGMENTS: usize = 10;
const DUPLICATES: u8 = 3;
/// Bytes that may join while so many are not acknowledged.
const MOST_OPEN: usize = 256 << 10;

/// Room that one side of a connection does not have and the other one was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Promise {
    /// Behind the last byte that it has acknowledged.
    pub(crate) next: u32,
    /// Behind the last byte that it has room for, and that the other side may send.
    pub(crate) edge: u32,
    pub(crate) promised: u32,
}

/// What is owed to one side of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Debt {
    bytes: Vec<u8>,
    /// Of the first byte.
    first: u32,
    /// So many are acknowledged; sent; and may be sent for now.
    done: usize,
    sent: usize,
    allowed: usize,
    /// Behind the last byte that the receiver has room for.
    edge: u32,
    /// Behind the last byte that the other side was told it may send.
    promised: u32,
    size: usize,
    again: bool,
    probe: bool,
    pause: u64,
    due: Time,
    tries: u8,
    duplicates: u8,
    /// Somebody will call `handle_timeout`.
    timed: bool,
}

impl Debt {
    /// `sent` of the bytes are under way. `size` of a segment.
    pub(crate) fn new(
        first: u32,
        bytes: Vec<u8>,
        sent: usize,
        window: u32,
        promised: u32,
        size: usize,
        now: Time,
    ) -> Debt {
        let size = size.max(1);
        Debt {
            first,
            done: 0,
            sent,
            allowed: sent + FIRST_SEGMENTS * size,
            edge: first.wrapping_add(window),
            promised,
            size,
            again: false,
            probe: false,
            pause: FIRST_PAUSE,
            due: now.after(FIRST_PAUSE),
            tries: 0,
            duplicates: 0,
            timed: false,
            bytes,
        }
    }

    /// A promise, and nothing that is owed.
    pub(crate) fn of(promise: Promise, size: usize, now: Time) -> Debt {
        let Promise { next, edge, promised } = promise;
        Debt::new(next, Vec::new(), 0, edge.wrapping_sub(next), promised, size, now)
    }

    /// None where bytes are owed.
    pub(crate) fn promise(&self) -> Option<Promise> {
        self.is_paid().then_some(Promise { next: self.end(), edge: self.edge, promised: self.promised })
    }

    /// Takes note of what another gateway has seen, of one that owes nothing.
    pub(crate) fn meet(&mut self, promise: &Promise) {
        if self.is_paid() {
            let next = later(self.end(), promise.next);
            self.bytes.clear();
            (self.first, self.sent, self.done) = (next, 0, 0);
            self.allowed = FIRST_SEGMENTS * self.size;
            self.edge = later(self.edge, promise.edge);
        }
    }

    /// Whether the other side was told that it may send more than there is room for, or is here.
    pub(crate) fn is_promised(&self) -> bool {
        !at_most(self.promised, later(self.edge, self.end()))
    }

    pub(crate) fn promised(&self) -> u32 {
        self.promised
    }

    /// Bytes that begin with number `at` join those behind which they belong. False if they do not follow, or are too many.
    pub(crate) fn join(&mut self, at: u32, bytes: &[u8], now: Time) -> bool {
        let end = self.end();
        let fresh = bytes.get(end.wrapping_sub(at) as usize..).unwrap_or(&[]);
        if !at_most(at, end) || fresh.is_empty() || self.open() + fresh.len() > MOST_OPEN {
            return false;
        }
        if self.is_paid() {
            self.due = now.after(self.pause);
        }
        if self.done > self.bytes.len() / 2 {
            self.bytes.drain(..self.done);
            self.first = self.at(self.done);
            self.sent -= self.done;
            self.allowed -= self.done;
            self.done = 0;
        }
        self.bytes.extend_from_slice(fresh);
        true
    }

    /// Whether a timer is to be set, which is done then.
    pub(crate) fn set_timer(&mut self) -> bool {
        !self.is_paid() && !std::mem::replace(&mut self.timed, true)
    }

    pub(crate) fn timer_is_over(&mut self) {
        self.timed = false;
    }

    /// Behind the last byte that the receiver has room for.
    pub(crate) fn edge(&self) -> u32 {
        self.edge
    }

    pub(crate) fn end(&self) -> u32 {
        self.first.wrapping_add(self.bytes.len() as u32)
    }

    pub(crate) fn due(&self) -> Time {
        self.due
    }

    /// Bytes that are not acknowledged.
    pub(crate) fn open(&self) -> usize {
        self.bytes.len() - self.done
    }

    pub(crate) fn bytes(&self, from: usize, to: usize) -> Option<&[u8]> {
        self.bytes.get(from..to)
    }

    /// Whether nothing is behind `to`.
    pub(crate) fn is_whole(&self, to: usize) -> bool {
        to == self.bytes.len()
    }

    pub(crate) fn is_paid(&self) -> bool {
        self.done >= self.bytes.len()
    }

    pub(crate) fn at(&self, offset: usize) -> u32 {
        self.first.wrapping_add(offset as u32)
    }

    /// `plain`: nothing but an acknowledgement.
    pub(crate) fn acknowledge(&mut self, number: u32, window: u32, plain: bool, now: Time) {
        if !at_most(self.first, number) {
            return;
        }
        let done = (number.wrapping_sub(self.first) as usize).min(self.bytes.len());
        let edge = later(self.edge, number.wrapping_add(window));
        if done > self.done {
            // Slow start: as many more as were acknowledged.
            self.allowed += 2 * (done - self.done);
            self.done = done;
            self.sent = self.sent.max(done);
            (self.tries, self.duplicates, self.pause) = (0, 0, FIRST_PAUSE);
            self.due = now.after(self.pause);
        } else if at_most(edge, self.at(self.done)) {
            // Whoever has no room, and says so, is there.
            self.tries = 0;
        } else if plain && edge == self.edge && self.sent > self.done && done == self.done {
            self.duplicates = self.duplicates.saturating_add(1);
            self.again |= self.duplicates == DUPLICATES;
        }
        self.edge = edge;
        let end = self.end();
        if end != number && at_most(end, number) {
            // What went on by itself has arrived too: what joins from now on follows it.
            self.bytes.clear();
            (self.first, self.sent, self.done) = (number, 0, 0);
            self.allowed = FIRST_SEGMENTS * self.size;
        }
    }

    /// Nothing has come for a while. False if it is given up.
    pub(crate) fn handle_timeout(&mut self, now: Time) -> bool {
        self.tries += 1;
        if self.tries > MOST_TRIES {
            return false;
        }
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.due = now.after(self.pause);
        self.sent = self.done;
        self.allowed = self.done + FIRST_SEGMENTS * self.size;
        self.probe = true;
        true
    }

    /// The next piece to send: where it begins and ends.
    pub(crate) fn next(&mut self) -> Option<(usize, usize)> {
        let again = std::mem::take(&mut self.again);
        let from = if again { self.done } else { self.sent };
        let room = self.edge.wrapping_sub(self.at(from)) as i32;
        // A closed window is probed with one byte.
        let room = if self.probe || again { room.max(1) } else { room }.max(0) as usize;
        let allowed = if again { from + self.size } else { self.allowed.max(self.done + 1) };
        let to = (from + self.size).min(self.bytes.len()).min(allowed).min(from + room);
        self.probe &= again;
        self.sent = self.sent.max(to);
        (to > from).then_some((from, to))
    }
}
