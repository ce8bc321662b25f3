//! A content proxy's worker hears the data threads, and they it, by a line (`braid_line`).

use crate::Core;
use braid_line::{Hears, Says};
use pyo3::prelude::*;
use std::sync::Arc;

impl Core {
    /// In place of the one before. The descriptors stay the caller's.
    pub(crate) fn begin_line(&self, py: Python<'_>, hears: i32, says: i32, kinds: &[u8]) -> PyResult<()> {
        self.check_process()?;
        let hears = Hears::new(braid_io::duplicate(hears)?, kinds)?;
        let says = Says::new(braid_io::duplicate(says)?, self.threads.commanders()?)?;
        let events = Arc::clone(&self.events);
        py.detach(move || events.line.set(Some((hears, says))));
        Ok(())
    }

    pub(crate) fn end_line(&self, py: Python<'_>) {
        let events = Arc::clone(&self.events);
        py.detach(move || events.line.set(None));
    }
}
