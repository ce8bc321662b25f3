//! What is joined must come apart again as it was.
#![allow(clippy::unwrap_used)]

mod packets;

use braid_offload::{Coalescer, Delivered, Limits, Segments};
use braid_packet::{Gso, VnetHdr};
use packets::{complete, pattern, Record, Spec, ACK, CWR, ECE, FIN, PSH, SYN};
use proptest::prelude::*;

const ALL: Limits = Limits { tcp: true, udp: true };

fn deliver(packets: &[(Vec<u8>, bool)], limits: Limits) -> Vec<(VnetHdr, Vec<u8>)> {
    let delivered: Vec<_> = packets.iter().map(|(bytes, partial)| Delivered { bytes, partial: *partial }).collect();
    let mut record = Record::default();
    Coalescer::new().deliver(&delivered, limits, &mut record);
    record.0
}

/// How many packets went into each emitted one.
fn joined(packets: &[Spec], limits: Limits) -> Vec<usize> {
    let built: Vec<_> = packets.iter().map(|spec| (spec.build(false), false)).collect();
    deliver(&built, limits).iter().map(|(vnet, packet)| segment(*vnet, packet).len()).collect()
}

fn segment(vnet: VnetHdr, packet: &[u8]) -> Vec<Vec<u8>> {
    let plan = Segments::plan(vnet, packet, 65_535).unwrap();
    let segments = (0..plan.count()).map(|i| {
        let mut out = vec![0; plan.length(i)];
        plan.write(packet, i, &mut out);
        if plan.partial() {
            complete(vnet, &mut out);
        }
        out
    });
    segments.collect()
}

/// The same packet but for the ID of an IPv4 packet that may not be fragmented, which means nothing.
fn without_id(mut packet: Vec<u8>) -> Vec<u8> {
    if packet[0] >> 4 == 4 && packet[6] & 0x40 != 0 {
        packet[4..6].fill(0);
        packet[10..12].fill(0);
    }
    packet
}

/// `n` packets of one TCP flow, in sequence.
fn stream(n: usize, size: usize, base: &Spec) -> Vec<Spec> {
    let whole = Spec { payload: pattern(n * size, 0), ..base.clone() };
    whole.segments(size)
}

fn datagrams(n: usize, size: usize) -> Vec<Spec> {
    stream(n, size, &Spec { udp: true, ..Spec::default() })
}

#[derive(Clone, Debug)]
enum Event {
    Next,
    Short(usize),
    Long,
    Push,
    Flags(u8),
    Gap,
    Ttl,
    Tos,
    Acknowledge,
    Window,
    Options,
    Fragmentable,
    JumpId,
    BadChecksum(usize),
    BadIpChecksum,
    Empty,
    IpOptions,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        20 => Just(Event::Next),
        1 => (1usize..100).prop_map(Event::Short),
        1 => Just(Event::Long),
        1 => Just(Event::Push),
        1 => prop_oneof![Just(FIN | ACK), Just(SYN), Just(ACK | ECE), Just(ACK | CWR), any::<u8>()]
            .prop_map(Event::Flags),
        1 => Just(Event::Gap),
        1 => Just(Event::Ttl),
        1 => Just(Event::Tos),
        1 => Just(Event::Acknowledge),
        1 => Just(Event::Window),
        1 => Just(Event::Options),
        1 => Just(Event::Fragmentable),
        1 => Just(Event::JumpId),
        1 => (0usize..100).prop_map(Event::BadChecksum),
        1 => Just(Event::BadIpChecksum),
        1 => Just(Event::Empty),
        1 => Just(Event::IpOptions),
    ]
}

/// One packet after `state`, which keeps what lasts.
fn step(state: &mut Spec, event: &Event) -> Vec<u8> {
    let mut packet = state.clone();
    packet.payload = pattern(100, state.sequence as usize & 0xff);
    let mut spoil = None;
    match event {
        Event::Next => {}
        Event::Short(n) => packet.payload.truncate(*n),
        Event::Long => packet.payload.extend([9; 20]),
        Event::Push => packet.flags |= PSH,
        Event::Flags(flags) => packet.flags = *flags,
        Event::Gap => state.sequence = state.sequence.wrapping_add(50),
        Event::Ttl => state.ttl ^= 1,
        Event::Tos => state.tos ^= 4,
        Event::Acknowledge => state.acknowledgement = state.acknowledgement.wrapping_add(1),
        Event::Window => state.window ^= 1,
        Event::Options => state.tcp_options[7] ^= 1,
        Event::Fragmentable => state.dont_fragment = !state.dont_fragment,
        Event::JumpId => state.id = state.id.wrapping_add(7),
        Event::BadChecksum(at) => spoil = Some(packet.header() + at),
        // The TTL, or the hop limit, which no checksum covers.
        Event::BadIpChecksum => spoil = Some(if state.v6 { 7 } else { 8 }),
        Event::Empty => packet.payload.clear(),
        Event::IpOptions => packet.ip_options = 8,
    }
    state.sequence = state.sequence.wrapping_add(packet.payload.len() as u32);
    state.id = state.id.wrapping_add(1);
    let mut bytes = packet.build(false);
    if let Some(at) = spoil.filter(|&at| at < bytes.len()) {
        bytes[at] ^= 0x55;
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn joined_packets_come_apart_as_they_were(
        kinds in proptest::collection::vec((any::<bool>(), any::<bool>(), any::<u32>()), 1..20),
        script in proptest::collection::vec((any::<u8>(), event(), any::<bool>()), 0..200),
    ) {
        let mut flows: Vec<Spec> = kinds
            .iter()
            .enumerate()
            .map(|(flow, &(v6, udp, sequence))| Spec {
                v6,
                udp,
                sequence,
                flow: flow as u8,
                ..Spec::default()
            })
            .collect();
        let mut sent: Vec<Vec<Vec<u8>>> = vec![Vec::new(); flows.len()];
        let mut packets = Vec::new();
        for (flow, event, partial) in &script {
            let flow = usize::from(*flow) % flows.len();
            let bytes = step(&mut flows[flow], event);
            sent[flow].push(bytes.clone());
            // A peer's partial packets are right by contract, so only those that were built right.
            let spoiled = matches!(event, Event::BadChecksum(_) | Event::BadIpChecksum);
            let partial = *partial && !spoiled && !matches!(event, Event::IpOptions);
            let bytes = if partial { to_partial(bytes) } else { bytes };
            packets.push((bytes, partial));
        }
        let mut arrived: Vec<Vec<Vec<u8>>> = vec![Vec::new(); flows.len()];
        for (vnet, packet) in deliver(&packets, ALL) {
            prop_assert!(packet.len() <= 65_535);
            for segment in segment(vnet, &packet) {
                let flow = if segment[0] >> 4 == 6 { segment[23] } else { segment[15] };
                arrived[usize::from(flow)].push(segment);
            }
        }
        for (sent, arrived) in sent.into_iter().zip(arrived) {
            let sent: Vec<_> = sent.into_iter().map(without_id).collect();
            let arrived: Vec<_> = arrived.into_iter().map(without_id).collect();
            prop_assert_eq!(sent, arrived);
        }
    }

    #[test]
    fn any_bytes_arrive_unharmed(
        packets in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..120), any::<bool>(), any::<bool>()), 0..60),
    ) {
        let mut packets: Vec<_> = packets
            .into_iter()
            .map(|(mut bytes, partial, shaped)| {
                if shaped && bytes.len() >= 40 {
                    bytes[0] = 0x45;
                    bytes[9] = if bytes[9] & 1 == 0 { 6 } else { 17 };
                    let length = (bytes.len() as u16).to_be_bytes();
                    bytes[2..4].copy_from_slice(&length);
                }
                (bytes, partial)
            })
            .collect();
        let mut arrived: Vec<_> =
            deliver(&packets, ALL).into_iter().map(|(_, packet)| packet).collect();
        packets.sort();
        arrived.sort();
        // Random bytes never continue each other.
        prop_assert_eq!(packets.into_iter().map(|(bytes, _)| bytes).collect::<Vec<_>>(), arrived);
    }
}

/// Puts the pseudo-header's sum where the complete checksum is.
fn to_partial(mut bytes: Vec<u8>) -> Vec<u8> {
    let v6 = bytes[0] >> 4 == 6;
    let (ip, addresses, protocol) = if v6 { (40, 8..40, bytes[6]) } else { (20, 12..20, bytes[9]) };
    let length = bytes.len() - ip;
    let mut pseudo = bytes[addresses].to_vec();
    pseudo.extend([0, protocol]);
    pseudo.extend((length as u16).to_be_bytes());
    let sum = braid_packet::checksum::sum(&pseudo, 0);
    let at = ip + if protocol == 17 { 6 } else { 16 };
    bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    bytes
}

#[test]
fn a_bulk_stream_becomes_one_super_packet() {
    for v6 in [false, true] {
        let specs = stream(45, 1360, &Spec { v6, ..Spec::default() });
        let packets: Vec<_> = specs.iter().map(|spec| (spec.build(true), true)).collect();
        let emitted = deliver(&packets, ALL);
        let whole = Spec { v6, payload: pattern(45 * 1360, 0), ..Spec::default() };
        let vnet = VnetHdr { hdr_len: whole.header() as u16, ..whole.vnet(1360) };
        assert_eq!(emitted, [(vnet, whole.build(true))]);
    }
}

#[test]
fn the_last_packet_may_be_short_and_pushed() {
    let whole = Spec { flags: ACK | PSH, payload: pattern(2500, 0), ..Spec::default() };
    let mut specs = whole.segments(1000);
    assert_eq!(joined(&specs, ALL), [3]);
    let mut after = specs[2].clone();
    after.sequence += 500;
    after.flags = ACK;
    after.payload.resize(400, 0);
    specs.push(after);
    assert_eq!(joined(&specs, ALL), [3, 1]);
}

#[test]
fn no_more_than_64_packets_and_65535_bytes() {
    assert_eq!(joined(&stream(65, 100, &Spec::default()), ALL), [64, 1]);
    assert_eq!(joined(&datagrams(65, 100), ALL), [64, 1]);
    // Headers of 52 bytes: 52 + 47 * 1393 + 12 = 65535.
    let mut specs = stream(48, 1393, &Spec::default());
    specs[47].payload.truncate(12);
    assert_eq!(joined(&specs, ALL), [48]);
    specs[47].payload.push(0);
    assert_eq!(joined(&specs, ALL), [47, 1]);
}

#[test]
fn differing_packets_stay_apart() {
    type Change = fn(&mut Spec);
    let changes: [(&str, Change); 13] = [
        ("tos", |s| s.tos = 1),
        ("ttl", |s| s.ttl = 63),
        ("df", |s| s.dont_fragment = false),
        ("ip options", |s| s.ip_options = 4),
        ("acknowledgement", |s| s.acknowledgement += 1),
        ("sequence", |s| s.sequence += 1),
        ("window", |s| s.window += 1),
        ("timestamp", |s| s.tcp_options[7] += 1),
        ("options", |s| s.tcp_options.clear()),
        ("fin", |s| s.flags |= FIN),
        ("ece", |s| s.flags |= ECE),
        ("cwr", |s| s.flags |= CWR),
        ("longer", |s| s.payload.push(0)),
    ];
    for (name, change) in changes {
        let mut specs = stream(2, 1000, &Spec::default());
        change(&mut specs[1]);
        assert_eq!(joined(&specs, ALL), [1, 1], "{name}");
    }
    let mut specs = stream(2, 1000, &Spec::default());
    specs[1].flow = 2;
    assert_eq!(joined(&specs, ALL), [1, 1], "flow");
}

#[test]
fn the_id_of_fragmentable_packets_must_count_up() {
    let mut specs = stream(3, 1000, &Spec { dont_fragment: false, id: 0xffff, ..Spec::default() });
    assert_eq!(joined(&specs, ALL), [3]);
    specs[2].id = 9;
    assert_eq!(joined(&specs, ALL), [2, 1]);
    let mut specs = stream(3, 1000, &Spec::default());
    specs[1].id = 9;
    assert_eq!(joined(&specs, ALL), [3]);
}

#[test]
fn a_corrupted_packet_goes_alone_and_unchanged() {
    for spoiled in 0..3 {
        let mut packets: Vec<_> =
            stream(3, 1000, &Spec::default()).iter().map(|spec| (spec.build(false), false)).collect();
        packets[spoiled].0[500] ^= 1;
        let emitted = deliver(&packets, ALL);
        let alone = (VnetHdr::default(), packets[spoiled].0.clone());
        assert!(emitted.contains(&alone), "{spoiled}");
        assert_eq!(emitted.len(), if spoiled == 1 { 3 } else { 2 });
    }
}

#[test]
fn a_udp_packet_without_checksum_goes_alone() {
    let mut packets: Vec<_> = datagrams(3, 1000).iter().map(|spec| (spec.build(false), false)).collect();
    packets[1].0[26..28].fill(0);
    let emitted = deliver(&packets, ALL);
    assert_eq!(emitted.len(), 3);
    assert!(emitted.iter().all(|(vnet, _)| *vnet == VnetHdr::default()));
}

#[test]
fn a_single_packet_says_whether_its_checksum_is_partial() {
    let spec = Spec { ip_options: 8, ..Spec::default() };
    let emitted = deliver(&[(spec.build(true), true), (spec.build(false), false)], ALL);
    assert_eq!(emitted[0], (spec.vnet_single(), spec.build(true)));
    assert_eq!(emitted[1], (VnetHdr::default(), spec.build(false)));
}

#[test]
fn limits_hold() {
    let packets = [stream(2, 100, &Spec::default()), datagrams(2, 100)].concat();
    assert_eq!(joined(&packets, ALL), [2, 2]);
    assert_eq!(joined(&packets, Limits { tcp: true, udp: false }), [2, 1, 1]);
    assert_eq!(joined(&packets, Limits::default()), [1, 1, 1, 1]);
}

#[test]
fn many_interleaved_flows_are_all_joined() {
    let flows: Vec<_> = (0..16).map(|flow| stream(4, 100, &Spec { flow, ..Spec::default() })).collect();
    let mixed: Vec<_> = (0..4).flat_map(|i| flows.iter().map(move |f| f[i].clone())).collect();
    assert_eq!(joined(&mixed, ALL), [4; 16]);
}

#[test]
fn a_fragment_is_not_overtaken() {
    let mut specs = stream(3, 1000, &Spec::default());
    specs.insert(1, Spec { udp: true, ..Spec::default() });
    let mut packets: Vec<_> = specs.iter().map(|spec| (spec.build(false), false)).collect();
    packets[1].0[6] = 0x20;
    let emitted = deliver(&packets, ALL);
    assert_eq!(emitted.len(), 3, "one, the fragment, two joined");
    assert_eq!(emitted[1].1, packets[1].0);
    assert_eq!(emitted[2].0.gso, Gso::TcpV4);
}
