//! Waiting: epoll, a timer of nanosecond precision, and a wake-up from another thread.

use super::check;
use std::io::Error;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

pub struct Poll {
    epoll: OwnedFd,
    timer: OwnedFd,
    armed: Option<u64>,
}

/// Reserved: the timer. Readiness of it is no event.
const TIMER: u64 = u64::MAX;

impl Poll {
    pub fn new() -> Result<Self, Error> {
        // SAFETY: both calls take no pointers; results are checked before they become owned descriptors.
        let (epoll, timer) = unsafe {
            let epoll = OwnedFd::from_raw_fd(check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?);
            let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
            let timer = OwnedFd::from_raw_fd(check(libc::timerfd_create(libc::CLOCK_MONOTONIC, flags))?);
            (epoll, timer)
        };
        let poll = Self { epoll, timer, armed: None };
        poll.add(&poll.timer, TIMER)?;
        Ok(poll)
    }

    /// `wait` reports `token` while `source` is readable.
    pub fn add(&self, source: &impl AsFd, token: u64) -> Result<(), Error> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
        // SAFETY: `event` is a valid epoll_event that lives through the call.
        check(unsafe {
            libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, source.as_fd().as_raw_fd(), &raw mut event)
        })?;
        Ok(())
    }

    /// Returns the tokens of what is readable; nothing at `deadline` (nanoseconds of CLOCK_MONOTONIC, None: never).
    pub fn wait(&mut self, deadline: Option<u64>, ready: &mut Vec<u64>) -> Result<(), Error> {
        self.arm(deadline)?;
        ready.clear();
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
        // SAFETY: the kernel writes at most `events.len()` entries.
        let count =
            check(unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), events.len() as i32, -1) });
        let count = match count {
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => 0,
            other => other?,
        };
        for event in &events[..count as usize] {
            if event.u64 == TIMER {
                drain(&self.timer);
                self.armed = None;
            } else {
                ready.push(event.u64);
            }
        }
        Ok(())
    }

    fn arm(&mut self, deadline: Option<u64>) -> Result<(), Error> {
        if deadline == self.armed {
            return Ok(());
        }
        // An all-zero time disarms; times in the past expire at once.
        let at = deadline.map_or(0, |deadline| deadline.max(1));
        let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let value = libc::timespec { tv_sec: (at / 1_000_000_000) as _, tv_nsec: (at % 1_000_000_000) as _ };
        let time = libc::itimerspec { it_interval: zero, it_value: value };
        // SAFETY: `time` is a valid itimerspec; the old value is not asked for.
        check(unsafe {
            libc::timerfd_settime(
                self.timer.as_raw_fd(),
                libc::TFD_TIMER_ABSTIME,
                &raw const time,
                std::ptr::null_mut(),
            )
        })?;
        self.armed = deadline;
        Ok(())
    }
}

/// Wakes the thread that polls its descriptor.
pub struct Wake(OwnedFd);

impl AsFd for Wake {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Wake {
    pub fn new() -> Result<Self, Error> {
        // SAFETY: eventfd(2) takes no pointers; the result is checked before it becomes an owned descriptor.
        let fd = unsafe { OwnedFd::from_raw_fd(check(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))?) };
        Ok(Self(fd))
    }

    pub fn wake(&self) {
        let one = 1u64;
        // SAFETY: writes eight bytes from a live u64. It fails only when the counter is full, which wakes as well.
        unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    pub fn clear(&self) {
        drain(&self.0);
    }
}

fn drain(fd: &OwnedFd) {
    let mut value = 0u64;
    // SAFETY: reads at most eight bytes into a live u64.
    unsafe { libc::read(fd.as_raw_fd(), (&raw mut value).cast(), 8) };
}
