use super::*;
use crate::icmp;
use crate::ip::tests::packet;
use crate::Unreachable;
use proptest::prelude::*;

/// A packet's (hash, local port), read from its bytes.
fn of(bytes: &[u8]) -> (u32, u16) {
    let ip = Ip::parse(bytes).unwrap();
    (flow_hash(&ip, bytes), local_port(&ip, bytes))
}

/// One flow: its two addresses' last bytes, its ports, its protocol and family.
fn any_flow() -> impl Strategy<Value = (bool, u8, u16, u16)> {
    (any::<bool>(), prop::sample::select(vec![TCP, UDP]), any::<u16>(), any::<u16>())
}

fn made(v6: bool, protocol: u8, source: u16, destination: u16, back: bool) -> Vec<u8> {
    let mut body = vec![0; if protocol == TCP { 20 } else { 8 }];
    body[..2].copy_from_slice(&source.to_be_bytes());
    body[2..4].copy_from_slice(&destination.to_be_bytes());
    match protocol {
        TCP => body[12] = 0x50,
        _ => body[5] = 8,
    }
    let mut made = packet(v6, protocol, if protocol == TCP { 16 } else { 6 }, body);
    if back {
        turn(&mut made, v6);
    }
    made
}

/// Swaps source and destination address.
fn turn(packet: &mut [u8], v6: bool) {
    let (at, length) = if v6 { (8, 16) } else { (12, 4) };
    let (front, rear) = packet[at..at + 2 * length].split_at_mut(length);
    front.swap_with_slice(rear);
}

proptest! {
    #[test]
    fn both_directions_are_one_flow((v6, protocol, near, far) in any_flow()) {
        let there = made(v6, protocol, near, far, false);
        let back = made(v6, protocol, far, near, true);
        prop_assert_eq!(of(&there).0, of(&back).0);
        prop_assert_eq!((of(&there).1, of(&back).1), (far, near));
    }

    #[test]
    fn an_error_belongs_to_the_flow_that_it_is_about((v6, protocol, near, far) in any_flow()) {
        let there = made(v6, protocol, near, far, false);
        let router = if v6 { "fd99::1".parse().unwrap() } else { "192.0.2.9".parse().unwrap() };
        let mut error = Vec::new();
        icmp::unreachable(&mut error, &there, router, Unreachable::Host).unwrap();
        prop_assert_eq!(of(&error), (of(&there).0, near), "from a router anywhere");
    }

    #[test]
    fn any_bytes_have_a_number_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        if let Ok(ip) = Ip::parse(&bytes) {
            prop_assert_eq!(flow_hash(&ip, &bytes), flow_hash(&ip, &bytes));
            local_port(&ip, &bytes);
            host_hash(&ip);
        }
    }
}

#[test]
fn an_echo_and_its_reply_are_one_flow_by_their_identifier() {
    for v6 in [false, true] {
        let echo = |kind: u8, id: u8, back: bool| {
            let protocol = if v6 { ICMPV6 } else { ICMPV4 };
            let mut made = packet(v6, protocol, 2, vec![kind, 0, 0, 0, 7, id, 0, 1]);
            if back {
                turn(&mut made, v6);
            }
            of(&made)
        };
        let (request, reply) = if v6 { (128, 129) } else { (8, 0) };
        assert_eq!(echo(request, 9, false), echo(reply, 9, true));
        assert_ne!(echo(request, 9, false).0, echo(request, 10, false).0);
        assert_eq!(echo(reply, 9, true).1, 0x0709);
    }
}

#[test]
fn protocols_without_ports_are_all_one() {
    let gre = packet(false, 47, 6, vec![0; 8]);
    assert_eq!(of(&gre), (0, 0));
    assert!(!has_ports(47) && has_ports(ICMPV6));
}

#[test]
fn flows_spread_evenly_over_any_power_of_two() {
    let hashes: Vec<u32> = (0..16_000).map(|port| of(&made(false, UDP, 1024 + port, 443, false)).0).collect();
    for lanes in [2, 4, 8, 16] {
        for lane in 0..lanes {
            let share = hashes.iter().filter(|&&hash| hash % lanes == lane).count() as u32;
            assert!((share * lanes).abs_diff(16_000) < 16_000 / 5, "{share} of 16000 in lane {lane} of {lanes}");
        }
    }
}
