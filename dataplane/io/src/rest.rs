//! What a data thread does otherwise while nothing but probes come and go: it receives several at a time.

use crate::sys::{self, Epoll};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// For how long datagrams that come after others, or after some went out, may wait. To be woken for each probe costs more
/// than all that is done with it; and it must be little to whoever sends the first packet after a rest.
const HOLD: Duration = Duration::from_millis(2);

/// Its descriptor is readable when something must not wait: whatever wakes the thread, without the sockets.
#[derive(Debug)]
pub(crate) struct Rest {
    prompt: Epoll,
    on: bool,
    held: bool,
}

impl Rest {
    pub(crate) fn new<'a>(prompt: impl Iterator<Item = BorrowedFd<'a>>) -> io::Result<Rest> {
        let epoll = Epoll::new()?;
        for fd in prompt {
            epoll.add(fd, 0)?;
        }
        Ok(Rest { prompt: epoll, on: false, held: false })
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on
    }

    /// To be called after each turn; `moved`: datagrams came or went in it, and none is left. Whether the thread rests now
    /// and did not before, or the other way round.
    pub(crate) fn end_turn(&mut self, on: bool, moved: bool) -> bool {
        self.held = on && moved;
        std::mem::replace(&mut self.on, on) != on
    }

    /// After such a turn, waits. True when nothing happened that must not wait, and it is the sockets' turn.
    pub(crate) fn hold(&mut self) -> bool {
        std::mem::take(&mut self.held) && !sys::wait_readable(self.prompt.fd(), HOLD)
    }
}
