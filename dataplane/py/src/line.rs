//! A line between the data threads and another process that decides about connections: a content proxy's worker. What neighbours
//! say to it, and what it answers, does not wait for this process's Python.
//!
//! ```text
//! to it    0 refused 1 (0: not; else the reason that was given) | 1 peer 2 | 3 control message
//! from it  0 kind 1 (0) | 1 peer 2 | 3 control message
//!          0 kind 1 (1) | 1 owner 1 (nobody, away, held, here) | 2 client port 2 | 4 VIP port 2 | 6 version 1 (4 or 6)
//!          7 client 4 or 16 | VIP 4 or 16
//!          0 kind 1 (2) | 1 what 1, of what it serves: 0 is not known any more | 1 each: key 8 | answers 1 | each as in
//!          `core/answer.rs` | 2 keys 8 each, not any more
//!          3 reason 1 for which nothing is (0: none) | 4 version 1 (4 or 6), VIP 4 or 16, gateways that may ask 2 each
//!          5 clock 8 (Unix seconds when CLOCK_BOOTTIME is zero, IEEE 754)
//! ```

use crate::threads::Unheard;
use crate::Core;
use braid_core::answer::Answer;
use braid_core::refusing::Reason;
use braid_core::{Command, Ends, Event, Owner, Serving};
use braid_io::{Commander, Refused};
use pyo3::prelude::*;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

const MOST_CONTROL: usize = 1100;
const OWNERS: [Option<Owner>; 4] = [None, Some(Owner::Away), Some(Owner::Held), Some(Owner::Here)];
/// Connections that are remembered as held; more than any node knows transfers.
const MOST_HELD: usize = 16_384;
/// For room in a data thread's queue.
const WAIT: Duration = Duration::from_millis(1);
const MOST_WAITS: usize = 1000;

/// What it may say.
#[derive(Debug, PartialEq)]
enum Said {
    Tell(u16, Vec<u8>),
    Own(Ends, Option<Owner>),
    Serve(Serving),
}

/// The way to it. Does not block: what finds it full goes by Python.
pub(crate) struct Hears {
    socket: UnixDatagram,
    kinds: Vec<u8>,
}

impl Hears {
    /// Takes control messages of neighbours whose second byte is one of `kinds`.
    pub(crate) fn new(socket: OwnedFd, kinds: &[u8]) -> std::io::Result<Hears> {
        let socket = UnixDatagram::from(socket);
        socket.set_nonblocking(true)?;
        Ok(Hears { socket, kinds: kinds.to_vec() })
    }

    /// Whether it was sent.
    pub(crate) fn send(&self, event: &Event) -> bool {
        let (refused, peer, message) = match event {
            Event::Control { peer, adjacent: true, message } => (0, peer, message),
            Event::Refused { peer, reason, message } => (*reason as u8, peer, message),
            _ => return false,
        };
        if !message.get(1).is_some_and(|kind| self.kinds.contains(kind)) {
            return false;
        }
        let bytes = [&[refused], &peer.to_be_bytes()[..], message].concat();
        self.socket.send(&bytes).is_ok_and(|sent| sent == bytes.len())
    }
}

/// The way from it: a thread. What waits here for a process that has ended goes away with it.
pub(crate) struct Says {
    socket: Arc<UnixDatagram>,
    bad: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Says {
    pub(crate) fn new(socket: OwnedFd, commanders: Vec<Commander<Command>>) -> std::io::Result<Says> {
        let socket = Arc::new(UnixDatagram::from(socket));
        socket.set_nonblocking(false)?;
        let bad = Arc::new(AtomicBool::new(false));
        let (theirs, wrong) = (Arc::clone(&socket), Arc::clone(&bad));
        let thread = std::thread::Builder::new().name("braid-line".to_owned()).spawn(move || {
            let mut listener = Listener { commanders, held: HashSet::new() };
            let in_order = listener.listen(&theirs);
            wrong.store(!in_order, Ordering::Release);
            listener.end();
        })?;
        Ok(Says { socket, bad, thread: Some(thread) })
    }

    /// It said what nobody says, and is not heard any more.
    pub(crate) fn is_bad(&self) -> bool {
        self.bad.load(Ordering::Acquire)
    }
}

impl Drop for Says {
    /// What it said before has become of a command when this returns.
    fn drop(&mut self) {
        // A socket whose other end has gone is shut down already.
        let _ = self.socket.shutdown(Shutdown::Write);
        let _ = self.socket.shutdown(Shutdown::Read);
        if let Some(thread) = self.thread.take() {
            // The thread does not panic.
            let _ = thread.join();
        }
    }
}

/// Both ways; at most one line at a time.
#[derive(Default)]
pub(crate) struct Line(Mutex<Option<(Hears, Says)>>);

impl Line {
    pub(crate) fn set(&self, line: Option<(Hears, Says)>) {
        let before = std::mem::replace(&mut *self.lock(), line);
        // Outside of the lock, which the data threads take.
        drop(before);
    }

    pub(crate) fn takes(&self, event: &Event) -> bool {
        matches!(event, Event::Control { .. } | Event::Refused { .. })
            && self.lock().as_ref().is_some_and(|(hears, _)| hears.send(event))
    }

    pub(crate) fn is_bad(&self) -> bool {
        self.lock().as_ref().is_some_and(|(_, says)| says.is_bad())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Hears, Says)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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

struct Listener {
    commanders: Vec<Commander<Command>>,
    held: HashSet<Ends>,
}

impl Listener {
    /// Until the other end has gone, or says what nobody says: false.
    fn listen(&mut self, socket: &UnixDatagram) -> bool {
        let mut bytes = [0; MOST_CONTROL + 4];
        loop {
            match socket.recv(&mut bytes) {
                Ok(0) => return true,
                Ok(length) => match parse(&bytes[..length]) {
                    Some(said) => self.carry_out(said),
                    None => return false,
                },
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
    }

    fn carry_out(&mut self, said: Said) {
        match said {
            // A data thread that takes no command loses a message: it is repeated.
            Said::Tell(peer, message) => {
                if let Some(first) = self.commanders.first() {
                    let _ = first.command(Command::Tell(vec![(peer, message)]));
                }
            }
            Said::Own(ends, owner) => {
                if owner != Some(Owner::Held) {
                    self.held.remove(&ends);
                } else if self.held.len() < MOST_HELD {
                    self.held.insert(ends);
                }
                self.own(ends, owner);
            }
            Said::Serve(serving) => self.to_all(|| Command::Serve(serving.clone())),
        }
    }

    /// Packets wait no longer for what it was about to do, and nothing is refused for it.
    fn end(&mut self) {
        self.to_all(|| Command::Serve(Serving::Unknown));
        for ends in std::mem::take(&mut self.held) {
            self.own(ends, Some(Owner::Away));
        }
    }

    fn own(&self, ends: Ends, owner: Option<Owner>) {
        self.to_all(|| Command::Own { ends, owner, by: None, done: Box::new(Unheard) });
    }

    /// Nobody repeats it, so a full queue is waited for, and with it whoever speaks. One that is full for `MOST_WAITS`
    /// belongs to a data thread that has not turned, which its node notices.
    fn to_all(&self, command: impl Fn() -> Command) {
        for commander in &self.commanders {
            for _ in 0..MOST_WAITS {
                match commander.command(command()) {
                    Err(Refused::Full) => std::thread::sleep(WAIT),
                    Ok(()) | Err(_) => break,
                }
            }
        }
    }
}

fn parse(bytes: &[u8]) -> Option<Said> {
    let (&kind, rest) = bytes.split_first()?;
    match kind {
        0 => {
            let (peer, message) = rest.split_first_chunk::<2>()?;
            let fits = !message.is_empty() && message.len() <= MOST_CONTROL;
            fits.then(|| Said::Tell(u16::from_be_bytes(*peer), message.to_vec()))
        }
        1 => {
            let (&[owner, c0, c1, v0, v1, version], hosts) = rest.split_first_chunk::<6>()?;
            let (client, vip) = match version {
                4 => pair(hosts, |host: [u8; 4]| Ipv4Addr::from(host).into())?,
                6 => pair(hosts, |host: [u8; 16]| Ipv6Addr::from(host).into())?,
                _ => return None,
            };
            let port = |high, low| u16::from_be_bytes([high, low]);
            let ends = Ends::new(SocketAddr::new(client, port(c0, c1)), SocketAddr::new(vip, port(v0, v1)));
            Some(Said::Own(ends, *OWNERS.get(usize::from(owner))?))
        }
        2 => serving(rest).map(Said::Serve),
        _ => None,
    }
}

fn serving(bytes: &[u8]) -> Option<Serving> {
    let (&what, rest) = bytes.split_first()?;
    Some(match (what, rest) {
        (0, []) => Serving::Unknown,
        (1, keys) => Serving::Keys(keys_with_answers(keys)?),
        (2, keys) => Serving::NoKeys(all(keys, u64::from_be_bytes)?),
        (3, [0]) => Serving::Nothing(None),
        (3, [reason]) => Serving::Nothing(Some(Reason::from_number(*reason)?)),
        (5, seconds) => {
            let seconds = f64::from_be_bytes(seconds.try_into().ok()?);
            Serving::Clock(Some(seconds).filter(|seconds| seconds.is_finite())?)
        }
        (4, [4, rest @ ..]) => {
            let (host, gateways) = rest.split_first_chunk::<4>()?;
            Serving::Vip(Ipv4Addr::from(*host).into(), all(gateways, u16::from_be_bytes)?)
        }
        (4, [6, rest @ ..]) => {
            let (host, gateways) = rest.split_first_chunk::<16>()?;
            Serving::Vip(IpAddr::from(*host), all(gateways, u16::from_be_bytes)?)
        }
        _ => return None,
    })
}

fn keys_with_answers(mut bytes: &[u8]) -> Option<Vec<(u64, Vec<Answer>)>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (key, rest) = bytes.split_first_chunk::<8>()?;
        let (&count, mut rest) = rest.split_first()?;
        let mut answers = Vec::with_capacity(count.into());
        for _ in 0..count {
            let (answer, behind) = Answer::decode(rest)?;
            answers.push(answer);
            rest = behind;
        }
        found.push((u64::from_be_bytes(*key), answers));
        bytes = rest;
    }
    Some(found)
}

/// Numbers of `N` bytes, and nothing behind them.
fn all<T, const N: usize>(bytes: &[u8], number: fn([u8; N]) -> T) -> Option<Vec<T>> {
    let whole = bytes.len() % N == 0;
    whole.then(|| bytes.chunks(N).filter_map(|each| each.try_into().ok().map(number)).collect())
}

fn pair<const N: usize>(hosts: &[u8], host: impl Fn([u8; N]) -> IpAddr) -> Option<(IpAddr, IpAddr)> {
    let (client, vip) = hosts.split_first_chunk::<N>()?;
    Some((host(*client), host(vip.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_says_is_read_whole_or_not_at_all() {
        let tell = [&[0, 0, 31][..], b"message"].concat();
        assert_eq!(parse(&tell), Some(Said::Tell(31, b"message".to_vec())));
        let ends = Ends::new("10.0.0.1:4000".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        let own = [1, 2, 15, 160, 0, 80, 4, 10, 0, 0, 1, 10, 0, 0, 2];
        assert_eq!(parse(&own), Some(Said::Own(ends, Some(Owner::Held))));
        for length in 0..own.len() {
            assert_eq!(parse(&own[..length]), None, "{length}");
        }
        assert_eq!(parse(&[&own[..], &[0]].concat()), None);
        assert_eq!(parse(&[3, 0, 0]), None);
        assert_eq!(parse(&tell[..3]), None);
        assert_eq!(parse(&[&tell[..], &[0; MOST_CONTROL]].concat()), None);
        let mut stranger = own;
        stranger[1] = 4;
        assert_eq!(parse(&stranger), None);
    }

    #[test]
    fn what_it_serves_is_read_whole_or_not_at_all() {
        let said = |bytes: &[u8]| match parse(&[&[2], bytes].concat()) {
            Some(Said::Serve(serving)) => Some(serving),
            _ => None,
        };
        assert_eq!(said(&[0]), Some(Serving::Unknown));
        let unjudged = [0, 0, 0, 0, 0, 0, 1, 2, 0];
        assert_eq!(said(&[&[1][..], &unjudged].concat()), Some(Serving::Keys(vec![(258, vec![])])));
        let answer = [&[0; 28][..], &[1, 0]].concat();
        let both = [&[1][..], &unjudged, &[0, 0, 0, 0, 0, 0, 0, 3, 2], &answer, &answer].concat();
        let decoded = Answer::decode(&answer).unwrap().0;
        assert_eq!(said(&both), Some(Serving::Keys(vec![(258, vec![]), (3, vec![decoded.clone(), decoded])])));
        assert_eq!(said(&both[..both.len() - 1]), None);
        assert_eq!(said(&[&both[..], &[0]].concat()), None);
        assert_eq!(said(&[&[5][..], &2.5f64.to_be_bytes()].concat()), Some(Serving::Clock(2.5)));
        assert_eq!(said(&[&[5][..], &f64::NAN.to_be_bytes()].concat()), None);
        assert_eq!(said(&[2]), Some(Serving::NoKeys(vec![])));
        assert_eq!(said(&[3, 0]), Some(Serving::Nothing(None)));
        assert_eq!(said(&[3, 7]), Some(Serving::Nothing(Some(Reason::Draining))));
        let vip = "10.0.0.2".parse().unwrap();
        assert_eq!(said(&[4, 4, 10, 0, 0, 2, 0, 31, 1, 0]), Some(Serving::Vip(vip, vec![31, 256])));
        assert_eq!(said(&[4, 4, 10, 0, 0, 2]), Some(Serving::Vip(vip, vec![])));
        let six = [&[4, 6][..], &[0; 15], &[1, 0, 31]].concat();
        assert_eq!(said(&six), Some(Serving::Vip("::1".parse().unwrap(), vec![31])));
        let short = [&[][..], &[0, 0], &[1, 0, 0], &[3], &[3, 2], &[3, 0, 0], &[4, 4, 10, 0, 0], &[4, 5], &[5], &[6]];
        for wrong in short.into_iter().chain([&six[..17], &six[..19]]) {
            assert_eq!(said(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn it_hears_neighbours_messages_of_its_kinds() {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let hears = Hears::new(ours.into(), &[16]).unwrap();
        let control = |adjacent, kind| Event::Control { peer: 300, adjacent, message: vec![1, kind, 7] };
        assert!(hears.send(&control(true, 16)));
        assert!(!hears.send(&control(false, 16)));
        assert!(!hears.send(&control(true, 17)));
        let mut bytes = [0; 16];
        assert_eq!(theirs.recv(&mut bytes).unwrap(), 6);
        assert_eq!(bytes[..6], [0, 1, 44, 1, 16, 7]);
        assert!(hears.send(&Event::Refused { peer: 300, reason: Reason::Busy, message: vec![1, 16] }));
        assert_eq!(theirs.recv(&mut bytes).unwrap(), 5);
        assert_eq!(bytes[..5], [3, 1, 44, 1, 16]);
        drop(theirs);
        assert!(!hears.send(&control(true, 16)), "it has gone");
    }

    #[test]
    fn the_thread_ends_with_the_line() {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        drop(Says::new(ours.into(), Vec::new()).unwrap());
        drop(theirs);
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let says = Says::new(ours.into(), Vec::new()).unwrap();
        theirs.send(&[9]).unwrap();
        while !says.is_bad() {
            std::thread::yield_now();
        }
    }
}
