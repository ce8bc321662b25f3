//! The data threads of a node, one for each shard: commands to one or to all of them, answers from one or from all.

use crate::events::{Entry, Events, Sender};
use braid_core::{Command, Node, Reply};
use braid_io::{Commander, Handle, Refused, ShardConfig, Snapshot};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::sync::mpsc::{sync_channel, Receiver, RecvTimeoutError, SyncSender};
use std::sync::Arc;
use std::time::Duration;

/// How long an answer of a data thread may take before the caller is told that it is stuck.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// For room in a data thread's queue.
const WAIT: Duration = Duration::from_millis(1);
const MOST_WAITS: usize = 2000;

struct Channel<T>(SyncSender<T>);

impl<T: Send> Reply<T> for Channel<T> {
    fn reply(self: Box<Self>, answer: T) {
        // The asker may have given up waiting.
        let _ = self.0.try_send(answer);
    }
}

/// A question's end for the answer, and where that is waited for: `answers`.
pub(crate) fn question<T: Send + 'static>() -> (Box<dyn Reply<T>>, Receiver<T>) {
    let (sender, receiver) = sync_channel(1);
    (Box::new(Channel(sender)), receiver)
}

/// To questions that were asked, in their order; None where none was.
pub(crate) fn answers<T: Send>(py: Python<'_>, asked: Vec<Option<Receiver<T>>>) -> PyResult<Vec<Option<T>>> {
    let answer = |asked: Option<Receiver<T>>| asked.map(|answer| answer.recv_timeout(ANSWER_WITHIN)).transpose();
    let answers: Result<Vec<Option<T>>, _> = py.detach(move || asked.into_iter().map(answer).collect());
    answers.map_err(silent)
}

/// Sockets and engines before `start`, the running threads after it; in the order of the shards.
pub(crate) enum Threads {
    Ready(Vec<(Node<Sender>, ShardConfig)>),
    Running(Vec<Handle<Command>>),
    Stopped,
}

impl Threads {
    pub(crate) fn start(&mut self, events: &Arc<Events>) -> PyResult<()> {
        let before = std::mem::replace(self, Threads::Stopped);
        let Threads::Ready(shards) = before else {
            *self = before;
            return Err(PyRuntimeError::new_err("start: it was started before"));
        };
        let several = shards.len() > 1;
        let mut running = Vec::new();
        for (index, (node, config)) in shards.into_iter().enumerate() {
            let events = events.clone();
            running.push(braid_io::spawn(node, config, move |end| {
                if let Err(why) = end {
                    events.push(Entry::Failed(if several { format!("shard {index}: {why}") } else { why }));
                }
            })?);
        }
        *self = Threads::Running(running);
        Ok(())
    }

    pub(crate) fn stop(&mut self, py: Python<'_>) {
        if let Threads::Running(running) = std::mem::replace(self, Threads::Stopped) {
            py.detach(|| running.iter().for_each(Handle::stop));
        }
    }

    fn running(&self) -> PyResult<&[Handle<Command>]> {
        match self {
            Threads::Running(running) => Ok(running),
            Threads::Ready(_) => Err(PyRuntimeError::new_err("the core is not started")),
            Threads::Stopped => Err(PyRuntimeError::new_err("the core is stopped")),
        }
    }

    /// One for each shard.
    pub(crate) fn commanders(&self) -> PyResult<Vec<Commander<Command>>> {
        Ok(self.running()?.iter().map(Handle::commander).collect())
    }

    pub(crate) fn count(&self) -> usize {
        self.running().map_or(0, <[_]>::len)
    }

    pub(crate) fn is_single(&self) -> bool {
        self.count() == 1
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self, Threads::Running(_))
    }

    /// Nanoseconds since the thread that is furthest behind finished a turn.
    pub(crate) fn last_turn(&self) -> u64 {
        self.running().map_or(0, |running| running.iter().map(Handle::last_turn_ns).max().unwrap_or(0))
    }

    /// By shard: nanoseconds since its last turn, and what its IO counted.
    pub(crate) fn io(&self) -> PyResult<Vec<(u64, Snapshot)>> {
        Ok(self.running()?.iter().map(|handle| (handle.last_turn_ns(), handle.snapshot())).collect())
    }

    /// Handshakes and control messages are the first shard's.
    pub(crate) fn command(&self, command: Command) -> PyResult<()> {
        self.running()?.first().map_or(Ok(()), |first| give(first, command))
    }

    /// For one shard; nothing becomes of it if there is no such shard.
    pub(crate) fn command_to(&self, shard: usize, command: Command) -> PyResult<()> {
        self.running()?.get(shard).map_or(Ok(()), |handle| give(handle, command))
    }

    /// Several in one turn of a shard. Waits for room.
    pub(crate) fn commands_to(&self, py: Python<'_>, shard: usize, commands: Vec<Command>) -> PyResult<()> {
        let Some(handle) = self.running()?.get(shard) else { return Ok(()) };
        give_all(py, &handle.commander(), commands)
    }

    pub(crate) fn to_all(&self, command: impl Fn() -> Command) -> PyResult<()> {
        self.running()?.iter().try_for_each(|handle| give(handle, command()))
    }

    pub(crate) fn ask<T: Send + 'static>(
        &self,
        py: Python<'_>,
        question: impl FnOnce(Box<dyn Reply<T>>) -> Command,
    ) -> PyResult<T> {
        self.ask_shard(py, 0, question)
    }

    pub(crate) fn ask_shard<T: Send + 'static>(
        &self,
        py: Python<'_>,
        shard: usize,
        question: impl FnOnce(Box<dyn Reply<T>>) -> Command,
    ) -> PyResult<T> {
        let (reply, answer) = self::question();
        self.command_to(shard, question(reply))?;
        py.detach(move || answer.recv_timeout(ANSWER_WITHIN)).map_err(silent)
    }

    /// The answers in the order of the shards.
    pub(crate) fn ask_all<T: Send + 'static>(
        &self,
        py: Python<'_>,
        question: impl Fn(Box<dyn Reply<T>>) -> Command,
    ) -> PyResult<Vec<T>> {
        let mut receivers = Vec::new();
        for handle in self.running()? {
            let (reply, answer) = self::question();
            give(handle, question(reply))?;
            receivers.push(answer);
        }
        let answer = |receiver: Receiver<T>| receiver.recv_timeout(ANSWER_WITHIN);
        let answers: Result<Vec<T>, _> = py.detach(move || receivers.into_iter().map(answer).collect());
        answers.map_err(silent)
    }
}

/// Several in one turn of a shard. Waits for room.
pub(crate) fn give_all(py: Python<'_>, shard: &Commander<Command>, mut commands: Vec<Command>) -> PyResult<()> {
    for _ in 0..MOST_WAITS {
        match shard.commands(&mut commands) {
            Err(Refused::Full) => py.detach(|| std::thread::sleep(WAIT)),
            done => return done.map_err(refusal),
        }
    }
    Err(refusal(Refused::Full))
}

fn give(handle: &Handle<Command>, command: Command) -> PyResult<()> {
    handle.command(command).map_err(refusal)
}

fn refusal(refused: Refused) -> PyErr {
    PyRuntimeError::new_err(format!("the data thread takes no command: {refused:?}"))
}

fn silent(error: RecvTimeoutError) -> PyErr {
    PyRuntimeError::new_err(match error {
        RecvTimeoutError::Timeout => "the data thread does not answer",
        RecvTimeoutError::Disconnected => "the data thread has dropped a question",
    })
}
