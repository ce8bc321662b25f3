//! Whole nodes in memory: copies that leave one after the other.

use braid_core::{Command, Desired};
use braid_packet::Time;
use braid_testbed::{address, payload, udp, Braid, EDGE, GATEWAY, RELAYS, VIP};
use serde_json::{json, Value};

const LARGE: usize = 600;

fn request(i: u32) -> Vec<u8> {
    let mut body = vec![0; LARGE];
    body[..4].copy_from_slice(&i.to_be_bytes());
    udp("10.91.1.10", 4000, VIP, 53, &body)
}

/// The edge sends two copies, the second one 20 ms later.
fn apart() -> Braid {
    let mut braid = Braid::up();
    let neighbours: Vec<Value> =
        RELAYS.iter().map(|n| json!({"node": n, "addresses": [address(*n).to_string()]})).collect();
    let paths: Vec<Value> = (0..2).map(|id| json!({"id": id, "route": [RELAYS[id], GATEWAY]})).collect();
    let desired = json!({"neighbours": neighbours,
        "path_sets": [{"peer": GATEWAY, "set": 2, "paths": paths, "spread_us": 20_000, "measured": true}],
        "edge": {"applications":
            [{"app": 0, "vips": [VIP], "ports": [["any", 0, 65535]], "set": 2, "gateways": [GATEWAY]}]}});
    braid.command(EDGE, Command::Configure(Box::new(Desired::parse(&desired.to_string()).unwrap())));
    braid.advance(Time::SECOND);
    braid
}

#[test]
fn the_second_copy_leaves_20_ms_later_on_the_other_path() {
    let mut braid = apart();
    let mut left = Vec::new();
    braid.client(&request(7));
    for ms in 0..40 {
        braid.advance_with(Time::MILLISECOND, |batch| {
            if batch.from == EDGE && batch.bytes.len() > LARGE {
                left.push((batch.to, ms));
            }
            vec![batch]
        });
    }
    assert_eq!(left.iter().map(|(to, _)| *to).collect::<Vec<_>>(), RELAYS);
    assert!((19..=21).contains(&(left[1].1 - left[0].1)), "{left:?}");
    assert_eq!(braid.taken(GATEWAY).len(), 1);
}

#[test]
fn a_burst_that_hits_all_paths_at_once_loses_no_packet() {
    let mut braid = apart();
    for i in 0..300u32 {
        braid.client(&request(i));
        let burst = i % 60 >= 45;
        braid.advance_with(Time::MILLISECOND, |batch| if burst && batch.from == EDGE { vec![] } else { vec![batch] });
    }
    braid.advance(100 * Time::MILLISECOND);
    let came: Vec<u32> =
        braid.taken(GATEWAY).iter().map(|p| u32::from_be_bytes(payload(p)[..4].try_into().unwrap())).collect();
    assert_eq!(came, (0..300).collect::<Vec<_>>(), "each once and in order");
}

#[test]
fn a_spread_that_receivers_would_take_for_loss_is_refused() {
    let set = json!({"peer": GATEWAY, "set": 2, "paths": [], "spread_us": 40_001});
    let desired = json!({"neighbours": [], "path_sets": [set]}).to_string();
    assert_eq!(Desired::parse(&desired).unwrap_err(), "set 2 to 31: spread_us is at most 40000");
}
