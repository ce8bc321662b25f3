//! `struct virtio_net_hdr` as a TUN with IFF_VNET_HDR speaks it (10 bytes, native byte order).
//!
//! ```text
//!  0 flags 1 | 1 gso_type 1 | 2 hdr_len 2 | 4 gso_size 2 | 6 csum_start 2 | 8 csum_offset 2
//! ```

const NEEDS_CSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// Segmentation that is still to be done on a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gso {
    #[default]
    None,
    TcpV4,
    TcpV6,
    Udp,
}

/// Offload state of one packet between us and the host's network stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VnetHdr {
    /// The transport checksum field holds only the pseudo-header sum; `csum_start`/`csum_offset` say where.
    pub needs_csum: bool,
    pub gso: Gso,
    /// A TCP super-packet may carry CWR on its first segment (RFC 3168).
    pub ecn: bool,
    /// Not to be trusted on read (it can be the length of a whole first packet).
    pub hdr_len: u16,
    /// Transport payload bytes per segment; 0 without GSO.
    pub gso_size: u16,
    pub csum_start: u16,
    pub csum_offset: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VnetError {
    Short,
    UnknownGso,
    ZeroGsoSize,
}

impl VnetHdr {
    pub const LEN: usize = 10;

    pub fn decode(bytes: &[u8]) -> Result<VnetHdr, VnetError> {
        let b: &[u8; Self::LEN] = bytes.get(..Self::LEN).and_then(|b| b.try_into().ok()).ok_or(VnetError::Short)?;
        let gso = match b[1] & !GSO_ECN {
            GSO_NONE => Gso::None,
            GSO_TCPV4 => Gso::TcpV4,
            GSO_TCPV6 => Gso::TcpV6,
            GSO_UDP_L4 => Gso::Udp,
            _ => return Err(VnetError::UnknownGso),
        };
        let header = VnetHdr {
            needs_csum: b[0] & NEEDS_CSUM != 0,
            gso,
            ecn: b[1] & GSO_ECN != 0,
            hdr_len: u16::from_ne_bytes([b[2], b[3]]),
            gso_size: u16::from_ne_bytes([b[4], b[5]]),
            csum_start: u16::from_ne_bytes([b[6], b[7]]),
            csum_offset: u16::from_ne_bytes([b[8], b[9]]),
        };
        if header.gso != Gso::None && header.gso_size == 0 {
            return Err(VnetError::ZeroGsoSize);
        }
        Ok(header)
    }

    pub fn encode(&self) -> [u8; Self::LEN] {
        let gso = match self.gso {
            Gso::None => GSO_NONE,
            Gso::TcpV4 => GSO_TCPV4,
            Gso::TcpV6 => GSO_TCPV6,
            Gso::Udp => GSO_UDP_L4,
        };
        let mut b = [0; Self::LEN];
        b[0] = if self.needs_csum { NEEDS_CSUM } else { 0 };
        b[1] = gso | if self.ecn { GSO_ECN } else { 0 };
        b[2..4].copy_from_slice(&self.hdr_len.to_ne_bytes());
        b[4..6].copy_from_slice(&self.gso_size.to_ne_bytes());
        b[6..8].copy_from_slice(&self.csum_start.to_ne_bytes());
        b[8..10].copy_from_slice(&self.csum_offset.to_ne_bytes());
        b
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decodes_or_errs_and_round_trips(bytes in proptest::collection::vec(any::<u8>(), 0..16)) {
            if let Ok(header) = VnetHdr::decode(&bytes) {
                prop_assert_eq!(VnetHdr::decode(&header.encode()), Ok(header));
            }
        }
    }
}
