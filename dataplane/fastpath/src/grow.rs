//! Timestamps for a client that has them from a server that has none: 12 bytes more in every segment's header.
//!
//! The server was told a segment size that is 12 bytes smaller, so that no segment exceeds the MTU by it.

use crate::options::{timestamps_option, TIMESTAMPS_ROOM};
use braid_packet::{checksum, Gso, Ip, Tcp, VnetHdr, MOST_OPTIONS};

const CWR: u8 = 128;
const PSH: u8 = 8;

/// The grown packets of one call; the buffers stay. Two, where one would be longer than IP can say.
#[derive(Debug, Default)]
pub struct Grown {
    packets: [(VnetHdr, Vec<u8>); 2],
    used: usize,
}

impl Grown {
    /// One, or two where one would be too long for IP.
    pub fn packets(&self) -> &[(VnetHdr, Vec<u8>)] {
        &self.packets[..self.used]
    }

    /// Copies a packet with timestamps in it. False if it has no room for them.
    pub(crate) fn grow(&mut self, vnet: VnetHdr, packet: &[u8], ip: &Ip, tcp: &Tcp, value: u32, echo: u32) -> bool {
        self.used = 0;
        let header = ip.header_len + tcp.header_len;
        if tcp.header_len - 20 + TIMESTAMPS_ROOM > MOST_OPTIONS {
            return false;
        }
        let Some(payload) = packet.get(header..ip.total_len) else { return false };
        let most = usize::from(u16::MAX) - header - TIMESTAMPS_ROOM;
        let segment = usize::from(vnet.gso_size);
        let first = match payload.len() <= most {
            true => payload.len(),
            false if vnet.gso != Gso::None && segment > 0 && segment <= most => most / segment * segment,
            false => return false,
        };
        let parts = [(0, &payload[..first]), (first, &payload[first..])];
        let count = if first == payload.len() { 1 } else { 2 };
        let option = timestamps_option(value, echo);
        for (n, (offset, part)) in parts.into_iter().take(count).enumerate() {
            let (part_vnet, out) = &mut self.packets[n];
            *part_vnet = VnetHdr { hdr_len: vnet.hdr_len.wrapping_add(TIMESTAMPS_ROOM as u16), ..vnet };
            out.clear();
            out.extend_from_slice(&packet[..header]);
            out.extend_from_slice(&option);
            out.extend_from_slice(part);
            patch(out, ip, tcp, offset, n + 1 == count, vnet.needs_csum || vnet.gso != Gso::None);
        }
        self.used = count;
        true
    }
}

/// Lengths, place in the stream, flags and checksums of a part.
fn patch(out: &mut [u8], ip: &Ip, tcp: &Tcp, offset: usize, last: bool, partial: bool) {
    let total = out.len() as u16;
    if ip.v6 {
        out[4..6].copy_from_slice(&(total - 40).to_be_bytes());
    } else {
        let old = [out[2], out[3]];
        out[2..4].copy_from_slice(&total.to_be_bytes());
        let field = u16::from_be_bytes([out[10], out[11]]);
        let updated = checksum::update(field, &old, &total.to_be_bytes());
        out[10..12].copy_from_slice(&updated.to_be_bytes());
    }
    let sequence = tcp.sequence.wrapping_add(offset as u32);
    let length = out.len() - ip.header_len;
    let (source, destination) = (ip.source_at(), ip.destination_at());
    let pseudo = checksum::pseudo_header(&out[source], &out[destination], ip.protocol, length);
    let body = &mut out[ip.header_len..];
    body[4..8].copy_from_slice(&sequence.to_be_bytes());
    body[12] = ((tcp.header_len + TIMESTAMPS_ROOM) as u8) << 2 | body[12] & 15;
    if !last {
        body[13] &= !(Tcp::FIN | PSH);
    }
    if offset > 0 {
        body[13] &= !CWR;
    }
    if partial {
        body[16..18].copy_from_slice(&pseudo.to_be_bytes());
        return;
    }
    // By what changed: a packet that was damaged before must not get a right sum.
    let field = u16::from_be_bytes([body[16], body[17]]);
    let before = (ip.transport_len() as u16).to_be_bytes();
    let field = checksum::update(field, &before, &(length as u16).to_be_bytes());
    let field = checksum::update(field, &[(tcp.header_len as u8) << 2, 0], &[body[12] & 0xf0, 0]);
    let field = checksum::update(field, &[], &body[tcp.header_len..tcp.header_len + TIMESTAMPS_ROOM]);
    body[16..18].copy_from_slice(&field.to_be_bytes());
}
