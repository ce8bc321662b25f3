use super::*;
use braid_packet::checksum;
use std::cell::RefCell;

/// Takes or refuses writes, and remembers the packets.
#[derive(Debug, Default)]
struct Fake {
    gso_error: Option<i32>,
    error: Option<i32>,
    written: RefCell<Vec<(VnetHdr, Vec<u8>)>>,
    tries: RefCell<usize>,
}

impl Device for &Fake {
    fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        *self.tries.borrow_mut() += 1;
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
        let vnet = VnetHdr::decode(&bytes).map_err(|_| io::Error::other("no header"))?;
        let refused = self.error.or(if vnet.gso == Gso::None { None } else { self.gso_error });
        if let Some(errno) = refused {
            return Err(io::Error::from_raw_os_error(errno));
        }
        self.written.borrow_mut().push((vnet, bytes[VnetHdr::LEN..].to_vec()));
        Ok(bytes.len())
    }
}

/// A TCP super-packet with `payload` bytes, its checksum partial.
fn super_packet(payload: usize) -> (VnetHdr, Vec<u8>) {
    let length = 40 + payload;
    let mut packet = vec![0; length];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    packet[8..10].copy_from_slice(&[64, 6]);
    packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
    packet[32..34].copy_from_slice(&[0x50, 0x10]);
    for (i, byte) in packet[40..].iter_mut().enumerate() {
        *byte = (i * 3 + i / 256) as u8;
    }
    let sum = checksum::pseudo_header(&packet[12..16], &packet[16..20], 6, length - 20);
    packet[36..38].copy_from_slice(&sum.to_be_bytes());
    let vnet = VnetHdr {
        needs_csum: true,
        gso: Gso::TcpV4,
        hdr_len: 40,
        gso_size: 1000,
        csum_start: 20,
        csum_offset: 16,
        ..VnetHdr::default()
    };
    (vnet, packet)
}

fn writer(device: &Fake) -> (TunWriter<&Fake>, Arc<Counters>) {
    let counters = Arc::new(Counters::default());
    counters.offloads.tun_tcp_writes.begin(Probe::Works);
    counters.offloads.tun_udp_writes.begin(Probe::Works);
    (TunWriter::new(device, Arc::clone(&counters)), counters)
}

#[test]
fn parts_arrive_as_one_packet() {
    let device = Fake::default();
    let (mut writer, counters) = writer(&device);
    let (vnet, packet) = super_packet(3000);
    writer.write(vnet, &[&packet[..40], &packet[40..1040], &packet[1040..]]);
    let many: Vec<&[u8]> = packet.chunks(10).collect();
    assert!(many.len() > MAX_PARTS);
    writer.write(vnet, &many);
    assert_eq!(*device.written.borrow(), [(vnet, packet.clone()), (vnet, packet)]);
    assert_eq!(counters.io.tun_tx_packets.get(), 2);
    assert_eq!(counters.io.tun_tx_bytes.get(), 6080);
}

#[test]
fn a_refused_super_packet_is_cut_and_none_is_tried_again() {
    let device = Fake { gso_error: Some(libc::EINVAL), ..Fake::default() };
    let (mut writer, counters) = writer(&device);
    let (vnet, packet) = super_packet(2500);
    for _ in 0..2 {
        writer.write(vnet, &[&packet[..40], &packet[40..]]);
    }
    let written = device.written.borrow();
    assert_eq!(written.len(), 6);
    assert_eq!(*device.tries.borrow(), 7);
    assert_eq!(counters.fallbacks.get(), 1);
    let takes = SuperPackets { tcp: false, udp: true };
    assert_eq!(writer.super_packets(), takes, "the engine makes no more of them; UDP is not concerned");
    let payload: Vec<u8> = written[..3].iter().flat_map(|(_, p)| p[40..].to_vec()).collect();
    assert_eq!(payload, packet[40..]);
    for (single, segment) in written.iter() {
        let expected = VnetHdr { needs_csum: true, csum_start: 20, csum_offset: 16, ..VnetHdr::default() };
        assert_eq!(*single, expected);
        let sum = checksum::pseudo_header(&segment[12..16], &segment[16..20], 6, segment.len() - 20);
        assert_eq!(segment[36..38], sum.to_be_bytes());
    }
}

#[test]
fn what_the_probe_found_refused_is_not_tried() {
    let device = Fake::default();
    let counters = Arc::new(Counters::default());
    counters.offloads.tun_tcp_writes.begin(Probe::Refused(libc::EINVAL));
    let mut writer = TunWriter::new(&device, Arc::clone(&counters));
    let (vnet, packet) = super_packet(2500);
    writer.write(vnet, &[&packet]);
    assert_eq!(device.written.borrow().len(), 3);
    assert_eq!(*device.tries.borrow(), 3);
    assert_eq!(counters.fallbacks.get(), 0);
}

#[test]
fn a_packet_at_fault_leaves_super_packets_on() {
    let device = Fake { error: Some(libc::EINVAL), ..Fake::default() };
    let (mut writer, counters) = writer(&device);
    let (vnet, packet) = super_packet(2500);
    writer.write(vnet, &[&packet]);
    writer.write(vnet, &[&packet[..30]]);
    assert!(writer.super_packets().tcp);
    assert_eq!(counters.io.tun_tx_errors.get(), 4);
    assert_eq!(counters.drops.tun_write_refused.get(), 4);
}

#[test]
fn a_full_device_drops_and_counts() {
    let device = Fake { error: Some(libc::EAGAIN), ..Fake::default() };
    let (mut writer, counters) = writer(&device);
    let (vnet, packet) = super_packet(2500);
    writer.write(vnet, &[&packet]);
    assert_eq!(counters.drops.tun_write_full.get(), 1);
    assert_eq!(counters.io.tun_tx_errors.get(), 1);
    assert_eq!(*device.tries.borrow(), 1);
}
