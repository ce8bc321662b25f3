//! ICMP errors about packets that were translated: the sequence number that they quote goes back into its sender's terms, who
//! believes only in errors about what it has under way (RFC 5927 4.1).

use crate::verdict::Side;
use crate::window::at_most;
use crate::{FastPath, Reason};
use braid_packet::{checksum, FlowId, Ip, Transport};

/// Of the ICMP header; its checksum's place.
const HEADER: usize = 8;
const CHECKSUM: usize = 2;
/// Of the TCP header.
const SEQUENCE: usize = 4;

impl FastPath {
    /// An ICMP error about a packet that went to the side it comes from. Its addresses do not matter. `partial`: its checksum is
    /// only that of the pseudo-header. False, and counted, if it is about nothing that is under way.
    pub fn translate_error(&mut self, flow: FlowId, from: Side, packet: &mut [u8], partial: bool) -> bool {
        let moved = self.table.get(flow).and_then(|session| {
            let (client, server) = (&session.client.sender, &session.proxy.sender);
            // What the server got has its numbers, what the client got the client's.
            let (here, shift, under_way) = match from {
                Side::Server => (0, session.proxy.client_shift.wrapping_neg(), (server.acknowledged, client.end)),
                Side::Client => (session.proxy.shift, session.proxy.shift, (client.acknowledged, server.end)),
            };
            let fits = |number: u32| {
                let number = number.wrapping_add(here);
                session.is_open() && at_most(under_way.0, number) && at_most(number, under_way.1)
            };
            move_quoted(packet, shift, fits, partial)
        });
        if moved.is_none() {
            self.counters.refuse(Reason::Quoted);
        }
        moved.is_some()
    }
}

fn move_quoted(packet: &mut [u8], shift: u32, fits: impl Fn(u32) -> bool, partial: bool) -> Option<()> {
    let ip = Ip::parse(packet).ok()?;
    if !matches!(ip.transport, Transport::Icmp(icmp) if icmp.is_error()) || ip.is_fragment() {
        return None;
    }
    let body = packet.get_mut(ip.header_len..ip.total_len)?;
    let quoted = Ip::parse_quoted(body.get(HEADER..)?).ok()?;
    let Transport::Tcp(tcp) = quoted.transport else { return None };
    if !fits(tcp.sequence) {
        return None;
    }
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
