//! One queue of a TUN device that speaks `virtio_net_hdr`.

use crate::counters::Counters;
use crate::offloads::{Offloads, Probe, Standing};
use crate::probe::{self, TunProbe};
use crate::sys;
use braid_offload::Segments;
use braid_packet::{Gso, SuperPackets, VnetHdr};
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::sync::Arc;

const MAX_PACKET: usize = 65_535;
/// More parts than these are copied together first; coalescing makes at most 65.
const MAX_PARTS: usize = 80;

/// Super-packets that the device exchanges with the host, both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunOffload {
    pub tso: bool,
    pub uso: bool,
}

#[derive(Debug)]
pub struct Tun {
    file: File,
    offload: TunOffload,
    tso: Probe,
    uso: Probe,
    writes: TunProbe,
}

impl Tun {
    /// Takes part in the TUN queue behind `fd` through a descriptor of its own; the caller keeps his.
    ///
    /// The queue must have been made with IFF_TUN, IFF_NO_PI and IFF_VNET_HDR (InvalidInput otherwise). Becomes
    /// non-blocking for all holders. Offloads are set or cleared for the whole device, whatever was set before.
    pub fn adopt(fd: RawFd, offload: bool) -> io::Result<Tun> {
        let file = File::from(sys::duplicate(fd)?);
        let flags = sys::tun_flags(file.as_fd())?;
        let needed = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        if flags & needed != needed {
            let message = "the TUN must be opened with IFF_TUN | IFF_NO_PI | IFF_VNET_HDR";
            return Err(io::Error::new(ErrorKind::InvalidInput, message));
        }
        sys::tun_set_header_size(file.as_fd(), VnetHdr::LEN as libc::c_int)?;
        let writes = if offload { probe::tun() } else { TunProbe::OFF };
        let (tso, uso) = negotiate(file.as_fd(), offload)?;
        sys::set_nonblocking(file.as_fd())?;
        let offload = TunOffload { tso: tso.usable(), uso: uso.usable() };
        Ok(Tun { file, offload, tso, uso, writes })
    }

    /// What the device accepted; writes may be less.
    pub fn offload(&self) -> TunOffload {
        self.offload
    }

    pub(crate) fn begin(&self, offloads: &Offloads) {
        offloads.tun_tso.begin(self.tso);
        offloads.tun_uso.begin(self.uso);
        offloads.tun_tcp_writes.begin(self.writes.tcp);
        offloads.tun_udp_writes.begin(self.writes.udp);
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// TCP and UDP super-packets on reading. Both probes are the device's own answer.
fn negotiate(fd: BorrowedFd<'_>, offload: bool) -> io::Result<(Probe, Probe)> {
    if !offload {
        sys::tun_set_offload(fd, 0)?;
        return Ok((Probe::Off, Probe::Off));
    }
    let tso = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
    let both = Probe::of(sys::tun_set_offload(fd, tso | libc::TUN_F_USO4 | libc::TUN_F_USO6));
    if both.usable() {
        return Ok((both, both));
    }
    // USO needs Linux 6.2.
    let alone = Probe::of(sys::tun_set_offload(fd, tso));
    if !alone.usable() {
        sys::tun_set_offload(fd, 0)?;
    }
    Ok((alone, both))
}

/// What is written to; a test's stand-in refuses like a kernel would.
pub(crate) trait Device {
    fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize>;
}

impl Device for Tun {
    fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        (&self.file).write_vectored(parts)
    }
}

/// Reads one (super-)packet at a time into a buffer allocated once.
#[derive(Debug)]
pub(crate) struct TunReader {
    buffer: Vec<u8>,
    counters: Arc<Counters>,
}

impl TunReader {
    pub(crate) fn new(counters: Arc<Counters>) -> TunReader {
        TunReader { buffer: vec![0; VnetHdr::LEN + MAX_PACKET], counters }
    }

    /// `None` when nothing waits. Reads past what is not understood. An error means the device is gone.
    pub(crate) fn read(&mut self, tun: &Tun) -> io::Result<Option<(VnetHdr, &mut [u8])>> {
        loop {
            let length = match (&tun.file).read(&mut self.buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOMEM)) => {
                    // The kernel could not describe this packet and has dropped it.
                    self.counters.drops.tun_malformed.add(1);
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            let Ok(vnet) = VnetHdr::decode(&self.buffer[..length]) else {
                self.counters.drops.tun_malformed.add(1);
                if length == 0 {
                    return Ok(None);
                }
                continue;
            };
            self.counters.io.tun_rx_packets.add(1);
            self.counters.io.tun_rx_bytes.add(length - VnetHdr::LEN);
            return Ok(Some((vnet, &mut self.buffer[VnetHdr::LEN..length])));
        }
    }
}

/// Writes packets; cuts super-packets itself where the kernel refuses them.
#[derive(Debug)]
pub(crate) struct TunWriter<D> {
    device: D,
    counters: Arc<Counters>,
    /// A whole packet; filled only when its parts do not do.
    whole: Vec<u8>,
    /// One segment of it.
    segment: Vec<u8>,
}

impl<D: Device> TunWriter<D> {
    pub(crate) fn new(device: D, counters: Arc<Counters>) -> TunWriter<D> {
        TunWriter { device, counters, whole: Vec::new(), segment: Vec::new() }
    }

    /// Which super-packets the device takes now.
    pub(crate) fn super_packets(&self) -> SuperPackets {
        let offloads = &self.counters.offloads;
        SuperPackets { tcp: offloads.tun_tcp_writes.in_use(), udp: offloads.tun_udp_writes.in_use() }
    }

    pub(crate) fn write(&mut self, vnet: VnetHdr, parts: &[&[u8]]) {
        if parts.len() > MAX_PARTS {
            self.gather(parts);
            let whole = std::mem::take(&mut self.whole);
            self.write_parts(vnet, &[&whole]);
            self.whole = whole;
        } else {
            self.write_parts(vnet, parts);
        }
    }

    fn write_parts(&mut self, vnet: VnetHdr, parts: &[&[u8]]) {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        if self.standing(vnet.gso).is_some_and(|standing| !standing.in_use()) {
            self.write_segments(vnet, parts);
            return;
        }
        match self.try_write(vnet, parts) {
            Ok(()) => self.count(length),
            Err(error) if vnet.gso != Gso::None && error.raw_os_error() == Some(libc::EINVAL) => {
                // If it is refused in pieces too, the packet was at fault, not the kernel's offload.
                let taken = self.write_segments(vnet, parts);
                if taken && self.standing(vnet.gso).is_some_and(|standing| standing.fall_back(libc::EINVAL)) {
                    self.counters.fallbacks.add(1);
                }
            }
            Err(error) => self.count_refused(&error),
        }
    }

    /// The offload that a write needs.
    fn standing(&self, gso: Gso) -> Option<&Standing> {
        match gso {
            Gso::None => None,
            Gso::TcpV4 | Gso::TcpV6 => Some(&self.counters.offloads.tun_tcp_writes),
            Gso::Udp => Some(&self.counters.offloads.tun_udp_writes),
        }
    }

    fn try_write(&self, vnet: VnetHdr, parts: &[&[u8]]) -> io::Result<()> {
        let header = vnet.encode();
        let mut slices = [IoSlice::new(&[]); 1 + MAX_PARTS];
        slices[0] = IoSlice::new(&header);
        let mut count = 1;
        for (slice, part) in slices[1..].iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
            count += 1;
        }
        loop {
            match self.device.write(&slices[..count]) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the kernel took any.
    fn write_segments(&mut self, vnet: VnetHdr, parts: &[&[u8]]) -> bool {
        self.gather(parts);
        let mut taken = false;
        let plan = match Segments::plan(vnet, &self.whole, MAX_PACKET) {
            Ok(plan) => plan,
            Err(_) => {
                self.counters.io.tun_tx_errors.add(1);
                self.counters.drops.tun_write_refused.add(1);
                return false;
            }
        };
        let single = VnetHdr {
            needs_csum: plan.partial(),
            csum_start: vnet.csum_start,
            csum_offset: vnet.csum_offset,
            ..VnetHdr::default()
        };
        let mut segment = std::mem::take(&mut self.segment);
        segment.resize(MAX_PACKET, 0);
        for i in 0..plan.count() {
            let length = plan.write(&self.whole, i, &mut segment);
            match self.try_write(single, &[&segment[..length]]) {
                Ok(()) => {
                    taken = true;
                    self.count(length);
                }
                Err(error) => self.count_refused(&error),
            }
        }
        self.segment = segment;
        taken
    }

    fn gather(&mut self, parts: &[&[u8]]) {
        let mut whole = std::mem::take(&mut self.whole);
        whole.clear();
        for part in parts {
            whole.extend_from_slice(part);
        }
        self.whole = whole;
    }

    fn count(&self, length: usize) {
        self.counters.io.tun_tx_packets.add(1);
        self.counters.io.tun_tx_bytes.add(length);
    }

    fn count_refused(&self, error: &io::Error) {
        self.counters.io.tun_tx_errors.add(1);
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => {
                self.counters.drops.tun_write_full.add(1);
            }
            _ => self.counters.drops.tun_write_refused.add(1),
        }
    }
}

#[cfg(test)]
mod tests;
