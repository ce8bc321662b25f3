//! ICMP errors about packets that were translated: the sequence number that they quote goes back into its sender's terms, who
//! believes only in errors about what it has under way (RFC 5927 4.1).

use crate::verdict::Side;
use crate::FastPath;
use braid_packet::{checksum, FlowId, Ip, Transport};

/// Of the ICMP header; its checksum's place.
const HEADER: usize = 8;
const CHECKSUM: usize = 2;
/// Of the TCP header.
const SEQUENCE: usize = 4;

impl FastPath {
    /// An ICMP error about a packet that went to the side it comes from. Its addresses do not matter. `partial`: its checksum is
    /// only that of the pseudo-header. Nothing happens to any other packet.
    pub fn translate_error(&self, flow: FlowId, from: Side, packet: &mut [u8], partial: bool) {
        let Some(session) = self.table.get(flow).filter(|session| session.is_open()) else { return };
        let shift = match from {
            // What the server got has its numbers, what the client got the client's.
            Side::Server => session.proxy.client_shift.wrapping_neg(),
            Side::Client => session.proxy.shift,
        };
        if shift != 0 {
            move_quoted(packet, shift, partial);
        }
    }
}

fn move_quoted(packet: &mut [u8], shift: u32, partial: bool) -> Option<()> {
    let ip = Ip::parse(packet).ok()?;
    if !matches!(ip.transport, Transport::Icmp(icmp) if icmp.is_error()) || ip.is_fragment() {
        return None;
    }
    let body = packet.get_mut(ip.header_len..ip.total_len)?;
    let quoted = Ip::parse_quoted(body.get(HEADER..)?).ok()?;
    let Transport::Tcp(tcp) = quoted.transport else { return None };
    let at = HEADER + quoted.header_len + SEQUENCE;
    let moved = tcp.sequence.wrapping_add(shift).to_be_bytes();
    body.get_mut(at..at + 4)?.copy_from_slice(&moved);
    if !partial {
        let field = u16::from_be_bytes([body[CHECKSUM], body[CHECKSUM + 1]]);
        let updated = checksum::update(field, &tcp.sequence.to_be_bytes(), &moved);
        body[CHECKSUM..CHECKSUM + 2].copy_from_slice(&updated.to_be_bytes());
    }
    Some(())
}
