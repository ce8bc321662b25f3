//! The fast path: a flood of SYNs, a flood of forged acknowledgements, a packet of a connection beside one of the NAT alone.

use crate::parts::EDGE;
use crate::Prepared;
use braid_fastpath::{FastPath, PeriodKey, Stranger, Verdict};
use braid_nat::{Application, Forward, Nat, Policy, Proto, Target};
use braid_packet::{FlowId, Ip, Segment, Tcp, Time, Transport, VnetHdr};
use braid_testbed::VIP;
use std::any::Any;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const PER_ROUND: usize = 1000;
pub(crate) const APP: u16 = 0;
pub(crate) const OPTIONS: [u8; 20] = [2, 4, 5, 0x50, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7];
pub(crate) const ISN: u32 = 1000;

fn nat(most: usize, fast: bool) -> Nat {
    let target = Target { address: "10.93.0.10".parse().unwrap(), port: None, weight: 1, healthy: true };
    let mut nat = Nat::new(1, most);
    nat.set_policy(Policy {
        applications: vec![Application {
            id: APP,
            vips: vec![(VIP.parse().unwrap(), EDGE)],
            ports: vec![(Proto::Any, 0, 65_535)],
            targets: vec![target],
            set: 2,
            fast,
            proxied: false,
            transparent: Vec::new(),
        }],
        snat: vec!["10.94.0.0/24".parse().unwrap()],
        ..Policy::default()
    });
    nat
}

pub(crate) fn fast() -> FastPath {
    let mut fast = FastPath::new(1404);
    fast.set_keys(5, &[PeriodKey { period: 5, key: [7; 16] }]);
    fast
}

pub(crate) fn client(i: usize) -> SocketAddr {
    let address = Ipv4Addr::new(10, 100 + (i >> 16 & 63) as u8, (i >> 8 & 255) as u8, 1 + (i % 250) as u8);
    SocketAddr::new(IpAddr::V4(address), 1024 + (i % 60_000) as u16)
}

pub(crate) fn vip() -> SocketAddr {
    SocketAddr::new(VIP.parse().unwrap(), 80)
}

pub(crate) fn segment(from: SocketAddr, to: SocketAddr, flags: u8, numbers: (u32, u32), options: &[u8]) -> Vec<u8> {
    let (sequence, acknowledgement) = numbers;
    let mut out = Vec::new();
    Segment { from, to, sequence, acknowledgement, flags, window: 500, options }.write(&mut out).unwrap();
    out
}

pub(crate) fn tcp(packet: &[u8]) -> Tcp {
    match Ip::parse(packet).unwrap().transport {
        Transport::Tcp(tcp) => tcp,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn answers_syn(rounds: usize) -> Prepared {
    let mut fast = fast();
    let syns: Vec<Vec<u8>> = (0..PER_ROUND).map(|i| segment(client(i), vip(), Tcp::SYN, (ISN, 0), &OPTIONS)).collect();
    let run = move || {
        for _ in 0..rounds {
            for syn in &syns {
                assert_eq!(black_box(fast.receive_stranger(syn, false, APP, Time(0))), Stranger::Reply);
                black_box(fast.answer());
            }
        }
        assert!(fast.is_empty());
        Box::new(fast) as Box<dyn Any>
    };
    Prepared { packets: (rounds * PER_ROUND) as u64, run: Box::new(run) }
}

pub(crate) fn refuses_forged(rounds: usize) -> Prepared {
    let mut fast = fast();
    let forged: Vec<Vec<u8>> = (0..PER_ROUND)
        .map(|i| segment(client(i), vip(), Tcp::ACK, (ISN, (i as u32).wrapping_mul(2_654_435_761)), &[]))
        .collect();
    let run = move || {
        for _ in 0..rounds {
            for packet in &forged {
                black_box(fast.receive_stranger(packet, false, APP, Time(0)));
            }
        }
        assert!(fast.is_empty());
        Box::new(fast) as Box<dyn Any>
    };
    Prepared { packets: (rounds * PER_ROUND) as u64, run: Box::new(run) }
}

/// The `i`th client connects, and its server answers. The numbers of its next packet.
fn connect(nat: &mut Nat, fast: &mut FastPath, i: usize) -> (FlowId, u32, u32) {
    let now = Time(0);
    let mut syn = segment(client(i), vip(), Tcp::SYN, (ISN, 0), &OPTIONS);
    assert_eq!(nat.forward(&mut syn, false, EDGE, now), Forward::Stranger(APP));
    assert_eq!(fast.receive_stranger(&syn, false, APP, now), Stranger::Reply);
    let answer = fast.answer();
    let numbers = (ISN + 1, tcp(answer).sequence.wrapping_add(1));
    let mut timestamps = [1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0];
    timestamps[8..].copy_from_slice(&answer[48..52]);
    let first = segment(client(i), vip(), Tcp::ACK, numbers, &timestamps);
    let Stranger::Open(admitted) = fast.receive_stranger(&first, false, APP, now) else { panic!("no cookie") };
    let flow = nat.open_fast(&first, EDGE, now).unwrap();
    assert!(fast.open(flow, admitted, &first, false, now));
    let mut answer = segment(vip(), client(i), Tcp::SYN | Tcp::ACK, (7, ISN + 1), &OPTIONS);
    assert_eq!(fast.receive_from_server(flow, VnetHdr::default(), &mut answer, APP, now), Verdict::Taken);
    for mut output in fast.take_outputs() {
        assert!(nat.pass(flow, &mut output.packet, false, now));
    }
    (flow, numbers.0, numbers.1)
}

/// A packet from the client, through both.
pub(crate) fn translates(rounds: usize) -> Prepared {
    let (mut nat, mut fast) = (nat(1 << 16, true), fast());
    let (_, sequence, acknowledgement) = connect(&mut nat, &mut fast, 1);
    let options = [1, 1, 8, 10, 0, 0, 0, 10, 0, 0, 0, 0];
    let original = segment(client(1), vip(), Tcp::ACK, (sequence, acknowledgement), &options);
    let run = move || {
        let mut packet = original.clone();
        for _ in 0..rounds * PER_ROUND {
            packet.copy_from_slice(&original);
            let Forward::Fast(flow) = nat.forward(&mut packet, false, EDGE, Time(1)) else { panic!("no flow") };
            assert_eq!(fast.receive_from_client(flow, &mut packet, false, Time(1)), Verdict::Pass);
            assert!(black_box(nat.pass(flow, &mut packet, false, Time(1))));
        }
        Box::new((nat, fast)) as Box<dyn Any>
    };
    Prepared { packets: (rounds * PER_ROUND) as u64, run: Box::new(run) }
}

/// The same packet through the NAT alone.
pub(crate) fn nat_alone(rounds: usize) -> Prepared {
    let mut nat = nat(1 << 16, false);
    let mut syn = segment(client(1), vip(), Tcp::SYN, (ISN, 0), &OPTIONS);
    assert_eq!(nat.forward(&mut syn, false, EDGE, Time(0)), Forward::Pass);
    let options = [1, 1, 8, 10, 0, 0, 0, 10, 0, 0, 0, 0];
    let original = segment(client(1), vip(), Tcp::ACK, (ISN + 1, 8), &options);
    let run = move || {
        let mut packet = original.clone();
        for _ in 0..rounds * PER_ROUND {
            packet.copy_from_slice(&original);
            assert_eq!(black_box(nat.forward(&mut packet, false, EDGE, Time(1))), Forward::Pass);
        }
        Box::new(nat) as Box<dyn Any>
    };
    Prepared { packets: (rounds * PER_ROUND) as u64, run: Box::new(run) }
}

/// So many connections whose servers have answered, and which then say nothing.
pub fn idle_connections(count: usize) -> (Nat, FastPath) {
    let (mut nat, mut fast) = (nat(count, true), fast());
    for i in 0..count {
        connect(&mut nat, &mut fast, i);
        if i % 50_000 == 0 {
            // What remembers when to ask servers again forgets those that have answered.
            assert!(fast.handle_timeout(Time(10 * Time::SECOND), |_| None).is_empty());
            assert!(!fast.take_changed().is_empty());
        }
    }
    assert_eq!((nat.len(), fast.len()), (count, count));
    (nat, fast)
}
