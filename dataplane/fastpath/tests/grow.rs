//! Timestamps for a client that has them from a server that has none.

use crate::world;

use braid_fastpath::{FastPath, Stranger, Verdict};
use braid_packet::{tcp_checksum_is_good, Gso, Tcp, VnetHdr};
use world::bytes::finish;
use world::lone::*;
use world::{fast_path, parse, APP, FLOW};

/// A client with timestamps, a server without.
fn lopsided(fast: &mut FastPath) -> u32 {
    let timestamps = |echo: u32| {
        let mut options = vec![1, 1, 8, 10, 0, 0, 0, 9];
        options.extend_from_slice(&echo.to_be_bytes());
        options
    };
    let syn = packet(client(), vip(), Tcp::SYN, (CLIENT_ISN, 0), &timestamps(0), &[]);
    assert_eq!(fast.receive_stranger(&syn, false, APP, START), Stranger::Reply);
    let answer = fast.answer().to_vec();
    let cookie = parse(&answer).1.sequence;
    let at = answer.windows(2).position(|pair| pair == [8, 10]).unwrap();
    let value = u32::from_be_bytes(answer[at + 2..at + 6].try_into().unwrap());
    let numbers = (CLIENT_ISN.wrapping_add(1), cookie.wrapping_add(1));
    let first = packet(client(), vip(), Tcp::ACK, numbers, &timestamps(value), &[]);
    let Stranger::Open(admitted) = fast.receive_stranger(&first, false, APP, START) else { panic!("no cookie") };
    assert!(fast.open(FLOW, admitted, &first, false, START));
    let mut answer = from_server(Tcp::SYN | Tcp::ACK, SERVER_ISN, CLIENT_ISN.wrapping_add(1), &[]);
    assert_eq!(fast.receive_from_server(FLOW, VnetHdr::default(), &mut answer, APP, START), Verdict::Taken);
    fast.take_outputs();
    cookie
}

#[test]
fn the_largest_super_packet_becomes_two_when_timestamps_are_added() {
    let mut fast = fast_path(1404);
    let cookie = lopsided(&mut fast);
    // As large a window as one super-packet needs.
    for _ in 0..20 {
        let (flags, numbers) = (Tcp::ACK, (CLIENT_ISN.wrapping_add(1), cookie.wrapping_add(1)));
        let mut wide = packet(client(), vip(), flags, numbers, &[], &[]);
        wide[34..36].fill(0xff);
        finish(&mut wide, false);
        assert_eq!(fast.receive_from_client(FLOW, &mut wide, false, START), Verdict::Pass);
    }
    let body = vec![3; 65_535 - 40];
    let flags = Tcp::ACK | Tcp::FIN | PUSH;
    let mut large = from_server(flags, SERVER_ISN + 1, CLIENT_ISN.wrapping_add(1), &body);
    let vnet = VnetHdr {
        needs_csum: true,
        gso: Gso::TcpV4,
        hdr_len: 40,
        gso_size: 1000,
        csum_start: 20,
        csum_offset: 16,
        ..VnetHdr::default()
    };
    assert_eq!(fast.receive_from_server(FLOW, vnet, &mut large, APP, START), Verdict::Grown);
    let grown = fast.take_grown();
    let grown = grown.packets();
    assert_eq!(grown.len(), 2);
    let mut at = cookie.wrapping_add(1);
    let mut total = 0;
    for (n, (vnet, packet)) in grown.iter().enumerate() {
        let (ip, tcp) = parse(packet);
        assert_eq!((ip.total_len, tcp.header_len, vnet.hdr_len, tcp.sequence), (packet.len(), 32, 52, at));
        assert_eq!(tcp.flags & (Tcp::FIN | PUSH) != 0, n == 1);
        at = at.wrapping_add(tcp.payload as u32);
        total += tcp.payload;
    }
    assert_eq!((total, parse(&grown[0].1).1.payload % 1000), (body.len(), 0));
}

#[test]
fn damage_stays_visible_when_timestamps_are_added() {
    for damage in [0, 4] {
        let mut fast = fast_path(1404);
        lopsided(&mut fast);
        let mut packet = from_server(Tcp::ACK, SERVER_ISN + 1, CLIENT_ISN.wrapping_add(1), &[7; 101]);
        packet[60] ^= damage;
        assert_eq!(fast.receive_from_server(FLOW, VnetHdr::default(), &mut packet, APP, START), Verdict::Grown);
        let grown = fast.take_grown();
        let grown = &grown.packets()[0].1;
        let (ip, _) = parse(grown);
        assert_eq!(tcp_checksum_is_good(grown, &ip), damage == 0);
    }
}
