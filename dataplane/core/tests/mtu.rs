//! Whole nodes in memory over paths that carry less than they should: what is noticed, when, and what happens to packets.

use braid_core::{Command, Desired};
use braid_packet::{checksum, Engine, Ip, Time, Transport};
use braid_testbed::*;
use serde_json::{json, Value};
use std::net::IpAddr;

const MS: u64 = Time::MILLISECOND;
const OVERHEAD: usize = 48;

/// Both ends send `copies` copies, over so many relays; those that are left stand by.
fn braid(copies: usize) -> Braid {
    let mut braid = Braid::up();
    for (number, peer) in [(EDGE, GATEWAY), (GATEWAY, EDGE)] {
        let neighbours: Vec<Value> =
            RELAYS.iter().map(|n| json!({"node": n, "addresses": [address(*n).to_string()]})).collect();
        let paths = [json!({"id": 0, "route": [21, peer]}), json!({"id": 1, "route": [22, peer]})];
        let set = json!({"peer": peer, "set": copies, "paths": paths[..copies], "spares": paths[copies..]});
        let mut desired = json!({"neighbours": neighbours, "path_sets": [set]});
        let ports = json!([["any", 0, 65535]]);
        if number == EDGE {
            desired["edge"] = json!({"applications":
                [{"app": 0, "vips": [VIP], "ports": ports, "set": copies, "gateways": [GATEWAY]}]});
        } else {
            desired["gateway"] = json!({"applications": [{"app": 0, "vips": [{"address": VIP, "edge": EDGE}],
                "ports": ports, "set": copies,
                "targets": [{"address": "10.93.0.10", "port": null, "weight": 1, "healthy": true}]}],
                "snat": ["10.93.0.128/30"]});
        }
        braid.command(number, Command::Configure(Box::new(Desired::parse(&desired.to_string()).unwrap())));
    }
    braid.advance(Time::SECOND);
    braid
}

/// Between these relays and the gateway, both ways, nothing passes that is larger than an inner packet of `mtu`.
fn narrow(relays: &[u16], mtu: usize) -> impl Fn(Sent) -> Vec<Sent> + '_ {
    move |sent| {
        let there = relays.contains(&sent.from) && sent.to == GATEWAY;
        let back = sent.from == GATEWAY && relays.contains(&sent.to);
        match (there || back) && sent.segment.min(sent.bytes.len()) > mtu + OVERHEAD {
            true => vec![],
            false => vec![sent],
        }
    }
}

fn sized(i: u32, length: usize) -> Vec<u8> {
    let mut body = vec![0; length - 28];
    body[..4].copy_from_slice(&i.to_be_bytes());
    with_df(udp("10.91.1.10", 4000, VIP, 53, &body), true)
}

fn with_df(mut packet: Vec<u8>, df: bool) -> Vec<u8> {
    packet[6] = if df { 0x40 } else { 0 };
    packet[10..12].fill(0);
    let complete = !checksum::sum(&packet[..20], 0);
    packet[10..12].copy_from_slice(&complete.to_be_bytes());
    packet
}

fn number(packet: &[u8]) -> u32 {
    u32::from_be_bytes(payload(packet)[..4].try_into().unwrap())
}

fn paths(braid: &mut Braid, node: u16) -> Vec<(u64, String, bool)> {
    let snapshot = braid.snapshot(node);
    let mut paths: Vec<_> = snapshot["paths"].as_array().unwrap().iter().filter(|p| p["mtu"].is_u64()).collect();
    paths.sort_by_key(|path| path["id"].as_u64());
    let shown = |path: &&Value| {
        let state = path["mtu_state"].as_str().unwrap().to_owned();
        (path["mtu"].as_u64().unwrap(), state, path["active"].as_bool().unwrap())
    };
    paths.iter().map(shown).collect()
}

fn shown(mtu: u64, state: &str, active: bool) -> (u64, String, bool) {
    (mtu, state.to_owned(), active)
}

#[test]
fn a_path_that_carries_all_is_found_to() {
    let mut braid = braid(2);
    assert_eq!(paths(&mut braid, EDGE), [shown(1420, "complete", true), shown(1420, "complete", true)]);
    assert_eq!(braid.snapshot(EDGE)["sets"], json!([{"peer": GATEWAY, "set": 2, "mtu": 1420, "active": [0, 1]}]));
}

#[test]
fn one_of_two_shrinks_and_nothing_is_lost_that_its_sender_is_not_told_about() {
    let mut braid = braid(2);
    let (mut sent, mut arrived, mut told) = (0, Vec::new(), Vec::new());
    let began = braid.now;
    while braid.now.since(began) < 3 * Time::SECOND {
        let length = if sent % 4 == 0 { MTU } else { 200 };
        braid.client(&sized(sent, length));
        sent += 1;
        braid.advance_with(5 * MS, narrow(&RELAYS[..1], 1340));
        arrived.extend(braid.taken(GATEWAY).iter().map(|packet| number(packet)));
        for error in braid.taken(EDGE) {
            assert_eq!((error[9], error[20], error[21]), (1, 3, 4), "fragmentation needed");
            told.push(u16::from_be_bytes([error[26], error[27]]));
        }
    }
    assert_eq!(arrived.len() + told.len(), sent as usize);
    assert!(arrived.windows(2).all(|two| two[0] < two[1]));
    let (first, last) = (told[0], told[told.len() - 1]);
    assert_eq!((first, (1337..=1340).contains(&last)), (1280, true), "{first} {last}");
    let lowered = braid.snapshot(EDGE)["sets"][0]["mtu"].as_u64().unwrap();
    assert_eq!(u64::from(last), lowered);
    assert_eq!(paths(&mut braid, GATEWAY)[1], shown(1420, "complete", true));
    // It grows again, and is found again.
    braid.advance(11 * Time::SECOND);
    assert_eq!(paths(&mut braid, EDGE)[0], shown(1420, "complete", true));
    braid.client(&sized(0, MTU));
    braid.settle();
    assert_eq!(braid.taken(GATEWAY).len(), 1);
}

#[test]
fn a_spare_that_carries_all_takes_the_place_of_one_that_does_not() {
    let mut braid = braid(1);
    let mut lost_until = braid.now;
    let began = braid.now;
    for i in 0..800 {
        braid.client(&sized(i, MTU));
        braid.advance_with(5 * MS, narrow(&RELAYS[..1], 1340));
        if braid.taken(GATEWAY).is_empty() {
            lost_until = braid.now;
        }
    }
    let gap = lost_until.since(began) / MS;
    assert!((1..1000).contains(&gap), "{gap} ms");
    assert_eq!(braid.drops(EDGE, "too_big"), 0, "nobody was told anything");
    assert_eq!(paths(&mut braid, EDGE)[1], shown(1420, "complete", true));
    assert!(!paths(&mut braid, EDGE)[0].2);
    assert_eq!(braid.snapshot(EDGE)["sets"][0]["mtu"], 1420);
}

#[test]
fn a_path_that_carries_small_packets_only_lowers_nothing() {
    let mut braid = braid(2);
    let mut arrived = 0;
    for i in 0..400 {
        braid.client(&sized(i, if i % 2 == 0 { MTU } else { 100 }));
        braid.advance_with(5 * MS, narrow(&RELAYS[..1], 1200));
        arrived += braid.taken(GATEWAY).len();
    }
    assert_eq!(arrived, 400);
    assert_eq!(paths(&mut braid, EDGE), [shown(1280, "error", true), shown(1420, "complete", true)]);
    assert_eq!(braid.snapshot(EDGE)["sets"][0]["mtu"], 1420);
}

#[test]
fn what_may_be_cut_is_cut() {
    let mut braid = braid(2);
    for i in 0..300 {
        braid.client(&sized(i, MTU));
        braid.advance_with(5 * MS, narrow(&RELAYS, 1300));
    }
    braid.taken(GATEWAY);
    braid.taken(EDGE);
    let packet = with_df(sized(7, MTU), false);
    braid.client(&packet);
    braid.settle_with(narrow(&RELAYS, 1300));
    let pieces = braid.taken(GATEWAY);
    assert_eq!(pieces.len(), 2);
    let body: Vec<u8> = pieces.iter().flat_map(|piece| piece[20..].to_vec()).collect();
    assert_eq!(body[8..], packet[28..]);
    assert_eq!(pieces.iter().map(|piece| piece[6] & 0x20 != 0).collect::<Vec<_>>(), [true, false]);
    assert!(braid.taken(EDGE).is_empty());
}

/// A connection from the client, as the server sees it.
fn connect(braid: &mut Braid) -> (IpAddr, Vec<u8>) {
    braid.client(&tcp("10.91.1.10", VIP, 0x02, 999, &[]));
    braid.settle_with(narrow(&RELAYS, 1300));
    let syn = braid.taken(GATEWAY).pop().unwrap();
    (Ip::parse(&syn).unwrap().source, syn)
}

/// A segment of the server's on the connection that `syn` began.
fn answer(syn: &[u8], body: &[u8]) -> Vec<u8> {
    let ip = Ip::parse(syn).unwrap();
    let mut packet = tcp(&ip.destination.to_string(), &ip.source.to_string(), 0x10, 1, body);
    let ports = [syn[22], syn[23], syn[20], syn[21]];
    let sum = u16::from_be_bytes([packet[36], packet[37]]);
    let sum = checksum::update(sum, &packet[20..24], &ports);
    packet[20..24].copy_from_slice(&ports);
    packet[36..38].copy_from_slice(&sum.to_be_bytes());
    packet
}

#[test]
fn a_server_is_told_by_what_it_sent_and_a_syn_asks_for_less() {
    let mut braid = braid(2);
    let (snat, syn) = connect(&mut braid);
    let segment = answer(&syn, &[7; MTU - 40]);
    for _ in 0..300 {
        braid.server(&segment);
        braid.advance_with(5 * MS, narrow(&RELAYS, 1300));
    }
    let mtu = braid.snapshot(GATEWAY)["sets"][0]["mtu"].as_u64().unwrap();
    assert!((1297..=1300).contains(&mtu), "{mtu}");
    let errors = braid.taken(GATEWAY);
    assert!(!errors.is_empty());
    let error = errors.last().unwrap();
    let ip = Ip::parse(error).unwrap();
    assert_eq!((ip.source, ip.destination.to_string()), (snat, "10.93.0.10".to_owned()));
    assert!(matches!(ip.transport, Transport::Icmp(icmp) if (icmp.kind, icmp.code) == (3, 4)));
    assert_eq!(u64::from(u16::from_be_bytes([error[26], error[27]])), mtu);
    assert_eq!(checksum::sum(&error[20..], 0), 0xffff);
    assert_eq!(error[28..], segment[..548], "as the server sent it");
    braid.server(&answer(&syn, &vec![7; mtu as usize - 40]));
    braid.taken(EDGE);
    braid.settle_with(narrow(&RELAYS, 1300));
    assert_eq!(braid.taken(EDGE).len(), 1);
}

#[test]
fn a_syn_asks_for_what_the_way_back_carries_and_a_super_packet_for_more_is_answered() {
    let mut braid = braid(2);
    for i in 0..500 {
        braid.client(&sized(i, MTU));
        // Towards the gateway only: what the gateway sends is not concerned.
        braid.advance_with(5 * MS, |sent| {
            let large = sent.segment.min(sent.bytes.len()) > 1300 + OVERHEAD;
            if large && RELAYS.contains(&sent.from) && sent.to == GATEWAY {
                vec![]
            } else {
                vec![sent]
            }
        });
    }
    let mtu = braid.snapshot(EDGE)["sets"][0]["mtu"].as_u64().unwrap() as usize;
    assert!((1297..=1300).contains(&mtu), "{mtu}");
    assert_eq!(braid.snapshot(GATEWAY)["sets"][0]["mtu"], 1420);
    braid.taken(GATEWAY);
    let mut syn = tcp("10.91.1.10", VIP, 0x02, 999, &[2, 4, 5, 180]);
    syn[32] = 0x60;
    let sum = checksum::update(u16::from_be_bytes([syn[36], syn[37]]), &[0x50, 2], &[0x60, 2]);
    syn[36..38].copy_from_slice(&sum.to_be_bytes());
    braid.client(&syn);
    braid.settle();
    let arrived = braid.taken(GATEWAY).pop().unwrap();
    let offered = |packet: &[u8]| usize::from(u16::from_be_bytes([packet[42], packet[43]]));
    assert_eq!(offered(&arrived), 1380, "the server may answer in full size");
    let mut answer = answer(&arrived, &[]);
    answer.extend_from_slice(&[2, 4, 5, 180]);
    answer[2..4].copy_from_slice(&44u16.to_be_bytes());
    (answer[32], answer[33]) = (0x60, 0x12);
    answer[36..38].fill(0);
    let pseudo = checksum::pseudo_header(&answer[12..16], &answer[16..20], 6, 24);
    let complete = !checksum::sum(&answer[20..], pseudo);
    answer[36..38].copy_from_slice(&complete.to_be_bytes());
    braid.server(&with_df(answer, true));
    braid.taken(EDGE);
    braid.settle();
    let back = braid.taken(EDGE).pop().unwrap();
    assert_eq!(offered(&back), mtu - 40, "the client may not");
    let pseudo = checksum::pseudo_header(&back[12..16], &back[16..20], 6, back.len() - 20);
    assert_eq!(checksum::sum(&back[20..], pseudo), 0xffff);
    for (gso_size, passes) in [(mtu - 40, true), (1380, false)] {
        let (vnet, packet) = tcp_super("10.91.1.10", VIP, 1000, &vec![7; 20_000], gso_size as u16);
        braid.client_super(vnet, &packet);
        braid.settle();
        let told = braid.taken(EDGE);
        assert_eq!((braid.taken(GATEWAY).is_empty(), told.len()), (!passes, usize::from(!passes)));
        assert!(passes || u16::from_be_bytes([told[0][26], told[0][27]]) == mtu as u16);
    }
}

#[test]
fn what_the_host_refuses_to_send_lowers_its_paths_at_once() {
    let mut braid = braid(2);
    let now = braid.now;
    braid.node(EDGE).receive_refusal(address(99), MTU + OVERHEAD, now);
    assert_eq!(braid.snapshot(EDGE)["sets"][0]["mtu"], 1420, "nobody's address");
    braid.node(EDGE).receive_refusal(address(RELAYS[0]), MTU + OVERHEAD, now);
    assert_eq!(paths(&mut braid, EDGE), [shown(1280, "searching", true), shown(1420, "complete", true)]);
    assert_eq!(braid.snapshot(EDGE)["sets"][0]["mtu"], 1280);
    // It was for a moment only.
    braid.advance(6 * Time::SECOND);
    assert_eq!(paths(&mut braid, EDGE)[0], shown(1420, "complete", true));
}

#[test]
fn nothing_recorded_makes_a_node_answer_or_learn_again() {
    let mut braid = braid(2);
    let recorded = std::mem::take(&mut braid.recorded);
    let of_size = recorded.iter().filter(|sent| sent.bytes[0] & 15 == 8).count();
    assert!(of_size >= 8, "probes and answers of two paths both ways: {of_size}");
    let before = paths(&mut braid, EDGE);
    for sent in recorded.iter().filter(|sent| sent.bytes[0] & 15 == 8) {
        braid.arrive(sent);
    }
    assert_eq!(braid.recorded.len(), 0);
    assert_eq!(paths(&mut braid, EDGE), before);
}

#[test]
fn the_loss_of_probes_is_no_loss_of_packets() {
    let mut braid = braid(2);
    for i in 0..400 {
        braid.client(&sized(i, 1300));
        braid.advance_with(5 * MS, narrow(&RELAYS, 1300));
    }
    braid.advance_with(40 * Time::SECOND, narrow(&RELAYS, 1300));
    for node in [EDGE, GATEWAY] {
        let snapshot = braid.snapshot(node);
        for session in snapshot["sessions"].as_array().unwrap() {
            assert_eq!((&session["recovery"]["lost"], &session["given_up"]), (&json!(0), &json!(0)), "{session}");
        }
        let measured = snapshot["paths"].as_array().unwrap().iter().chain(snapshot["neighbours"].as_array().unwrap());
        for of in measured.filter(|of| of["lost"].is_u64()) {
            assert_eq!(of["lost"], 0, "{of}");
        }
        assert!(paths(&mut braid, node).iter().all(|path| path.1 == "complete" && path.0 < 1420));
    }
}
