//! What servers hear of the stack while their connections may be spliced: nothing that tells how near it is.

use crate::world::lone::{self, in_the_stack, packet, splice, SERVER_ISN, STACK_ISN, START};
use crate::world::{fast_path, FLOW};
use braid_fastpath::{FastPath, Passage, Verdict};
use braid_packet::{tcp_checksum_is_good, Ip, Tcp, Time, VnetHdr};

const MS: u64 = Time::MILLISECOND;
const FAR: Option<u64> = Some(40 * MS);

fn at(millis: u64) -> Time {
    START.after(millis * MS)
}

fn timestamps(value: u32, echo: u32) -> [u8; 12] {
    let mut option = [1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0];
    option[4..8].copy_from_slice(&value.to_be_bytes());
    option[8..].copy_from_slice(&echo.to_be_bytes());
    option
}

/// From the stack to its server.
fn of_stack(flags: u8, numbers: (u32, u32), body: &[u8]) -> Vec<u8> {
    packet(lone::client(), lone::vip(), flags, numbers, &timestamps(7, 9), body)
}

fn send(fast: &mut FastPath, packet: &mut [u8], round_trip: Option<u64>, now: Time) -> Passage {
    fast.receive_from_stack_to_server(FLOW, packet, false, || round_trip, now)
}

fn acknowledge(fast: &mut FastPath, bytes: u32, round_trip: Option<u64>, now: Time) -> Passage {
    let mut packet = of_stack(Tcp::ACK, (STACK_ISN + 1, SERVER_ISN + 1 + bytes), &[]);
    send(fast, &mut packet, round_trip, now)
}

/// What has waited: numbers that are acknowledged.
fn late(fast: &mut FastPath, now: Time) -> Vec<u32> {
    let taken = fast.take_late(now);
    taken.iter().map(|(_, packet, _)| crate::world::parse(packet).1.acknowledgement - SERVER_ISN - 1).collect()
}

/// The stack's own connection to a server, up to its first acknowledgement.
fn connected(fast: &mut FastPath) {
    let mut syn = of_stack(Tcp::SYN, (STACK_ISN, 0), &[]);
    assert_eq!(send(fast, &mut syn, FAR, START), Passage::Twice);
    let answer =
        packet(lone::vip(), lone::client(), Tcp::SYN | Tcp::ACK, (SERVER_ISN, STACK_ISN + 1), &lone::SYN_OPTIONS, &[]);
    assert_eq!(fast.receive_server_for_stack(FLOW, VnetHdr::default(), &answer, None, START), Verdict::Stack);
    assert_eq!(acknowledge(fast, 0, FAR, START), Passage::Once);
}

#[test]
fn the_handshake_is_not_measured() {
    let mut fast = fast_path(1404);
    in_the_stack(&mut fast);
    let mut syn = of_stack(Tcp::SYN, (STACK_ISN, 0), &[]);
    assert_eq!(send(&mut fast, &mut syn, None, START), Passage::Twice);
    assert_eq!(send(&mut fast, &mut syn, None, START), Passage::Once, "the stack asks again by itself");
    let answer =
        packet(lone::vip(), lone::client(), Tcp::SYN | Tcp::ACK, (SERVER_ISN, STACK_ISN + 1), &lone::SYN_OPTIONS, &[]);
    let mut receive = || fast.receive_server_for_stack(FLOW, VnetHdr::default(), &answer, None, START);
    assert_eq!([receive(), receive(), receive()], [Verdict::Stack, Verdict::Taken, Verdict::Stack]);
    for (partial, echo) in [(false, 0), (false, 9)] {
        let mut packet = of_stack(Tcp::ACK, (STACK_ISN + 1, SERVER_ISN + 1), b"request");
        assert_eq!(fast.receive_from_stack_to_server(FLOW, &mut packet, partial, || None, START), Passage::Once);
        assert_eq!(packet[40..52], [&timestamps(7, echo)[..]].concat(), "the first one echoes nothing");
        assert!(tcp_checksum_is_good(&packet, &Ip::parse(&packet).unwrap()));
    }
}

#[test]
fn another_server_is_asked_twice_too() {
    let mut fast = fast_path(1404);
    in_the_stack(&mut fast);
    connected(&mut fast);
    fast.forget_server(FLOW);
    connected(&mut fast);
}

#[test]
fn the_last_acknowledgement_waits_and_those_behind_it_do_not_until_the_stack_asks_again() {
    let mut fast = fast_path(1404);
    in_the_stack(&mut fast);
    connected(&mut fast);
    for turn in 0..2 {
        let mut request = of_stack(Tcp::ACK, (STACK_ISN + 1, SERVER_ISN + 1), b"request");
        assert_eq!(send(&mut fast, &mut request, FAR, at(100 * turn)), Passage::Once);
        assert_eq!(acknowledge(&mut fast, 100, FAR, at(100 * turn)), Passage::Nothing);
        assert_eq!(acknowledge(&mut fast, 200, FAR, at(100 * turn + 1)), Passage::Nothing);
        assert_eq!(fast.next_timeout().map(|due| due <= at(100 * turn + 10)), Some(true));
        assert_eq!(late(&mut fast, at(100 * turn + 9)), []);
        assert_eq!(late(&mut fast, at(100 * turn + 10)), [200], "a quarter of the round trip, and only the last one");
        assert_eq!(acknowledge(&mut fast, 300, FAR, at(100 * turn + 11)), Passage::Once);
        assert_eq!(late(&mut fast, at(100 * turn + 50)), []);
    }
}

#[test]
fn nobody_waits_for_a_client_that_is_near_or_longer_than_a_part_of_its_way() {
    let mut fast = fast_path(1404);
    in_the_stack(&mut fast);
    connected(&mut fast);
    for near in [None, Some(MS - 1)] {
        assert_eq!(acknowledge(&mut fast, 1, near, START), Passage::Once);
    }
    assert_eq!(acknowledge(&mut fast, 2, Some(4 * MS), START), Passage::Nothing);
    assert_eq!(late(&mut fast, at(1)), [2]);
}

#[test]
fn what_carries_something_goes_at_once_and_takes_the_place_of_what_waits() {
    let mut fast = fast_path(1404);
    in_the_stack(&mut fast);
    connected(&mut fast);
    for (flags, body) in [(Tcp::ACK, &b"next"[..]), (Tcp::ACK | Tcp::FIN, b""), (Tcp::ACK | Tcp::RST, b"")] {
        assert_eq!(acknowledge(&mut fast, 5, FAR, START), Passage::Nothing);
        let mut more = of_stack(flags, (STACK_ISN + 1, SERVER_ISN + 6), body);
        assert_eq!(send(&mut fast, &mut more, FAR, START), Passage::Once);
        assert_eq!(late(&mut fast, at(10)), []);
    }
}

#[test]
fn what_waits_when_the_connection_is_spliced_is_never_sent() {
    let mut fast = fast_path(1404);
    let cookie = in_the_stack(&mut fast);
    connected(&mut fast);
    assert_eq!(acknowledge(&mut fast, 4, FAR, START), Passage::Nothing);
    splice(&mut fast, cookie, None);
    assert_eq!(acknowledge(&mut fast, 5, FAR, START), Passage::Nothing, "the client says more now");
    assert_eq!(late(&mut fast, at(10)), []);
    let mut sent_before = of_stack(Tcp::ACK, (STACK_ISN + 1, SERVER_ISN + 1), b"request");
    assert_eq!(send(&mut fast, &mut sent_before, FAR, START), Passage::Once);
}
