//! `TcpRecord`: all that the other end of a TCP connection can tell about this one, as `braid/tcp/record.py` has it.
//!
//! ```text
//! version 1 | flags 1 | mss 2 | send scale 1 | receive scale 1 | local port 2 | remote port 2
//! | local address 4 or 16 | remote address 4 or 16 | send next 4 | receive next 4 | timestamp 4
//! | window: update 4, send 4, most 4, receive 4, edge from 4
//! | lengths of the three queues 4 each | unread | unacknowledged | unsent
//! ```
//!
//! Numbers are in network byte order. Flags: 1 IPv6, 2 window scales, 4 SACK, 8 timestamps; what is not there is zero.

use crate::Rest;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const VERSION: u8 = 1;
const MOST_QUEUE: u32 = 16 << 20;
const MOST_SCALE: u8 = 14;
const V6: u8 = 1;
const SCALES: u8 = 2;
const SACK: u8 = 4;
const TIMESTAMPS: u8 = 8;

/// The kernel's `struct tcp_repair_window`, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Sequence number of the segment that the send window was last taken from.
    pub update: u32,
    pub send: u32,
    /// Largest send window that the peer ever opened.
    pub most: u32,
    pub receive: u32,
    /// What `receive` counts from: the last number that was acknowledged to the peer.
    pub edge_from: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpRecord {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// Behind the last byte of the send queue, unsent ones included.
    pub send_next: u32,
    /// Behind the last byte that came; those of `unread` are before it.
    pub receive_next: u32,
    /// What the peer asked for; with timestamps a segment carries 12 bytes less.
    pub mss: u16,
    /// For windows of the peer, and for ours. None: not negotiated.
    pub scales: Option<(u8, u8)>,
    pub sack: bool,
    /// At least as high as every one that was sent, in milliseconds. None: not negotiated.
    pub timestamp: Option<u32>,
    pub window: Window,
    /// Acknowledged, but not read yet.
    pub unread: Vec<u8>,
    pub unacknowledged: Vec<u8>,
    pub unsent: Vec<u8>,
}

impl TcpRecord {
    /// The first byte that the peer has not acknowledged.
    pub fn unacknowledged_from(&self) -> u32 {
        self.send_next.wrapping_sub((self.unacknowledged.len() + self.unsent.len()) as u32)
    }

    pub fn encode(&self) -> Vec<u8> {
        let (v6, scales) = (self.local.is_ipv6(), self.scales.unwrap_or((0, 0)));
        let flags = if v6 { V6 } else { 0 }
            | if self.scales.is_some() { SCALES } else { 0 }
            | if self.sack { SACK } else { 0 }
            | if self.timestamp.is_some() { TIMESTAMPS } else { 0 };
        let mut out = vec![VERSION, flags];
        out.extend_from_slice(&self.mss.to_be_bytes());
        out.extend_from_slice(&[scales.0, scales.1]);
        out.extend_from_slice(&self.local.port().to_be_bytes());
        out.extend_from_slice(&self.remote.port().to_be_bytes());
        for address in [self.local.ip(), self.remote.ip()] {
            match address {
                IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
                IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
            }
        }
        let Window { update, send, most, receive, edge_from } = self.window;
        let queues = [&self.unread, &self.unacknowledged, &self.unsent];
        let numbers = [self.send_next, self.receive_next, self.timestamp.unwrap_or(0)];
        let numbers = numbers.into_iter().chain([update, send, most, receive, edge_from]);
        for number in numbers.chain(queues.map(|queue| queue.len() as u32)) {
            out.extend_from_slice(&number.to_be_bytes());
        }
        queues.into_iter().for_each(|queue| out.extend_from_slice(queue));
        out
    }

    /// The address of this end alone, of a record whose rest nobody has looked at. `Err` as of `decode`.
    pub fn local_host(bytes: &[u8]) -> Result<IpAddr, &'static str> {
        let mut rest = Rest(bytes);
        let [version, flags, ..] = take::<10>(&mut rest)?;
        match (version, flags & !(V6 | SCALES | SACK | TIMESTAMPS), flags & V6) {
            (VERSION, 0, 0) => Ok(Ipv4Addr::from(take::<4>(&mut rest)?).into()),
            (VERSION, 0, _) => Ok(Ipv6Addr::from(take::<16>(&mut rest)?).into()),
            (VERSION, ..) => Err("record_flags"),
            _ => Err("record_version"),
        }
    }

    /// `Err` is what is wrong, in a word, for anything that no `encode` has made.
    pub fn decode(bytes: &[u8]) -> Result<TcpRecord, &'static str> {
        let mut rest = Rest(bytes);
        let [version, flags] = take(&mut rest)?;
        let mss = u16::from_be_bytes(take(&mut rest)?);
        let [send_scale, receive_scale] = take(&mut rest)?;
        let ports = [u16::from_be_bytes(take(&mut rest)?), u16::from_be_bytes(take(&mut rest)?)];
        if version != VERSION {
            return Err("record_version");
        }
        if flags & !(V6 | SCALES | SACK | TIMESTAMPS) != 0 {
            return Err("record_flags");
        }
        let mut address = || -> Result<IpAddr, &'static str> {
            Ok(match flags & V6 != 0 {
                true => Ipv6Addr::from(take::<16>(&mut rest)?).into(),
                false => Ipv4Addr::from(take::<4>(&mut rest)?).into(),
            })
        };
        let (local, remote) = (address()?, address()?);
        let mut number = || -> Result<u32, &'static str> { Ok(u32::from_be_bytes(take(&mut rest)?)) };
        let (send_next, receive_next, timestamp) = (number()?, number()?, number()?);
        let window =
            Window { update: number()?, send: number()?, most: number()?, receive: number()?, edge_from: number()? };
        let lengths = [number()?, number()?, number()?];
        if send_scale.max(receive_scale) > if flags & SCALES != 0 { MOST_SCALE } else { 0 } {
            return Err("record_scale");
        }
        if timestamp != 0 && flags & TIMESTAMPS == 0 {
            return Err("record_timestamp");
        }
        let total: u64 = lengths.iter().map(|&length| u64::from(length)).sum();
        if lengths.iter().any(|&length| length > MOST_QUEUE) || total != rest.0.len() as u64 {
            return Err("record_length");
        }
        let [unread, unacknowledged, unsent] = lengths.map(|length| {
            let (queue, after) = rest.0.split_at(length as usize);
            rest.0 = after;
            queue.to_vec()
        });
        Ok(TcpRecord {
            local: SocketAddr::new(local, ports[0]),
            remote: SocketAddr::new(remote, ports[1]),
            send_next,
            receive_next,
            mss,
            scales: (flags & SCALES != 0).then_some((send_scale, receive_scale)),
            sack: flags & SACK != 0,
            timestamp: (flags & TIMESTAMPS != 0).then_some(timestamp),
            window,
            unread,
            unacknowledged,
            unsent,
        })
    }
}

fn take<const N: usize>(rest: &mut Rest<'_>) -> Result<[u8; N], &'static str> {
    rest.take().ok_or("record_truncated")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same as in `tests/gateway/test_normalpath_record.py`.
    const GOLDEN: &str =
        "010e05500709 00500fa0 0a5b01adc0000207 01020304 0a0b0c0d 11223344 0a0b0c0c 0000fb00 0000fb00 \
                          00003908 0a0b0c0d 00000003 00000002 00000000 474554 6162";

    fn golden() -> Vec<u8> {
        let digits: Vec<u8> = GOLDEN.bytes().filter(|byte| byte.is_ascii_hexdigit()).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    fn record() -> TcpRecord {
        TcpRecord {
            local: "10.91.1.173:80".parse().unwrap(),
            remote: "192.0.2.7:4000".parse().unwrap(),
            send_next: 0x0102_0304,
            receive_next: 0x0a0b_0c0d,
            mss: 1360,
            scales: Some((7, 9)),
            sack: true,
            timestamp: Some(0x1122_3344),
            window: Window { update: 0x0a0b_0c0c, send: 64_256, most: 64_256, receive: 14_600, edge_from: 0x0a0b_0c0d },
            unread: b"GET".to_vec(),
            unacknowledged: b"ab".to_vec(),
            unsent: Vec::new(),
        }
    }

    #[test]
    fn a_record_is_written_as_its_picture_says() {
        assert_eq!(record().encode(), golden());
        assert_eq!(TcpRecord::decode(&golden()), Ok(record()));
        assert_eq!(record().unacknowledged_from(), 0x0102_0302);
        let v6 = TcpRecord {
            local: "[fd00::1]:80".parse().unwrap(),
            remote: "[fd00::2]:9".parse().unwrap(),
            scales: None,
            timestamp: None,
            sack: false,
            ..record()
        };
        assert_eq!(TcpRecord::local_host(&v6.encode()), Ok(v6.local.ip()));
        assert_eq!(TcpRecord::decode(&v6.encode()), Ok(v6));
        assert_eq!(TcpRecord::local_host(&golden()), Ok(record().local.ip()));
    }

    #[test]
    fn what_says_too_much_is_refused() {
        for (at, value, reason) in [
            (0, 2, "record_version"),
            (1, 0x1e, "record_flags"),
            (4, 15, "record_scale"),
            (1, 0x06, "record_timestamp"),
            (1, 0x0f, "record_truncated"),
        ] {
            let mut bytes = golden();
            bytes[at] = value;
            assert_eq!(TcpRecord::decode(&bytes), Err(reason));
        }
        assert_eq!(TcpRecord::decode(&golden()[..golden().len() - 1]), Err("record_length"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(tail in proptest::collection::vec(any::<u8>(), 0..90), keep in 0usize..70) {
            let mut bytes = golden();
            bytes.truncate(keep);
            bytes.extend(tail);
            let local = TcpRecord::local_host(&bytes);
            if let Ok(record) = TcpRecord::decode(&bytes) {
                prop_assert_eq!(local, Ok(record.local.ip()));
                prop_assert_eq!(record.encode(), bytes);
            }
        }
    }
}
