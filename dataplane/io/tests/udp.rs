//! Real sockets on the loopback interface.

mod common;

use braid_io::{Buffers, SocketOptions};
use common::{datagrams, pattern, puppet, send, Command};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

const BUFFERS: Buffers = Buffers { rate_mbit: 10_000, receive_us: 5_000, send_us: 1_000 };
const OFF: SocketOptions = SocketOptions { gso: false, gro: false, buffers: BUFFERS };
const ADDRESSES: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

/// Sends batches one way and checks that every datagram arrives as it left, in order.
fn transfer(address: &str, from: SocketOptions, to: SocketOptions) -> (u64, usize) {
    let (sender, here, _events) = puppet(address, from);
    let (receiver, there, events) = puppet(address, to);
    let mut expected: Vec<Vec<u8>> = Vec::new();
    for (length, segment) in [(1400 * 20, 1400), (1400 * 64 + 9, 1400), (90, 90), (1000, 300)] {
        let batch = pattern(length);
        expected.extend(batch.chunks(segment).map(<[u8]>::to_vec));
        send(&sender, there, &batch, segment);
    }
    let (arrived, largest) = datagrams(&events, here, expected.len());
    assert!(arrived == expected, "datagrams differ");
    // The last of a batch can arrive before its sender has counted it.
    let deadline = Instant::now() + Duration::from_secs(2);
    while sender.snapshot().io.udp_tx_datagrams < expected.len() as u64 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    let (sent, received) = (sender.snapshot(), receiver.snapshot());
    assert_eq!(sent.io.udp_tx_datagrams, expected.len() as u64);
    assert_eq!(received.io.udp_rx_datagrams, expected.len() as u64);
    assert_eq!(sent.io.udp_tx_bytes, received.io.udp_rx_bytes);
    assert_eq!(sent.io.udp_tx_errors, 0);
    assert_eq!(sent.offload.udp_gso, from.gso);
    assert_eq!(received.offload.udp_gro, to.gro);
    (sent.io.udp_tx_batches, largest)
}

#[test]
fn batches_round_trip_with_every_combination_of_offloads() {
    for address in ADDRESSES {
        let (batches, together) = transfer(address, SocketOptions::default(), Default::default());
        assert_eq!(batches, 1 + 2 + 1 + 1, "{address}");
        assert!(together > 10, "UDP_GRO joined only {together}");
        let (batches, together) = transfer(address, SocketOptions::default(), OFF);
        assert_eq!((batches, together), (5, 1));
        let (batches, _) = transfer(address, OFF, SocketOptions::default());
        assert_eq!(batches, 20 + 65 + 1 + 4);
        let (_, together) = transfer(address, OFF, OFF);
        assert_eq!(together, 1);
    }
}

#[test]
fn an_echo_answers() {
    let (echo, there, _events) = puppet("127.0.0.1:0", SocketOptions::default());
    echo.command(Command::Echo).unwrap();
    let (client, _, events) = puppet("127.0.0.1:0", SocketOptions::default());
    for round in 0..50usize {
        let batch = pattern(1200 * (1 + round % 30) + round);
        send(&client, there, &batch, 1200);
        let (arrived, _) = datagrams(&events, there, batch.len().div_ceil(1200));
        assert!(arrived.concat() == batch, "round {round}");
    }
}

#[test]
fn datagrams_of_any_size_arrive_and_empty_ones_do_no_harm() {
    let (receiver, there, events) = puppet("127.0.0.1:0", SocketOptions::default());
    let plain = UdpSocket::bind("127.0.0.1:0").unwrap();
    plain.send_to(&[], there).unwrap();
    for length in [1, 1500, 65_507] {
        plain.send_to(&pattern(length), there).unwrap();
        let (arrived, _) = datagrams(&events, plain.local_addr().unwrap(), 1);
        assert!(arrived[0] == pattern(length), "{length}");
    }
    assert_eq!(receiver.snapshot().drops, braid_io::Drops { udp_empty: 1, ..Default::default() });
}

#[test]
fn what_is_too_big_to_send_is_counted() {
    let (sender, _, _events) = puppet("127.0.0.1:0", SocketOptions::default());
    let to = "127.0.0.1:9".parse().unwrap();
    send(&sender, to, &pattern(65_508), 65_508);
    let start = Instant::now();
    while sender.snapshot().drops.udp_send_too_big == 0 {
        assert!(start.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(sender.snapshot().io.udp_tx_errors, 1);
}

#[test]
fn no_socket_of_that_family() {
    let (sender, _, _events) = puppet("127.0.0.1:0", SocketOptions::default());
    send(&sender, "[::1]:9".parse().unwrap(), &pattern(3000), 1000);
    let start = Instant::now();
    while sender.snapshot().drops.udp_no_socket < 3 {
        assert!(start.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(5));
    }
}
