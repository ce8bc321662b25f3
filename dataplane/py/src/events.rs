//! The queue between the data threads and Python: bounded, with an eventfd that is readable while it is not empty.

use crate::line::Line;
use braid_core::{Event, Outbox};
use braid_io::EventFd;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const MOST_EVENTS: usize = 4096;

/// An event, or the end of a data thread.
pub(crate) enum Entry {
    /// Of this shard.
    Event(usize, Event),
    Failed(String),
}

struct Inner {
    entries: VecDeque<Entry>,
    /// Events that found the queue full.
    lost: u64,
}

pub(crate) struct Events {
    inner: Mutex<Inner>,
    wake: EventFd,
    /// What goes by it does not come here.
    pub(crate) line: Line,
}

impl Events {
    pub(crate) fn new() -> std::io::Result<Arc<Events>> {
        let inner = Mutex::new(Inner { entries: VecDeque::new(), lost: 0 });
        Ok(Arc::new(Events { inner, wake: EventFd::new()?, line: Line::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn fd(&self) -> i32 {
        use std::os::fd::AsRawFd;
        self.wake.fd().as_raw_fd()
    }

    pub(crate) fn push(&self, entry: Entry) {
        let mut inner = self.lock();
        // The end of the thread must get through; everything else is repeated by its cause.
        if inner.entries.len() >= MOST_EVENTS && !matches!(entry, Entry::Failed(_)) {
            inner.lost += 1;
            return;
        }
        inner.entries.push_back(entry);
        let first = inner.entries.len() == 1;
        drop(inner);
        if first {
            self.wake.signal();
        }
    }

    pub(crate) fn take(&self, limit: usize) -> Vec<Entry> {
        let mut inner = self.lock();
        let count = inner.entries.len().min(limit);
        let taken = inner.entries.drain(..count).collect();
        if inner.entries.is_empty() {
            self.wake.clear();
        }
        taken
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lock().lost
    }
}

/// The end of a shard's data thread.
pub(crate) struct Sender {
    pub(crate) events: Arc<Events>,
    pub(crate) shard: usize,
}

impl Outbox for Sender {
    fn event(&mut self, event: Event) {
        if !self.events.line.takes(&event) {
            self.events.push(Entry::Event(self.shard, event));
        }
    }
}
