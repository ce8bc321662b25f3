use crate::address::Wide;
use braid_packet::checksum::Change;
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
    let (source_at, destination_at) = (ip.source_at().start, ip.destination_at().start);
    let addresses = if ip.v6 {
        let source = replace(packet, source_at, ends.source.to_be_bytes());
        source.zip(replace(packet, destination_at, ends.destination.to_be_bytes()))
    } else {
        let source = replace(packet, source_at, (ends.source as u32).to_be_bytes());
        source.zip(replace(packet, destination_at, (ends.destination as u32).to_be_bytes()))
    };
    let Some((source, destination)) = addresses else { return };
    let addresses = source.and(destination);
    if !ip.v6 {
        change(packet, 10, |sum| addresses.of_checksum(sum));
    }
    if let (Some(id), Some(at)) = (id, ip.fragment.id_at) {
        rewrite_id(packet, ip, at, id);
    }
    let Some(body) = packet.get_mut(ip.header_len..) else { return };
    let ports = match ip.transport {
        Transport::Tcp(_) | Transport::Udp { .. } => {
            let ports = u32::from(ends.source_port) << 16 | u32::from(ends.destination_port);
            replace(body, 0, ports.to_be_bytes())
        }
        Transport::Icmp(icmp) if icmp.is_echo_request() => replace(body, 4, ends.source_port.to_be_bytes()),
        Transport::Icmp(icmp) if icmp.is_echo_reply() => replace(body, 4, ends.destination_port.to_be_bytes()),
        Transport::Icmp(_) => Some(Change::default()),
        Transport::Other => return,
    };
    let Some(ports) = ports else { return };
    let covered = match ip.transport {
        Transport::Icmp(icmp) if !icmp.v6 => Change::default(), // no pseudo-header
        _ => addresses,
    };
    let at = match (ip.protocol, ip.transport) {
        (TCP, _) => 16,
        (UDP, Transport::Udp { no_checksum: true, .. }) if !partial => return,
        (UDP, _) => 6,
        _ => 2,
    };
    if partial {
        return change(body, at, |sum| covered.of_sum(sum));
    }
    change(body, at, |sum| match covered.and(ports).of_checksum(sum) {
        0 if ip.protocol == UDP => 0xffff,
        updated => updated,
    });
}

fn rewrite_id(packet: &mut [u8], ip: &Ip, at: usize, id: u32) {
    if ip.v6 {
        replace(packet, at, id.to_be_bytes());
    } else if let Some(changed) = replace(packet, at, (id as u16).to_be_bytes()) {
        change(packet, 10, |sum| changed.of_checksum(sum));
    }
}

/// None if the field is beyond the end.
fn replace<const N: usize>(bytes: &mut [u8], at: usize, new: [u8; N]) -> Option<Change> {
    let field: &mut [u8; N] = bytes.get_mut(at..)?.first_chunk_mut()?;
    Some(Change::of(std::mem::replace(field, new), new))
}

fn change(bytes: &mut [u8], at: usize, new: impl FnOnce(u16) -> u16) {
    if let Some([high, low]) = bytes.get_mut(at..at + 2) {
        [*high, *low] = new(u16::from_be_bytes([*high, *low])).to_be_bytes();
    }
}
