//! An engine that does as it is told and reports what it receives.
#![allow(dead_code, clippy::unwrap_used)]

use braid_io::{bind, spawn, Handle, ShardConfig, SocketOptions};
use braid_packet::{Datagrams, Engine, Sink, Time, VnetHdr};
use std::net::SocketAddr;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::time::Duration;

pub enum Command {
    Send {
        to: SocketAddr,
        batch: Vec<u8>,
        segment: usize,
    },
    /// Sends what arrives from now on back to its sender.
    Echo,
    WakeIn(Duration),
    /// Nothing but probes comes from now on.
    Rest,
    Panic,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// One datagram, and how many came in one message with it.
    Datagram(SocketAddr, Vec<u8>, usize),
    Timeout,
    /// At rest: so many messages at once, the oldest of which waited so long.
    Came(usize, Duration),
}

pub struct Puppet {
    events: Sender<Event>,
    echo: bool,
    rests: bool,
    timeout: Option<Time>,
}

impl Puppet {
    pub fn new() -> (Puppet, Receiver<Event>) {
        let (events, receiver) = channel();
        (Puppet { events, echo: false, rests: false, timeout: None }, receiver)
    }
}

impl Engine for Puppet {
    type Command = Command;

    fn receive_udp(&mut self, batches: &mut [Datagrams<'_>], now: Time, sink: &mut impl Sink) {
        if self.rests {
            let oldest = batches.iter().map(|batch| now.since(batch.at)).max().unwrap_or(0);
            let _ = self.events.send(Event::Came(batches.len(), Duration::from_nanos(oldest)));
        }
        for batch in batches {
            if self.echo || self.rests {
                sink.udp(batch.from, batch.bytes, batch.segment);
                continue;
            }
            let count = batch.bytes.len().div_ceil(batch.segment);
            for datagram in batch.bytes.chunks(batch.segment) {
                let _ = self.events.send(Event::Datagram(batch.from, datagram.to_vec(), count));
            }
        }
    }

    fn receive_tun(&mut self, _: VnetHdr, _: &mut [u8], _: Time, _: &mut impl Sink) {}

    fn handle_command(&mut self, command: Command, now: Time, sink: &mut impl Sink) {
        match command {
            Command::Send { to, batch, segment } => sink.udp(to, &batch, segment),
            Command::Echo => self.echo = true,
            Command::WakeIn(wait) => self.timeout = Some(now.after(wait.as_nanos() as u64)),
            Command::Rest => self.rests = true,
            Command::Panic => panic!("as told"),
        }
    }

    fn handle_timeout(&mut self, now: Time, _: &mut impl Sink) {
        if self.timeout.is_some_and(|due| due <= now) {
            self.timeout = None;
            let _ = self.events.send(Event::Timeout);
        }
    }

    fn is_at_rest(&self, _: Time) -> bool {
        self.rests
    }

    fn flush(&mut self, _sink: &mut impl Sink) {}

    fn next_timeout(&self) -> Option<Time> {
        self.timeout
    }
}

/// A shard with one socket on a loopback address, e.g. "127.0.0.1:0".
pub fn puppet(address: &str, options: SocketOptions) -> (Handle<Command>, SocketAddr, Receiver<Event>) {
    let socket = bind(address.parse().unwrap(), options).unwrap();
    let local = socket.local_address();
    let (engine, events) = Puppet::new();
    let config = ShardConfig { tun: None, sockets: vec![socket], ..ShardConfig::default() };
    (spawn(engine, config, |_| {}).unwrap(), local, events)
}

pub fn send(handle: &Handle<Command>, to: SocketAddr, batch: &[u8], segment: usize) {
    handle.command(Command::Send { to, batch: batch.to_vec(), segment }).unwrap();
}

pub fn datagrams(events: &Receiver<Event>, from: SocketAddr, count: usize) -> (Vec<Vec<u8>>, usize) {
    let (mut all, mut largest) = (Vec::new(), 0);
    while all.len() < count {
        match events.recv_timeout(Duration::from_secs(5)).unwrap() {
            Event::Datagram(sender, bytes, together) => {
                assert_eq!(sender, from);
                all.push(bytes);
                largest = largest.max(together);
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    (all, largest)
}

pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + i / 253) as u8).collect()
}
