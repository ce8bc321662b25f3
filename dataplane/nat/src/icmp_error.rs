//! ICMP errors and the packets they quote (RFC 5508 4, RFC 5927).

use crate::address::widen;
use crate::key::Key;
use crate::reverse::way;
use crate::rewrite::{rewrite, Ends};
use crate::side::Side;
use crate::verdict::{Refusal, Way};
use crate::{Nat, Reason};
use braid_packet::ip::{ICMPV6, TCP};
use braid_packet::{checksum, FlowId, Icmp, Ip, Time, Transport};

const UNMATCHED: Refusal = Refusal::Drop(Reason::IcmpUnmatched);

/// Bytes of ICMP before the quote.
const HEADER: usize = 8;

impl Nat {
    /// An error from a client, or a router before it, about a packet that the VIP sent.
    pub(crate) fn forward_error(
        &mut self,
        packet: &mut [u8],
        ip: &Ip,
        partial: bool,
        from_edge: u16,
        now: Time,
    ) -> Result<(), Refusal> {
        self.check_client(ip, from_edge)?;
        let quoted = quote(packet, ip, partial)?;
        let (source_port, destination_port) = match quoted.transport {
            Transport::Icmp(icmp) if icmp.is_echo_reply() => (0, icmp.id),
            Transport::Icmp(_) => return Err(UNMATCHED),
            _ => quoted.ports().unwrap_or((0, 0)),
        };
        let key = Key {
            near: widen(quoted.destination),
            far: widen(quoted.source),
            near_port: destination_port,
            far_port: source_port,
            protocol: quoted.protocol,
        };
        let found = self.table.find_forward(&key);
        let index = self.live(found, now).filter(|&index| self.is_in_flight(index, Side::Server, &quoted));
        let (flow, back) = self.known(index.ok_or(UNMATCHED)?, Side::Server)?;
        if flow.edge != from_edge {
            return Err(Refusal::Drop(Reason::WrongEdge));
        }
        let outer = Ends { source: back.far, destination: back.near, source_port: 0, destination_port: 0 };
        let inner = Ends {
            source: back.near,
            destination: back.far,
            source_port: back.near_port,
            destination_port: back.far_port,
        };
        rewrite_error(packet, ip, partial, &outer, &quoted, &inner);
        Ok(())
    }

    /// An error from a server, or a router before it, about a packet from our SNAT address.
    pub(crate) fn reverse_error(
        &mut self,
        packet: &mut [u8],
        ip: &Ip,
        partial: bool,
        now: Time,
    ) -> Result<Way, Refusal> {
        let quoted = quote(packet, ip, partial)?;
        let (source_port, destination_port) = match quoted.transport {
            Transport::Icmp(icmp) if icmp.is_echo_request() => (icmp.id, 0),
            Transport::Icmp(_) => return Err(UNMATCHED),
            _ => quoted.ports().unwrap_or((0, 0)),
        };
        let key = Key {
            near: widen(quoted.destination),
            far: widen(quoted.source),
            near_port: destination_port,
            far_port: source_port,
            protocol: quoted.protocol,
        };
        let found = self.table.find_reverse(&key);
        if let Some(flow) = found.and_then(|index| self.normal(index)) {
            return Err(Refusal::Normal(flow));
        }
        let index = self.live(found, now).filter(|&index| self.is_in_flight(index, Side::Client, &quoted));
        let (flow, front) = self.known(index.ok_or(UNMATCHED)?, Side::Client)?;
        let vip = front.far;
        // `key` is the flow's on the server's side.
        let source = match self.rules.router(ip.v6) {
            Some(router) if widen(ip.source) != key.near => router,
            _ => vip,
        };
        let outer = Ends { source, destination: front.near, source_port: 0, destination_port: 0 };
        let inner = Ends {
            source: front.near,
            destination: vip,
            source_port: front.near_port,
            destination_port: front.far_port,
        };
        limit_mtu(packet, ip, self.rules.mtu);
        let way = Way { fast: index.and_then(|index| self.fast(index)), ..way(flow) };
        rewrite_error(packet, ip, partial, &outer, &quoted, &inner);
        Ok(way)
    }

    /// The flow of the fast path that a client's ICMP error is about: what it quotes is in the client's terms.
    pub fn fast_error_from_client(&self, packet: &[u8]) -> Option<FlowId> {
        let ip = Ip::parse(packet).ok()?;
        if !matches!(ip.transport, Transport::Icmp(icmp) if icmp.is_error()) {
            return None;
        }
        let quoted = Ip::parse_quoted(packet.get(ip.header_len + HEADER..ip.total_len)?).ok()?;
        let Transport::Tcp(tcp) = quoted.transport else { return None };
        let key = Key {
            near: widen(quoted.destination),
            far: widen(quoted.source),
            near_port: tcp.destination,
            far_port: tcp.source,
            protocol: TCP,
        };
        self.fast(self.table.find_forward(&key)?)
    }

    fn is_in_flight(&self, index: u32, sender: Side, quoted: &Ip) -> bool {
        match quoted.transport {
            // Who follows its connections judges that.
            Transport::Tcp(_) if self.fast(index).is_some() => true,
            Transport::Tcp(tcp) => {
                self.table.details(index).is_some_and(|details| details.track.is_in_flight(sender, tcp.sequence))
            }
            _ => quoted.protocol != TCP,
        }
    }
}

/// The packet that an ICMP error is about, if the error is one that we carry.
fn quote(packet: &[u8], ip: &Ip, partial: bool) -> Result<Ip, Refusal> {
    let Transport::Icmp(icmp) = ip.transport else { return Err(UNMATCHED) };
    let carried = match icmp.v6 {
        true => matches!(icmp.kind, 1..=4),
        false => matches!(icmp.kind, 3 | 11 | 12),
    };
    if !carried {
        return Err(Refusal::Drop(Reason::IcmpType));
    }
    if ip.is_fragment() {
        return Err(UNMATCHED);
    }
    let body = packet.get(ip.header_len..ip.total_len).unwrap_or(&[]);
    if !partial && checksum::sum(body, pseudo_header(packet, ip)) != 0xffff {
        return Err(Refusal::Drop(Reason::IcmpChecksum));
    }
    if mtu(body, icmp).is_some_and(|mtu| mtu < if ip.v6 { 1280 } else { 68 }) {
        return Err(UNMATCHED);
    }
    let quoted = Ip::parse_quoted(body.get(HEADER..).unwrap_or(&[])).map_err(|_| UNMATCHED)?;
    // The quoted packet came from where the error goes.
    if quoted.v6 != ip.v6 || quoted.source != ip.destination || !quoted.is_first() {
        return Err(UNMATCHED);
    }
    Ok(quoted)
}

fn pseudo_header(packet: &[u8], ip: &Ip) -> u16 {
    if !ip.v6 {
        return 0;
    }
    let (source, destination) = (&packet[ip.source_at()], &packet[ip.destination_at()]);
    checksum::pseudo_header(source, destination, ICMPV6, ip.transport_len())
}

/// MTU of a fragmentation needed or packet too big; 0 comes from routers older than RFC 1191.
fn mtu(body: &[u8], icmp: Icmp) -> Option<u32> {
    let &[_, _, _, _, a, b, c, d, ..] = body else { return None };
    match (icmp.v6, icmp.kind, icmp.code) {
        (true, 2, _) => Some(u32::from_be_bytes([a, b, c, d])),
        (false, 3, 4) => Some(u32::from(u16::from_be_bytes([c, d]))).filter(|&mtu| mtu != 0),
        _ => None,
    }
}

fn limit_mtu(packet: &mut [u8], ip: &Ip, most: u16) {
    let Transport::Icmp(icmp) = ip.transport else { return };
    let Some(body) = packet.get_mut(ip.header_len..) else { return };
    if mtu(body, icmp).is_none_or(|mtu| mtu <= u32::from(most)) {
        return;
    }
    // Byte 5 of an IPv4 error may be the length of its quote (RFC 4884).
    let first = if icmp.v6 { 4 } else { 6 };
    body[first..8].copy_from_slice(&u32::from(most).to_be_bytes()[first - 4..]);
}

fn rewrite_error(packet: &mut [u8], ip: &Ip, partial: bool, outer: &Ends, quoted: &Ip, inner: &Ends) {
    rewrite(packet, ip, partial, outer, None);
    if let Some(quote) = packet.get_mut(ip.header_len + HEADER..ip.total_len) {
        rewrite(quote, quoted, false, inner, None);
    }
    if partial {
        return;
    }
    // Verified before, so that a new sum hides no damage.
    let pseudo = pseudo_header(packet, ip);
    let Some(body) = packet.get_mut(ip.header_len..ip.total_len) else { return };
    body[2..4].fill(0);
    let complete = !checksum::sum(body, pseudo);
    body[2..4].copy_from_slice(&complete.to_be_bytes());
}
