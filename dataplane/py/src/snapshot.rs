//! What the shards count, as one text.

use crate::Core;
use braid_core::{Command, Detail};
use pyo3::prelude::*;
use serde_json::Value;

impl Core {
    pub(crate) fn counters(&self, py: Python<'_>, detail: Detail) -> PyResult<String> {
        self.check_process()?;
        let mut snapshots = self.threads.ask_all(py, |reply| Command::Snapshot { detail, reply })?;
        for (snapshot, (last_turn, io)) in snapshots.iter_mut().zip(self.threads.io()?) {
            if let Value::Object(all) = snapshot {
                add_io(all, serde_json::to_value(io).unwrap_or(Value::Null));
                all.insert("last_turn_ms".to_owned(), (last_turn / braid_packet::Time::MILLISECOND).into());
            }
        }
        let drops = snapshots.first_mut().and_then(|first| first.get_mut("drops"));
        if let (Some(Value::Object(drops)), lost @ 1..) = (drops, self.events.lost()) {
            drops.insert("event_queue_full".to_owned(), lost.into());
        }
        Ok(Value::Array(snapshots).to_string())
    }
}

/// Joins what the IO counted into a shard's snapshot; both have drops.
fn add_io(all: &mut serde_json::Map<String, Value>, io: Value) {
    let Value::Object(io) = io else { return };
    for (name, value) in io {
        match (all.get_mut(&name), value) {
            (Some(Value::Object(drops)), Value::Object(more)) => {
                drops.extend(more.into_iter().filter(|(_, count)| *count != 0));
            }
            (_, value) => {
                all.insert(name, value);
            }
        }
    }
}
