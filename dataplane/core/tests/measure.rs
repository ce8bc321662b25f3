//! Whole nodes in memory: what they measure of their paths, and how they go round one that breaks.

use braid_core::wire::TTL;
use braid_core::{Command, Desired, Event, Losses, Stream};
use braid_packet::Time;
use braid_testbed::{address, payload, udp, Braid, Sent, EDGE, GATEWAY, RELAYS, VIP};
use serde_json::{json, Value};

fn request(i: u32) -> Vec<u8> {
    udp("10.91.1.10", 4000, VIP, 53, &i.to_be_bytes())
}

/// Both ends send one copy through the first relay; the second stands by.
fn one_copy_and_a_spare() -> Braid {
    let mut braid = Braid::up();
    for (number, peer) in [(EDGE, GATEWAY), (GATEWAY, EDGE)] {
        let neighbours: Vec<Value> =
            RELAYS.iter().map(|n| json!({"node": n, "addresses": [address(*n).to_string()]})).collect();
        let set = json!({"peer": peer, "set": 1,
            "paths": [{"id": 0, "route": [21, peer]}], "spares": [{"id": 1, "route": [22, peer]}]});
        let mut desired = json!({"neighbours": neighbours, "path_sets": [set]});
        let ports = json!([["any", 0, 65535]]);
        if number == EDGE {
            desired["edge"] = json!({"applications":
                [{"app": 0, "vips": [VIP], "ports": ports, "set": 1, "gateways": [GATEWAY]}]});
        } else {
            desired["gateway"] = json!({"applications": [{"app": 0, "vips": [{"address": VIP, "edge": EDGE}],
                "ports": ports, "set": 1,
                "targets": [{"address": "10.93.0.10", "port": null, "weight": 1, "healthy": true}]}],
                "snat": ["10.93.0.128/30"]});
        }
        let desired = Desired::parse(&desired.to_string()).unwrap();
        braid.command(number, Command::Configure(Box::new(desired)));
    }
    braid
}

fn path(snapshot: &Value, id: u64) -> &Value {
    snapshot["paths"].as_array().unwrap().iter().find(|p| p["id"] == id && p["probes"].is_u64()).unwrap()
}

fn through(sent: &Sent, relay: u16) -> bool {
    sent.from == relay || sent.to == relay
}

#[test]
fn loss_of_each_path_and_of_both_is_measured_at_the_sender() {
    let mut braid = Braid::up();
    let mut sent = 0u32;
    let mut counts = [0u32; 2];
    for _ in 0..400 {
        for _ in 0..5 {
            braid.client(&request(sent));
            sent += 1;
        }
        // Of all that the edge hands to the relays, the first loses every fourth, the second every tenth datagram.
        braid.advance_with(25 * Time::MILLISECOND, |batch| {
            let Some(relay) = RELAYS.iter().position(|relay| batch.from == EDGE && batch.to == *relay) else {
                return vec![batch];
            };
            let mut kept = Vec::new();
            for datagram in batch.bytes.chunks(batch.segment) {
                counts[relay] += 1;
                if counts[relay] % [4, 10][relay] != 0 {
                    kept.push(Sent { bytes: datagram.to_vec(), segment: datagram.len(), ..batch.clone() });
                }
            }
            kept
        });
    }
    braid.advance(3 * Time::SECOND);
    let snapshot = braid.snapshot(EDGE);
    for (id, expected) in [(0, 0.25), (1, 0.1)] {
        let measured = path(&snapshot, id);
        let (copies, lost) = (measured["reported"].as_f64().unwrap(), measured["lost"].as_f64().unwrap());
        // For 3 s of the measured time nothing was lost.
        assert!(copies > 2000.0 && (lost / copies - expected).abs() < 0.02, "{id}: {measured}");
        assert!(measured["probes"].as_u64().unwrap() > 100);
    }
    let pair = &snapshot["pairs"][0];
    assert_eq!(
        (pair["peer"].as_u64(), pair["a"].as_u64(), pair["b"].as_u64()),
        (Some(GATEWAY.into()), Some(0), Some(1))
    );
    assert!(pair["probes"].as_u64().unwrap() > 100, "{pair}");
    assert_eq!(path(&braid.snapshot(GATEWAY), 0)["lost"], 0);
    assert_eq!(snapshot["neighbours"][0]["lost"].as_u64().map(|lost| lost > 100), Some(true));
}

#[test]
fn one_copy_goes_another_way_within_a_quarter_second_of_a_dead_relay() {
    let mut braid = one_copy_and_a_spare();
    braid.advance(2 * Time::SECOND);
    let mut last_lost = None;
    let cut = braid.now;
    for i in 0..1000u32 {
        braid.client(&request(i));
        braid.advance_with(Time::MILLISECOND, |batch| if through(&batch, RELAYS[0]) { vec![] } else { vec![batch] });
        if braid.taken(GATEWAY).iter().all(|packet| payload(packet) != i.to_be_bytes()) {
            last_lost = Some(braid.now);
        }
    }
    let gap = last_lost.unwrap().since(cut);
    assert!(gap <= 250 * Time::MILLISECOND, "{} ms", gap / Time::MILLISECOND);
    let snapshot = braid.snapshot(EDGE);
    assert_eq!((&path(&snapshot, 0)["health"], &path(&snapshot, 0)["active"]), (&json!("silent"), &json!(false)));
    assert_eq!((&path(&snapshot, 1)["health"], &path(&snapshot, 1)["active"]), (&json!("passing"), &json!(true)));
}

#[test]
fn a_path_that_is_cut_in_one_direction_is_left_in_that_direction_only() {
    let mut braid = one_copy_and_a_spare();
    braid.advance(2 * Time::SECOND);
    braid.advance_with(2 * Time::SECOND, |batch| {
        let cut = (batch.from, batch.to) == (RELAYS[0], GATEWAY);
        if cut {
            vec![]
        } else {
            vec![batch]
        }
    });
    let active = |snapshot: &Value| [0, 1].map(|id| path(snapshot, id)["active"].as_bool().unwrap());
    assert_eq!(active(&braid.snapshot(EDGE)), [false, true]);
    assert_eq!(active(&braid.snapshot(GATEWAY)), [true, false]);
}

/// As `Braid::up`, with sets whose packets' fate is to be told.
fn measured() -> Braid {
    let mut braid = Braid::up();
    for (number, peer) in [(EDGE, GATEWAY), (GATEWAY, EDGE)] {
        let neighbours: Vec<Value> =
            RELAYS.iter().map(|n| json!({"node": n, "addresses": [address(*n).to_string()]})).collect();
        let set = json!({"peer": peer, "set": 16, "measured": true,
            "paths": [{"id": 0, "route": [21, peer]}, {"id": 1, "route": [22, peer]}]});
        let mut desired = json!({"neighbours": neighbours, "path_sets": [set]});
        let ports = json!([["any", 0, 65535]]);
        if number == EDGE {
            desired["edge"] = json!({"applications":
                [{"app": 0, "vips": [VIP], "ports": ports, "set": 16, "gateways": [GATEWAY]}]});
        } else {
            desired["gateway"] = json!({"applications": [{"app": 0, "vips": [{"address": VIP, "edge": EDGE}],
                "ports": ports, "set": 16,
                "targets": [{"address": "10.93.0.10", "port": null, "weight": 1, "healthy": true}]}],
                "snat": ["10.93.0.128/30"]});
        }
        let desired = Desired::parse(&desired.to_string()).unwrap();
        braid.command(number, Command::Configure(Box::new(desired)));
    }
    braid.advance(Time::SECOND);
    braid
}

fn told(braid: &mut Braid, number: u16) -> Vec<Losses> {
    let events = std::mem::take(&mut braid.hosts.get_mut(&number).unwrap().seen);
    let losses = events.into_iter().filter_map(|event| match event {
        Event::Losses(losses) => Some(*losses),
        _ => None,
    });
    losses.collect()
}

#[test]
fn what_became_of_each_packet_is_told_exactly_and_soon() {
    let mut braid = measured();
    told(&mut braid, EDGE);
    let (mut sent, mut lost, mut both) = (0u64, [0u64; 2], 0u64);
    let mut first_loss = None;
    let mut heard = Vec::new();
    let mut delay = None;
    for round in 0..3000u32 {
        braid.client(&request(round));
        sent += 1;
        let gone = [round % 10 == 3, round % 30 == 3].map(|gone| gone && round >= 1000);
        (0..2).for_each(|relay| lost[relay] += u64::from(gone[relay]));
        both += u64::from(gone[0] && gone[1]);
        if gone[0] {
            first_loss.get_or_insert(braid.now);
        }
        // Of the batches at this very moment only those that carry the request are lost, probes are not.
        braid.settle_with(|batch| {
            let relay = RELAYS.iter().position(|relay| batch.from == EDGE && batch.to == *relay);
            if relay.is_some_and(|relay| gone[relay]) {
                return vec![];
            }
            vec![batch]
        });
        braid.advance(2 * Time::MILLISECOND);
        heard.extend(told(&mut braid, EDGE));
        if delay.is_none() && heard.iter().any(|losses| !losses.lost.is_empty()) {
            delay = Some(braid.now.since(first_loss.unwrap()));
        }
    }
    braid.advance(2 * Time::SECOND);
    heard.extend(told(&mut braid, EDGE));
    let of_data = |count: fn(&Stream) -> u64| -> u64 {
        heard.iter().flat_map(|losses| &losses.streams).filter(|s| s.set == Some(16)).map(count).sum()
    };
    assert_eq!(of_data(|stream| stream.packets), sent);
    assert_eq!(of_data(|stream| stream.repaired), lost[0] - both, "the second path's losses are all joint ones");
    assert_eq!(of_data(|stream| stream.all_lost), both);
    let on = |path| {
        heard.iter().flat_map(|l| &l.lost).filter(|(id, _)| *id == path).map(|(_, n)| u64::from(*n)).sum::<u64>()
    };
    assert_eq!([on(0), on(1)], lost);
    assert_eq!(heard.iter().flat_map(|l| &l.both).map(|(_, _, n)| u64::from(*n)).sum::<u64>(), both);
    let counted: Vec<_> = heard.iter().flat_map(|losses| &losses.sent).collect();
    assert_eq!(
        counted.iter().map(|s| (s.packets, s.copies)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1)),
        (sent, 2 * sent)
    );
    assert!(delay.unwrap() <= 250 * Time::MILLISECOND, "{} ms", delay.unwrap() / Time::MILLISECOND);
    assert!(heard.last().unwrap().delays.len() == 2);
}

#[test]
fn a_rekey_hides_no_loss_for_long_and_makes_none_up() {
    let mut braid = measured();
    told(&mut braid, EDGE);
    let (mut sent, mut heard) = (0u64, Vec::new());
    for round in 0..2000u32 {
        if round == 1000 {
            braid.initiate(EDGE, GATEWAY, false);
        }
        braid.client(&request(round));
        sent += 1;
        braid.advance(2 * Time::MILLISECOND);
        heard.extend(told(&mut braid, EDGE));
    }
    braid.advance(2 * Time::SECOND);
    heard.extend(told(&mut braid, EDGE));
    let packets: u64 = heard.iter().flat_map(|l| &l.streams).filter(|s| s.set == Some(16)).map(|s| s.packets).sum();
    assert!(packets <= sent && packets > sent - 120, "{packets} of {sent}");
    assert!(heard.iter().all(|losses| losses.lost.is_empty()));
}

#[test]
fn nothing_is_told_of_sets_that_are_not_measured() {
    let mut braid = Braid::up();
    for round in 0..1000 {
        braid.client(&request(round));
        braid.advance(2 * Time::MILLISECOND);
    }
    assert!(told(&mut braid, EDGE).is_empty());
}

#[test]
fn losses_in_a_row_are_told_from_single_ones() {
    let mut braid = Braid::up();
    braid.advance(3 * Time::SECOND);
    for _ in 0..6 {
        // Four or five probes on the first path.
        braid.advance_with(450 * Time::MILLISECOND, |sent| if sent.to == RELAYS[0] { vec![] } else { vec![sent] });
        braid.advance(Time::SECOND);
    }
    braid.advance(3 * Time::SECOND);
    let snapshot = braid.snapshot(EDGE);
    let counts = |id| ["loss_bursts", "probes_lost"].map(|name| path(&snapshot, id)[name].as_u64().unwrap());
    let [bursts, lost] = counts(0);
    assert!(bursts == 6 && (24..=36).contains(&lost), "{bursts} {lost}");
    assert_eq!(counts(1), [0, 0]);
}

#[test]
fn copies_that_are_overtaken_on_their_path_are_counted() {
    let mut braid = Braid::up();
    let reordered = |braid: &mut Braid| {
        let received = braid.snapshot(GATEWAY)["received"].clone();
        let count =
            |id: u64| received.as_array().unwrap().iter().find(|r| r["id"] == id).unwrap()["reordered"].as_u64();
        [0, 1].map(|id| count(id).unwrap())
    };
    for i in 0..20 {
        braid.client(&request(i));
        braid.settle();
    }
    assert_eq!(reordered(&mut braid), [0, 0]);
    let mut held = None;
    for i in 20..30 {
        braid.client(&request(i));
        braid.settle_with(|sent| match i {
            25 if sent.from == RELAYS[1] && sent.to == GATEWAY => {
                held = Some(sent);
                vec![]
            }
            _ => vec![sent],
        });
    }
    braid.arrive(&held.unwrap());
    assert_eq!(reordered(&mut braid), [0, 1]);
    braid.initiate(EDGE, GATEWAY, false);
    braid.settle();
    for i in 30..40 {
        braid.client(&request(i));
        braid.settle();
    }
    assert_eq!(reordered(&mut braid), [0, 1], "new keys count from 1");
}

/// The relays answer the edge's probes; the edge probes by its own clock.
fn relays_answer_the_edge() -> Braid {
    let mut braid = Braid::up();
    for relay in RELAYS {
        let spec = |n: u16| json!({"node": n, "addresses": [address(n).to_string()], "answers": n == EDGE});
        let desired = json!({"neighbours": [spec(EDGE), spec(GATEWAY)], "path_sets": []});
        let desired = Desired::parse(&desired.to_string()).unwrap();
        braid.command(relay, Command::Configure(Box::new(desired)));
    }
    braid.advance(Time::SECOND);
    braid
}

/// How many datagrams went from each relay to the edge in so many milliseconds, and at how many different moments.
fn answers(braid: &mut Braid, milliseconds: u64, deaf: bool) -> (usize, usize) {
    let (mut count, mut moments) = (0, std::collections::BTreeSet::new());
    for _ in 0..milliseconds {
        let now = braid.now;
        braid.advance_with(Time::MILLISECOND, |batch| {
            // What the relay only forwards has one hop less to live.
            if batch.to == EDGE && batch.bytes[3] == TTL {
                count += 1;
                moments.insert(now.0);
            }
            if deaf && batch.from == EDGE {
                vec![]
            } else {
                vec![batch]
            }
        });
    }
    (count / RELAYS.len(), moments.len())
}

#[test]
fn probes_of_many_neighbours_come_together_where_they_answer() {
    let mut braid = relays_answer_the_edge();
    let (count, moments) = answers(&mut braid, 10_000, false);
    assert!((95..=130).contains(&count), "{count} from each relay in 10 s");
    assert!(moments <= 115, "{moments}");
}

#[test]
fn a_neighbour_that_hears_no_probes_goes_on_probing() {
    let mut braid = relays_answer_the_edge();
    braid.advance(Time::SECOND);
    let (count, _) = answers(&mut braid, 5_000, true);
    assert!(count >= 40, "{count} from each relay in 5 s");
    let up = |braid: &mut Braid, number| braid.snapshot(number)["neighbours"].as_array().unwrap()[0]["up"].clone();
    assert_eq!(up(&mut braid, EDGE), json!(true));
    assert_eq!(up(&mut braid, RELAYS[0]), json!(false));
}

#[test]
fn what_probes_cost_is_counted_and_bounded() {
    let mut braid = Braid::up();
    braid.advance(5 * Time::SECOND);
    let spent =
        |braid: &mut Braid| ["datagrams", "bytes"].map(|unit| braid.snapshot(EDGE)["probing"][unit].as_u64().unwrap());
    let before = spent(&mut braid);
    braid.advance(10 * Time::SECOND);
    let after = spent(&mut braid);
    // Two links and two paths, ten a second each.
    let (datagrams, bytes) = (after[0] - before[0], after[1] - before[1]);
    assert!((380..=460).contains(&datagrams), "{datagrams}");
    assert!(bytes < datagrams * 150, "{bytes}");
}
