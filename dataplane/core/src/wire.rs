//! The hop header: what every datagram between nodes begins with.
//!
//! ```text
//!  0 version 4 bits, kind 4 bits | 1 hop flags | 2 e2e epoch | 3 ttl | 4 receiver 4
//!  8 sequence 8 (end to end, per session: lane 1 byte | aside 1 bit | number 55 bits)
//! 16 route 4 x 2 (numbers of the nodes after the one that now receives it; 0 ends it)
//! 24 hop tag 8
//! 32 AEAD(payload) + 16      AAD = bytes 0, 2, 4..8; the sequence is in the nonce
//! ```
//! Hop flags: path id (bits 7..4), hop key epoch (bits 3..2), reserved 0 (bit 1), tagged (bit 0). Big-endian throughout.
//! Bytes 0, 2 and 4..16 stay as the sender made them; 1, 3 and 16..32 are each hop's.

/// Bytes in front of the payload.
pub const HEADER: usize = 32;
/// AEAD tag behind the payload.
pub const TAG: usize = 16;
/// What the overlay adds to an inner packet inside the UDP datagram.
pub const OVERHEAD: usize = HEADER + TAG;
/// Most intermediates of one path.
pub const MAX_ROUTE: usize = 4;
pub const TTL: u8 = 8;
/// Bits of a sequence number below its lane.
const LANE_SHIFT: u32 = 56;
/// Set in the sequence of what has its own numbers beside those of data, so that its loss leaves no hole there.
const ASIDE: u64 = 1 << 55;

const VERSION: u8 = 1;
const TAGGED: u8 = 1;
const RESERVED: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    Initiation = 1,
    Response = 2,
    Cookie = 3,
    /// An inner packet whose checksums are complete.
    Data = 4,
    /// An inner packet whose transport checksum field holds only the pseudo-header sum.
    DataPartial = 5,
    Control = 6,
    Keepalive = 7,
    /// A probe of what one path carries, or its answer. Numbered aside.
    Size = 8,
}

impl Kind {
    fn decode(value: u8) -> Option<Kind> {
        Some(match value {
            1 => Kind::Initiation,
            2 => Kind::Response,
            3 => Kind::Cookie,
            4 => Kind::Data,
            5 => Kind::DataPartial,
            6 => Kind::Control,
            7 => Kind::Keepalive,
            8 => Kind::Size,
            _ => return None,
        })
    }

    pub fn is_handshake(self) -> bool {
        matches!(self, Kind::Initiation | Kind::Response | Kind::Cookie)
    }
}

/// Numbers of the nodes that a datagram still has to visit; empty at its last node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Route([u16; MAX_ROUTE]);

impl Route {
    /// None when there are more than `MAX_ROUTE` nodes, or a 0 among them.
    pub fn new(nodes: &[u16]) -> Option<Route> {
        let mut route = [0; MAX_ROUTE];
        route.get_mut(..nodes.len())?.copy_from_slice(nodes);
        if nodes.contains(&0) {
            return None;
        }
        Some(Route(route))
    }

    pub fn next(&self) -> Option<u16> {
        (self.0[0] != 0).then_some(self.0[0])
    }

    /// The route as the next node has to see it.
    pub fn rest(&self) -> Route {
        let [_, a, b, c] = self.0;
        Route([a, b, c, 0])
    }

    pub fn last(&self) -> Option<u16> {
        self.0.iter().rev().copied().find(|&n| n != 0)
    }

    pub(crate) fn encode(&self) -> [u8; 8] {
        let mut bytes = [0; 8];
        for (slot, number) in bytes.chunks_exact_mut(2).zip(self.0) {
            slot.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    fn decode(bytes: [u8; 8]) -> Option<Route> {
        let at = |i: usize| u16::from_be_bytes([bytes[i], bytes[i + 1]]);
        let nodes = [at(0), at(2), at(4), at(6)];
        let end = nodes.iter().position(|&n| n == 0).unwrap_or(MAX_ROUTE);
        nodes[end..].iter().all(|&n| n == 0).then_some(Route(nodes))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    /// Which of the sender's paths this copy takes: 0..15.
    pub path: u8,
    /// Which of the neighbour's hop keys made the tag: 0..3.
    pub hop_epoch: u8,
    /// False only for a handshake between neighbours, which have no keys yet.
    pub tagged: bool,
    pub epoch: u8,
    pub ttl: u8,
    pub receiver: u32,
    pub sequence: u64,
    pub route: Route,
    pub hop_tag: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    Short,
    Version,
    Kind,
    Flags,
    Route,
}

impl WireError {
    pub fn as_str(self) -> &'static str {
        match self {
            WireError::Short => "short",
            WireError::Version => "version",
            WireError::Kind => "kind",
            WireError::Flags => "flags",
            WireError::Route => "route",
        }
    }
}

impl Header {
    /// Which of the session's lanes the datagram is of.
    pub fn lane(&self) -> u8 {
        (self.sequence >> LANE_SHIFT) as u8
    }

    /// Its number within the lane, or aside of it.
    pub fn position(&self) -> u64 {
        position(self.sequence)
    }

    /// Reads the header of a whole datagram; at least one AEAD tag must follow it.
    pub fn decode(datagram: &[u8]) -> Result<Header, WireError> {
        if datagram.len() < OVERHEAD {
            return Err(WireError::Short);
        }
        let b: &[u8; HEADER] = datagram.first_chunk().ok_or(WireError::Short)?;
        if b[0] >> 4 != VERSION {
            return Err(WireError::Version);
        }
        let kind = Kind::decode(b[0] & 15).ok_or(WireError::Kind)?;
        let tagged = b[1] & TAGGED != 0;
        if b[1] & RESERVED != 0 || (!tagged && !kind.is_handshake()) {
            return Err(WireError::Flags);
        }
        let route = Route::decode([b[16], b[17], b[18], b[19], b[20], b[21], b[22], b[23]]).ok_or(WireError::Route)?;
        if !tagged && route.next().is_some() {
            return Err(WireError::Route);
        }
        Ok(Header {
            kind,
            path: b[1] >> 4,
            hop_epoch: (b[1] >> 2) & 3,
            tagged,
            epoch: b[2],
            ttl: b[3],
            receiver: u32::from_be_bytes([b[4], b[5], b[6], b[7]]),
            sequence: u64::from_be_bytes([b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]]),
            route,
            hop_tag: u64::from_be_bytes([b[24], b[25], b[26], b[27], b[28], b[29], b[30], b[31]]),
        })
    }

    pub fn encode(&self, out: &mut [u8; HEADER]) {
        out[0] = VERSION << 4 | self.kind as u8;
        out[1] = flags(self.path, self.hop_epoch, self.tagged);
        out[2] = self.epoch;
        out[3] = self.ttl;
        out[4..8].copy_from_slice(&self.receiver.to_be_bytes());
        out[8..16].copy_from_slice(&self.sequence.to_be_bytes());
        out[16..24].copy_from_slice(&self.route.encode());
        out[24..32].copy_from_slice(&self.hop_tag.to_be_bytes());
    }
}

pub(crate) fn position(sequence: u64) -> u64 {
    sequence & (ASIDE - 1)
}

/// The number before the first of a lane.
pub(crate) fn lane_start(lane: u8) -> u64 {
    u64::from(lane) << LANE_SHIFT
}

/// The number before the first of those that a lane has aside.
pub(crate) fn aside_start(lane: u8) -> u64 {
    lane_start(lane) | ASIDE
}

pub(crate) fn flags(path: u8, hop_epoch: u8, tagged: bool) -> u8 {
    path << 4 | (hop_epoch & 3) << 2 | if tagged { TAGGED } else { 0 }
}

/// The bytes that the AEAD authenticates besides the payload: those no hop may change.
pub fn associated_data(header: &[u8; HEADER]) -> [u8; 6] {
    [header[0], header[2], header[4], header[5], header[6], header[7]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_header() -> impl Strategy<Value = Header> {
        let numbers = proptest::collection::vec(1u16.., 0..=MAX_ROUTE);
        (1u8..=8, 0u8..16, 0u8..4, any::<(u8, u8, u32, u64, u64)>(), numbers).prop_map(
            |(kind, path, hop_epoch, (epoch, ttl, receiver, sequence, hop_tag), nodes)| Header {
                kind: Kind::decode(kind).unwrap(),
                path,
                hop_epoch,
                tagged: true,
                epoch,
                ttl,
                receiver,
                sequence,
                route: Route::new(&nodes).unwrap(),
                hop_tag,
            },
        )
    }

    proptest! {
        #[test]
        fn round_trips(header in any_header()) {
            let mut datagram = [0; OVERHEAD];
            header.encode(datagram.first_chunk_mut().unwrap());
            prop_assert_eq!(Header::decode(&datagram), Ok(header));
        }

        #[test]
        fn decodes_or_errs(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(header) = Header::decode(&bytes) {
                let mut again = [0; HEADER];
                header.encode(&mut again);
                prop_assert_eq!(&again[..], &bytes[..HEADER]);
            }
        }
    }

    #[test]
    fn a_route_has_no_holes() {
        assert_eq!(Route::decode([0, 0, 0, 1, 0, 0, 0, 0]), None);
        assert_eq!(Route::new(&[1, 2, 3, 4, 5]), None);
        let route = Route::new(&[7, 9]).unwrap();
        assert_eq!((route.next(), route.rest().next(), route.rest().rest().next()), (Some(7), Some(9), None));
        assert_eq!(route.last(), Some(9));
    }
}
