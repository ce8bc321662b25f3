//! The queue between the data threads and Python: bounded, with an eventfd that is readable while something in it does not
//! wait for Python to come by.

use braid_core::{Event, Outbox};
use braid_io::EventFd;
use braid_line::{Line, Refusals};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const MOST_EVENTS: usize = 4096;
/// Events in the queue from which on none waits.
const MOST_WAITING: usize = 64;

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
    /// Kinds of neighbours' control messages (the second byte) that wait.
    patient: Vec<u8>,
    /// The descriptor is readable.
    woken: bool,
}

impl Inner {
    fn waits(&self, entry: &Entry) -> bool {
        let Entry::Event(_, Event::Control { adjacent: true, message, .. }) = entry else { return false };
        self.entries.len() < MOST_WAITING && message.get(1).is_some_and(|kind| self.patient.contains(kind))
    }
}

pub(crate) struct Events {
    inner: Mutex<Inner>,
    wake: EventFd,
    /// What goes by it does not come here.
    pub(crate) line: Line,
    pub(crate) refusals: Refusals,
}

impl Events {
    pub(crate) fn new() -> std::io::Result<Arc<Events>> {
        let inner = Mutex::new(Inner { entries: VecDeque::new(), lost: 0, patient: Vec::new(), woken: false });
        Ok(Arc::new(Events { inner, wake: EventFd::new()?, line: Line::default(), refusals: Refusals::default() }))
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
        let waits = inner.waits(&entry) || matches!(&entry, Entry::Event(_, event) if self.refusals.awaits_more(event));
        let wakes = !inner.woken && !waits;
        inner.woken |= wakes;
        inner.entries.push_back(entry);
        drop(inner);
        if wakes {
            self.wake.signal();
        }
    }

    /// Neighbours' control messages of these kinds wake nobody from now on.
    pub(crate) fn let_wait(&self, kinds: &[u8]) {
        self.lock().patient = kinds.to_vec();
    }

    pub(crate) fn take(&self, limit: usize) -> Vec<Entry> {
        let mut inner = self.lock();
        let count = inner.entries.len().min(limit);
        let taken = inner.entries.drain(..count).collect();
        if inner.woken && inner.entries.is_empty() {
            inner.woken = false;
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
        // Who has gone need not hear what was refused for him.
        let taken = self.events.line.takes(&event) || self.events.refusals.takes(&event);
        let told = taken || matches!(event, Event::Refused { .. });
        if !told {
            self.events.push(Entry::Event(self.shard, event));
        }
    }
}
