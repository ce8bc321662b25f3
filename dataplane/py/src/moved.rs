//! Flows that go from one gateway to another, in Python's words.

use crate::Core;
use braid_core::{Command, Copied, Prefix, Took};
use braid_packet::Time;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Pieces, flows in them, flows that are being opened, flows that stay, where to go on, when it was (ns).
pub(crate) type Part = (Vec<Py<PyBytes>>, u32, u32, u32, Option<u32>, u64);

impl Core {
    pub(crate) fn ask_flows(
        &self,
        py: Python<'_>,
        shard: usize,
        pools: &[String],
        from: u32,
        since: u64,
    ) -> PyResult<Part> {
        self.check_process()?;
        let parsed: Result<Vec<Prefix>, _> = pools.iter().map(|pool| pool.parse()).collect();
        let pools = parsed.map_err(|error| PyValueError::new_err(format!("{pools:?}: {error}")))?;
        let copied: Copied =
            self.threads.ask_shard(py, shard, |reply| Command::CopyFlows { pools, from, since: Time(since), reply })?;
        let pieces = copied.pieces.iter().map(|piece| PyBytes::new(py, piece).unbind()).collect();
        Ok((pieces, copied.flows, copied.opening, copied.stay, copied.next, copied.at.0))
    }

    pub(crate) fn give_flows(&self, py: Python<'_>, shard: usize, piece: &[u8]) -> PyResult<(u32, u32, u32, String)> {
        self.check_process()?;
        let piece = piece.to_vec();
        let took: Took = self.threads.ask_shard(py, shard, |reply| Command::TakeFlows(piece, reply))?;
        Ok((took.new, took.again, took.refused, took.why.to_owned()))
    }
}
