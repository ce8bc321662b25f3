//! A client's connection is offered to a content proxy: its socket is frozen, its packets are held, the proxy is asked, all in one
//! go, since the client waits. A proxy that refuses is heard by the relay, without Python's other work between.

use crate::owner::{hold_and_say, Hold};
use crate::Core;
use braid_core::{Command, Ends, Offer};
use braid_io::repair::{self, FreezeError};
use braid_io::Commander;
use braid_line::{Id, Refusals};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};

const MOST_CONTROL: usize = 1100;
/// The frozen socket and its record; what it sends and receives next; both initial numbers; what had come of the client; whether
/// it is held; whether the proxy was asked.
pub(crate) type Offered<'py> = (i32, Bound<'py, PyBytes>, (u32, u32), (u32, u32), u32, Hold, bool);

/// Who is asked, for what.
pub(crate) struct Question<'a> {
    pub(crate) id: Id,
    /// Milliseconds.
    pub(crate) deadline: u16,
    pub(crate) content: &'a [u8],
    pub(crate) proxy: u16,
}

/// A frozen connection, of which a proxy was asked.
pub(crate) struct Asked {
    socket: OwnedFd,
    record: Vec<u8>,
    next: (u32, u32),
    initial: (u32, u32),
    received: u32,
    hold: Hold,
    whole: bool,
}

impl Asked {
    pub(crate) fn in_words(self, py: Python<'_>) -> Offered<'_> {
        let record = PyBytes::new(py, &self.record);
        (self.socket.into_raw_fd(), record, self.next, self.initial, self.received, self.hold, self.whole)
    }
}

/// Errors, and nothing has happened: a word says why it cannot be offered.
pub(crate) fn ask(
    py: Python<'_>,
    (shards, refusals): (&[Commander<Command>], &Refusals),
    fd: i32,
    head: Option<&[u8]>,
    question: &Question<'_>,
) -> PyResult<Result<Asked, FreezeError>> {
    let opened = match braid_io::duplicate(fd) {
        Ok(opened) => opened,
        Err(error) => return Ok(Err(error.into())),
    };
    let repair::Offer { record, initial, received } = match repair::offer(opened.as_fd(), head) {
        Ok(offer) => offer,
        Err(error) => return Ok(Err(error)),
    };
    let encoded = record.encode();
    let next = (record.send_next, record.receive_next.wrapping_sub(record.unread.len() as u32));
    let Question { id, deadline, content, proxy } = *question;
    let Some(request) = (Offer { id, deadline, next, initial, content, record: &encoded }).encode() else {
        repair::start(opened.as_fd(), &[])?;
        return Ok(Err(FreezeError("too_large".into())));
    };
    let ends = Ends::new(record.remote, record.local);
    let whole = request.len() <= MOST_CONTROL;
    let mut messages = Vec::new();
    if whole {
        refusals.expect(id, proxy);
        messages.push(Command::Tell(vec![(proxy, request)]));
    }
    let hold = hold_and_say(py, shards, ends, messages)?;
    Ok(Ok(Asked { socket: opened, record: encoded, next, initial, received, hold, whole }))
}

impl Core {
    pub(crate) fn make_offer<'py>(
        &self,
        py: Python<'py>,
        fd: i32,
        head: Option<&[u8]>,
        (id, deadline, content): (Id, u16, &[u8]),
        proxy: u16,
    ) -> PyResult<Offered<'py>> {
        self.check_process()?;
        let question = Question { id, deadline, content, proxy };
        let asked = ask(py, (&self.threads.commanders()?, &self.events.refusals), fd, head, &question)?;
        Ok(asked.map_err(|FreezeError(why)| PyValueError::new_err(why))?.in_words(py))
    }
}
