//! Segments against packets built field by field.
#![allow(clippy::unwrap_used)]

mod packets;

use braid_offload::{SegmentError, Segments};
use braid_packet::{Gso, VnetHdr};
use packets::{complete, pattern, Spec, ACK, CWR, ECE, FIN, PSH, SYN};
use proptest::prelude::*;

fn cut(vnet: VnetHdr, packet: &[u8]) -> (bool, Vec<Vec<u8>>) {
    let plan = Segments::plan(vnet, packet, 65_535).unwrap();
    let segments = (0..plan.count()).map(|i| {
        let mut out = vec![0xaa; plan.length(i) + 3];
        assert_eq!(plan.write(packet, i, &mut out), plan.length(i));
        assert_eq!(out.split_off(plan.length(i)), [0xaa; 3], "wrote past the segment");
        out
    });
    (plan.partial(), segments.collect())
}

fn spec() -> impl Strategy<Value = Spec> {
    let ip = (any::<bool>(), any::<bool>(), any::<u8>(), any::<u8>(), any::<u16>(), any::<bool>());
    let tcp = (any::<u32>(), any::<u32>(), any::<u8>(), 0usize..=10, 0usize..=1);
    (ip, tcp, 1usize..5000).prop_map(|(ip, tcp, length)| {
        let (v6, udp, tos, ttl, id, dont_fragment) = ip;
        let (sequence, acknowledgement, flags, options, ip_options) = tcp;
        Spec {
            v6,
            udp,
            tos,
            ttl,
            id,
            dont_fragment,
            ip_options: if v6 { 0 } else { ip_options * 8 },
            sequence,
            acknowledgement,
            flags,
            tcp_options: pattern(options * 4, 3),
            payload: pattern(length, 0),
            ..Spec::default()
        }
    })
}

proptest! {
    #[test]
    fn super_packets_become_the_packets_a_host_would_send(spec in spec(), size in 1usize..2000) {
        let (partial, segments) = cut(spec.vnet(size), &spec.build(true));
        let expected: Vec<_> = spec.segments(size).iter().map(|s| s.build(true)).collect();
        prop_assert!(partial);
        prop_assert_eq!(segments, expected);
    }

    #[test]
    fn partial_segments_complete_to_valid_checksums(spec in spec(), size in 500usize..2000) {
        let (_, mut segments) = cut(spec.vnet(size), &spec.build(true));
        for (segment, expected) in segments.iter_mut().zip(spec.segments(size)) {
            complete(spec.vnet(0), segment);
            prop_assert_eq!(&*segment, &expected.build(false));
        }
    }

    #[test]
    fn one_packet_passes_as_it_is(spec in spec(), partial: bool) {
        let vnet = VnetHdr { needs_csum: partial, ..spec.vnet(0) };
        let packet = spec.build(partial);
        prop_assert_eq!(cut(vnet, &packet), (partial, vec![packet]));
    }

    #[test]
    fn extension_headers_get_complete_checksums(mut spec in spec(), size in 100usize..2000) {
        spec.v6 = true;
        spec.ip_options = 16;
        let (partial, segments) = cut(spec.vnet(size), &spec.build(true));
        let expected: Vec<_> = spec.segments(size).iter().map(|s| s.build(false)).collect();
        prop_assert!(!partial);
        // A sum of zero has two representations; the software completes to the one that UDP allows.
        let zero = |p: &Vec<u8>| p[56 + spec.checksum_offset()..][..2] == [0, 0];
        prop_assume!(!expected.iter().any(zero));
        prop_assert_eq!(segments, expected);

        let (partial, segments) = cut(spec.vnet(0), &spec.build(true));
        prop_assert!(!partial);
        prop_assert_eq!(segments, vec![spec.build(false)]);
    }

    #[test]
    fn any_bytes_and_any_header_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        version in prop_oneof![Just(0x45u8), Just(0x46), Just(0x60), any::<u8>()],
        header in any::<[u8; 10]>(),
        length_right: bool,
        mtu in 0usize..300,
    ) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = version;
        }
        if length_right && bytes.len() > 40 {
            let length = bytes.len() as u16;
            let (at, length) = if version == 0x60 { (4, length - 40) } else { (2, length) };
            bytes[at..at + 2].copy_from_slice(&length.to_be_bytes());
        }
        let Ok(vnet) = VnetHdr::decode(&header) else { return Ok(()) };
        let Ok(plan) = Segments::plan(vnet, &bytes, mtu) else { return Ok(()) };
        let mut out = [0; 300];
        for i in 0..plan.count() {
            prop_assert!(plan.length(i) <= mtu);
            prop_assert_eq!(plan.write(&bytes, i, &mut out), plan.length(i));
        }
        prop_assert_eq!(plan.write(&bytes, plan.count(), &mut out), 0);
        prop_assert_eq!(plan.length(usize::MAX), 0);
    }
}

#[test]
fn flags_stay_where_they_belong() {
    let flags = SYN | FIN | PSH | ACK | ECE | CWR;
    let spec = Spec { flags, payload: pattern(3000, 0), ..Spec::default() };
    let (_, segments) = cut(spec.vnet(1000), &spec.build(true));
    let flags: Vec<u8> = segments.iter().map(|s| s[33]).collect();
    assert_eq!(flags, [SYN | ACK | ECE | CWR, SYN | ACK | ECE, SYN | ACK | ECE | FIN | PSH]);
}

#[test]
fn sequence_and_id_wrap() {
    let spec = Spec { sequence: u32::MAX - 999, id: 0xffff, payload: pattern(1500, 0), ..Spec::default() };
    let (_, segments) = cut(spec.vnet(1000), &spec.build(true));
    assert_eq!(segments[1][4..6], [0, 0]);
    assert_eq!(segments[1][24..28], [0, 0, 0, 0]);
}

#[test]
fn odd_checksum_places_are_completed_here() {
    // ICMPv6 echo, and a TCP packet whose header names another place than TCP's.
    let mut echo = Spec { v6: true, udp: true, ..Spec::default() }.build(true);
    echo[6] = 58;
    let vnet = VnetHdr { needs_csum: true, csum_start: 40, csum_offset: 2, ..VnetHdr::default() };
    let (partial, cut_echo) = cut(vnet, &echo);
    let mut expected = echo.clone();
    complete(vnet, &mut expected);
    assert!(!partial);
    assert_eq!(cut_echo, [expected]);

    let spec = Spec::default();
    let vnet = VnetHdr { csum_offset: 18, ..spec.vnet(0) };
    assert!(!cut(vnet, &spec.build(true)).0);
}

#[test]
fn errors() {
    let spec = Spec { payload: pattern(3000, 0), ..Spec::default() };
    let packet = spec.build(true);
    let plan = |vnet, mtu| Segments::plan(vnet, &packet, mtu).map(|plan| plan.count());
    assert_eq!(plan(spec.vnet(1000), 1052), Ok(3));
    assert_eq!(plan(spec.vnet(1000), 1051), Err(SegmentError::TooBig { mtu: 1051 }));
    assert_eq!(plan(spec.vnet(0), 3051), Err(SegmentError::TooBig { mtu: 3051 }));
    let wrong_kind = VnetHdr { gso: Gso::TcpV6, ..spec.vnet(1000) };
    assert_eq!(plan(wrong_kind, 2000), Err(SegmentError::Malformed));
    let wrong_start = VnetHdr { csum_start: 24, ..spec.vnet(1000) };
    assert_eq!(plan(wrong_start, 2000), Err(SegmentError::Malformed));
    let past_the_end = VnetHdr { csum_start: 3051, ..spec.vnet(0) };
    assert_eq!(plan(past_the_end, 9000), Err(SegmentError::Malformed));
    let mut fragment = packet.clone();
    fragment[6] = 0x20;
    assert_eq!(Segments::plan(spec.vnet(1000), &fragment, 2000).map(|p| p.count()), Err(SegmentError::Malformed));
}

#[test]
fn writes_nothing_into_too_little_room_or_from_another_packet() {
    let spec = Spec { payload: pattern(3000, 0), ..Spec::default() };
    let packet = spec.build(true);
    let plan = Segments::plan(spec.vnet(1000), &packet, 2000).unwrap();
    assert_eq!(plan.write(&packet, 0, &mut [0; 1051]), 0);
    assert_eq!(plan.write(&packet[1..], 0, &mut [0; 2000]), 0);
}
