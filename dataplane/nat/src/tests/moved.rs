//! Flows that two gateways tell each other.

use super::world::{client, nat_with, policy, prefix, server, tcp_flow, vip, START};
use crate::{InTheWay, Nat, Policy, Taken, ToldFlow};
use braid_packet::{Rest, Time};
use std::net::SocketAddr;

/// With one SNAT address, so that a client's port is its port at the server.
fn gateway() -> Nat {
    nat_with(Policy { snat: vec![prefix("10.93.0.128/32")], ..policy() })
}

fn told(nat: &Nat, now: Time) -> Vec<u8> {
    let pools = [prefix("10.93.0.128/32")];
    let placed = (0..nat.places()).find_map(|place| nat.placed(place, &pools, now)).unwrap();
    let mut piece = Vec::new();
    assert!(nat.write_flow(placed.flow, now, &mut piece));
    piece
}

fn take(nat: &mut Nat, piece: &[u8], now: Time) -> Result<Taken, &'static str> {
    let told = ToldFlow::read(&mut Rest(piece), now).unwrap();
    let InTheWay { before, other } = nat.in_the_way(&told, false)?;
    for flow in [before, other].into_iter().flatten() {
        nat.end_flow(flow);
    }
    nat.take_flow(&told, false)
}

/// A drain left a flow at the sibling; its port has been given to another client since.
#[test]
fn who_was_given_a_port_last_has_it() {
    let other = SocketAddr::new("192.0.2.8".parse().unwrap(), 4000);
    let (mut earlier, mut later, mut sibling) = (gateway(), gateway(), gateway());
    let now = START.after(60 * Time::SECOND);
    let first = tcp_flow(&mut earlier, client(false, 4000), vip(false, 80), START);
    let second = tcp_flow(&mut later, other, vip(false, 80), now);
    assert_eq!(first, second, "the same port of the same address");
    assert!(take(&mut sibling, &told(&earlier, START), START).is_ok_and(|taken| taken.new));
    assert!(take(&mut sibling, &told(&later, now), now).is_ok_and(|taken| taken.new));
    let flows = sibling.flows(10, now);
    assert_eq!(flows.iter().map(|flow| (flow.client, flow.target)).collect::<Vec<_>>(), [(other, server(false, 80))]);
    assert_eq!(take(&mut sibling, &told(&earlier, now), now), Err("taken"), "it was not used since");
}
