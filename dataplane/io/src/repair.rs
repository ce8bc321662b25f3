//! ESTABLISHED kernel sockets from records, and records from sockets, without a packet (TCP_REPAIR, CAP_NET_ADMIN).
//!
//! The order of the options is the kernel's: window, sequence numbers and options each are taken in one state alone.

use crate::sys::{bind, get_option, local_address, set_option};
use crate::sys_tcp::{connect, disconnect, get_bytes, peek, peer_address, queued, send, set_bytes, socket, Queue};
use braid_packet::record::{TcpRecord, Window};
use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

// linux/tcp.h
const TCP_REPAIR: i32 = 19;
const TCP_REPAIR_QUEUE: i32 = 20;
const TCP_QUEUE_SEQ: i32 = 21;
const TCP_REPAIR_OPTIONS: i32 = 22;
const TCP_TIMESTAMP: i32 = 24;
const TCP_REPAIR_WINDOW: i32 = 29;
const ON: i32 = 1;
const OFF_WITHOUT_PROBE: i32 = -1;
const NO_QUEUE: i32 = 0;
const RECEIVE_QUEUE: i32 = 1;
const SEND_QUEUE: i32 = 2;
const OPTION_MSS: u32 = 2;
const OPTION_SCALES: u32 = 3;
const OPTION_SACK: u32 = 4;
const OPTION_TIMESTAMPS: u32 = 8;
const INFO_TIMESTAMPS: u8 = 1;
const INFO_SACK: u8 = 2;
const INFO_SCALES: u8 = 4;
const ESTABLISHED: u8 = 1;
/// Bytes acknowledged and received, in `struct tcp_info`.
const BYTES_AT: usize = 120;
/// Lowest bit of TCP_TIMESTAMP: the clock counts microseconds. Ours count milliseconds.
const TIMESTAMP_UNIT: u32 = 1;
/// That TCP_MAXSEG takes.
const MOST_MSS: u16 = 32_767;
/// A window without a scale, at most.
const UNSCALED: i32 = 65_535;
const LEAST_CHUNK: usize = 1024;
/// Bytes of queues that fit into the kernel's own buffers in any case.
const ROOM: usize = 262_144;
const IPV6_TRANSPARENT: i32 = 75;
/// Bytes of payload and the kernel's own for them: as buffers are at first, and what they would grow to.
const SMALL: i32 = 65_536;
const LARGE: i32 = 2_097_152;

/// The connection cannot be carried on elsewhere now, and a word says why. It goes on where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreezeError(pub Cow<'static, str>);

/// A non-blocking socket to connect from an address that is not the host's, through a device, with segments of at most so
/// many bytes.
pub fn bound(address: SocketAddr, device: &str, mss: u16) -> io::Result<OwnedFd> {
    let opened = transparent(address.is_ipv6(), device)?;
    let fd = opened.as_fd();
    set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    set(fd, libc::TCP_MAXSEG, i32::from(mss.min(MOST_MSS)))?;
    bind(fd, address)?;
    Ok(opened)
}

/// A frozen socket that is connected as the record says, through a device, non-blocking. EADDRNOTAVAIL where the connection
/// exists already.
pub fn build(record: &TcpRecord, device: &str) -> io::Result<OwnedFd> {
    let opened = transparent(record.local.is_ipv6(), device)?;
    let fd = opened.as_fd();
    let room = record.unread.len() + record.unacknowledged.len() + record.unsent.len();
    if room > ROOM {
        set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, room as i32)?;
        set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, room as i32)?;
    }
    // Before connect: the size of segments is computed there, and from 536 bytes otherwise.
    set(fd, libc::TCP_MAXSEG, i32::from(record.mss.min(MOST_MSS)))?;
    if record.scales.is_none() {
        // The kernel chooses a scale in connect, for the largest window that there may be, and would say its windows in that.
        set(fd, libc::TCP_WINDOW_CLAMP, UNSCALED)?;
    }
    set(fd, TCP_REPAIR, ON)?;
    bind(fd, record.local)?;
    set(fd, TCP_REPAIR_QUEUE, SEND_QUEUE)?;
    set(fd, TCP_QUEUE_SEQ, record.unacknowledged_from() as i32)?;
    set(fd, TCP_REPAIR_QUEUE, RECEIVE_QUEUE)?;
    set(fd, TCP_QUEUE_SEQ, record.receive_next.wrapping_sub(record.unread.len() as u32) as i32)?;
    connect(fd, record.remote)?;
    set_bytes(fd, libc::IPPROTO_TCP, TCP_REPAIR_OPTIONS, &options(record))?;
    if let Some(timestamp) = record.timestamp {
        // Rounded up: it must not be below one that was sent.
        set(fd, TCP_TIMESTAMP, (timestamp.wrapping_add(TIMESTAMP_UNIT) & !TIMESTAMP_UNIT) as i32)?;
    }
    fill(fd, RECEIVE_QUEUE, &record.unread)?;
    fill(fd, SEND_QUEUE, &record.unacknowledged)?;
    set(fd, TCP_REPAIR_QUEUE, NO_QUEUE)?;
    let Window { update, send, most, receive, edge_from } = record.window;
    set_bytes(fd, libc::IPPROTO_TCP, TCP_REPAIR_WINDOW, &words(&[update, send, most, receive, edge_from]))?;
    Ok(opened)
}

/// Let it go on; `unsent` of its record goes out now.
pub fn start(frozen: BorrowedFd<'_>, unsent: &[u8]) -> io::Result<()> {
    set(frozen, TCP_REPAIR, OFF_WITHOUT_PROBE)?;
    // The kernel forgets it with TCP_REPAIR; without it no listener could be bound beside this connection.
    set_option(frozen, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    set(frozen, libc::TCP_NODELAY, 1)?;
    send_all(frozen, unsent)
}

/// Closing says nothing to the peer, now or later.
pub fn silence(opened: BorrowedFd<'_>) -> io::Result<()> {
    set(opened, TCP_REPAIR, ON)
}

/// The connection is no more, and the peer hears nothing of it. Other descriptors of the socket, also those of other
/// processes, have none either: closing this one alone would leave it there until they are closed, and who builds it again
/// would be told that it exists.
pub fn dissolve(opened: BorrowedFd<'_>) -> io::Result<()> {
    silence(opened)?;
    disconnect(opened)
}

/// A frozen connection as another node may take it over.
#[derive(Debug)]
pub struct Offer {
    pub record: TcpRecord,
    /// The numbers from which this socket's bytes counted, of the peer's bytes and of ours: those of the connection's
    /// beginning, unless it came back.
    pub initial: (u32, u32),
    /// Bytes that had come of the peer, as the kernel counts them, modulo 2^32.
    pub received: u32,
}

/// Freezes a socket of which nothing is under way; `head` is what was read of it already, and goes along as unread. None:
/// nothing was read, and what came goes along.
pub fn offer(opened: BorrowedFd<'_>, head: Option<&[u8]>) -> Result<Offer, FreezeError> {
    let mut record = freeze(opened)?;
    let result = initial(opened, &record).map_err(FreezeError::from).and_then(|counted| {
        let unread = head.is_some() && !record.unread.is_empty();
        match unread || !record.unacknowledged.is_empty() || !record.unsent.is_empty() {
            true => Err(FreezeError("not_quiescent".into())),
            false => Ok(counted),
        }
    });
    match result {
        Ok((initial, received)) => {
            record.unread = head.map_or(record.unread, <[u8]>::to_vec);
            Ok(Offer { record, initial, received })
        }
        Err(error) => {
            start(opened, &[])?;
            Err(error)
        }
    }
}

/// Both initial numbers, and what came of the peer.
fn initial(frozen: BorrowedFd<'_>, record: &TcpRecord) -> io::Result<((u32, u32), u32)> {
    let info: [u8; BYTES_AT + 16] = get_bytes(frozen, libc::IPPROTO_TCP, libc::TCP_INFO)?;
    let count = |at: usize| u32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]]);
    // The low half of each count.
    let low = if cfg!(target_endian = "little") { 0 } else { 4 };
    let (acknowledged, received) = (count(BYTES_AT + low), count(BYTES_AT + 8 + low));
    let from = |next: u32, count: u32| next.wrapping_sub(count).wrapping_sub(1);
    Ok(((from(record.receive_next, received), from(record.send_next, acknowledged)), received))
}

/// The record of a non-blocking socket that is silent from now on. An error, and it is not frozen: either side has ended, or
/// the socket is broken.
pub fn freeze(opened: BorrowedFd<'_>) -> Result<TcpRecord, FreezeError> {
    silence(opened).map_err(|_| FreezeError("not_connected".into()))?;
    record_of(opened, || ()).map_err(|error| match start(opened, &[]) {
        Ok(()) => error,
        Err(broken) => broken.into(),
    })
}

/// Bytes that the peer has not acknowledged, whether sent or not.
pub fn unsettled(opened: BorrowedFd<'_>) -> io::Result<usize> {
    queued(opened, Queue::Unacknowledged)
}

/// Bytes that came and were not read.
pub fn unread(opened: BorrowedFd<'_>) -> io::Result<usize> {
    queued(opened, Queue::Unread)
}

/// Keep what the peer may send before it is read as little as it is at first; or let it be much. For a connection that is
/// there: before, the window's scale would go by it.
pub fn keep_short(opened: BorrowedFd<'_>, short: bool) -> io::Result<()> {
    match short {
        true => set_option(opened, libc::SOL_SOCKET, libc::SO_RCVBUF, SMALL),
        false => set_option(opened, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, LARGE),
    }
}

/// A non-blocking socket that may be bound to an address which is not the host's.
fn transparent(v6: bool, device: &str) -> io::Result<OwnedFd> {
    let opened = socket(v6)?;
    let fd = opened.as_fd();
    match v6 {
        true => set_option(fd, libc::IPPROTO_IPV6, IPV6_TRANSPARENT, 1)?,
        false => set_option(fd, libc::SOL_IP, libc::IP_TRANSPARENT, 1)?,
    }
    if !device.is_empty() {
        set_bytes(fd, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, device.as_bytes())?;
    }
    Ok(opened)
}

/// `selected` is called when a queue was selected.
fn record_of(frozen: BorrowedFd<'_>, selected: fn()) -> Result<TcpRecord, FreezeError> {
    let [state, _, _, _, _, options, scales, _] = get_bytes::<8>(frozen, libc::IPPROTO_TCP, libc::TCP_INFO)?;
    if state != ESTABLISHED {
        return Err(FreezeError("half_closed".into()));
    }
    let (local, remote) = (local_address(frozen)?, peer_address(frozen)?);
    let window: [u8; 20] = get_bytes(frozen, libc::IPPROTO_TCP, TCP_REPAIR_WINDOW)?;
    set(frozen, TCP_REPAIR_QUEUE, RECEIVE_QUEUE)?;
    selected();
    let receive_next = get(frozen, TCP_QUEUE_SEQ)? as u32;
    let waiting = peek_all(frozen, queued(frozen, Queue::Unread)?)?;
    // With that queue selected the kernel counts bytes as sent when it would send them (its pacing timer, a packet that left
    // the device), and sends none. So they are counted before; what goes out in between is taken for unsent, and goes out
    // twice.
    let unsent = queued(frozen, Queue::Unsent)?;
    set(frozen, TCP_REPAIR_QUEUE, SEND_QUEUE)?;
    selected();
    let all = queued(frozen, Queue::Unacknowledged)?;
    let send_next = get(frozen, TCP_QUEUE_SEQ)? as u32;
    let mut unacknowledged = peek_all(frozen, all)?;
    let unsent = unacknowledged.split_off(all.saturating_sub(unsent));
    let mut timestamp = None;
    if options & INFO_TIMESTAMPS != 0 {
        // Not below that of any packet.
        let now = get(frozen, TCP_TIMESTAMP)? as u32;
        if now & TIMESTAMP_UNIT != 0 {
            return Err(FreezeError("microseconds".into()));
        }
        timestamp = Some(now);
    }
    Ok(TcpRecord {
        local,
        remote,
        send_next,
        receive_next,
        mss: get(frozen, libc::TCP_MAXSEG)? as u16,
        scales: (options & INFO_SCALES != 0).then_some((scales & 15, scales >> 4)),
        sack: options & INFO_SACK != 0,
        timestamp,
        window: window_of(window),
        unread: waiting,
        unacknowledged,
        unsent,
    })
}

/// The queue that is selected.
fn peek_all(frozen: BorrowedFd<'_>, count: usize) -> Result<Vec<u8>, FreezeError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut data = vec![0; count + 1];
    if peek(frozen, &mut data)? != count {
        return Err(FreezeError("not_quiet".into()));
    }
    data.truncate(count);
    Ok(data)
}

fn options(record: &TcpRecord) -> Vec<u8> {
    let mut pairs = Vec::new();
    if record.sack {
        pairs.extend([OPTION_SACK, 0]);
    }
    if let Some((send, receive)) = record.scales {
        pairs.extend([OPTION_SCALES, u32::from(send) | u32::from(receive) << 16]);
    }
    if record.timestamp.is_some() {
        pairs.extend([OPTION_TIMESTAMPS, 0]);
    }
    pairs.extend([OPTION_MSS, u32::from(record.mss)]);
    words(&pairs)
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

fn window_of(bytes: [u8; 20]) -> Window {
    let word = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    Window { update: word(0), send: word(4), most: word(8), receive: word(12), edge_from: word(16) }
}

fn fill(frozen: BorrowedFd<'_>, queue: i32, data: &[u8]) -> io::Result<()> {
    if data.is_empty() {
        return Ok(());
    }
    set(frozen, TCP_REPAIR_QUEUE, queue)?;
    send_all(frozen, data)
}

/// The kernel may have no room for a large piece at once.
fn send_all(opened: BorrowedFd<'_>, data: &[u8]) -> io::Result<()> {
    let (mut at, mut chunk) = (0, data.len());
    while at < data.len() {
        match send(opened, &data[at..data.len().min(at + chunk)]) {
            Ok(count) => at += count,
            Err(error) if chunk <= LEAST_CHUNK => return Err(error),
            Err(_) => chunk /= 2,
        }
    }
    Ok(())
}

fn set(fd: BorrowedFd<'_>, option: i32, value: i32) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_TCP, option, value)
}

fn get(fd: BorrowedFd<'_>, option: i32) -> io::Result<i32> {
    get_option(fd, libc::IPPROTO_TCP, option)
}

impl From<io::Error> for FreezeError {
    fn from(error: io::Error) -> FreezeError {
        let known = match error.raw_os_error() {
            Some(libc::EAGAIN) => "eagain",
            Some(libc::EBADF) => "ebadf",
            Some(libc::EINVAL) => "einval",
            Some(libc::ENOBUFS) => "enobufs",
            Some(libc::ENOTCONN) => "enotconn",
            Some(libc::EPERM) => "eperm",
            Some(other) => return FreezeError(format!("errno_{other}").into()),
            None => "failed",
        };
        FreezeError(known.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    /// The kernel goes on to empty its queue while that is looked at, here by its pacing timer, and the peer gets nothing of
    /// it: it would wait for a timeout of whoever has the connection then.
    #[test]
    fn nothing_is_taken_for_sent_that_was_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        if set(server.as_fd(), TCP_REPAIR, ON).is_err() {
            return;
        }
        start(server.as_fd(), &[]).unwrap();
        server.set_nonblocking(true).unwrap();
        set_option(server.as_fd(), libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, 1_000_000).unwrap();
        let written = server.write(&[7; 150_000]).unwrap();
        set(server.as_fd(), TCP_REPAIR, ON).unwrap();
        let record = record_of(server.as_fd(), || std::thread::sleep(Duration::from_millis(20))).unwrap();
        drop(server);
        assert!(!record.unsent.is_empty() && record.unsent.len() < written);
        assert!(written - record.unsent.len() <= unread(client.as_fd()).unwrap());
    }
}
