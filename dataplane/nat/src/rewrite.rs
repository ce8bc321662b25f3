use crate::address::Wide;
use braid_packet::checksum;
use braid_packet::ip::{TCP, UDP};
use braid_packet::{Ip, Transport};

/// New addresses and ports of a packet. For ICMP echo the client's end has the identifier as its port.
pub(crate) struct Ends {
    pub(crate) source: Wide,
    pub(crate) destination: Wide,
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
}

/// Rewrites addresses, ports or identifier, and for fragments the identification, with all checksums (RFC 1624).
///
/// `packet` must be what `ip` was parsed from, or a quote of it: fields beyond its end are passed over.
/// A `partial` transport checksum is the sum of the pseudo-header: addresses are in it, ports are not.
pub(crate) fn rewrite(packet: &mut [u8], ip: &Ip, partial: bool, ends: &Ends, id: Option<u32>) {
    let width = if ip.v6 { 16 } else { 4 };
    let mut old = [0; 36];
    let mut new = [0; 36];
    old[..width].copy_from_slice(&packet[ip.source_at()]);
    old[width..2 * width].copy_from_slice(&packet[ip.destination_at()]);
    new[..width].copy_from_slice(&ends.source.to_be_bytes()[16 - width..]);
    new[width..2 * width].copy_from_slice(&ends.destination.to_be_bytes()[16 - width..]);
    packet[ip.source_at()].copy_from_slice(&new[..width]);
    packet[ip.destination_at()].copy_from_slice(&new[width..2 * width]);
    if !ip.v6 {
        change(packet, 10, |sum| checksum::update(sum, &old[..8], &new[..8]));
    }
    if let (Some(id), Some(at)) = (id, ip.fragment.id_at) {
        rewrite_id(packet, ip, at, id);
    }
    let (field, ports): (usize, &[u8]) = match ip.transport {
        Transport::Tcp(_) | Transport::Udp { .. } => {
            let [a, b] = ends.source_port.to_be_bytes();
            let [c, d] = ends.destination_port.to_be_bytes();
            (0, &[a, b, c, d])
        }
        Transport::Icmp(icmp) if icmp.is_echo_request() => (4, &ends.source_port.to_be_bytes()),
        Transport::Icmp(icmp) if icmp.is_echo_reply() => (4, &ends.destination_port.to_be_bytes()),
        Transport::Icmp(_) => (4, &[]),
        Transport::Other => return,
    };
    let Some(body) = packet.get_mut(ip.header_len..) else { return };
    let Some(slot) = body.get_mut(field..field + ports.len()) else { return };
    let covered = match ip.transport {
        Transport::Icmp(icmp) if !icmp.v6 => 0, // no pseudo-header
        _ => 2 * width,
    };
    old.copy_within(2 * width - covered..2 * width, 0);
    new.copy_within(2 * width - covered..2 * width, 0);
    let all = covered + ports.len();
    old[covered..all].copy_from_slice(slot);
    new[covered..all].copy_from_slice(ports);
    slot.copy_from_slice(ports);
    let at = match (ip.protocol, ip.transport) {
        (TCP, _) => 16,
        (UDP, Transport::Udp { no_checksum: true, .. }) if !partial => return,
        (UDP, _) => 6,
        _ => 2,
    };
    if partial {
        return change(body, at, |sum| checksum::update_sum(sum, &old[..covered], &new[..covered]));
    }
    change(body, at, |sum| match checksum::update(sum, &old[..all], &new[..all]) {
        0 if ip.protocol == UDP => 0xffff,
        updated => updated,
    });
}

fn rewrite_id(packet: &mut [u8], ip: &Ip, at: usize, id: u32) {
    if ip.v6 {
        if let Some(field) = packet.get_mut(at..at + 4) {
            field.copy_from_slice(&id.to_be_bytes());
        }
        return;
    }
    let new = (id as u16).to_be_bytes();
    let old = [packet[at], packet[at + 1]];
    packet[at..at + 2].copy_from_slice(&new);
    change(packet, 10, |sum| checksum::update(sum, &old, &new));
}

fn change(bytes: &mut [u8], at: usize, new: impl FnOnce(u16) -> u16) {
    if let Some([high, low]) = bytes.get_mut(at..at + 2) {
        [*high, *low] = new(u16::from_be_bytes([*high, *low])).to_be_bytes();
    }
}
