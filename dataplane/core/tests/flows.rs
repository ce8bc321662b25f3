//! Questions for flows while packets come.

use braid_testbed::*;

const FLOWS: usize = 40_000;

fn request(i: usize) -> Vec<u8> {
    udp(&format!("10.91.1.{}", 1 + i % 100), 1024 + (i / 100) as u16, VIP, 53, b"question")
}

#[test]
fn a_question_takes_turns_and_packets_pass_between_them() {
    let mut braid = Braid::up_for(2 * FLOWS);
    for first in (0..FLOWS).step_by(50) {
        braid.clients((first..first + 50).map(request).collect());
        braid.settle();
        assert_eq!(braid.taken(GATEWAY).len(), 50);
        braid.recorded.clear();
    }
    braid.advance(1_000_000);
    let early = braid.ask_flows(GATEWAY, 3);
    let all = braid.ask_flows(GATEWAY, FLOWS);
    let mut turns = 0;
    let found = loop {
        assert!(all.try_recv().is_err(), "the first question is answered first");
        if let Ok(found) = early.try_recv() {
            break found;
        }
        turns += 1;
        braid.client(&request(turns));
        braid.settle();
        assert_eq!(braid.taken(GATEWAY).len(), 1);
        braid.advance(1_000_000);
    };
    assert!(turns >= 3, "{turns}");
    assert_eq!(found.len(), 3);
    for _ in 0..200 {
        braid.advance(1_000_000);
    }
    assert_eq!(all.try_recv().unwrap().len(), FLOWS);
    assert!(braid.ask_flows(EDGE, 3).try_recv().unwrap().is_empty(), "has no flows, says so at once");
}
