//! Two hosts (network namespaces) joined by two shards: TUN, segmentation, UDP, coalescing, TUN.
//!
//! Needs root and /dev/net/tun; says so and passes without.
#![allow(unsafe_code, clippy::unwrap_used)]

mod common;

use braid_io::{bind, spawn, Buffers, Handle, ShardConfig, Snapshot, SocketOptions, Tun};
use braid_offload::{Coalescer, Delivered, Limits, Segments};
use braid_packet::{Datagrams, Engine, Sink, Time, VnetHdr};
use common::pattern;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

const MTU: usize = 1420;

/// Carries packets between a TUN and one peer: one byte (is the checksum partial?), then the packet.
struct Pipe {
    peer: SocketAddr,
    limits: Limits,
    slab: Vec<u8>,
    coalescer: Coalescer,
}

impl Engine for Pipe {
    type Command = ();

    fn receive_udp(&mut self, batches: &mut [Datagrams<'_>], _: Time, sink: &mut impl Sink) {
        let mut packets = Vec::new();
        for batch in batches {
            for datagram in batch.bytes.chunks(batch.segment) {
                packets.push(Delivered { bytes: &datagram[1..], partial: datagram[0] == 1 });
            }
        }
        self.coalescer.deliver(&packets, self.limits, sink);
    }

    fn receive_tun(&mut self, vnet: VnetHdr, packet: &mut [u8], _: Time, sink: &mut impl Sink) {
        let Ok(plan) = Segments::plan(vnet, packet, MTU) else { return };
        let mut at = 0;
        self.slab.resize(plan.count() * (1 + plan.length(0)), 0);
        for i in 0..plan.count() {
            self.slab[at] = u8::from(plan.partial());
            at += 1 + plan.write(packet, i, &mut self.slab[at + 1..]);
        }
        sink.udp(self.peer, &self.slab[..at], 1 + plan.length(0));
    }

    fn handle_command(&mut self, (): (), _: Time, _: &mut impl Sink) {}

    fn handle_timeout(&mut self, _: Time, _: &mut impl Sink) {}

    fn flush(&mut self, _sink: &mut impl Sink) {}

    fn next_timeout(&self) -> Option<Time> {
        None
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// A TUN in this thread's namespace.
fn open_tun(flags: i32) -> File {
    let file = File::options().read(true).write(true).open("/dev/net/tun").unwrap();
    // SAFETY: all-zero is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"braidtest") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one `ifreq`.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &mut request) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    file
}

const FLAGS: i32 = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR;

/// Moves this thread into a new network namespace.
fn leave_home() {
    // SAFETY: affects this thread only.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
}

fn able() -> bool {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::geteuid() == 0 && File::open("/dev/net/tun").is_ok() }
}

fn host(number: u8, offload: bool) -> Tun {
    leave_home();
    let file = open_tun(FLAGS);
    ip("link set lo up");
    ip(&format!("link set braidtest mtu {MTU}"));
    ip(&format!("addr add 10.77.0.{number}/24 dev braidtest"));
    ip(&format!("addr add fd77::{number}/64 dev braidtest nodad"));
    ip("link set braidtest up");
    await_address(&format!("[fd77::{number}]:0"));
    Tun::adopt(file.as_raw_fd(), offload).unwrap()
}

/// The kernel takes packets to a new IPv6 address a moment after it has been added.
fn await_address(address: &str) {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let start = Instant::now();
    loop {
        let _ = socket.send_to(&[1], socket.local_addr().unwrap());
        if socket.recv(&mut [0]).is_ok() {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{address} is not ready");
    }
}

/// What a pair of hosts is joined with.
#[derive(Clone, Copy, Debug)]
struct Setup {
    tun: bool,
    udp: SocketOptions,
}

fn shard(tun: Tun, socket: braid_io::Socket, peer: SocketAddr) -> Handle<()> {
    let offload = tun.offload();
    let limits = Limits { tcp: offload.tso, udp: offload.uso };
    let engine = Pipe { peer, limits, slab: Vec::new(), coalescer: Coalescer::new() };
    spawn(engine, ShardConfig { tun: Some(tun), sockets: vec![socket], ..ShardConfig::default() }, |_| {}).unwrap()
}

/// Runs `client` on host 1 and `server` on host 2, each in its namespace.
fn between_hosts(
    setup: Setup,
    client: impl FnOnce() + Send + 'static,
    server: impl FnOnce(&dyn Fn()) + Send + 'static,
) -> [Snapshot; 2] {
    // Both ends of the underlay are here, on the loopback interface of the test's own namespace.
    let sockets = [(); 2].map(|()| bind("127.0.0.1:0".parse().unwrap(), setup.udp).unwrap());
    let peers = [sockets[1].local_address(), sockets[0].local_address()];
    let [one, two] = sockets;
    let (ready, is_ready) = channel();
    let right = thread::spawn(move || {
        let handle = shard(host(2, setup.tun), two, peers[1]);
        server(&|| ready.send(()).unwrap());
        handle
    });
    let left = thread::spawn(move || {
        let handle = shard(host(1, setup.tun), one, peers[0]);
        is_ready.recv_timeout(Duration::from_secs(20)).unwrap();
        client();
        handle
    });
    let handles = [left.join().unwrap(), right.join().unwrap()];
    handles.map(|handle| handle.snapshot())
}

/// One TCP connection that sends `length` bytes up and the same down. Returns Mbit/s of the way up.
fn tcp(setup: Setup, address: &'static str, length: usize) -> (f64, [Snapshot; 2]) {
    let (result, speed) = channel();
    let client = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let timeout = Some(Duration::from_secs(60));
        stream.set_read_timeout(timeout).unwrap();
        stream.set_write_timeout(timeout).unwrap();
        let data = pattern(length);
        let start = Instant::now();
        stream.write_all(&data).unwrap();
        let mut first = [0];
        stream.read_exact(&mut first).unwrap();
        result.send(length as f64 * 8e-6 / start.elapsed().as_secs_f64()).unwrap();
        let mut back = vec![0; length - 1];
        stream.read_exact(&mut back).unwrap();
        assert!(first == data[..1] && back == data[1..], "data differs on the way back");
    };
    let server = move |ready: &dyn Fn()| {
        let listener = TcpListener::bind(address).unwrap();
        ready();
        let (mut stream, _) = listener.accept().unwrap();
        let mut data = vec![0; length];
        stream.read_exact(&mut data).unwrap();
        assert!(data == pattern(length), "data differs on the way there");
        stream.write_all(&data).unwrap();
        // Until the client has read it all.
        let _ = stream.read(&mut [0]);
    };
    let snapshots = between_hosts(setup, client, server);
    (speed.recv().unwrap(), snapshots)
}

const SKIPPED: &str = "skipped: needs root and /dev/net/tun";
const BUFFERS: Buffers = Buffers { rate_mbit: 10_000, receive_us: 5_000, send_us: 1_000 };
const ON: SocketOptions = SocketOptions { gso: true, gro: true, buffers: BUFFERS };
const OFF: SocketOptions = SocketOptions { gso: false, gro: false, buffers: BUFFERS };

#[test]
fn tcp_passes_with_and_without_offloads() {
    if !able() {
        eprintln!("{SKIPPED}");
        return;
    }
    for (tun, udp) in [(true, ON), (true, OFF), (false, ON), (false, OFF)] {
        for address in ["10.77.0.2:5000", "[fd77::2]:5000"] {
            let (speed, [left, right]) = tcp(Setup { tun, udp }, address, 24_000_000);
            eprintln!("tun offload {tun}, udp gso/gro {}, {address}: {speed:.0} Mbit/s", udp.gso);
            for end in [&left, &right] {
                assert_eq!(end.drops.tun_write_refused, 0);
                assert_eq!(end.offload.fallbacks, 0);
                assert_eq!(end.offload.tun_tso, tun);
                assert_eq!(end.offload.udp_gso, udp.gso);
                let probes =
                    |name: &str| end.offloads.iter().filter(|state| state.name == name).map(|s| s.probe).next();
                assert_eq!(probes("tun_tcp_writes"), Some(if tun { "works" } else { "off" }));
                assert_eq!(probes("udp_gso"), Some(if udp.gso { "works" } else { "off" }));
                assert_eq!(probes("udp_gro"), Some(if udp.gro { "works" } else { "off" }));
                assert!(end.gso_refusals.is_empty());
            }
            if tun {
                // Far fewer TUN exchanges than 24 MB in packets of 1420 bytes make.
                assert!(left.io.tun_rx_packets < 6_000, "{} reads", left.io.tun_rx_packets);
            }
            if tun && udp.gro {
                assert!(right.io.tun_tx_packets < 10_000, "{} writes", right.io.tun_tx_packets);
            }
        }
    }
}

#[test]
fn udp_passes_both_ways() {
    if !able() {
        eprintln!("{SKIPPED}");
        return;
    }
    for address in ["10.77.0.2:5001", "[fd77::2]:5001"] {
        let any: &str = if address.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
        let client = move || {
            let socket = UdpSocket::bind(any).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            for round in 0..200 {
                let sizes = [1, 100, 1372, 1372, 1372, 700];
                for (i, size) in sizes.into_iter().enumerate() {
                    let mut datagram = pattern(size);
                    datagram[0] = i as u8;
                    socket.send_to(&datagram, address).unwrap();
                }
                for (i, size) in sizes.into_iter().enumerate() {
                    let mut answer = [0; 2000];
                    let length = socket.recv(&mut answer).unwrap();
                    assert_eq!((length, answer[0]), (size, i as u8), "round {round}");
                    assert!(answer[1..length] == pattern(size)[1..]);
                }
            }
            socket.send_to(&[], address).unwrap();
        };
        let server = move |ready: &dyn Fn()| {
            let socket = UdpSocket::bind(address).unwrap();
            ready();
            let mut bytes = [0; 2000];
            loop {
                let (length, from) = socket.recv_from(&mut bytes).unwrap();
                if length == 0 {
                    break;
                }
                socket.send_to(&bytes[..length], from).unwrap();
            }
        };
        between_hosts(Setup { tun: true, udp: ON }, client, server);
    }
}

#[test]
fn udp_super_packets_arrive_as_their_datagrams() {
    if !able() {
        eprintln!("{SKIPPED}");
        return;
    }
    const SIZE: usize = 1200;
    for address in ["10.77.0.2:5002", "[fd77::2]:5002"] {
        let any: &str = if address.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
        let client = move || {
            let socket = UdpSocket::bind(any).unwrap();
            let size = SIZE as libc::c_int;
            // SAFETY: the pointer and length are those of one int.
            let result = unsafe {
                let (level, option) = (libc::SOL_UDP, libc::UDP_SEGMENT);
                libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const size).cast(), 4)
            };
            assert_eq!(result, 0);
            socket.send_to(&pattern(40 * SIZE + 17), address).unwrap();
        };
        let server = move |ready: &dyn Fn()| {
            let socket = UdpSocket::bind(address).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            ready();
            let mut bytes = [0; 2000];
            for expected in pattern(40 * SIZE + 17).chunks(SIZE) {
                let length = socket.recv(&mut bytes).unwrap();
                assert!(&bytes[..length] == expected);
            }
        };
        let [left, right] = between_hosts(Setup { tun: true, udp: ON }, client, server);
        if left.offload.tun_uso {
            assert!(left.io.tun_rx_packets < 20, "{} reads", left.io.tun_rx_packets);
            assert!(right.io.tun_tx_packets < 20, "{} writes", right.io.tun_tx_packets);
        }
    }
}

#[test]
fn only_a_tun_with_offload_headers_is_adopted() {
    if !able() {
        eprintln!("{SKIPPED}");
        return;
    }
    let null = File::open("/dev/null").unwrap();
    assert!(Tun::adopt(null.as_raw_fd(), true).is_err());
    assert!(Tun::adopt(-1, true).is_err());
    thread::spawn(|| {
        leave_home();
        let plain = open_tun(libc::IFF_TUN | libc::IFF_NO_PI);
        let error = Tun::adopt(plain.as_raw_fd(), true).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    })
    .join()
    .unwrap();
}

#[test]
fn a_removed_tun_ends_the_thread() {
    if !able() {
        eprintln!("{SKIPPED}");
        return;
    }
    thread::spawn(|| {
        let tun = host(1, true);
        let (exit, exited) = channel();
        let peer = "127.0.0.1:9".parse().unwrap();
        let engine = Pipe { peer, limits: Limits::default(), slab: Vec::new(), coalescer: Coalescer::new() };
        let config = ShardConfig { tun: Some(tun), sockets: Vec::new(), ..ShardConfig::default() };
        let handle = spawn(engine, config, move |result| exit.send(result).unwrap()).unwrap();
        ip("link del braidtest");
        let error = exited.recv_timeout(Duration::from_secs(5)).unwrap().unwrap_err();
        assert!(error.starts_with("reading from the TUN"), "{error}");
        assert_eq!(handle.failure(), Some(error.as_str()));
    })
    .join()
    .unwrap();
}
