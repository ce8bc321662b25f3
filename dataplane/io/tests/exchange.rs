//! Questions and answers on real sockets of the loopback interface.
#![allow(clippy::unwrap_used)]

use braid_io::Exchange;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::Duration;

fn served(address: &str, count: usize, size: usize) -> (UdpSocket, Exchange) {
    let socket = UdpSocket::bind(address).unwrap();
    let exchange = Exchange::adopt(socket.as_raw_fd(), count, size).unwrap();
    (socket, exchange)
}

fn asker(server: &UdpSocket) -> UdpSocket {
    let local = server.local_addr().unwrap();
    let asker = UdpSocket::bind((local.ip(), 0)).unwrap();
    asker.connect(local).unwrap();
    asker.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    asker
}

fn received(asker: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let length = asker.recv(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

#[test]
fn answers_go_back_to_where_their_questions_came_from() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (server, mut exchange) = served(address, 8, 100);
        assert_eq!(exchange.receive().unwrap(), 0, "nothing has come, and nobody waits");
        let askers: Vec<UdpSocket> = (0..3).map(|_| asker(&server)).collect();
        for (n, asker) in askers.iter().enumerate() {
            asker.send(&[n as u8; 10]).unwrap();
        }
        assert_eq!(exchange.receive().unwrap(), 3);
        for (i, asker) in askers.iter().enumerate() {
            let (from, data) = exchange.datagram(i).unwrap();
            assert_eq!((from, data), (asker.local_addr().unwrap(), &[i as u8; 10][..]));
        }
        assert!(exchange.datagram(3).is_none());
        exchange.answer(2, b"to the third");
        exchange.answer(0, b"to the first");
        exchange.answer(3, b"to nobody");
        assert_eq!(exchange.send(), 0);
        assert_eq!(received(&askers[0]), b"to the first");
        assert_eq!(received(&askers[2]), b"to the third");
        assert_eq!(exchange.send(), 0, "sent once");
    }
}

#[test]
fn a_batch_is_bounded_and_long_datagrams_are_cut() {
    let (server, mut exchange) = served("127.0.0.1:0", 2, 100);
    let asker = asker(&server);
    for length in [99, 100, 101] {
        asker.send(&vec![length; usize::from(length)]).unwrap();
    }
    assert_eq!(exchange.receive().unwrap(), 2);
    assert_eq!(exchange.datagram(0).unwrap().1, [99; 99]);
    assert_eq!(exchange.datagram(1).unwrap().1, [100; 100]);
    assert_eq!(exchange.receive().unwrap(), 1);
    assert_eq!(exchange.datagram(0).unwrap().1, [101; 100], "what is over the size is cut off");
}

#[test]
fn what_the_kernel_refuses_is_counted_and_the_rest_is_sent() {
    let (server, mut exchange) = served("127.0.0.1:0", 4, 100);
    let asker = asker(&server);
    for _ in 0..3 {
        asker.send(b"question").unwrap();
    }
    assert_eq!(exchange.receive().unwrap(), 3);
    exchange.answer(0, b"first");
    exchange.answer(1, &vec![0; 70_000]);
    exchange.answer(2, b"third");
    assert_eq!(exchange.send(), 1, "no datagram is as long as the second");
    assert_eq!((received(&asker), received(&asker)), (b"first".to_vec(), b"third".to_vec()));
}

#[test]
fn a_new_batch_forgets_the_answers_to_the_one_before() {
    let (server, mut exchange) = served("127.0.0.1:0", 4, 100);
    let asker = asker(&server);
    asker.send(b"question").unwrap();
    assert_eq!(exchange.receive().unwrap(), 1);
    exchange.answer(0, b"never sent");
    assert_eq!(exchange.receive().unwrap(), 0);
    assert_eq!(exchange.send(), 0);
    asker.set_nonblocking(true).unwrap();
    assert!(asker.recv(&mut [0; 100]).is_err());
}

#[test]
fn only_an_ip_socket_is_adopted() {
    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(Exchange::adopt(file.as_raw_fd(), 4, 100).is_err());
    assert!(Exchange::adopt(-1, 4, 100).is_err());
}
