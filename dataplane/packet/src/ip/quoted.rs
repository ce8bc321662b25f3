use super::{icmp_fields, tcp_fields, udp_fields, Ip, Malformed, Tcp, Transport};
use super::{ICMPV4, ICMPV6, TCP, UDP};

impl Ip {
    /// Decodes the packet quoted in an ICMP error: its headers and 8 bytes of transport suffice, its length field
    /// may say more than is there. Of TCP only ports and sequence are sure; the rest is zero when cut off.
    pub fn parse_quoted(quote: &[u8]) -> Result<Ip, Malformed> {
        let ip = Ip::parse_network(quote, true)?;
        let end = ip.total_len.min(quote.len());
        let body = quote.get(ip.header_len..end).ok_or(Malformed::TotalLength)?;
        if !ip.is_first() {
            return Ok(ip);
        }
        let transport = match (ip.protocol, ip.v6) {
            (TCP, _) => {
                body.first_chunk::<8>().ok_or(Malformed::Transport)?;
                let tcp = match body.first_chunk::<20>() {
                    Some(b) => tcp_fields(b, 20, 0),
                    None => {
                        let mut known = [0; 20];
                        known[..8].copy_from_slice(&body[..8]);
                        tcp_fields(&known, 20, 0)
                    }
                };
                Transport::Tcp(Tcp { payload: 0, ..tcp })
            }
            (UDP, _) => udp_fields(body.first_chunk().ok_or(Malformed::Transport)?),
            (ICMPV4, false) | (ICMPV6, true) => {
                Transport::Icmp(icmp_fields(body.first_chunk().ok_or(Malformed::Transport)?, ip.v6))
            }
            _ => Transport::Other,
        };
        Ok(Ip { transport, ..ip })
    }
}
