//! Offers that were refused while Python had something else to do: what it has yet to hear of them.

use braid_line::Id;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

/// Seconds after which Python hears that a request was turned down which its server has by then: the server answers in the
/// meantime, and the processor is to be free for that.
const TOLD_AFTER: f64 = 0.005;

pub(crate) struct TurnedDown {
    pub(crate) transfer: Id,
    reason: u8,
    served: bool,
    /// It is told then, or with the first event that says that a request is through, or that another one waits.
    pub(crate) due: f64,
}

impl TurnedDown {
    pub(crate) fn new(transfer: Id, reason: u8, served: bool, now: f64) -> TurnedDown {
        TurnedDown { transfer, reason, served, due: if served { now + TOLD_AFTER } else { now } }
    }

    pub(crate) fn in_words(self, py: Python<'_>) -> (Bound<'_, PyBytes>, u8, bool) {
        (PyBytes::new(py, &self.transfer), self.reason, self.served)
    }
}

/// Tells of those that are due, or of all that are `served`.
pub(crate) fn tell(all: &mut Vec<TurnedDown>, out: &Bound<'_, PyList>, now: f64, served: bool) -> PyResult<()> {
    let due = |each: &TurnedDown| if served { each.served } else { each.due <= now };
    let (told, rest): (Vec<_>, _) = std::mem::take(all).into_iter().partition(due);
    *all = rest;
    for each in told {
        let (transfer, reason, served) = each.in_words(out.py());
        out.append(("turned_down", transfer, reason, served))?;
    }
    Ok(())
}
