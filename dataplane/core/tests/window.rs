//! Whole nodes in memory: the recovery window follows traffic and skew, and no first copy is refused for being late.

use braid_packet::Time;
use braid_testbed::{payload, udp, Braid, Sent, EDGE, GATEWAY, RELAYS, VIP};
use serde_json::Value;
use std::collections::VecDeque;

const MS: u64 = Time::MILLISECOND;
const SKEW: u64 = 100 * MS;

/// Two paths, the second one slower.
struct Skewed {
    braid: Braid,
    under_way: VecDeque<(Time, Sent)>,
    sent: u32,
    arrived: Vec<bool>,
}

impl Skewed {
    fn new() -> Skewed {
        Skewed { braid: Braid::up(), under_way: VecDeque::new(), sent: 0, arrived: Vec::new() }
    }

    /// A millisecond in which so many packets come from the client; `lost`: the quicker path loses them.
    fn pass(&mut self, packets: u32, lost: bool) {
        for batch in 0..packets.div_ceil(50) {
            let batch = batch * 50..packets.min((batch + 1) * 50);
            let requests = batch.map(|i| udp("10.91.1.10", 4000, VIP, 53, &(self.sent + i).to_be_bytes()));
            self.braid.clients(requests.collect());
        }
        self.sent += packets;
        self.arrived.resize(self.sent as usize, false);
        let (due, under_way) = (self.braid.now.after(SKEW), &mut self.under_way);
        self.braid.advance_with(MS, |sent| match (sent.from, sent.to) {
            (from, GATEWAY) if from == RELAYS[1] => {
                under_way.push_back((due, sent));
                vec![]
            }
            (EDGE, to) if to == RELAYS[0] && lost => vec![],
            _ => vec![sent],
        });
        while self.under_way.front().is_some_and(|(due, _)| *due <= self.braid.now) {
            let (_, sent) = self.under_way.pop_front().unwrap();
            self.braid.arrive(&sent);
        }
        self.braid.recorded.clear();
        for packet in self.braid.taken(GATEWAY) {
            let number = u32::from_be_bytes(payload(&packet).try_into().unwrap());
            assert!(!std::mem::replace(&mut self.arrived[number as usize], true), "{number} came twice");
        }
    }

    fn session(&mut self) -> Value {
        let sessions = self.braid.snapshot(GATEWAY)["sessions"].clone();
        sessions.as_array().unwrap().iter().find(|s| s["adjacent"] == false).unwrap().clone()
    }
}

#[test]
fn at_100_ms_skew_and_250_000_packets_a_second_nothing_is_refused_also_with_new_keys() {
    let mut skewed = Skewed::new();
    for _ in 0..500 {
        skewed.pass(0, false);
    }
    assert_eq!(skewed.session()["window"]["bytes"], 512);
    for ms in 0..600 {
        if ms == 350 {
            skewed.braid.initiate(EDGE, GATEWAY, false);
        }
        skewed.pass(250, ms % 10 == 0);
    }
    let window = skewed.session()["window"].clone();
    assert!((8192..=16_384).contains(&window["bytes"].as_u64().unwrap()), "{window}");
    let margin = window["margin"].as_f64().unwrap();
    assert!((0.5..0.9).contains(&margin) && window["capped"] == false, "{window}");
    for _ in 0..600 {
        skewed.pass(0, false);
    }
    let recovery = skewed.session()["recovery"].clone();
    assert_eq!((recovery["rogue"].as_u64(), recovery["lost"].as_u64()), (Some(0), Some(0)), "{recovery}");
    assert!(skewed.arrived.iter().all(|arrived| *arrived));
    assert!(skewed.sent == 150_000 && recovery["resets"] == 1);
}
