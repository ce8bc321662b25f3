//! Start-up probes: each offload is tried once where it can do no harm.
//!
//! Kernels have taken an option and then refused or spoilt what it is for (research and bug reports: GSO writes with a
//! short last segment were EINVAL in Linux 6.6.44), so asking whether the option exists is not enough.

use crate::message::{Outgoing, Part, ReceiveArrays, SendArrays};
use crate::offloads::Probe;
use crate::sys;
use braid_packet::{checksum, Gso, VnetHdr};
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Loopback delivers within the call that sends.
const PATIENCE: Duration = Duration::from_millis(100);
const SEGMENT: usize = 100;
const TAIL: usize = 7;
const COUNT: usize = 3;
/// Payload per packet of a super-packet, which has a shorter last one.
const TUN_SEGMENT: usize = 1000;
const TUN_PAYLOAD: usize = 2 * TUN_SEGMENT + 500;

/// UDP_SEGMENT and UDP_GRO, over a pair of sockets on the loopback address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UdpProbe {
    pub(crate) gso: Probe,
    pub(crate) gro: Probe,
}

pub(crate) fn udp(v6: bool) -> UdpProbe {
    match pair(v6) {
        Ok((from, to)) => {
            let gro = Probe::of(sys::set_option(to.as_fd(), libc::SOL_UDP, libc::UDP_GRO, 1));
            let gso = exchange(from.as_fd(), to.as_fd()).unwrap_or_else(|error| refused_or_untried(&error));
            UdpProbe { gso, gro }
        }
        Err(error) => {
            let untried = Probe::Untried(error.raw_os_error().unwrap_or(libc::EIO));
            UdpProbe { gso: untried, gro: untried }
        }
    }
}

fn pair(v6: bool) -> io::Result<(std::os::fd::OwnedFd, std::os::fd::OwnedFd)> {
    let any = match v6 {
        true => SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
        false => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    };
    let (from, to) = (sys::udp_socket(v6)?, sys::udp_socket(v6)?);
    sys::bind(from.as_fd(), any)?;
    sys::bind(to.as_fd(), any)?;
    Ok((from, to))
}

/// Without a way to the loopback address nothing is known of the offload.
fn refused_or_untried(error: &io::Error) -> Probe {
    match error.raw_os_error() {
        Some(errno @ (libc::EIO | libc::EINVAL | libc::EMSGSIZE | libc::ENOPROTOOPT | libc::EOPNOTSUPP)) => {
            Probe::Refused(errno)
        }
        errno => Probe::Untried(errno.unwrap_or(libc::EIO)),
    }
}

/// One batch whose last datagram is shorter, and whether it arrives as it left.
fn exchange(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<Probe> {
    let batch: Vec<u8> = (0..(COUNT - 1) * SEGMENT + TAIL).map(|i| (i * 7 + i / 100) as u8).collect();
    let whole: Part = (0, batch.len() as u32);
    let message = Outgoing { to: sys::local_address(to)?, segment: SEGMENT as u16, parts: (0, 1) };
    SendArrays::new(1, 1).send(from, &batch, &[whole], &[message])?;
    let sender = sys::local_address(from)?;
    let mut arrays = ReceiveArrays::new(COUNT);
    let mut slab = vec![0; COUNT * batch.len()];
    let mut arrived = Vec::new();
    while arrived.len() < COUNT {
        if !sys::wait_readable(to, PATIENCE) {
            return Ok(Probe::Untried(libc::ETIMEDOUT));
        }
        let received = arrays.receive(to, &mut slab, batch.len())?;
        for (i, slot) in slab.chunks(batch.len()).take(received).enumerate() {
            let message = arrays.message(i);
            if message.from == Some(sender) {
                let bytes = &slot[..message.length.min(slot.len())];
                let segment = message.control.segment.unwrap_or(bytes.len()).max(1);
                arrived.extend(bytes.chunks(segment).map(<[u8]>::to_vec));
            }
        }
    }
    let intact = arrived.iter().map(Vec::as_slice).eq(batch.chunks(SEGMENT));
    Ok(if intact { Probe::Works } else { Probe::Refused(libc::EBADMSG) })
}

/// Writes of super-packets to a TUN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TunProbe {
    pub(crate) tcp: Probe,
    pub(crate) udp: Probe,
}

impl TunProbe {
    pub(crate) const OFF: TunProbe = TunProbe { tcp: Probe::Off, udp: Probe::Off };
}

/// Tried on a device of its own in this thread's network namespace, which is never set up and vanishes at the end.
/// The kernel reads and checks the offload header first (EINVAL) and drops what is written to a device that is down
/// (EIO), so the answer costs nobody a packet.
pub(crate) fn tun() -> TunProbe {
    match sys::scratch_tun() {
        Ok(mut device) => TunProbe {
            tcp: writes(&mut device, Gso::TcpV4).and(writes(&mut device, Gso::TcpV6)),
            udp: udp_writes(&mut device, false).and(udp_writes(&mut device, true)),
        },
        Err(error) => {
            let untried = Probe::Untried(error.raw_os_error().unwrap_or(libc::EIO));
            TunProbe { tcp: untried, udp: untried }
        }
    }
}

fn writes(device: &mut impl Write, gso: Gso) -> Probe {
    answer(device.write(&super_packet(gso, gso == Gso::TcpV6)))
}

fn udp_writes(device: &mut impl Write, v6: bool) -> Probe {
    answer(device.write(&super_packet(Gso::Udp, v6)))
}

fn answer(result: io::Result<usize>) -> Probe {
    match result.map_err(|error| error.raw_os_error()) {
        Ok(_) | Err(Some(libc::EIO)) => Probe::Works,
        Err(Some(libc::EINVAL)) => Probe::Refused(libc::EINVAL),
        Err(errno) => Probe::Untried(errno.unwrap_or(libc::EIO)),
    }
}

/// A super-packet between documentation addresses with a TTL of 0, behind its offload header.
fn super_packet(gso: Gso, v6: bool) -> Vec<u8> {
    let (protocol, transport, checksum_at) = if gso == Gso::Udp { (17, 8, 6) } else { (6, 20, 16) };
    let ip = if v6 { 40 } else { 20 };
    let body = transport + TUN_PAYLOAD;
    let vnet = VnetHdr {
        needs_csum: true,
        gso,
        ecn: false,
        hdr_len: (ip + transport) as u16,
        gso_size: TUN_SEGMENT as u16,
        csum_start: ip as u16,
        csum_offset: checksum_at as u16,
    };
    let mut packet = vec![0; ip + body];
    let addresses = if v6 {
        packet[0] = 0x60;
        packet[4..6].copy_from_slice(&(body as u16).to_be_bytes());
        packet[6] = protocol;
        packet[8..12].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        packet[24..28].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        packet[39] = 1;
        8..40
    } else {
        packet[0] = 0x45;
        let length = packet.len() as u16;
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        packet[9] = protocol;
        packet[12..20].copy_from_slice(&[192, 0, 2, 1, 192, 0, 2, 2]);
        12..20
    };
    let middle = addresses.start + addresses.len() / 2;
    let sum = checksum::pseudo_header(&packet[addresses.start..middle], &packet[middle..addresses.end], protocol, body);
    if gso == Gso::Udp {
        packet[ip + 4..ip + 6].copy_from_slice(&(body as u16).to_be_bytes());
    } else {
        packet[ip + 12..ip + 14].copy_from_slice(&[0x50, 0x10]);
    }
    packet[ip + checksum_at..ip + checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
    let mut bytes = vnet.encode().to_vec();
    bytes.extend_from_slice(&packet);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use braid_offload::Segments;

    #[test]
    fn segmentation_works_on_loopback_and_is_seen_to() {
        assert_eq!(udp(false), UdpProbe { gso: Probe::Works, gro: Probe::Works });
    }

    #[test]
    fn what_is_written_is_a_super_packet_with_a_shorter_last_segment() {
        for (gso, v6) in [(Gso::TcpV4, false), (Gso::TcpV6, true), (Gso::Udp, false), (Gso::Udp, true)] {
            let bytes = super_packet(gso, v6);
            let vnet = VnetHdr::decode(&bytes).unwrap();
            let packet = &bytes[VnetHdr::LEN..];
            let plan = Segments::plan(vnet, packet, 1500).unwrap();
            assert_eq!(plan.count(), 3);
            assert!(plan.length(2) < plan.length(0));
        }
    }

    #[test]
    fn only_einval_is_a_refusal() {
        let error = |errno| Err(io::Error::from_raw_os_error(errno));
        assert_eq!(answer(error(libc::EIO)), Probe::Works);
        assert_eq!(answer(Ok(10)), Probe::Works);
        assert_eq!(answer(error(libc::EINVAL)), Probe::Refused(libc::EINVAL));
        assert_eq!(answer(error(libc::ENOMEM)), Probe::Untried(libc::ENOMEM));
        assert_eq!(refused_or_untried(&io::Error::from_raw_os_error(libc::EIO)), Probe::Refused(libc::EIO));
        let unreachable = io::Error::from_raw_os_error(libc::ENETUNREACH);
        assert_eq!(refused_or_untried(&unreachable), Probe::Untried(libc::ENETUNREACH));
    }
}
