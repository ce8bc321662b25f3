//! Flows that go from one gateway to another, in Python's words.

use crate::Core;
use braid_core::{shard_of, Command, Copied, Order, Prefix, Took, Which};
use braid_packet::Time;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Pieces, flows in them, flows that are being opened, flows that stay, where to go on, when it was (ns).
pub(crate) type Part = (Vec<Py<PyBytes>>, u32, u32, u32, Option<u32>, u64);

/// Shard and piece of one flow.
pub(crate) type Told = (usize, Py<PyBytes>);

impl Core {
    pub(crate) fn ask_flows(
        &self,
        py: Python<'_>,
        shard: usize,
        pools: &[String],
        which: &str,
        (from, since): (u32, u64),
    ) -> PyResult<Part> {
        self.check_process()?;
        let (pools, which, since) = (parse(pools)?, named(which)?, Time(since));
        let copied: Copied =
            self.threads.ask_shard(py, shard, |reply| Command::CopyFlows { pools, which, from, since, reply })?;
        let pieces = copied.pieces.iter().map(|piece| PyBytes::new(py, piece).unbind()).collect();
        Ok((pieces, copied.flows, copied.opening, copied.stay, copied.next, copied.at.0))
    }

    pub(crate) fn give_flows(&self, py: Python<'_>, shard: usize, piece: &[u8]) -> PyResult<(u32, u32, u32, String)> {
        self.check_process()?;
        let piece = piece.to_vec();
        let took: Took = self.threads.ask_shard(py, shard, |reply| Command::TakeFlows(piece, reply))?;
        Ok((took.new, took.again, took.refused, took.why.to_owned()))
    }

    pub(crate) fn ask_told(
        &self,
        py: Python<'_>,
        connection: u64,
        pools: &[String],
        which: &str,
    ) -> PyResult<Option<Told>> {
        self.check_process()?;
        let (pools, which) = (parse(pools)?, named(which)?);
        let told: Option<Vec<u8>> = self.threads.ask_shard(py, shard_of(connection), |told| {
            Command::Connection(connection, Order::Tell(pools, which, told))
        })?;
        Ok(told.map(|piece| (shard_of(connection), PyBytes::new(py, &piece).unbind())))
    }

    pub(crate) fn ask_to_forget(&self, py: Python<'_>, shard: usize, from: u32, all: bool) -> PyResult<Option<u32>> {
        self.check_process()?;
        self.threads.ask_shard(py, shard, |reply| Command::ForgetGiven { from, all, reply })
    }
}

fn parse(pools: &[String]) -> PyResult<Vec<Prefix>> {
    let parsed: Result<Vec<Prefix>, _> = pools.iter().map(|pool| pool.parse()).collect();
    parsed.map_err(|error| PyValueError::new_err(format!("{pools:?}: {error}")))
}

fn named(which: &str) -> PyResult<Which> {
    match which {
        "steady" => Ok(Which::Steady),
        "all" => Ok(Which::All),
        "guests" => Ok(Which::Guests),
        _ => Err(PyValueError::new_err(format!("{which:?} is not steady, all or guests"))),
    }
}
