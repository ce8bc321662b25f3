//! Connections that go back to the fast path at their servers' first bytes, which the stack never sees.

use crate::stack;
use crate::tcp;

use braid_core::{Event, Order, Splice};
use braid_packet::{Tcp, Time};
use braid_testbed::*;
use stack::*;
use tcp::*;

fn held(braid: &mut Braid) -> Vec<u64> {
    let heard = braid.heard(GATEWAY).into_iter();
    heard.filter_map(|event| if let Event::Held { connection, .. } = event { Some(connection) } else { None }).collect()
}

#[test]
fn what_a_server_says_first_goes_to_the_client_when_both_sockets_are_gone() {
    let mut braid = proxied("first-byte");
    let (connection, cookie, snat) = with_server(&mut braid, true);
    from_host(&mut braid, server(), snat, Tcp::ACK, (SERVER_ISN + 1, STACK_ISN + 1), &[]);
    assert_eq!(braid.taken(GATEWAY).len(), 1, "no bytes");
    assert!(held(&mut braid).is_empty());
    from_host(&mut braid, server(), snat, Tcp::ACK, (SERVER_ISN + 7, STACK_ISN + 10), b"more");
    assert_eq!(held(&mut braid), [connection]);
    assert!(braid.taken(GATEWAY).is_empty() && braid.taken(EDGE).is_empty());
    let (client, server) = records(cookie, snat);
    let splice = Splice { client, server, to_client: Vec::new(), to_server: Vec::new(), until: None };
    order(&mut braid, connection, Order::Splice(Box::new(splice)));
    let packet = only(braid.taken(EDGE));
    let (_, _, more) = read(&packet);
    assert_eq!((more.sequence, packet.ends_with(b"more")), (cookie.wrapping_add(7), true));
}

#[test]
fn who_is_late_finds_it_in_the_stack_and_is_not_told_again() {
    let mut braid = proxied("first-byte");
    let (connection, _, snat) = with_server(&mut braid, true);
    from_host(&mut braid, server(), snat, Tcp::ACK, (SERVER_ISN + 7, STACK_ISN + 10), b"more");
    assert_eq!(held(&mut braid), [connection]);
    braid.advance(4 * Time::SECOND);
    assert!(only(braid.taken(GATEWAY)).ends_with(b"more"));
    assert_eq!(braid.drops(GATEWAY, "normal_hold_expired"), 1);
    order(&mut braid, connection, Order::Take);
    from_host(&mut braid, server(), snat, Tcp::ACK, (SERVER_ISN + 11, STACK_ISN + 10), b"and more");
    assert!(only(braid.taken(GATEWAY)).ends_with(b"and more"));
    assert!(braid.heard(GATEWAY).is_empty());
}
