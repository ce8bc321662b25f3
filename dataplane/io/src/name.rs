//! Socket addresses as the kernel writes them (`struct sockaddr_in`, `struct sockaddr_in6`).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

const LEN_V4: usize = 16;
const LEN_V6: usize = 28;

#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(crate) struct Name {
    bytes: [u8; Name::CAPACITY],
}

impl Name {
    pub(crate) const CAPACITY: usize = 32;
    pub(crate) const EMPTY: Name = Name { bytes: [0; Self::CAPACITY] };

    /// The name and its length.
    pub(crate) fn encode(address: SocketAddr) -> (Name, usize) {
        let mut name = Self::EMPTY;
        let b = &mut name.bytes;
        b[2..4].copy_from_slice(&address.port().to_be_bytes());
        let length = match address {
            SocketAddr::V4(v4) => {
                b[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                b[4..8].copy_from_slice(&v4.ip().octets());
                LEN_V4
            }
            SocketAddr::V6(v6) => {
                b[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
                b[4..8].copy_from_slice(&v6.flowinfo().to_ne_bytes());
                b[8..24].copy_from_slice(&v6.ip().octets());
                b[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                LEN_V6
            }
        };
        (name, length)
    }

    /// `None` for another family or a length too short for its own.
    pub(crate) fn decode(&self, length: usize) -> Option<SocketAddr> {
        let b = &self.bytes;
        let family = i32::from(u16::from_ne_bytes([b[0], b[1]]));
        let port = u16::from_be_bytes([b[2], b[3]]);
        if family == libc::AF_INET && length >= LEN_V4 {
            let ip = Ipv4Addr::new(b[4], b[5], b[6], b[7]);
            return Some(SocketAddr::V4(SocketAddrV4::new(ip, port)));
        }
        if family == libc::AF_INET6 && length >= LEN_V6 {
            let ip: [u8; 16] = b[8..24].try_into().ok()?;
            let flow = u32::from_ne_bytes([b[4], b[5], b[6], b[7]]);
            let scope = u32::from_ne_bytes([b[24], b[25], b[26], b[27]]);
            return Some(SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, scope)));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_refuses_short_or_foreign_names() {
        for text in ["192.0.2.7:7400", "[2001:db8::7%3]:7400", "[::1]:1"] {
            let address: SocketAddr = text.parse().unwrap();
            let (name, length) = Name::encode(address);
            assert_eq!(name.decode(length), Some(address));
            assert_eq!(name.decode(length - 1), None);
        }
        assert_eq!(Name::EMPTY.decode(28), None);
    }
}
