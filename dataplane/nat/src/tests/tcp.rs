//! Connections and their ends; the RST cases are those of Linux' `conntrack_rst_invalid` packet drill.

use super::bytes::{tcp, Segment};
use super::world::{client, nat, pass, pass_back, tcp_flow, vip, CLIENT_ISN, EDGE, SERVER_ISN, START};
use crate::{Forward, Nat};
use braid_packet::{Tcp, Time};
use std::net::SocketAddr;

struct Connection {
    nat: Nat,
    snat: SocketAddr,
    target: SocketAddr,
}

impl Connection {
    fn new() -> Connection {
        let mut nat = nat();
        let (snat, target) = tcp_flow(&mut nat, client(false, 4000), vip(false, 80), START);
        Connection { nat, snat, target }
    }

    fn client_sends(&mut self, segment: &Segment<'_>) {
        pass(&mut self.nat, &tcp(client(false, 4000), vip(false, 80), segment), START);
    }

    fn server_sends(&mut self, segment: &Segment<'_>) {
        pass_back(&mut self.nat, &tcp(self.target, self.snat, segment), START);
    }

    fn state(&self) -> &'static str {
        self.nat.flows(1, START)[0].state
    }
}

fn reset(sequence: u32) -> Segment<'static> {
    Segment { flags: Tcp::RST, sequence, ..Segment::default() }
}

const NEXT: u32 = SERVER_ISN + 1;
const CLIENT_NEXT: u32 = CLIENT_ISN.wrapping_add(1);

#[test]
fn a_reset_ends_a_connection_only_inside_the_window() {
    // The client's window is 1000 << 2, counted from what it acknowledged.
    for (sequence, state) in [
        (NEXT, "reset"),
        (NEXT + 10, "reset"),
        (NEXT + 4000, "reset"),
        (NEXT + 4001, "established"),
        (NEXT - 1, "established"),
        (NEXT.wrapping_add(1 << 31), "established"),
        (0, "established"),
    ] {
        let mut connection = Connection::new();
        connection.server_sends(&reset(sequence));
        assert_eq!(connection.state(), state, "{sequence}");
        assert_eq!(connection.nat.len(), 1);
    }
    for (sequence, state) in
        [(CLIENT_NEXT, "reset"), (CLIENT_NEXT.wrapping_sub(1), "established"), (0, "reset"), (9000, "established")]
    {
        let mut connection = Connection::new();
        connection.client_sends(&reset(sequence)); // 0 is in the window: the numbers wrap
        assert_eq!(connection.state(), state, "{sequence}");
    }
}

#[test]
fn a_reset_that_the_client_ignored_is_forgotten() {
    let mut connection = Connection::new();
    let flags = Tcp::ACK;
    connection.server_sends(&reset(NEXT + 10));
    assert_eq!(connection.state(), "reset");
    let old = Segment { flags, sequence: NEXT, acknowledgement: CLIENT_NEXT, window: 1000, ..Segment::default() };
    connection.server_sends(&old);
    assert_eq!(connection.state(), "reset");
    connection.server_sends(&Segment { payload: &[0; 100], ..old });
    assert_eq!(connection.state(), "established");
}

#[test]
fn a_refused_connection() {
    let mut nat = nat();
    let (from, to) = (client(false, 4000), vip(false, 80));
    let syn = Segment { flags: Tcp::SYN, sequence: 77, window: 1000, ..Segment::default() };
    let (snat, target) = pass(&mut nat, &tcp(from, to, &syn), START);
    let flags = Tcp::RST | Tcp::ACK;
    let guess = Segment { flags, acknowledgement: 99, ..Segment::default() };
    pass_back(&mut nat, &tcp(target, snat, &guess), START);
    assert_eq!(nat.flows(1, START)[0].state, "syn_sent");
    pass_back(&mut nat, &tcp(target, snat, &Segment { acknowledgement: 78, ..guess }), START);
    assert_eq!(nat.flows(1, START)[0].state, "reset");
}

#[test]
fn a_syn_after_the_end_is_a_new_connection() {
    let mut connection = Connection::new();
    connection.client_sends(&reset(CLIENT_NEXT));
    let mut changed = super::world::policy();
    changed.applications[0].targets = vec![super::world::target("10.93.0.11")];
    connection.nat.set_policy(changed);
    let (_, target) = tcp_flow(&mut connection.nat, client(false, 4000), vip(false, 80), START);
    assert_eq!(target.ip(), super::bytes::address("10.93.0.11"));
    assert_eq!((connection.nat.len(), connection.nat.counters().created), (1, 2));
    assert_eq!(connection.state(), "established");
}

#[test]
fn a_syn_on_a_living_connection_changes_nothing() {
    let mut connection = Connection::new();
    connection.client_sends(&Segment { flags: Tcp::SYN, sequence: 42, ..Segment::default() });
    assert_eq!(connection.state(), "established");
    connection.server_sends(&reset(NEXT));
    assert_eq!(connection.state(), "reset");
    assert_eq!(connection.nat.counters().created, 1);
}

#[test]
fn bulk_data_keeps_the_window_known() {
    let mut connection = Connection::new();
    let data = [0; 4000];
    let mut sequence = NEXT;
    for _ in 0..1_200_000 / 4000 {
        let flags = Tcp::ACK;
        let segment = Segment {
            flags,
            sequence,
            acknowledgement: CLIENT_NEXT,
            window: 1000,
            payload: &data,
            ..Segment::default()
        };
        connection.server_sends(&segment);
        sequence += 4000;
        let sequence_back = CLIENT_NEXT;
        let ack =
            Segment { flags, sequence: sequence_back, acknowledgement: sequence, window: 1000, ..Segment::default() };
        connection.client_sends(&ack);
    }
    connection.server_sends(&reset(sequence - 1));
    assert_eq!(connection.state(), "established");
    connection.server_sends(&reset(sequence));
    assert_eq!(connection.state(), "reset");
}

#[test]
fn a_retransmitted_syn_with_another_sequence() {
    let mut nat = nat();
    let (from, to) = (client(false, 4000), vip(false, 80));
    let syn = Segment { flags: Tcp::SYN, sequence: 1, window: 1000, ..Segment::default() };
    pass(&mut nat, &tcp(from, to, &syn), START);
    tcp_flow(&mut nat, from, to, START.after(Time::SECOND));
    assert_eq!(nat.flows(1, START)[0].state, "established");
    assert_eq!(nat.counters().created, 1);
}

#[test]
fn all_flag_combinations_pass_on_a_flow_and_none_opens_but_syn() {
    let mut connection = Connection::new();
    for flags in 0..=255 {
        connection.client_sends(&Segment { flags, sequence: 1, ..Segment::default() });
        let mut packet = tcp(client(false, 4001), vip(false, 80), &Segment { flags, ..Segment::default() });
        let passes = connection.nat.forward(&mut packet, false, EDGE, START) == Forward::Pass;
        assert_eq!(passes, flags & 0x17 == Tcp::SYN, "{flags:#04x}");
        connection.nat.set_policy(crate::Policy::default());
        connection.nat.expire(START.after(8000 * Time::SECOND), 100);
        connection = Connection::new();
    }
}
