use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// IPv6, or IPv4 as `::ffff:a.b.c.d`: one size for both families. Real v4-mapped packets are refused before.
/// A number and not bytes, as it then stays in registers.
pub(crate) type Wide = u128;

const MAPPED: u128 = 0xffff << 32;

pub(crate) fn widen(address: IpAddr) -> Wide {
    match address {
        IpAddr::V4(a) => widen_v4(a.to_bits()),
        IpAddr::V6(a) => a.to_bits(),
    }
}

pub(crate) fn widen_v4(address: u32) -> Wide {
    MAPPED | u128::from(address)
}

pub(crate) fn as_v4(wide: Wide) -> Option<u32> {
    (wide >> 32 == MAPPED >> 32).then_some(wide as u32)
}

pub(crate) fn narrow(wide: Wide) -> IpAddr {
    Ipv6Addr::from_bits(wide).to_canonical()
}

/// An address block such as `10.93.0.128/30`. Host bits are cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    network: u128,
    /// Of the widened address.
    length: u8,
    v6: bool,
}

/// Not an address, or a prefix length beyond its family's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixError;

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an IP prefix such as 10.93.0.128/30 or fd93::1:0/126")
    }
}

impl std::error::Error for PrefixError {}

impl Prefix {
    pub fn new(address: IpAddr, length: u8) -> Result<Prefix, PrefixError> {
        let v6 = address.is_ipv6();
        let length = match (v6, length) {
            (true, 0..=128) => length,
            (false, 0..=32) => length + 96,
            _ => return Err(PrefixError),
        };
        Ok(Prefix { network: widen(address) & mask(length), length, v6 })
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv6() == self.v6 && self.contains_wide(widen(address))
    }

    pub(crate) fn contains_wide(&self, wide: Wide) -> bool {
        wide & mask(self.length) == self.network
    }

    pub fn is_ipv6(&self) -> bool {
        self.v6
    }

    /// Number of addresses, at most 2^64.
    pub(crate) fn size(&self) -> u128 {
        1 << (128 - u32::from(self.length)).min(64)
    }

    pub(crate) fn nth(&self, n: u128) -> Wide {
        self.network | (n & (self.size() - 1))
    }
}

fn mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

impl FromStr for Prefix {
    type Err = PrefixError;

    /// `address/length`, or an address alone for a single one.
    fn from_str(text: &str) -> Result<Prefix, PrefixError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| PrefixError)?;
        let length = match length {
            Some(length) => length.parse().map_err(|_| PrefixError)?,
            None if address.is_ipv6() => 128,
            None => 32,
        };
        Prefix::new(address, length)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = if self.v6 { self.length } else { self.length - 96 };
        match (self.v6, narrow(self.network)) {
            (true, _) => write!(f, "{}/{shown}", Ipv6Addr::from(self.network)),
            (false, address) => write!(f, "{address}/{shown}"),
        }
    }
}

/// Whether packets may come from this address or be sent to it: one host on a network, in no disguise.
///
/// Refuses 0/8, 127/8, link-local (and with it the cloud metadata address), multicast, broadcast, and IPv6
/// addresses which carry an IPv4 address that some host or router would unwrap.
pub(crate) fn is_ordinary(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => {
            let [first, ..] = a.octets();
            first != 0 && first != 127 && first < 224 && !a.is_link_local()
        }
        IpAddr::V6(a) => {
            let s = a.segments();
            let embedded = s[..5] == [0; 5] && (s[5] == 0 || s[5] == 0xffff); // also :: and ::1
            let translated = s[..2] == [0x64, 0xff9b] || s[0] == 0x2002;
            let metadata = s == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254];
            !(embedded || translated || metadata || a.is_multicast() || s[0] & 0xffc0 == 0xfe80)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        let parse = |text: &str| text.parse::<Prefix>();
        let block = parse("10.93.0.129/30").unwrap();
        assert_eq!(block.to_string(), "10.93.0.128/30");
        assert!(block.contains("10.93.0.131".parse().unwrap()));
        assert!(!block.contains("10.93.0.132".parse().unwrap()));
        assert_eq!((block.size(), narrow(block.nth(5))), (4, "10.93.0.129".parse().unwrap()));
        let wide = parse("fd93::/16").unwrap();
        assert!(wide.contains("fd93:1::".parse().unwrap()));
        assert!(!parse("::/0").unwrap().contains("10.0.0.1".parse().unwrap()));
        assert!(!parse("0.0.0.0/0").unwrap().contains("::1".parse().unwrap()));
        assert_eq!(parse("fd93::1").unwrap().size(), 1);
        assert_eq!(parse("0.0.0.0/0").unwrap().size(), 1 << 32);
        for wrong in ["", "10.0.0.0/33", "fd00::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/-1", "::/256"] {
            assert_eq!(parse(wrong), Err(PrefixError), "{wrong}");
        }
    }

    #[test]
    fn disguises_are_not_ordinary() {
        for address in ["10.0.0.1", "100.64.0.1", "192.168.1.1", "223.255.255.255", "fd00::1", "2001:db8::1"] {
            assert!(is_ordinary(address.parse().unwrap()), "{address}");
        }
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "224.0.0.1",
            "239.1.2.3",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::10.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "ff0e::1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "fd00:ec2::254",
        ] {
            assert!(!is_ordinary(address.parse().unwrap()), "{address}");
        }
    }
}
