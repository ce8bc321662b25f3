//! Whole nodes, in memory: what enters with a live path leaves exactly once, in order; what did not enter never leaves.

use braid_core::Event;
use braid_packet::Time;
use braid_testbed::*;
use proptest::prelude::*;

fn request(i: u32) -> Vec<u8> {
    udp("10.91.1.10", 4000, VIP, 53, &i.to_be_bytes())
}

fn numbers(packets: &[Vec<u8>]) -> Vec<u32> {
    packets.iter().map(|p| u32::from_be_bytes(payload(p).try_into().unwrap())).collect()
}

#[test]
fn a_request_and_its_answer_travel_in_two_copies_and_arrive_once() {
    let mut braid = Braid::up();
    braid.client(&request(7));
    assert_eq!(braid.wire.len(), 2);
    assert_eq!(braid.wire[0].bytes[32..], braid.wire[1].bytes[32..], "one ciphertext on both paths");
    braid.settle();
    let arrived = braid.taken(GATEWAY);
    assert_eq!(numbers(&arrived), [7]);
    assert_eq!(arrived[0][16..20], [10, 93, 0, 10], "DNAT");
    assert_eq!(arrived[0][12..15], [10, 93, 0], "SNAT");
    let (snat, port) = (arrived[0][12..16].to_vec(), u16::from_be_bytes([arrived[0][20], arrived[0][21]]));
    let snat = std::net::Ipv4Addr::new(snat[0], snat[1], snat[2], snat[3]).to_string();
    braid.server(&udp("10.93.0.10", 53, &snat, port, b"answer"));
    braid.settle();
    assert_eq!(braid.taken(EDGE), [udp(VIP, 53, "10.91.1.10", 4000, b"answer")]);
    let received = braid.snapshot(GATEWAY)["received"].clone();
    assert_eq!(received.as_array().unwrap().len(), 2, "{received}");
}

#[test]
fn a_super_packet_is_cut_sealed_and_joined_again() {
    let mut braid = Braid::up();
    let body: Vec<u8> = (0..30_000u32).map(|i| (i % 251) as u8).collect();
    let (vnet, packet) = tcp_super("10.91.1.10", VIP, 1000, &body, 1360);
    braid.client(&tcp("10.91.1.10", VIP, 0x02, 999, &[]));
    braid.settle();
    braid.taken(GATEWAY);
    braid.client_super(vnet, &packet);
    assert_eq!(braid.wire.len(), 2, "one batch per path");
    assert!(braid.wire.iter().all(|sent| sent.bytes.len().div_ceil(sent.segment) == 23));
    braid.settle();
    let out = braid.taken_with_offload(GATEWAY);
    assert_eq!(out.len(), 1);
    assert_eq!((out[0].0.gso, out[0].0.gso_size, out[0].0.needs_csum), (braid_packet::Gso::TcpV4, 1360, true));
    assert_eq!(out[0].1[40..], body);
}

#[test]
fn no_super_packet_is_made_for_a_host_that_takes_none_any_more() {
    let mut braid = Braid::up();
    let body = vec![7; 30_000];
    braid.client(&tcp("10.91.1.10", VIP, 0x02, 999, &[]));
    braid.settle();
    for (takes, packets) in [(true, 1), (false, 23), (true, 1)] {
        braid.taken(GATEWAY);
        braid.hosts.get_mut(&GATEWAY).unwrap().takes.tcp = takes;
        let (vnet, packet) = tcp_super("10.91.1.10", VIP, 1000, &body, 1360);
        braid.client_super(vnet, &packet);
        braid.settle();
        assert_eq!(braid.taken_with_offload(GATEWAY).len(), packets);
    }
}

#[test]
fn an_intermediate_may_die_and_nothing_is_lost_or_doubled() {
    let mut braid = Braid::up();
    for i in 0..100 {
        braid.client(&request(i));
        braid.settle_with(|sent| if i > 50 && sent.to == 21 { vec![] } else { vec![sent] });
        braid.advance(Time::MILLISECOND);
    }
    assert_eq!(numbers(&braid.taken(GATEWAY)), (0..100).collect::<Vec<_>>());
}

#[test]
fn a_silent_neighbour_is_reported_within_a_second() {
    let mut braid = Braid::up();
    braid.advance(Time::SECOND);
    braid.hosts.remove(&21);
    braid.advance(Time::SECOND);
    assert!(braid.hosts[&EDGE].seen.contains(&Event::Down { peer: 21, adjacent: true }));
    assert!(!braid.hosts[&EDGE].seen.contains(&Event::Down { peer: 22, adjacent: true }));
    assert!(!braid.hosts[&EDGE].seen.contains(&Event::Down { peer: GATEWAY, adjacent: false }));
}

#[test]
fn a_dead_peer_is_down_700_ms_after_its_last_probe_whenever_it_dies() {
    for phase in 0..10 {
        let mut braid = Braid::up();
        braid.advance(Time::SECOND + phase * 13 * Time::MILLISECOND);
        braid.hosts.remove(&GATEWAY);
        let died = braid.now;
        let down = Event::Down { peer: GATEWAY, adjacent: false };
        while !braid.hosts[&EDGE].seen.contains(&down) {
            braid.advance(Time::MILLISECOND);
        }
        let took = braid.now.since(died) / Time::MILLISECOND;
        assert!((590..=701).contains(&took), "{took} ms");
    }
}

#[test]
fn a_fifth_of_all_datagrams_lost_on_every_link_is_no_silence() {
    let mut braid = Braid::up();
    braid.advance(Time::SECOND);
    let mut random = 7u64;
    braid.advance_with(600 * Time::SECOND, |batch| {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        if (random >> 32) % 5 == 0 {
            vec![]
        } else {
            vec![batch]
        }
    });
    let down = |seen: &Vec<Event>| seen.iter().filter(|e| matches!(e, Event::Down { adjacent: false, .. })).count();
    assert_eq!([EDGE, GATEWAY].map(|node| down(&braid.hosts[&node].seen)), [0, 0]);
}

#[test]
fn a_rekey_in_mid_traffic_loses_nothing() {
    let mut braid = Braid::up();
    for i in 0..300 {
        if i % 20 == 10 {
            let (from, peer, adjacent) =
                [(EDGE, GATEWAY, false), (GATEWAY, EDGE, false), (EDGE, 21, true), (21, GATEWAY, true)]
                    [i as usize / 20 % 4];
            braid.initiate(from, peer, adjacent);
        }
        braid.client(&request(i));
        // What was sent first arrives last: packets meet handshakes in every order.
        let mut wire: Vec<Sent> = braid.wire.drain(..).collect();
        wire.reverse();
        braid.wire.extend(wire);
        braid.settle();
        braid.advance(Time::MILLISECOND);
    }
    let mut arrived = numbers(&braid.taken(GATEWAY));
    arrived.sort_unstable();
    assert_eq!(arrived, (0..300).collect::<Vec<_>>());
}

/// Each end then holds the other's keys for the newer ones.
#[test]
fn handshakes_that_cross_lose_nothing_when_replaced_keys_end() {
    for (one, other, adjacent) in [(EDGE, GATEWAY, false), (EDGE, 21, true), (21, GATEWAY, true)] {
        for shards in [1, 2] {
            let mut braid = Braid::up_with(shards, 1, shards);
            braid.advance(Time::SECOND);
            braid.initiate(one, other, adjacent);
            braid.initiate(other, one, adjacent);
            braid.settle();
            let _ = [one, other].map(|node| braid.heard(node));
            for i in 0..400 {
                braid.client(&request(i));
                braid.advance(100 * Time::MILLISECOND);
            }
            assert_eq!(numbers(&braid.taken(GATEWAY)), (0..400).collect::<Vec<_>>());
            for (node, peer) in [(one, other), (other, one)] {
                assert!(!braid.heard(node).contains(&Event::Down { peer, adjacent }), "{node} of {shards} shards");
                assert_eq!(["hop_tag", "no_such_session"].map(|reason| braid.drops(node, reason)), [0, 0]);
            }
        }
    }
}

#[test]
fn a_restarted_node_is_accepted_again_at_once() {
    for restarted in [EDGE, GATEWAY, 21] {
        let mut braid = Braid::up();
        braid.client(&request(1));
        braid.settle();
        braid.boot(restarted);
        let (neighbours, far): (&[u16], _) = match restarted {
            EDGE => (&RELAYS, Some(GATEWAY)),
            GATEWAY => (&RELAYS, Some(EDGE)),
            _ => (&[EDGE, GATEWAY], None),
        };
        for &neighbour in neighbours {
            braid.initiate(restarted, neighbour, true);
        }
        braid.settle();
        if let Some(far) = far {
            braid.initiate(restarted, far, false);
            braid.settle();
        }
        braid.taken(GATEWAY);
        braid.client(&request(2));
        braid.settle();
        assert_eq!(numbers(&braid.taken(GATEWAY)), [2], "after a restart of {restarted}");
        if restarted == 21 {
            assert_eq!(braid.drops(EDGE, "no_hop_session"), 0);
            assert_eq!(braid.drops(21, "hop_tag"), 0);
        }
    }
}

#[test]
fn nothing_recorded_is_delivered_or_forwarded_again() {
    let mut braid = Braid::up();
    for i in 0..20 {
        braid.client(&request(i));
        braid.settle();
    }
    braid.advance(Time::SECOND);
    braid.taken(GATEWAY);
    let recorded = std::mem::take(&mut braid.recorded);
    assert!(recorded.len() > 50);
    let established =
        |b: &Braid| b.hosts.values().flat_map(|h| &h.seen).filter(|e| matches!(e, Event::Established { .. })).count();
    let before = established(&braid);
    for sent in &recorded {
        braid.arrive(sent);
    }
    assert_eq!(braid.taken(GATEWAY), Vec::<Vec<u8>>::new());
    assert_eq!(braid.taken(EDGE), Vec::<Vec<u8>>::new());
    assert_eq!(braid.recorded.len(), 0, "a replay makes no node send");
    assert_eq!(established(&braid), before);
    assert!(braid.drops(21, "replay") > 0);
}

#[test]
fn a_stranger_gets_no_answer_and_an_ill_formed_datagram_none_either() {
    let mut braid = Braid::up();
    braid.client(&request(1));
    let sent = braid.wire[0].clone();
    braid.settle();
    braid.recorded.clear();
    for (from, length, reason) in
        [(99, sent.bytes.len(), "unknown_source"), (EDGE, 47, "short"), (22, sent.bytes.len(), "unknown_source")]
    {
        let stranger = Sent { from, bytes: sent.bytes[..length].to_vec(), ..sent.clone() };
        braid.arrive(&stranger);
        assert!(braid.drops(21, reason) > 0, "{reason}");
    }
    assert_eq!(braid.recorded.len(), 0);
}

#[test]
fn a_packet_for_an_unknown_vip_is_refused_with_icmp_and_not_carried() {
    let mut braid = Braid::up();
    braid.client(&udp("10.91.1.10", 4000, "10.91.1.140", 53, b"x"));
    assert_eq!(braid.wire.len(), 0);
    let back = braid.taken(EDGE);
    assert_eq!((back.len(), back[0][9], back[0][20]), (1, 1, 3), "destination unreachable");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Each path loses, doubles and delays as it likes, but never both the same packet.
    #[test]
    fn what_enters_leaves_once_and_in_order(fates in proptest::collection::vec((0u8..4, 0u8..4), 40..120)) {
        let mut braid = Braid::up();
        // The receiver learns that there are two paths.
        for i in 0..64 {
            braid.client(&request(10_000 + i));
            braid.settle();
        }
        braid.taken(GATEWAY);
        for (i, (victim, fate)) in fates.iter().enumerate() {
            braid.client(&request(i as u32));
            let lossy = RELAYS[usize::from(victim % 2)];
            braid.settle_with(|sent| match fate {
                0 if sent.to == lossy => vec![],
                1 if sent.to == lossy => vec![sent.clone(), sent],
                2 if sent.from == lossy => vec![sent.clone(), sent],
                _ => vec![sent],
            });
            if *victim == 3 {
                braid.advance(Time::MILLISECOND);
            }
        }
        braid.advance(200 * Time::MILLISECOND);
        prop_assert_eq!(numbers(&braid.taken(GATEWAY)), (0..fates.len() as u32).collect::<Vec<_>>());
    }

    /// Any bit anywhere, at any node: nothing comes out that did not go in, and the real packet still passes.
    #[test]
    fn flipped_bits_are_noticed_somewhere(bit in any::<prop::sample::Index>(), hop in 0usize..4, cut in any::<prop::sample::Index>()) {
        let mut braid = Braid::up();
        braid.client(&request(1));
        let mut seen = 0;
        braid.settle_with(|sent| {
            let mut copies = vec![];
            if seen == hop {
                let mut bent = sent.clone();
                let at = bit.index(bent.bytes.len() * 8);
                bent.bytes[at / 8] ^= 1 << (at % 8);
                copies.push(bent);
                let mut short = sent.clone();
                short.bytes.truncate(cut.index(short.bytes.len() - 1) + 1);
                short.segment = short.bytes.len();
                copies.push(short);
            }
            seen += 1;
            copies.push(sent);
            copies
        });
        let arrived = braid.taken(GATEWAY);
        prop_assert_eq!(numbers(&arrived), [1]);
    }

    #[test]
    fn any_bytes_at_any_node_do_nothing(bytes in proptest::collection::vec(any::<u8>(), 1..300), to in 0usize..4, from in 0usize..5, segment in 1usize..400) {
        let mut braid = Braid::up();
        braid.recorded.clear();
        let to = [EDGE, 21, 22, GATEWAY][to];
        let from = [EDGE, 21, 22, GATEWAY, 99][from];
        braid.arrive(&Sent { from, to, shards: (0, 0), bytes: bytes.clone(), segment });
        let mut framed = bytes;
        framed[0] = 0x14;
        braid.arrive(&Sent { from, to, shards: (0, 0), bytes: framed, segment });
        prop_assert_eq!(braid.recorded.len(), 0);
        prop_assert!(braid.taken(to).is_empty());
    }
}

#[test]
fn each_end_learns_which_of_its_paths_arrive() {
    let mut braid = Braid::up();
    braid.advance(Time::SECOND);
    let arrives = |braid: &mut Braid| {
        let paths = braid.snapshot(EDGE)["paths"].clone();
        paths.as_array().unwrap().iter().map(|p| p["arrives"].as_bool()).collect::<Vec<_>>()
    };
    assert_eq!(arrives(&mut braid), [Some(true), Some(true)]);
    // The second hop of one path is cut, one way: its first hop knows nothing of it.
    for _ in 0..20 {
        braid.advance_with(100 * Time::MILLISECOND, |sent| {
            if (sent.from, sent.to) == (22, GATEWAY) {
                vec![]
            } else {
                vec![sent]
            }
        });
    }
    assert_eq!(arrives(&mut braid), [Some(true), Some(false)]);
}

#[test]
fn counters_survive_a_rekey() {
    let mut braid = Braid::up();
    for i in 0..50 {
        braid.client(&request(i));
        braid.settle();
    }
    let passed = |braid: &mut Braid| {
        let sessions = braid.snapshot(GATEWAY)["sessions"].clone();
        let of_edge =
            sessions.as_array().unwrap().iter().find(|s| s["peer"] == EDGE && s["adjacent"] == false).cloned();
        of_edge.unwrap()["recovery"]["passed"].as_u64().unwrap()
    };
    let before = passed(&mut braid);
    assert!(before >= 50);
    braid.initiate(EDGE, GATEWAY, false);
    braid.settle();
    // Longer than replaced keys linger.
    braid.advance(40 * Time::SECOND);
    assert!(passed(&mut braid) > before);
}

#[test]
fn the_hop_keys_of_a_replaced_session_end_with_it() {
    let mut braid = Braid::up();
    braid.client(&request(1));
    let old = braid.wire[0].clone();
    assert_eq!(old.to, 21);
    braid.settle();
    braid.initiate(EDGE, 21, true);
    braid.settle();
    braid.arrive(&old);
    assert_eq!((braid.drops(21, "replay"), braid.drops(21, "hop_tag")), (1, 0));
    braid.advance(40 * Time::SECOND);
    braid.arrive(&old);
    assert_eq!((braid.drops(21, "replay"), braid.drops(21, "hop_tag")), (1, 1));
}
