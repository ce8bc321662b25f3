use super::bytes::{address, echo, ends, fragment, reassemble, udp, verify};
use super::world::{client, nat, pass, server, udp_flow, vip, EDGE, OTHER_EDGE, START};
use crate::{Direction, Forward, Nat, Reason, Released, Reverse};
use braid_packet::{Ip, Time};
use proptest::prelude::*;
use std::net::SocketAddr;

/// Sends fragments in this order; all that came out, in the order in which it did.
fn send(nat: &mut Nat, fragments: &[Vec<u8>], order: &[usize], forward: bool) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for &n in order {
        let mut packet = fragments[n].clone();
        let passed = if forward {
            match nat.forward(&mut packet, false, EDGE, START) {
                Forward::Pass => true,
                Forward::Held => false,
                other => panic!("{other:?}"),
            }
        } else {
            match nat.reverse(&mut packet, false, START) {
                Reverse::Pass { edge: EDGE, set: 2, app: 0, fast: None } => true,
                Reverse::Held => false,
                other => panic!("{other:?}"),
            }
        };
        if passed {
            out.push(packet);
        }
        for Released { packet, direction } in nat.take_released() {
            let expected = if forward { Direction::Forward } else { Direction::Reverse { edge: EDGE, set: 2, app: 0 } };
            assert_eq!(direction, expected);
            out.push(packet);
        }
    }
    out
}

proptest! {
    #[test]
    fn any_order_both_ways(
        v6: bool,
        payload in proptest::collection::vec(any::<u8>(), 2000..3900),
        order in Just([0, 1, 2, 3]).prop_shuffle(),
        size in (125_usize..140).prop_map(|n| n * 8),
    ) {
        let mut nat = nat();
        let question = fragment(&udp(client(v6, 4000), vip(v6, 9), &payload), size, 77);
        let order: Vec<usize> = order.into_iter().filter(|&n| n < question.len()).collect();
        let whole = reassemble(&send(&mut nat, &question, &order, true));
        verify(&whole);
        let (snat, target) = ends(&whole);
        prop_assert_eq!(target, server(v6, 9));
        let answer = fragment(&udp(target, snat, &payload), size, 78);
        let whole = reassemble(&send(&mut nat, &answer, &order, false));
        verify(&whole);
        prop_assert_eq!(&whole[whole.len() - payload.len()..], &payload[..]);
        prop_assert_eq!(ends(&whole), (vip(v6, 9), client(v6, 4000)));
        prop_assert_eq!(nat.flows(1, START)[0].packets_in as usize, question.len());
    }
}

#[test]
fn a_fragmented_echo() {
    for v6 in [false, true] {
        let mut nat = nat();
        let ping = fragment(&echo(client(v6, 0).ip(), vip(v6, 0).ip(), false, 3, &[7; 3000]), 1200, 5);
        let whole = reassemble(&send(&mut nat, &ping, &[2, 0, 1], true));
        verify(&whole);
        assert_eq!(ends(&whole).1.ip(), server(v6, 0).ip());
    }
}

#[test]
fn two_clients_with_one_identification_stay_apart() {
    let mut policy = super::world::policy();
    policy.snat = vec![super::world::prefix("10.93.0.128/32")];
    let mut nat = super::world::nat_with(policy);
    let from = [client(false, 4000), SocketAddr::new(address("192.0.2.8"), 4000)];
    let ids = from.map(|from| {
        let pieces = fragment(&udp(from, vip(false, 9), &[1; 2000]), 1200, 77);
        let out = send(&mut nat, &pieces, &[1, 0], true);
        Ip::parse(&out[0]).unwrap().fragment.id
    });
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn shards_with_one_address_give_no_identification_twice() {
    let mut ids = Vec::new();
    for shard in 0..2 {
        let mut nat = Nat::of_shard(7, 1000, (shard, 2));
        nat.set_policy(super::world::policy());
        for n in 0..100 {
            let pieces = fragment(&udp(client(false, 4000 + u16::from(shard)), vip(false, 9), &[1; 2000]), 1200, n);
            let out = send(&mut nat, &pieces, &[0, 1], true);
            ids.push(Ip::parse(&out[1]).unwrap().fragment.id);
        }
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 200);
}

#[test]
fn a_repeated_first_fragment_keeps_its_identification() {
    let mut nat = nat();
    let pieces = fragment(&udp(client(false, 4000), vip(false, 9), &[1; 2000]), 1200, 77);
    let out = send(&mut nat, &pieces, &[0, 0, 1], true);
    assert_eq!(out[0], out[1]);
    verify(&reassemble(&out[1..]));
}

#[test]
fn what_waits_is_bounded_and_given_up() {
    let mut nat = nat();
    let mut verdicts = Vec::new();
    for n in 0..200_u16 {
        let from = SocketAddr::new(address(&format!("192.0.2.{}", n % 20 + 1)), 4000);
        let mut later = fragment(&udp(from, vip(false, 9), &[1; 200]), 104, n).remove(1);
        verdicts.push(nat.forward(&mut later, false, EDGE, START));
    }
    assert_eq!(verdicts.iter().filter(|v| **v == Forward::Held).count(), 64);
    assert_eq!(nat.counters().refused(Reason::FragmentsFull), 136);
    assert_eq!(nat.next_timeout(), Some(START.after(5 * Time::SECOND)));
    nat.expire(START.after(5 * Time::SECOND), 1000);
    assert_eq!(nat.counters().refused(Reason::FragmentsExpired), 64);
    assert_eq!(nat.next_timeout(), None);
}

#[test]
fn one_sender_cannot_take_all_places() {
    let mut nat = nat();
    let mut hold = |from: SocketAddr, id| {
        let mut later = fragment(&udp(from, vip(false, 9), &[1; 200]), 104, id).remove(1);
        nat.forward(&mut later, false, EDGE, START) == Forward::Held
    };
    assert_eq!((0..100).filter(|&id| hold(client(false, 4000), id)).count(), 16);
    assert!(hold(SocketAddr::new(address("192.0.2.8"), 4000), 0));
}

#[test]
fn bytes_and_fragments_of_one_datagram_are_bounded() {
    let mut nat = nat();
    let pieces = fragment(&udp(client(false, 4000), vip(false, 9), &[1; 2000]), 96, 1);
    let held = |nat: &mut Nat, piece: &[u8]| nat.forward(&mut piece.to_vec(), false, EDGE, START) == Forward::Held;
    assert_eq!(pieces[1..].iter().filter(|piece| held(&mut nat, piece)).count(), 16);
    let mut bytes = 0;
    for id in 2..60 {
        let from = SocketAddr::new(address(&format!("192.0.2.{id}")), 4000);
        let later = fragment(&udp(from, vip(false, 9), &[1; 10_000]), 4000, id).remove(1);
        bytes += if held(&mut nat, &later) { later.len() } else { 0 };
    }
    assert!((50_000..65_536).contains(&bytes), "{bytes}");
}

#[test]
fn refused_first_fragments_take_the_others_along() {
    let mut nat = nat();
    let to = SocketAddr::new(address("10.91.1.131"), 9);
    let mut pieces = fragment(&udp(client(false, 4000), to, &[1; 2000]), 1200, 1);
    assert_eq!(nat.forward(&mut pieces[1], false, EDGE, START), Forward::Held);
    assert_eq!(nat.forward(&mut pieces[0], false, EDGE, START), Forward::Reply);
    assert_eq!(nat.counters().refused(Reason::FragmentsRefused), 1);
    assert_eq!(nat.take_released().count(), 0);
}

#[test]
fn later_fragments_are_checked_like_first_ones() {
    let mut nat = nat();
    let pieces = fragment(&udp(client(false, 4000), vip(false, 9), &[1; 2000]), 1200, 1);
    let verdict = |nat: &mut Nat, piece: &Vec<u8>, edge| nat.forward(&mut piece.clone(), false, edge, START);
    assert_eq!(verdict(&mut nat, &pieces[1], OTHER_EDGE), Forward::Drop(Reason::WrongEdge));
    let spoofed = fragment(&udp(server(false, 9), vip(false, 9), &[1; 2000]), 1200, 1);
    assert_eq!(verdict(&mut nat, &spoofed[1], EDGE), Forward::Drop(Reason::BadSource));
    let mut foreign = fragment(&udp(server(false, 9), client(false, 4000), &[1; 2000]), 1200, 1).remove(1);
    assert_eq!(nat.reverse(&mut foreign, false, START), Reverse::Drop(Reason::NoFlow));
}

#[test]
fn fragments_do_not_find_an_old_datagram() {
    let mut nat = nat();
    let pieces = fragment(&udp(client(false, 4000), vip(false, 9), &[1; 2000]), 1200, 1);
    pass(&mut nat, &pieces[0], START);
    let late = START.after(5 * Time::SECOND);
    assert_eq!(nat.forward(&mut pieces[1].clone(), false, EDGE, late), Forward::Held);
    // Nor one whose flow has ended meanwhile.
    let mut nat = super::world::nat();
    pass(&mut nat, &pieces[0], START);
    nat.set_policy(crate::Policy::default());
    nat.set_policy(super::world::policy());
    udp_flow(&mut nat, client(false, 4000), vip(false, 9), START);
    assert_eq!(nat.forward(&mut pieces[1].clone(), false, EDGE, START), Forward::Pass);
}
