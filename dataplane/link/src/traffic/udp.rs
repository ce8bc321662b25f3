//! Sends and counts numbered datagrams.

use super::options::Options;
use super::packet::{read, write_end, write_numbered, Packet};
use super::report::{Report, Tally};
use super::window::Window;
use crate::io::{monotonic, socket};
use serde::Serialize;
use std::io::{Error, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const BUFFER: i32 = 32 << 20;
/// Datagrams sent back to back when behind the schedule: more would overrun the queues of the network under test.
const BURST: u64 = 32;
/// The end is announced several times, since it may be lost as well.
const ENDINGS: u32 = 10;
const ENDING_GAP: Duration = Duration::from_millis(20);

#[derive(Debug, Serialize)]
pub struct Sent {
    pub sent: u64,
    /// Refused by the local kernel (unreachable, no buffer); counted as sent, so they show as lost.
    pub send_errors: u64,
    pub seconds: f64,
    pub packets_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echo: Option<Received>,
}

#[derive(Debug, Serialize)]
pub struct Received {
    #[serde(flatten)]
    pub report: Report,
    /// Lost in this program's own socket buffer, not in the network.
    pub socket_drops: Option<u32>,
}

pub fn send(options: &Options, to: SocketAddr) -> Result<Sent, Error> {
    let any = match to {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(options.bind.unwrap_or(any))?;
    socket.connect(to)?;
    let run = std::process::id();
    if !options.echo {
        return Ok(paced(&socket, options, run, None));
    }
    socket::set_receive_buffer(&socket, BUFFER);
    let (over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let waited_for = options.window.map(|_| &answered);
    std::thread::scope(|scope| {
        let counting = scope.spawn(|| count(&socket, options.idle, f64::MAX, &over, waited_for));
        let mut sent = paced(&socket, options, run, options.window.map(|most| (most, &answered)));
        over.store(true, Ordering::Relaxed);
        sent.echo = counting.join().ok().and_then(Result::ok);
        Ok(sent)
    })
}

/// `ready` is called when datagrams that arrive are counted.
pub fn receive(options: &Options, bind: SocketAddr, ready: fn()) -> Result<Received, Error> {
    let socket = UdpSocket::bind(bind)?;
    socket::set_receive_buffer(&socket, BUFFER);
    ready();
    count(&socket, options.idle, options.seconds, &AtomicBool::new(false), None)
}

pub fn echo(bind: SocketAddr, ready: fn()) -> Result<(), Error> {
    let socket = UdpSocket::bind(bind)?;
    socket::set_receive_buffer(&socket, BUFFER);
    ready();
    let mut buffer = vec![0; 65_536];
    loop {
        // Errors of single datagrams (port unreachable and the like) concern their senders only.
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], from);
        }
    }
}

/// `window`: how many may be without an answer, and how many answers came.
fn paced(socket: &UdpSocket, options: &Options, run: u32, window: Option<(u64, &AtomicU64)>) -> Sent {
    let total = (options.rate * options.seconds).round() as u64;
    let mut buffer = vec![0; options.size];
    let (mut sent, mut send_errors) = (0, 0);
    let began = monotonic();
    let mut window = window.map(|(most, answered)| (Window::new(most, began), answered));
    while sent < total {
        let now = monotonic();
        let elapsed = (now - began) as f64 / 1e9;
        let due = total.min((elapsed * options.rate) as u64 + 1);
        let room =
            |(window, answered): &mut (Window, &AtomicU64)| window.room(sent, answered.load(Ordering::Relaxed), now);
        let until = due.min(sent + window.as_mut().map_or(BURST, room).min(BURST));
        // Many that look for answers all the time would keep the processors from those who answer.
        let shortest = if until > sent { 20e-6 } else { 5e-3 };
        while sent < until {
            write_numbered(&mut buffer, run, sent, monotonic());
            send_errors += u64::from(socket.send(&buffer).is_err());
            sent += 1;
        }
        let next = sent as f64 / options.rate - (monotonic() - began) as f64 / 1e9;
        std::thread::sleep(Duration::from_secs_f64(next.max(shortest)));
    }
    let seconds = (monotonic() - began) as f64 / 1e9;
    for _ in 0..ENDINGS {
        write_end(&mut buffer, run, sent);
        let _ = socket.send(&buffer);
        std::thread::sleep(ENDING_GAP);
    }
    Sent { sent, send_errors, seconds, packets_per_second: sent as f64 / seconds, echo: None }
}

/// Ends `idle` seconds after the last packet (or once `over`, whichever packet came last), a little after the announced
/// end, or after `limit` seconds. Packets of later runs than the first one seen are not counted.
/// `answered` counts what comes, for a sender that waits for it: then what is late is waited for at the end, too.
fn count(
    socket: &UdpSocket,
    idle: f64,
    limit: f64,
    over: &AtomicBool,
    answered: Option<&AtomicU64>,
) -> Result<Received, Error> {
    let mut tally = Tally::default();
    let mut buffer = vec![0; 65_536];
    let mut current = None;
    let began = monotonic();
    let mut last = None;
    let (idle, limit) = ((idle * 1e9) as u64, (limit * 1e9) as u64);
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    loop {
        let received = socket.recv(&mut buffer);
        let now = monotonic();
        match received {
            Ok(length) => match read(&buffer[..length]) {
                Packet::Damaged => tally.damaged(),
                Packet::Numbered { run, number, sent } if *current.get_or_insert(run) == run => {
                    tally.arrive(number, sent, now);
                    if let Some(answered) = answered {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    last = Some(now);
                }
                Packet::End { run, count } if *current.get_or_insert(run) == run => {
                    tally.announce(count);
                    last = Some(now);
                }
                _ => {}
            },
            Err(error) if harmless(&error) => {
                // The announcements take 200 ms; what is later than half a second is lost for every purpose here.
                let over_soon = tally.announced() && (answered.is_none() || tally.whole());
                let patience = if over_soon { idle.min(500_000_000) } else { idle };
                let silent_since = last.or_else(|| over.load(Ordering::Relaxed).then_some(began));
                if silent_since.is_some_and(|since| now - since > patience) {
                    break;
                }
            }
            Err(error) => return Err(error),
        }
        if now - began > limit {
            break;
        }
    }
    Ok(Received { report: tally.report(), socket_drops: socket::receive_drops(socket) })
}

/// Nothing came in time; or the socket tells of an ICMP error about something sent before, which reading it has cleared.
fn harmless(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock
            | ErrorKind::TimedOut
            | ErrorKind::Interrupted
            | ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
    ) || error.raw_os_error() == Some(libc::EMSGSIZE)
}
