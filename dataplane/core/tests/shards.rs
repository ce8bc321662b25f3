//! Nodes with several shards, in memory: whatever the counts are, each flow keeps its order and has one shard at each node.

use braid_core::{Desired, Event};
use braid_packet::affinity::{flow_hash, local_port};
use braid_packet::{icmp, Ip, Time, Unreachable};
use braid_testbed::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const COUNTS: [u8; 3] = [1, 2, 4];
const SERVER: &str = "10.93.0.10";

fn request(port: u16, i: u32) -> Vec<u8> {
    udp("10.91.1.10", port, VIP, 53, &i.to_be_bytes())
}

fn number(packet: &[u8]) -> u32 {
    u32::from_be_bytes(payload(packet).try_into().unwrap())
}

/// Source and destination as text, and ports.
fn ends(packet: &[u8]) -> (String, u16, String, u16) {
    let ip = Ip::parse(packet).unwrap();
    let (source, destination) = ip.ports().unwrap_or((0, 0));
    (ip.source.to_string(), source, ip.destination.to_string(), destination)
}

/// Packets that left a node, with the shard that wrote each.
fn left(braid: &mut Braid, number: u16) -> Vec<(usize, Vec<u8>)> {
    let by = std::mem::take(&mut braid.hosts.get_mut(&number).unwrap().written_by);
    by.into_iter().zip(braid.taken(number)).collect()
}

fn said(braid: &Braid, number: u16, event: &Event) -> usize {
    braid.hosts[&number].seen.iter().filter(|seen| *seen == event).count()
}

#[test]
fn every_combination_of_counts_carries_every_flow_in_order() {
    for edge in COUNTS {
        for relays in COUNTS {
            for gateway in COUNTS {
                there_and_back(edge, relays, gateway);
            }
        }
    }
}

fn there_and_back(edge: u8, relays: u8, gateway: u8) {
    let mut braid = Braid::up_with(edge, relays, gateway);
    let what = format!("{edge} {relays} {gateway}");
    for (at, peer, adjacent) in [(EDGE, GATEWAY, false), (GATEWAY, EDGE, false), (EDGE, 21, true), (22, GATEWAY, true)]
    {
        assert_eq!(said(&braid, at, &Event::Up { peer, adjacent }), 1, "{what}: {at} {peer}");
        let established =
            |e: &&Event| matches!(e, Event::Established { peer: p, adjacent: a, .. } if (*p, *a) == (peer, adjacent));
        assert_eq!(braid.hosts[&at].seen.iter().filter(established).count(), 1, "{what}: {at} {peer}");
    }
    let mut flows: BTreeMap<(String, u16), (usize, Vec<u32>)> = BTreeMap::new();
    for i in 0..400 {
        // Whichever queue the kernel chooses.
        braid.queue = i as usize * 7 / 3;
        braid.client(&request(4000 + (i % 40) as u16, i));
        braid.settle();
    }
    let mut answers = Vec::new();
    for (shard, packet) in left(&mut braid, GATEWAY) {
        let (snat, port, server, _) = ends(&packet);
        assert_eq!((server.as_str(), usize::from(port) % usize::from(gateway)), (SERVER, shard), "{what}");
        let flow = flows.entry((snat.clone(), port)).or_insert((shard, Vec::new()));
        assert_eq!(flow.0, shard, "{what}: a flow stays in its shard");
        flow.1.push(number(&packet));
        answers.push(udp(SERVER, 53, &snat, port, payload(&packet)));
    }
    assert_eq!(flows.len(), 40, "{what}");
    for (_, numbers) in flows.values() {
        let first = numbers[0];
        assert_eq!(*numbers, (0..10).map(|n| first + 40 * n).collect::<Vec<_>>(), "{what}");
    }
    assert_eq!(flows.values().map(|(shard, _)| *shard).collect::<BTreeSet<_>>().len(), usize::from(gateway), "{what}");
    for (i, answer) in answers.iter().enumerate() {
        braid.queue = i / 5;
        braid.server(answer);
        braid.settle();
    }
    let mut came: BTreeMap<u16, Vec<u32>> = BTreeMap::new();
    for (shard, packet) in left(&mut braid, EDGE) {
        let ip = Ip::parse(&packet).unwrap();
        assert_eq!(
            shard,
            (flow_hash(&ip, &packet) % u32::from(edge)) as usize,
            "{what}: where the kernel shall learn it"
        );
        came.entry(local_port(&ip, &packet)).or_default().push(number(&packet));
    }
    for (port, numbers) in &came {
        let first = u32::from(port - 4000);
        assert_eq!(*numbers, (0..10).map(|n| first + 40 * n).collect::<Vec<_>>(), "{what}");
    }
    assert_eq!(came.len(), 40, "{what}");
    for node in [EDGE, 21, 22, GATEWAY] {
        for reason in ["wrong_shard", "unknown_source", "hop_tag", "no_hop_session"] {
            assert_eq!(braid.drops(node, reason), 0, "{what}: {reason} at {node}");
        }
    }
}

#[test]
fn fragments_find_the_shard_of_their_flow_whatever_queue_and_order_they_come_in() {
    for (edge, gateway) in [(1, 1), (1, 4), (2, 1), (2, 2), (4, 2), (2, 4)] {
        let mut braid = Braid::up_with(edge, 1, gateway);
        for i in 0..60u16 {
            let body: Vec<u8> = (0..3000u32).map(|n| (n % 251) as u8).collect();
            let whole = udp("10.91.1.10", 4000 + i, VIP, 53, &body);
            let mut parts = fragments(&whole, 1000, i);
            parts.rotate_left(usize::from(i % 3));
            for (n, part) in parts.iter().enumerate() {
                braid.queue = n + usize::from(i);
                braid.client(part);
                braid.settle();
            }
            let arrived = left(&mut braid, GATEWAY);
            assert_eq!(arrived.len(), 4, "{edge} {gateway}: datagram {i}");
            assert_eq!(arrived.iter().map(|(shard, _)| shard).collect::<BTreeSet<_>>().len(), 1);
            let (snat, port, _, _) =
                arrived.iter().map(|(_, part)| ends(part)).find(|(_, port, _, _)| *port != 0).unwrap();
            let answer = udp(SERVER, 53, &snat, port, &body);
            let mut parts = fragments(&answer, 1000, 1000 + i);
            parts.rotate_right(usize::from(i % 2));
            for (n, part) in parts.iter().enumerate() {
                braid.queue = n * 3 + usize::from(i);
                braid.server(part);
                braid.settle();
            }
            let back = left(&mut braid, EDGE);
            assert_eq!(back.len(), 4, "{edge} {gateway}: answer {i}");
            assert_eq!(back.iter().map(|(shard, _)| shard).collect::<BTreeSet<_>>().len(), 1, "{edge} {gateway}");
        }
    }
}

#[test]
fn a_fragment_without_its_first_is_kept_for_a_while_and_counted() {
    let mut braid = Braid::up_with(2, 1, 2);
    let parts = fragments(&udp("10.91.1.10", 4000, VIP, 53, &[7; 2000]), 1000, 9);
    braid.client(&parts[1]);
    braid.settle();
    assert!(left(&mut braid, GATEWAY).is_empty());
    braid.advance(6 * Time::SECOND);
    assert_eq!(braid.drops(EDGE, "fragments_expired"), 1);
    for _ in 0..200 {
        braid.client(&parts[1]);
    }
    assert!(braid.drops(EDGE, "fragments_full") > 0, "and no more than some");
}

#[test]
fn an_icmp_error_goes_the_way_of_the_flow_it_is_about() {
    let mut braid = Braid::up_with(2, 2, 4);
    for i in 0..40u16 {
        braid.queue = usize::from(i);
        braid.client(&request(4000 + i, 0));
        braid.settle();
        let asked = left(&mut braid, GATEWAY).remove(0).1;
        let mut error = Vec::new();
        icmp::unreachable(&mut error, &asked, "10.93.0.1".parse().unwrap(), Unreachable::Host).unwrap();
        braid.queue = usize::from(i) + 1;
        braid.server(&error);
        braid.settle();
        let (shard, told) = left(&mut braid, EDGE).remove(0);
        let ip = Ip::parse(&told).unwrap();
        let flow = flow_hash(&Ip::parse(&request(4000 + i, 0)).unwrap(), &[]);
        assert_eq!((flow_hash(&ip, &told), shard), (flow, (flow % 2) as usize));
        assert_eq!(local_port(&ip, &told), 4000 + i, "quoted as the client sent it");
    }
    assert_eq!(braid.drops(GATEWAY, "nat_icmp_unmatched"), 0);
}

#[test]
fn a_rekey_in_mid_traffic_loses_nothing_in_any_lane() {
    for (edge, relays, gateway) in [(2, 2, 2), (1, 2, 4), (4, 1, 2)] {
        let mut braid = Braid::up_with(edge, relays, gateway);
        for i in 0..300 {
            if i % 20 == 10 {
                let (from, peer, adjacent) =
                    [(EDGE, GATEWAY, false), (GATEWAY, EDGE, false), (EDGE, 21, true), (21, GATEWAY, true)]
                        [i as usize / 20 % 4];
                braid.initiate(from, peer, adjacent);
            }
            braid.client(&request(4000 + (i % 16) as u16, i));
            let mut wire: Vec<Sent> = braid.wire.drain(..).collect();
            wire.reverse();
            braid.wire.extend(wire);
            braid.settle();
            braid.advance(Time::MILLISECOND);
        }
        let mut arrived: Vec<u32> = left(&mut braid, GATEWAY).iter().map(|(_, packet)| number(packet)).collect();
        arrived.sort_unstable();
        assert_eq!(arrived, (0..300).collect::<Vec<_>>(), "{edge} {relays} {gateway}");
    }
}

#[test]
fn a_blocked_port_makes_the_neighbour_one_that_is_down() {
    let mut braid = Braid::up_with(2, 2, 2);
    braid.advance(Time::SECOND);
    let block = |sent: Sent| if (sent.from, sent.shards.0) == (21, 1) { vec![] } else { vec![sent] };
    for _ in 0..15 {
        braid.advance_with(100 * Time::MILLISECOND, block);
    }
    assert_eq!(said(&braid, EDGE, &Event::Down { peer: 21, adjacent: true }), 1);
    assert_eq!(said(&braid, EDGE, &Event::Down { peer: 22, adjacent: true }), 0);
    assert_eq!(
        said(&braid, EDGE, &Event::Down { peer: GATEWAY, adjacent: false }),
        0,
        "the other path carries every lane"
    );
    let arrives = |braid: &mut Braid, shard| {
        let paths = braid.snapshot_of(EDGE, shard)["paths"].clone();
        paths.as_array().unwrap().iter().map(|p| p["arrives"].as_bool()).collect::<Vec<_>>()
    };
    assert_eq!(arrives(&mut braid, 0), [Some(true), Some(true)]);
    assert_eq!(arrives(&mut braid, 1), [Some(false), Some(true)], "and the peer says which lane is hurt");
    braid.advance(Time::SECOND);
    assert_eq!(said(&braid, EDGE, &Event::Up { peer: 21, adjacent: true }), 2, "open again");
}

/// The topology says two, the node still runs one: nobody uses it, and nothing goes astray.
#[test]
fn a_node_with_fewer_shards_than_the_others_believe_is_not_used() {
    let mut braid = Braid::cold_with(2, 2, 2);
    braid.shards.insert(GATEWAY, 1);
    braid.boot(GATEWAY);
    braid.connect();
    braid.advance(3 * Time::SECOND);
    assert_eq!(said(&braid, EDGE, &Event::Up { peer: GATEWAY, adjacent: false }), 0);
    for i in 0..20 {
        braid.client(&request(4000 + i, 0));
        braid.settle();
    }
    assert_eq!(braid.drops(EDGE, "no_gateway"), 20);
    assert!(left(&mut braid, GATEWAY).is_empty());
}

/// The node runs two already, the others still believe in one: it refuses nothing that is for it, and they get answers.
#[test]
fn a_node_with_more_shards_than_the_others_believe_answers_from_its_first() {
    let mut braid = Braid::cold_with(1, 1, 1);
    braid.shards.insert(GATEWAY, 2);
    braid.boot(GATEWAY);
    braid.connect();
    braid.advance(Time::SECOND);
    assert!(braid.drops(21, "unknown_source") > 0, "a port that the intermediates do not know");
    for i in 0..20 {
        braid.client(&request(4000 + i, 7));
        braid.settle();
        let (shard, asked) = left(&mut braid, GATEWAY).remove(0);
        let (snat, port, _, _) = ends(&asked);
        braid.queue = usize::from(i);
        braid.server(&udp(SERVER, 53, &snat, port, b"answer"));
        braid.settle();
        assert_eq!((shard, left(&mut braid, EDGE)), (0, vec![(0, udp(VIP, 53, "10.91.1.10", 4000 + i, b"answer"))]));
    }
}

#[test]
fn a_peer_whose_number_of_shards_changes_has_to_be_met_anew() {
    let mut braid = Braid::up_with(2, 1, 1);
    let told = |shards: &str| {
        let neighbours: Vec<String> =
            RELAYS.iter().map(|n| format!(r#"{{"node": {n}, "addresses": ["{}"]}}"#, address(*n))).collect();
        let neighbours = neighbours.join(", ");
        Desired::parse(&format!(r#"{{"neighbours": [{neighbours}], "path_sets": [], "shards": {{{shards}}}}}"#))
            .unwrap()
    };
    braid.configure(EDGE, &told(r#""11": 2, "22": 2"#));
    assert_eq!(said(&braid, EDGE, &Event::Down { peer: 22, adjacent: true }), 1);
    assert_eq!(said(&braid, EDGE, &Event::Down { peer: 21, adjacent: true }), 0);
    let refused = Desired::parse(r#"{"neighbours": [], "path_sets": [], "shards": {"22": 3}}"#).unwrap_err();
    assert_eq!(refused, "shards of 22: 3 is not 1, 2, 4, 8 or 16");
}

#[test]
fn a_datagram_at_the_wrong_shard_is_dropped_and_counted() {
    let mut braid = Braid::up_with(2, 2, 2);
    for i in 0..8 {
        braid.client(&request(4000 + i, 0));
    }
    let sent: Vec<Sent> = braid.wire.drain(..).collect();
    for datagram in &sent {
        let astray = Sent { shards: (datagram.shards.0, 1 - datagram.shards.1), ..datagram.clone() };
        braid.arrive(&astray);
    }
    assert_eq!(braid.drops(21, "wrong_shard") + braid.drops(22, "wrong_shard"), sent.len() as u64);
    assert!(braid.wire.is_empty());
    for lane in [2u8, 16, 255] {
        let mut forged = sent[0].clone();
        forged.bytes[8] = lane;
        forged.shards.1 = usize::from(lane % 2);
        let before = braid.drops(forged.to, "wrong_shard") + braid.drops(forged.to, "hop_tag");
        braid.arrive(&forged);
        assert_eq!(braid.drops(forged.to, "wrong_shard") + braid.drops(forged.to, "hop_tag"), before + 1);
    }
    assert!(braid.wire.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    /// Each path loses, doubles and delays as it likes, but never both the same packet; packets enter by any queue.
    #[test]
    fn what_enters_leaves_once_and_each_flow_in_order(
        counts in proptest::array::uniform3(prop::sample::select(COUNTS.to_vec())),
        fates in proptest::collection::vec((0u8..4, 0u8..4, 0usize..4), 40..100),
    ) {
        let [edge, relays, gateway] = counts;
        let mut braid = Braid::up_with(edge, relays, gateway);
        // The receiver learns in every lane that there are two paths.
        for i in 0..640 {
            braid.client(&request(4000 + (i % 16) as u16, 10_000 + i));
            braid.settle();
        }
        braid.taken(GATEWAY);
        for (i, (victim, fate, queue)) in fates.iter().enumerate() {
            braid.queue = *queue;
            braid.client(&request(4000 + (i % 16) as u16, i as u32));
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
        let mut flows: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for packet in braid.taken(GATEWAY) {
            flows.entry(number(&packet) % 16).or_default().push(number(&packet));
        }
        let all: usize = flows.values().map(Vec::len).sum();
        prop_assert_eq!(all, fates.len());
        for numbers in flows.values() {
            prop_assert!(numbers.is_sorted(), "{:?}", numbers);
        }
    }
}
