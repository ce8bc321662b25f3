use super::bytes::{echo, raw, tcp, udp, Segment};
use super::world::{client, nat, pass, pass_back, tcp_flow, udp_flow, vip, CLIENT_ISN, EDGE, SERVER_ISN, START};
use crate::{Forward, Nat, Reason, Reverse};
use braid_packet::{Tcp, Time};

/// The only flow ends after exactly this many idle seconds, by the clock and by being asked for.
fn lasts(nat: &mut Nat, seconds: u64) {
    let limit = START.after(seconds * Time::SECOND);
    let flows = nat.len();
    assert_eq!(nat.flows(9, Time(limit.0 - 1)).len(), flows);
    assert_eq!(nat.flows(9, limit).len(), 0);
    nat.expire(Time(limit.0 - 1), 100);
    assert_eq!(nat.len(), flows, "ended before {seconds} s");
    nat.expire(limit, 100);
    assert_eq!(nat.len(), 0, "still there after {seconds} s");
    assert_eq!(nat.counters().expired, flows as u64);
    assert_eq!(nat.flows_by_app(), []);
}

#[test]
fn as_the_rfcs_say() {
    for v6 in [false, true] {
        let (from, to) = (client(v6, 4000), vip(v6, 80));
        let one = |go: &dyn Fn(&mut Nat), seconds| {
            let mut nat = nat();
            go(&mut nat);
            lasts(&mut nat, seconds);
        };
        one(&|nat| _ = pass(nat, &udp(from, to, b""), START), 30);
        one(&|nat| _ = udp_flow(nat, from, to, START), 300);
        one(&|nat| _ = pass(nat, &echo(from.ip(), to.ip(), false, 9, b""), START), 60);
        one(&|nat| _ = pass(nat, &raw(from.ip(), to.ip(), 47, vec![0; 4]), START), 600);
        let syn = Segment { flags: Tcp::SYN, ..Segment::default() };
        one(&|nat| _ = pass(nat, &tcp(from, to, &syn), START), 240);
        one(&|nat| _ = tcp_flow(nat, from, to, START), 7440);
    }
}

#[test]
fn closed_by_both_is_transitory() {
    let (from, to) = (client(false, 4000), vip(false, 80));
    let mut nat = nat();
    let (snat, target) = tcp_flow(&mut nat, from, to, START);
    let flags = Tcp::FIN | Tcp::ACK;
    let sequence = CLIENT_ISN.wrapping_add(1);
    let fin = Segment { flags, sequence, acknowledgement: SERVER_ISN + 1, window: 1000, ..Segment::default() };
    pass(&mut nat, &tcp(from, to, &fin), START);
    assert_eq!(nat.flows(1, START)[0].state, "established"); // half closed may be silent for long
    let sequence = SERVER_ISN + 1;
    let fin = Segment { sequence, acknowledgement: CLIENT_ISN.wrapping_add(2), ..fin };
    pass_back(&mut nat, &tcp(target, snat, &fin), START);
    assert_eq!(nat.flows(1, START)[0].state, "closed");
    lasts(&mut nat, 240);
}

#[test]
fn traffic_keeps_a_flow() {
    let mut nat = nat();
    let mut now = START;
    let snat = udp_flow(&mut nat, client(false, 4000), vip(false, 80), now);
    for _ in 0..20 {
        now = now.after(299 * Time::SECOND);
        nat.expire(now, 100);
        pass_back(&mut nat, &udp(super::world::server(false, 80), snat, b""), now);
    }
    assert_eq!(nat.len(), 1);
}

#[test]
fn an_idle_flow_is_not_used_even_before_it_is_swept() {
    let mut nat = nat();
    let snat = udp_flow(&mut nat, client(false, 4000), vip(false, 80), START);
    let late = START.after(300 * Time::SECOND);
    let mut answer = udp(super::world::server(false, 80), snat, b"");
    assert_eq!(nat.reverse(&mut answer, false, late), Reverse::Drop(Reason::NoFlow));
    let (from, to) = (client(false, 4000), vip(false, 80));
    tcp_flow(&mut nat, from, to, START);
    let late = START.after(7440 * Time::SECOND);
    let mut data = tcp(from, to, &Segment { flags: Tcp::ACK, ..Segment::default() });
    assert_eq!(nat.forward(&mut data, false, EDGE, late), Forward::Reply);
}

#[test]
fn the_sweep_is_bounded_and_comes_round() {
    let mut nat = nat();
    for port in 1..=500 {
        pass(&mut nat, &udp(client(false, port), vip(false, 80), b""), START);
    }
    let first = nat.next_timeout().unwrap();
    assert!(first > START && first <= START.after(Time::SECOND));
    let mut now = START.after(30 * Time::SECOND);
    nat.expire(now, 10);
    assert_eq!(nat.len(), 490);
    while let Some(next) = nat.next_timeout() {
        assert!(next > now);
        now = next;
        nat.expire(now, 10);
    }
    assert_eq!(nat.len(), 0);
    assert!(now.since(START) < 36 * Time::SECOND);
}

#[test]
fn the_latest_flows_come_first() {
    let mut nat = nat();
    for port in 1..=20 {
        pass(&mut nat, &udp(client(false, port), vip(false, 80), b""), START.after(u64::from(port)));
    }
    pass(&mut nat, &udp(client(false, 5), vip(false, 80), b""), START.after(30));
    let ports: Vec<u16> = nat.flows(4, START.after(40)).iter().map(|f| f.client.port()).collect();
    assert_eq!(ports, [5, 20, 19, 18]);
    assert_eq!(nat.flows(1, START.after(40))[0].idle, 10);
    assert_eq!((nat.flows(0, START).len(), nat.flows(99, START).len()), (0, 20));
}
