//! Life and death of the data thread, and its rest.
#![allow(clippy::unwrap_used)]

mod common;

use braid_io::{spawn, Refused, ShardConfig, SocketOptions};
use common::{puppet, Command, Event, Puppet};
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(5);

#[test]
fn stop_is_reported_once_and_may_be_repeated() {
    let (engine, _events) = Puppet::new();
    let (exit, exited) = channel();
    let handle = spawn(engine, ShardConfig::default(), move |result| {
        exit.send(result).unwrap();
    })
    .unwrap();
    handle.stop();
    handle.stop();
    assert_eq!(exited.recv_timeout(SOON), Ok(Ok(())));
    assert_eq!(handle.failure(), None);
    assert_eq!(handle.command(Command::Echo), Err(Refused::Stopped));
}

#[test]
fn a_panic_is_reported_with_its_text() {
    let (engine, _events) = Puppet::new();
    let (exit, exited) = channel();
    let handle = spawn(engine, ShardConfig::default(), move |result| {
        exit.send(result).unwrap();
    })
    .unwrap();
    handle.command(Command::Panic).unwrap();
    assert_eq!(exited.recv_timeout(SOON), Ok(Err("panic: as told".to_owned())));
    assert_eq!(handle.failure(), Some("panic: as told"));
    assert_eq!(handle.command(Command::Echo), Err(Refused::Stopped));
    handle.stop();
}

#[test]
fn several_commands_are_taken_together_or_not_at_all() {
    let (handle, _, events) = puppet("127.0.0.1:0", SocketOptions::default());
    let mut given: Vec<Command> = (0..3).map(|_| Command::WakeIn(Duration::ZERO)).collect();
    handle.commands(&mut given).unwrap();
    assert!(given.is_empty());
    assert_eq!(events.recv_timeout(SOON), Ok(Event::Timeout));
    given.extend((0..1025).map(|_| Command::WakeIn(Duration::ZERO)));
    assert_eq!(handle.commands(&mut given), Err(Refused::Full));
    assert_eq!(given.len(), 1025);
    handle.stop();
    given.truncate(1);
    assert_eq!(handle.commands(&mut given), Err(Refused::Stopped));
}

#[test]
fn the_heart_beats_without_work_and_stops_with_the_thread() {
    let (handle, _, _events) = puppet("127.0.0.1:0", SocketOptions::default());
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(700) {
        assert!(handle.last_turn_ns() < 2_000_000_000, "no turn for {}", handle.last_turn_ns());
        std::thread::sleep(Duration::from_millis(50));
    }
    handle.stop();
    std::thread::sleep(Duration::from_millis(50));
    assert!(handle.last_turn_ns() >= 50_000_000);
}

#[test]
fn timeouts_come_in_time() {
    let (handle, _, events) = puppet("127.0.0.1:0", SocketOptions::default());
    let start = Instant::now();
    handle.command(Command::WakeIn(Duration::from_millis(30))).unwrap();
    assert_eq!(events.recv_timeout(SOON), Ok(Event::Timeout));
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(30), "{took:?}");
}

#[test]
fn the_data_thread_takes_no_signals() {
    let (handle, _, events) = puppet("127.0.0.1:0", SocketOptions::default());
    // It names itself before its first turn.
    handle.command(Command::WakeIn(Duration::ZERO)).unwrap();
    assert_eq!(events.recv_timeout(SOON), Ok(Event::Timeout));
    let mut found = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        let name = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
        if name.trim() != "braid-shard" {
            continue;
        }
        let status = std::fs::read_to_string(task.join("status")).unwrap_or_default();
        let Some(mask) = status.lines().find_map(|line| line.strip_prefix("SigBlk:")) else {
            continue;
        };
        found += 1;
        // SIGINT and SIGTERM are bits 1 and 14.
        assert_eq!(u64::from_str_radix(mask.trim(), 16).unwrap() & 0x4002, 0x4002);
    }
    assert!(found > 0);
    drop(handle);
}

/// Sends bytes that the thread sends back, and returns after how long they came.
fn echo(socket: &UdpSocket, to: SocketAddr) -> Duration {
    let start = Instant::now();
    socket.send_to(b"probe", to).unwrap();
    socket.recv(&mut [0; 16]).unwrap();
    start.elapsed()
}

#[test]
fn at_rest_what_comes_after_others_is_received_together_with_the_time_of_its_arrival() {
    let (handle, local, events) = puppet("127.0.0.1:0", SocketOptions::default());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    handle.command(Command::Rest).unwrap();
    echo(&socket, local);
    for _ in 0..200 {
        // The first is read at once, its answer says so; the others wait.
        std::thread::sleep(Duration::from_millis(5));
        echo(&socket, local);
        let held = Instant::now();
        for _ in 0..3 {
            socket.send_to(b"probe", local).unwrap();
        }
        let sent = held.elapsed();
        for _ in 0..3 {
            socket.recv(&mut [0; 16]).unwrap();
        }
        let (waited, came): (Duration, Vec<Event>) = (held.elapsed(), events.try_iter().collect());
        let last = came.last();
        if let Some(Event::Came(3, oldest)) = last {
            assert!(*oldest <= waited, "it came before it was sent: {oldest:?} of {waited:?}");
            // However busy the machine is: it lay there for as long as it did not come back, but for what echoing takes.
            if sent < Duration::from_millis(1) && *oldest >= Duration::from_micros(500) {
                return;
            }
        }
    }
    panic!("nothing was held in 200 attempts");
}

#[test]
fn at_rest_commands_and_lone_datagrams_do_not_wait() {
    let (handle, local, events) = puppet("127.0.0.1:0", SocketOptions::default());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    handle.command(Command::Rest).unwrap();
    let (mut lone, mut command) = (SOON, SOON);
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(5));
        lone = lone.min(echo(&socket, local));
        let start = Instant::now();
        handle.command(Command::WakeIn(Duration::ZERO)).unwrap();
        while !matches!(events.recv_timeout(SOON), Ok(Event::Timeout)) {}
        command = command.min(start.elapsed());
    }
    assert!(lone < Duration::from_millis(1), "{lone:?}");
    assert!(command < Duration::from_millis(1), "{command:?}");
}
