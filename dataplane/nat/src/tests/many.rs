//! More flows than a near cache holds, so that looking ahead does something.

use super::bytes::{address, tcp, udp, Segment};
use super::world::{client, policy, vip, EDGE, START};
use crate::look_ahead::glance;
use crate::{Forward, Nat, Policy};
use braid_packet::Tcp;
use proptest::prelude::*;
use std::net::SocketAddr;

const FLOWS: u32 = 5000;

fn request(n: u32) -> Vec<u8> {
    let host = if n % 2 == 0 { format!("192.0.2.{}", n % 199 + 1) } else { format!("2001:db8::{n:x}") };
    udp(SocketAddr::new(address(&host), 1024 + (n % 50_000) as u16), vip(n % 2 == 1, 53), b"question")
}

fn nat() -> Nat {
    let mut nat = Nat::new(7, 2 * FLOWS as usize);
    nat.set_policy(Policy { snat: ["10.94.0.0/25", "fd94::/120"].map(super::world::prefix).to_vec(), ..policy() });
    nat
}

fn pass_all(nat: &mut Nat, packets: &[Vec<u8>], ahead: bool) {
    for batch in packets.chunks(100) {
        if ahead {
            nat.look_ahead(batch.iter().map(|packet| &packet[..]));
        }
        for packet in batch {
            assert_eq!(nat.forward(&mut packet.clone(), false, EDGE, START), Forward::Pass);
        }
    }
}

#[test]
fn looking_ahead_changes_nothing() {
    let packets: Vec<Vec<u8>> = (0..FLOWS).map(request).collect();
    let (mut one, mut other) = (nat(), nat());
    for _ in 0..2 {
        pass_all(&mut one, &packets, true);
        pass_all(&mut other, &packets, false);
    }
    assert_eq!(one.len(), FLOWS as usize);
    assert_eq!(one.flows(usize::MAX, START), other.flows(usize::MAX, START));
    assert_eq!(one.counters(), other.counters());
}

#[test]
fn a_glance_sees_the_flow() {
    for v6 in [false, true] {
        let syn = Segment { flags: Tcp::SYN, ..Segment::default() };
        let (from, to) = (client(v6, 4000), vip(v6, 80));
        for packet in [udp(from, to, b""), tcp(from, to, &syn)] {
            let mut nat = nat();
            pass_all(&mut nat, std::slice::from_ref(&packet), false);
            assert_eq!(nat.table.find_forward(&glance(&packet).unwrap()), Some(0));
        }
    }
}

#[test]
fn what_flows_leave_is_used_again() {
    let mut nat = nat();
    let packets: Vec<Vec<u8>> = (0..FLOWS).map(request).collect();
    for _ in 0..3 {
        pass_all(&mut nat, &packets, false);
        assert_eq!((nat.table.slots(), nat.len()), (FLOWS, FLOWS as usize));
        let later = START.after(31_000_000_000);
        nat.expire(later, FLOWS as usize);
        assert!(nat.is_empty() && nat.flows_by_app().is_empty());
    }
}

#[test]
fn a_search_in_pieces_finds_the_same_as_one_at_once() {
    let mut nat = nat();
    for (n, packet) in (0..FLOWS).map(request).enumerate() {
        let now = START.after(n as u64 * 7919 % 1000);
        assert_eq!(nat.forward(&mut packet.clone(), false, EDGE, now), Forward::Pass);
    }
    let now = START.after(2000);
    for limit in [0, 1, 100, FLOWS as usize, usize::MAX] {
        let mut search = nat.start_search(limit);
        let mut pieces = 1;
        while !nat.search(&mut search, 100, now) {
            pieces += 1;
        }
        assert!(pieces >= FLOWS / 100);
        let found: Vec<_> = search.into_flows().collect();
        assert_eq!(found.len(), limit.min(FLOWS as usize));
        assert!(found.is_sorted_by_key(|flow| flow.idle));
        assert_eq!(found, nat.flows(limit, now));
    }
}

#[test]
fn a_search_bears_that_the_table_changes_under_it() {
    let mut nat = nat();
    let packets: Vec<Vec<u8>> = (0..FLOWS).map(request).collect();
    pass_all(&mut nat, &packets, false);
    let mut search = nat.start_search(usize::MAX);
    assert!(!nat.search(&mut search, FLOWS, START));
    // All that were seen end, some come again under the same numbers.
    nat.expire(START.after(31_000_000_000), FLOWS as usize);
    pass_all(&mut nat, &packets[..10], false);
    while !nat.search(&mut search, 100, START) {}
    assert_eq!(search.into_flows().count(), 0);
}

proptest! {
    #[test]
    fn a_glance_at_any_bytes_does(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        glance(&bytes);
    }
}
