//! System calls that the standard library lacks, behind safe functions. No policy here.
#![allow(unsafe_code)]

use crate::name::Name;
use std::fs::File;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::ptr;
use std::time::Duration;

pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

pub(crate) fn owned(fd: libc::c_int) -> io::Result<OwnedFd> {
    let fd = check(fd)?;
    // SAFETY: the kernel has just given this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Nanoseconds of CLOCK_BOOTTIME.
pub(crate) fn boottime() -> u64 {
    clock(libc::CLOCK_BOOTTIME)
}

/// Nanoseconds of CLOCK_REALTIME, by which the kernel stamps datagrams.
pub(crate) fn realtime() -> u64 {
    clock(libc::CLOCK_REALTIME)
}

/// Nanoseconds that the calling thread has run on a CPU.
pub(crate) fn thread_time() -> u64 {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn clock(which: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing; both clocks exist since Linux 2.6.39.
    unsafe { libc::clock_gettime(which, &mut time) };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// The calling thread's nice value.
pub(crate) fn nice() -> io::Result<i32> {
    // SAFETY: takes integers only; 0 is the calling thread. The system call itself, unlike libc, gives 20 less nice.
    let raised = check(unsafe { libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, 0) } as libc::c_int)?;
    Ok(20 - raised)
}

/// The calling thread's nice value and the time, in nanoseconds, for which it wants the processor at a stretch.
/// Kernels before 6.12 take no notice of the latter. EPERM or EACCES: it may not become less nice.
pub(crate) fn set_scheduling(nice: i32, slice: u64) -> io::Result<()> {
    // SAFETY: all-zero is a valid `sched_attr`: SCHED_OTHER, no flags.
    let mut wanted: libc::sched_attr = unsafe { mem::zeroed() };
    wanted.size = mem::size_of::<libc::sched_attr>() as u32;
    wanted.sched_nice = nice;
    wanted.sched_runtime = slice;
    // SAFETY: the kernel reads `size` bytes of `wanted`; 0 is the calling thread, and there are no flags.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, ptr::from_ref(&wanted), 0) } as libc::c_int)?;
    Ok(())
}

/// A second descriptor for whatever `fd` is, closed on exec. EBADF if it is none.
pub(crate) fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: takes integers only; an invalid descriptor is an error, not undefined.
    owned(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) })
}

pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes integers only.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: as above.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    Ok(())
}

/// Interface flags (IFF_*) of a TUN queue; an error if `fd` is none.
pub(crate) fn tun_flags(fd: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    // SAFETY: all-zero is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    // SAFETY: TUNGETIFF writes one `ifreq`, which `request` is.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNGETIFF as _, &mut request) })?;
    // SAFETY: TUNGETIFF filled the flags member.
    Ok(libc::c_int::from(unsafe { request.ifr_ifru.ifru_flags }))
}

pub(crate) fn tun_set_header_size(fd: BorrowedFd<'_>, size: libc::c_int) -> io::Result<()> {
    // SAFETY: TUNSETVNETHDRSZ reads one int through the pointer.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETVNETHDRSZ as _, &size) })?;
    Ok(())
}

pub(crate) fn tun_set_offload(fd: BorrowedFd<'_>, features: libc::c_uint) -> io::Result<()> {
    let features = libc::c_ulong::from(features);
    // SAFETY: TUNSETOFFLOAD takes the features by value.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD as _, features) })?;
    Ok(())
}

/// A TUN device with IFF_VNET_HDR under a name of the kernel's choice, not set up; it ends with the file.
pub(crate) fn scratch_tun() -> io::Result<File> {
    let file = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    // SAFETY: all-zero is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"braidprobe%d") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one `ifreq`, which `request` is.
    check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &mut request) })?;
    Ok(file)
}

/// A non-blocking UDP socket, closed on exec, not yet bound.
pub(crate) fn udp_socket(v6: bool) -> io::Result<OwnedFd> {
    let family = if v6 { libc::AF_INET6 } else { libc::AF_INET };
    let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes integers only.
    owned(unsafe { libc::socket(family, kind, libc::IPPROTO_UDP) })
}

pub(crate) fn bind(fd: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()> {
    let (name, length) = Name::encode(address);
    // SAFETY: `name` holds a socket address of `length` bytes for the duration of the call.
    check(unsafe { libc::bind(fd.as_raw_fd(), ptr::from_ref(&name).cast(), length as libc::socklen_t) })?;
    Ok(())
}

pub(crate) fn local_address(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let mut name = Name::EMPTY;
    let mut length = Name::CAPACITY as libc::socklen_t;
    // SAFETY: `name` has room for `length` bytes, which the kernel does not exceed.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), ptr::from_mut(&mut name).cast(), &mut length) })?;
    name.decode(length as usize).ok_or_else(|| io::Error::other("not an IP socket"))
}

pub(crate) fn set_option(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the pointer and length are those of one int.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            ptr::from_ref(&value).cast(),
            mem::size_of::<libc::c_int>() as libc::socklen_t,
        )
    })?;
    Ok(())
}

pub(crate) fn get_option(fd: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut length = mem::size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, the size of `value`.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, option, ptr::from_mut(&mut value).cast(), &mut length) })?;
    Ok(value)
}

/// Whether `fd` became writable in time.
pub(crate) fn wait_writable(fd: BorrowedFd<'_>, timeout: Duration) -> bool {
    wait(fd, libc::POLLOUT, timeout)
}

/// Whether `fd` became readable in time.
pub(crate) fn wait_readable(fd: BorrowedFd<'_>, timeout: Duration) -> bool {
    wait(fd, libc::POLLIN, timeout)
}

fn wait(fd: BorrowedFd<'_>, events: libc::c_short, timeout: Duration) -> bool {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    let time =
        libc::timespec { tv_sec: timeout.as_secs() as libc::time_t, tv_nsec: timeout.subsec_nanos() as libc::c_long };
    // SAFETY: one `pollfd`, one `timespec`, both valid for the call; no signal mask.
    unsafe { libc::ppoll(&mut poll, 1, &time, ptr::null()) == 1 }
}

/// All signals blocked in this thread while it lives, then its former mask again.
pub(crate) struct SignalsBlocked(libc::sigset_t);

impl SignalsBlocked {
    pub(crate) fn new() -> SignalsBlocked {
        // SAFETY: a zeroed `sigset_t` is valid storage for both calls to fill.
        let (mut all, mut former): (libc::sigset_t, libc::sigset_t) = unsafe { (mem::zeroed(), mem::zeroed()) };
        // SAFETY: both sets are valid; only this thread's mask changes.
        unsafe {
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut former);
        }
        SignalsBlocked(former)
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: the set was filled by `pthread_sigmask`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, ptr::null_mut()) };
    }
}

/// A counter that readiness can be waited for.
/// Wakes whoever polls it; stays readable until cleared.
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    pub fn new() -> io::Result<EventFd> {
        // SAFETY: takes integers only.
        owned(unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) }).map(EventFd)
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.0)
    }

    pub fn signal(&self) {
        let one = 1u64;
        // SAFETY: writes 8 bytes from `one`. The only error is a full counter, which is readable too.
        unsafe { libc::write(self.0.as_raw_fd(), ptr::from_ref(&one).cast(), 8) };
    }

    pub fn clear(&self) {
        let mut value = 0u64;
        // SAFETY: reads at most 8 bytes into `value`; EAGAIN means it is clear already.
        unsafe { libc::read(self.0.as_raw_fd(), ptr::from_mut(&mut value).cast(), 8) };
    }
}

#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    /// Readable while something of it is.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.0)
    }

    pub(crate) fn new() -> io::Result<Epoll> {
        // SAFETY: takes integers only.
        owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).map(Epoll)
    }

    /// Level-triggered readability of `fd`, reported as bit `token` (below 64).
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, token: u32) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: u64::from(token & 63) };
        let operation = libc::EPOLL_CTL_ADD;
        // SAFETY: `event` is valid for the call; the kernel copies it.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, fd.as_raw_fd(), &mut event) })?;
        Ok(())
    }

    /// The tokens that are ready, as a bit set; empty after the timeout or a signal.
    pub(crate) fn wait(&self, milliseconds: i32) -> io::Result<u64> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 16];
        // SAFETY: the kernel writes at most `events.len()` entries.
        let result = check(unsafe {
            libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), events.len() as libc::c_int, milliseconds)
        });
        match result {
            Ok(n) => Ok(events[..n as usize].iter().fold(0, |set, event| set | 1 << event.u64)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(error) => Err(error),
        }
    }
}
