//! The owner's end of a running shard.

use crate::counters::{Counters, Snapshot};
use crate::sys::{self, EventFd};
use braid_packet::Time;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

pub(crate) const MAX_COMMANDS: usize = 1024;

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The thread is behind: 1024 commands wait already.
    Full,
    /// The thread has ended.
    Stopped,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Refused::Full => "the data thread does not keep up with commands",
            Refused::Stopped => "the data thread has ended",
        })
    }
}

impl std::error::Error for Refused {}

#[derive(Debug)]
pub(crate) struct Shared<C> {
    pub(crate) commands: Mutex<VecDeque<C>>,
    pub(crate) wake: EventFd,
    pub(crate) stop: AtomicBool,
    pub(crate) ended: AtomicBool,
    /// CLOCK_BOOTTIME of the last finished turn.
    pub(crate) heartbeat: AtomicU64,
    pub(crate) failure: OnceLock<String>,
    pub(crate) counters: Arc<Counters>,
}

/// The owner's end of a running shard; dropping it stops the thread.
#[derive(Debug)]
pub struct Handle<C> {
    pub(crate) shared: Arc<Shared<C>>,
    pub(crate) thread: Mutex<Option<JoinHandle<()>>>,
}

/// Gives commands from any thread. It does not keep the shard running.
#[derive(Debug)]
pub struct Commander<C> {
    shared: Arc<Shared<C>>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<C> Commander<C> {
    /// Gives the engine a command, to be handled within a turn.
    pub fn command(&self, command: C) -> Result<(), Refused> {
        self.shared.command(command)
    }

    /// As `Handle::commands`.
    pub fn commands(&self, given: &mut Vec<C>) -> Result<(), Refused> {
        self.shared.commands(given)
    }
}

impl<C> Shared<C> {
    fn command(&self, command: C) -> Result<(), Refused> {
        self.commands(&mut vec![command])
    }

    /// Takes all of them, or none.
    fn commands(&self, given: &mut Vec<C>) -> Result<(), Refused> {
        if self.ended.load(Ordering::Acquire) {
            return Err(Refused::Stopped);
        }
        let mut commands = lock(&self.commands);
        if commands.len() + given.len() > MAX_COMMANDS {
            return Err(Refused::Full);
        }
        let first = commands.is_empty() && !given.is_empty();
        commands.extend(given.drain(..));
        drop(commands);
        if first {
            self.wake.signal();
        }
        Ok(())
    }
}

impl<C> Handle<C> {
    /// Gives the engine a command, to be handled within a turn.
    pub fn command(&self, command: C) -> Result<(), Refused> {
        self.shared.command(command)
    }

    /// Gives several at once, which are handled in one turn; all are left where they are if there is no room for all.
    pub fn commands(&self, given: &mut Vec<C>) -> Result<(), Refused> {
        self.shared.commands(given)
    }

    pub fn commander(&self) -> Commander<C> {
        Commander { shared: Arc::clone(&self.shared) }
    }

    /// Ends and joins the thread, which closes its TUN queue and sockets. Idempotent. Not to be called by `on_exit`.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake.signal();
        if let Some(thread) = lock(&self.thread).take() {
            // The thread catches its panics, so there is no error to pass on.
            let _ = thread.join();
        }
    }

    /// Nanoseconds since the thread last finished a turn; it turns at least every 250 ms.
    pub fn last_turn_ns(&self) -> u64 {
        Time(sys::boottime()).since(Time(self.shared.heartbeat.load(Ordering::Relaxed)))
    }

    /// Why the thread ended, if it did so by itself.
    pub fn failure(&self) -> Option<&str> {
        self.shared.failure.get().map(String::as_str)
    }

    pub fn snapshot(&self) -> Snapshot {
        self.shared.counters.snapshot()
    }
}

impl<C> Drop for Handle<C> {
    fn drop(&mut self) {
        self.stop();
    }
}
