//! Whole nodes in memory: what comes several at a time, and when that is allowed.

use braid_core::Desired;
use braid_packet::{Engine, Time};
use braid_testbed::{address, udp, Braid, Sent, EDGE, GATEWAY, RELAYS, VIP};
use serde_json::{json, Value};

#[test]
fn a_round_trip_ends_when_the_answer_comes_not_when_it_is_read() {
    let mut braid = Braid::up();
    let mut flying: Vec<(Time, Sent)> = Vec::new();
    for _ in 0..6000 {
        let mut sent = Vec::new();
        braid.advance_with(Time::MILLISECOND, |batch| {
            sent.push(batch);
            vec![]
        });
        let due = braid.now.after(4 * Time::MILLISECOND);
        flying.extend(sent.into_iter().map(|batch| (due, batch)));
        let (read, waiting): (Vec<_>, Vec<_>) = flying.into_iter().partition(|(due, batch)| {
            let held = if batch.to == EDGE { 3 * Time::MILLISECOND } else { 0 };
            due.after(held) <= braid.now
        });
        read.iter().for_each(|(due, batch)| braid.arrive_at(batch, *due));
        flying = waiting;
    }
    let snapshot = braid.snapshot(EDGE);
    for neighbour in snapshot["neighbours"].as_array().unwrap() {
        let rtt = neighbour["rtt_us"].as_u64().unwrap();
        assert!((7900..=8100).contains(&rtt), "{neighbour}");
    }
}

#[test]
fn an_end_with_many_neighbours_and_no_packets_for_two_seconds_is_at_rest() {
    let mut braid = Braid::up();
    for number in [EDGE, RELAYS[0]] {
        let neighbours: Vec<Value> =
            (21..31).map(|n| json!({"node": n, "addresses": [address(n).to_string()]})).collect();
        let desired = json!({"neighbours": neighbours, "path_sets": []});
        braid.configure(number, &Desired::parse(&desired.to_string()).unwrap());
    }
    let rests = |braid: &mut Braid, number| {
        let now = braid.now;
        braid.node(number).is_at_rest(now)
    };
    braid.advance(3 * Time::SECOND);
    assert!(rests(&mut braid, EDGE));
    assert!(!rests(&mut braid, RELAYS[0]), "what a relay holds back is delay of a path");
    assert!(!rests(&mut braid, GATEWAY), "it has two neighbours");
    braid.client(&udp("10.91.1.10", 4000, VIP, 53, b"query"));
    assert!(!rests(&mut braid, EDGE));
    braid.advance(1900 * Time::MILLISECOND);
    assert!(!rests(&mut braid, EDGE));
    braid.advance(200 * Time::MILLISECOND);
    assert!(rests(&mut braid, EDGE));
}
