//! A client's connection is offered to a content proxy: its socket is frozen, its packets are held, the proxy is asked, all in one
//! go, since the client waits. A proxy that refuses is heard by the relay, without Python's other work between.

use crate::Core;
use braid_core::{Command, Ends, Offer};
use braid_io::repair::{self, FreezeError};
use braid_line::Id;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::os::fd::{AsFd, IntoRawFd};

const MOST_CONTROL: usize = 1100;
/// The frozen socket and its record; what it sends and receives next; both initial numbers; what had come of the client; whether
/// it is held; whether the proxy was asked.
pub(crate) type Offered<'py> = (i32, Bound<'py, PyBytes>, (u32, u32), (u32, u32), u32, crate::owner::Hold, bool);

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
        let opened = braid_io::duplicate(fd)?;
        let repair::Offer { record, initial, received } =
            repair::offer(opened.as_fd(), head).map_err(|FreezeError(why)| PyValueError::new_err(why))?;
        let encoded = record.encode();
        let next = (record.send_next, record.receive_next.wrapping_sub(record.unread.len() as u32));
        let offer = Offer { id, deadline, next, initial, content, record: &encoded };
        let Some(request) = offer.encode() else {
            repair::start(opened.as_fd(), &[])?;
            return Err(PyValueError::new_err("too_large"));
        };
        let ends = Ends::new(record.remote, record.local);
        let fits = request.len() <= MOST_CONTROL;
        let mut messages = Vec::new();
        if fits {
            self.events.refusals.expect(id, proxy);
            messages.push(Command::Tell(vec![(proxy, request)]));
        }
        let held = self.hold_and_say(py, ends, messages)?;
        Ok((opened.into_raw_fd(), PyBytes::new(py, &encoded), next, initial, received, held, fits))
    }
}
