//! Alone in its process, so that there is one data thread only.
#![allow(clippy::unwrap_used)]

mod common;

use braid_io::SocketOptions;
use common::{puppet, Command};
use std::time::Duration;

#[test]
fn an_idle_thread_sleeps() {
    let (handle, _, events) = puppet("127.0.0.1:0", SocketOptions::default());
    handle.command(Command::WakeIn(Duration::from_secs(3600))).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let before = switches();
    std::thread::sleep(Duration::from_secs(1));
    let turns = switches() - before;
    assert!((2..=20).contains(&turns), "{turns} sleeps in one idle second");
    assert!(events.try_recv().is_err());
    drop(handle);
}

/// Voluntary context switches of this process's data thread: each is one sleep.
fn switches() -> u64 {
    let mut total = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        let name = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
        let status = std::fs::read_to_string(task.join("status")).unwrap_or_default();
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        if name.trim() == "braid-shard" {
            total += count.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0);
        }
    }
    total
}
