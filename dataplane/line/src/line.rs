//! A line between the data threads and another process that decides about connections: a content proxy's worker. What neighbours
//! say to it, and what it answers, does not wait for this process's Python.

use crate::words::{parse, Said, MOST_CONTROL};
use crate::Unheard;
use braid_core::{Command, Ends, Event, Owner, Serving};
use braid_io::{Commander, Refused};
use std::collections::HashSet;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Connections that are remembered as held; more than any node knows transfers.
const MOST_HELD: usize = 16_384;
/// For room in a data thread's queue.
const WAIT: Duration = Duration::from_millis(1);
const MOST_WAITS: usize = 1000;

/// The way to it. Does not block: what finds it full goes by Python.
pub struct Hears {
    socket: UnixDatagram,
    kinds: Vec<u8>,
}

impl Hears {
    /// Takes control messages of neighbours whose second byte is one of `kinds`.
    pub fn new(socket: OwnedFd, kinds: &[u8]) -> std::io::Result<Hears> {
        let socket = UnixDatagram::from(socket);
        socket.set_nonblocking(true)?;
        Ok(Hears { socket, kinds: kinds.to_vec() })
    }

    /// Whether it was sent.
    pub fn send(&self, event: &Event) -> bool {
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
pub struct Says {
    socket: Arc<UnixDatagram>,
    bad: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Says {
    pub fn new(socket: OwnedFd, commanders: Vec<Commander<Command>>) -> std::io::Result<Says> {
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
    pub fn is_bad(&self) -> bool {
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
pub struct Line(Mutex<Option<(Hears, Says)>>);

impl Line {
    pub fn set(&self, line: Option<(Hears, Says)>) {
        let before = std::mem::replace(&mut *self.lock(), line);
        // Outside of the lock, which the data threads take.
        drop(before);
    }

    pub fn takes(&self, event: &Event) -> bool {
        matches!(event, Event::Control { .. } | Event::Refused { .. })
            && self.lock().as_ref().is_some_and(|(hears, _)| hears.send(event))
    }

    pub fn is_bad(&self) -> bool {
        self.lock().as_ref().is_some_and(|(_, says)| says.is_bad())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Hears, Says)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use super::*;
    use braid_core::refusing::Reason;

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
