use super::*;
use std::net::SocketAddr;

const CLIENT: &str = "10.91.1.10:4000";
const VIP: &str = "10.91.1.130:80";
const THEIRS: Holder = Holder { boot: None, since: Time(0), spoken: false, by: None };

fn packet(from: &str, to: &str, flags: u8) -> Vec<u8> {
    let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
    let mut out = Vec::new();
    let segment = braid_packet::Segment { from, to, sequence: 1, acknowledgement: 2, flags, window: 100, options: &[] };
    segment.write(&mut out).unwrap();
    out
}

fn ends() -> Ends {
    Ends::new(CLIENT.parse().unwrap(), VIP.parse().unwrap())
}

fn inward(owners: &mut Owners, flags: u8, now: Time) -> Inbound {
    let packet = packet(CLIENT, VIP, flags);
    owners.receive(&Ip::parse(&packet).unwrap(), &packet, false, true, now)
}

fn outward(owners: &mut Owners, flags: u8, now: Time) -> Option<Owner> {
    owners.reply(&Ip::parse(&packet(VIP, CLIENT, flags)).unwrap(), now)
}

fn seconds(count: u64) -> Time {
    Time(count * Time::SECOND)
}

#[test]
fn packets_wait_while_a_connection_is_held_and_come_back_in_order() {
    let mut owners = Owners::default();
    assert_eq!(inward(&mut owners, Tcp::ACK, Time(0)), Inbound::Free);
    owners.set(ends(), Some(Owner::Held), None, None, Time(0)).unwrap();
    assert_eq!(inward(&mut owners, Tcp::ACK, Time(0)), Inbound::Kept);
    assert_eq!(inward(&mut owners, Tcp::ACK | 8, Time(0)), Inbound::Kept);
    assert_eq!(outward(&mut owners, Tcp::ACK, Time(0)), Some(Owner::Held), "the stack may speak");
    assert_eq!(owners.counts(), (1, 0, 0));
    let kept = owners.set(ends(), None, None, None, Time(0)).unwrap();
    assert_eq!(kept.iter().map(|kept| kept.packet[33]).collect::<Vec<_>>(), [Tcp::ACK, Tcp::ACK | 8]);
    assert!(owners.is_empty());
}

#[test]
fn what_waits_is_bounded_and_does_not_wait_for_ever() {
    let mut owners = Owners::default();
    owners.set(ends(), Some(Owner::Held), None, None, Time(0)).unwrap();
    for _ in 0..MOST_HELD {
        assert_eq!(inward(&mut owners, Tcp::ACK, Time(0)), Inbound::Kept);
    }
    assert_eq!(inward(&mut owners, Tcp::ACK, Time(0)), Inbound::Full);
    assert_eq!(owners.expire(seconds(2)), 0);
    assert_eq!(owners.expire(seconds(3)), MOST_HELD);
    assert!(owners.is_empty());
}

#[test]
fn an_owner_is_forgotten_a_moment_after_both_have_ended() {
    for flags in [Tcp::FIN | Tcp::ACK, Tcp::RST] {
        let mut owners = Owners::default();
        owners.set(ends(), Some(Owner::Node(51)), None, None, Time(0)).unwrap();
        let first = if flags == Tcp::RST { Inbound::Reset(51, THEIRS) } else { Inbound::Node(51, THEIRS) };
        assert_eq!(inward(&mut owners, flags, seconds(100)), first);
        if flags != Tcp::RST {
            owners.expire(seconds(1000));
            assert_eq!(outward(&mut owners, Tcp::FIN | Tcp::ACK, seconds(100)), Some(Owner::Node(51)));
        }
        owners.expire(seconds(109));
        assert_eq!(inward(&mut owners, Tcp::ACK, seconds(109)), Inbound::Node(51, THEIRS), "the last acknowledgement");
        owners.expire(seconds(110));
        assert!(owners.is_empty());
    }
}

#[test]
fn an_idle_connection_and_one_given_away_are_forgotten_in_their_time() {
    let mut owners = Owners::default();
    owners.set(ends(), Some(Owner::Here), None, None, Time(0)).unwrap();
    assert_eq!(outward(&mut owners, Tcp::ACK, seconds(1000)), Some(Owner::Here));
    owners.expire(seconds(8499));
    assert_eq!(owners.counts(), (0, 1, 0));
    owners.set(ends(), Some(Owner::Away), None, None, seconds(8499)).unwrap();
    assert_eq!(inward(&mut owners, Tcp::ACK, seconds(8540)), Inbound::Away);
    owners.expire(seconds(8559));
    assert!(owners.is_empty());
}

#[test]
fn how_far_a_connection_came_is_known_while_another_node_has_it_and_a_moment_longer() {
    let (mut owners, node) = (Owners::default(), Some(Owner::Node(51)));
    let segment = |from: &str, to: &str, acknowledgement: u32| {
        let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
        let (flags, window, options) = (Tcp::ACK, 100, &[][..]);
        let mut out = Vec::new();
        let segment = braid_packet::Segment { from, to, sequence: 1, acknowledgement, flags, window, options };
        segment.write(&mut out).unwrap();
        out
    };
    owners.set(ends(), node, None, None, Time(0)).unwrap();
    assert_eq!(owners.seen(&ends()), Some(Seen::default()));
    let client = |owners: &mut Owners, number| {
        let packet = segment(CLIENT, VIP, number);
        owners.receive(&Ip::parse(&packet).unwrap(), &packet, false, true, Time(0))
    };
    let reply = |owners: &mut Owners, node, number| {
        owners.reply_from(&Ip::parse(&segment(VIP, CLIENT, number)).unwrap(), node, || Some(3), Time(0))
    };
    for number in [u32::MAX - 9, 10, u32::MAX] {
        client(&mut owners, number);
    }
    reply(&mut owners, 31, 99);
    assert_eq!(owners.seen(&ends()), Some(Seen { spoken: false, client: Some(10), owner: None }));
    reply(&mut owners, 51, 7);
    let seen = Some(Seen { spoken: true, client: Some(10), owner: Some(7) });
    assert_eq!(owners.seen(&ends()), seen);
    owners.set(ends(), node, None, None, Time(0)).unwrap();
    owners.set(ends(), Some(Owner::Left(51)), None, None, Time(0)).unwrap();
    client(&mut owners, 20);
    reply(&mut owners, 51, 8);
    assert_eq!(owners.seen(&ends()), seen, "of the node that had it");
    owners.set(ends(), Some(Owner::Node(52)), None, None, Time(0)).unwrap();
    assert_eq!(owners.seen(&ends()), Some(Seen::default()));
}

#[test]
fn another_gateway_that_gives_a_connection_to_the_same_node_decides_about_it_from_then_on() {
    let mut owners = Owners::default();
    owners.set(ends(), Some(Owner::Node(51)), Some(7), Some((31, Some(1))), Time(0)).unwrap();
    let reply = packet(VIP, CLIENT, Tcp::ACK);
    owners.reply_from(&Ip::parse(&reply).unwrap(), 51, || Some(7), Time(0));
    let seen = owners.seen(&ends());
    owners.set(ends(), Some(Owner::Node(51)), Some(8), Some((32, Some(2))), seconds(5)).unwrap();
    let holder = Holder { boot: Some(7), since: Time(0), spoken: true, by: Some((32, Some(2))) };
    assert_eq!((owners.holder(&ends()), owners.seen(&ends())), (Some(holder), seen), "all else is as it was");
}

#[test]
fn who_gave_a_connection_away_hears_once_that_its_client_has_reset_it_before_the_node_spoke() {
    let mut owners = Owners::default();
    owners.set(ends(), Some(Owner::Node(51)), None, None, Time(0)).unwrap();
    assert_eq!(inward(&mut owners, Tcp::RST, Time(0)), Inbound::Reset(51, THEIRS));
    assert_eq!(inward(&mut owners, Tcp::RST, Time(0)), Inbound::Node(51, THEIRS), "it may come back");
    let mut owners = Owners::default();
    owners.set(ends(), Some(Owner::Node(51)), None, None, Time(0)).unwrap();
    let reply = packet(VIP, CLIENT, Tcp::ACK);
    owners.reply_from(&Ip::parse(&reply).unwrap(), 51, || None, Time(0));
    assert!(matches!(inward(&mut owners, Tcp::RST, Time(0)), Inbound::Node(51, _)), "it is the node's alone");
}

#[test]
fn a_reset_waits_only_where_no_socket_is_to_hear_it() {
    let mut owners = Owners::default();
    owners.set(ends(), Some(Owner::Held), None, None, Time(0)).unwrap();
    let reset = packet(CLIENT, VIP, Tcp::RST);
    let mut receive = |resets| owners.receive(&Ip::parse(&reset).unwrap(), &reset, false, resets, Time(0));
    assert_eq!((receive(true), receive(false)), (Inbound::Free, Inbound::Kept));
    assert_eq!(owners.counts().0, 1, "a forged one ends nothing");
}

#[test]
fn a_syn_is_another_connection() {
    let mut owners = Owners::default();
    owners.set(ends(), Some(Owner::Away), None, None, Time(0)).unwrap();
    assert_eq!(inward(&mut owners, Tcp::SYN, Time(0)), Inbound::Free);
    assert!(owners.is_empty());
}
