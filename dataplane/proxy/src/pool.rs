//! Idle server connections of each application and server: the one that was used last is taken first.

use std::collections::HashMap;

/// Application and server.
type Key = (u32, u32);

#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: HashMap<Key, Vec<usize>>,
}

impl Pool {
    pub(crate) fn take(&mut self, key: Key) -> Option<usize> {
        self.idle.get_mut(&key)?.pop()
    }

    /// False when there are `most` already.
    pub(crate) fn put(&mut self, key: Key, connection: usize, most: usize) -> bool {
        let idle = self.idle.entry(key).or_default();
        let room = idle.len() < most;
        if room {
            idle.push(connection);
        }
        room
    }

    pub(crate) fn remove(&mut self, key: Key, connection: usize) {
        if let Some(idle) = self.idle.get_mut(&key) {
            idle.retain(|each| *each != connection);
        }
    }
}
