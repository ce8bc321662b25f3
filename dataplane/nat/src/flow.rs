use crate::address::Wide;
use crate::key::Key;
use crate::side::Side;
use crate::tracking::{State, Track};
use crate::Timeouts;
use braid_packet::ip::{ICMPV4, ICMPV6, TCP, UDP};
use braid_packet::Time;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// What `Flow` is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    /// near = client, far = VIP.
    pub(crate) forward: Key,
    /// near = target, far = SNAT address; `Key::NOTHING` before there is a target.
    pub(crate) reverse: Key,
    pub(crate) now: Time,
    /// Of the policy that `app`, `edge` and `set` were taken from.
    pub(crate) generation: u32,
    /// Tells this flow from earlier ones under the same number.
    pub(crate) serial: u32,
    pub(crate) app: u16,
    pub(crate) edge: u16,
    pub(crate) set: u8,
    pub(crate) way: Service,
}

/// Whose a flow's packets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Nat,
    /// The fast path translates them before or after the NAT.
    Fast,
    /// The same, and nobody translates them now: a TCP stack has the connection, or is to get it.
    Normal,
}

/// Where the addresses are, each side's near and far one, and whose the packets are: bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind(u8);

impl Kind {
    /// Elsewhere: the first word is their number there.
    const V6: u8 = 1;
    const FAST: u8 = 2;
    const NORMAL: u8 = 4;
    /// Of the fast path: it is over, and by a reset.
    const OVER: u8 = 8;
    const RESET: u8 = 16;

    fn of(service: Service) -> u8 {
        match service {
            Service::Nat => 0,
            Service::Fast => Kind::FAST,
            Service::Normal => Kind::FAST | Kind::NORMAL,
        }
    }

    fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }
}

/// One translation: (client, VIP) on one side, (target, SNAT address) on the other.
///
/// All that a packet of most flows needs, in one cache line: with very many flows each line more is a miss more.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Flow {
    pub(crate) last: Time,
    /// Lower halves; what they carry over is in `Details`. By `Side`, as all arrays here.
    packets: [u32; 2],
    bytes: [u32; 2],
    addresses: [u32; 4],
    ports: [u16; 4],
    pub(crate) generation: u32,
    pub(crate) serial: u32,
    pub(crate) app: u16,
    pub(crate) edge: u16,
    pub(crate) set: u8,
    pub(crate) protocol: u8,
    kind: Kind,
    /// TCP: established. Others: the server has answered.
    pub(crate) settled: bool,
}

/// What few packets need: those of TCP that the fast path does not follow, and one of very many others.
#[derive(Debug, Default)]
pub(crate) struct Details {
    pub(crate) track: Track,
    bytes: [u32; 2],
    packets: [u16; 2],
}

impl Flow {
    /// `elsewhere` keeps IPv6 addresses and returns their number.
    pub(crate) fn new(opening: &Opening, elsewhere: impl FnOnce([Wide; 4]) -> u32) -> Flow {
        let Opening { forward, reverse, now, generation, serial, app, edge, set, way } = *opening;
        let far = reverse.narrow().or(reverse.is_nothing().then_some([0; 2]));
        let (family, addresses) = match (forward.narrow(), far) {
            (Some([client, vip]), Some([target, snat])) => (0, [client, vip, target, snat]),
            _ => {
                let wide = [forward.near, forward.far, reverse.near, reverse.far];
                (Kind::V6, [elsewhere(wide), 0, 0, 0])
            }
        };
        let kind = Kind(family | Kind::of(way));
        Flow {
            last: now,
            packets: [0; 2],
            bytes: [0; 2],
            addresses,
            ports: [forward.near_port, forward.far_port, reverse.near_port, reverse.far_port],
            generation,
            serial,
            app,
            edge,
            set,
            protocol: forward.protocol,
            kind,
            settled: false,
        }
    }

    /// Number of its IPv6 addresses; None if it has IPv4 ones.
    pub(crate) fn elsewhere(&self) -> Option<u32> {
        self.kind.has(Kind::V6).then_some(self.addresses[0])
    }

    /// Whether its packets go through the fast path.
    pub(crate) fn is_fast(&self) -> bool {
        self.kind.has(Kind::FAST)
    }

    /// Whether they go through it as they are.
    pub(crate) fn is_normal(&self) -> bool {
        self.kind.has(Kind::NORMAL)
    }

    /// For one of the fast path.
    pub(crate) fn set_normal(&mut self, normal: bool) {
        let way = if normal { Service::Normal } else { Service::Fast };
        self.kind = Kind(self.kind.0 & !(Kind::FAST | Kind::NORMAL) | Kind::of(way));
    }

    /// What the fast path says of its connection.
    pub(crate) fn set_open(&mut self, open: bool, reset: bool) {
        self.settled = open;
        let ends = if open { 0 } else { Kind::OVER } | if reset { Kind::RESET } else { 0 };
        self.kind = Kind(self.kind.0 & !(Kind::OVER | Kind::RESET) | ends);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.kind.has(Kind::OVER)
    }

    pub(crate) fn is_reset(&self) -> bool {
        self.kind.has(Kind::RESET)
    }

    /// Another target and source. IPv6 addresses are where `elsewhere` says.
    pub(crate) fn set_reverse(&mut self, reverse: &Key) {
        let narrow = reverse.narrow().or(reverse.is_nothing().then_some([0; 2]));
        if let (Some([target, snat]), None) = (narrow, self.elsewhere()) {
            self.addresses[2..].copy_from_slice(&[target, snat]);
        }
        self.ports[2..].copy_from_slice(&[reverse.near_port, reverse.far_port]);
    }

    /// Near and far address of a side, for IPv4.
    pub(crate) fn narrow(&self, side: Side) -> Option<[u32; 2]> {
        let [client, vip, target, snat] = self.addresses;
        match (self.kind, side) {
            (kind, _) if kind.has(Kind::V6) => None,
            (_, Side::Client) => Some([client, vip]),
            (_, Side::Server) => Some([target, snat]),
        }
    }

    /// Near and far port of a side.
    pub(crate) fn ports(&self, side: Side) -> [u16; 2] {
        let [client, vip, target, snat] = self.ports;
        match side {
            Side::Client => [client, vip],
            Side::Server => [target, snat],
        }
    }

    fn idle_limit(&self, timeouts: &Timeouts) -> u64 {
        match self.protocol {
            TCP if self.settled => timeouts.tcp_established,
            TCP => timeouts.tcp_transitory,
            UDP if self.settled => timeouts.udp,
            UDP => timeouts.udp_unreplied,
            ICMPV4 | ICMPV6 => timeouts.icmp,
            _ => timeouts.other,
        }
    }

    pub(crate) fn is_expired(&self, timeouts: &Timeouts, now: Time) -> bool {
        now.since(self.last) >= self.idle_limit(timeouts)
    }

    /// Some if a counter went over: for `Details::carry`.
    #[must_use]
    pub(crate) fn count(&mut self, side: Side, bytes: usize, now: Time) -> Option<Carry> {
        self.last = self.last.max(now);
        if side == Side::Server && self.protocol != TCP {
            self.settled = true;
        }
        let (packets, packets_full) = self.packets[side as usize].overflowing_add(1);
        let (bytes, bytes_full) = self.bytes[side as usize].overflowing_add(bytes as u32);
        self.packets[side as usize] = packets;
        self.bytes[side as usize] = bytes;
        (packets_full || bytes_full).then_some(Carry { side, packets: packets_full, bytes: bytes_full })
    }

    pub(crate) fn traffic(&self, details: Option<&Details>, side: Side) -> Traffic {
        let side = side as usize;
        let (packets, bytes) = details.map_or((0, 0), |details| (details.packets[side], details.bytes[side]));
        Traffic {
            packets: u64::from(packets) << 32 | u64::from(self.packets[side]),
            bytes: u64::from(bytes) << 32 | u64::from(self.bytes[side]),
        }
    }

    pub(crate) fn state(&self, details: Option<&Details>) -> &'static str {
        match (self.protocol, self.settled) {
            (TCP, _) if self.kind.has(Kind::RESET) => State::Reset.as_str(),
            (TCP, _) if self.kind.has(Kind::OVER) => State::Closed.as_str(),
            (TCP, true) if self.is_fast() => State::Established.as_str(),
            (TCP, _) => details.map_or(State::SynSent, |details| details.track.state()).as_str(),
            (_, true) => "replied",
            (_, false) => "unreplied",
        }
    }
}

/// Lower halves of counters that went over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carry {
    side: Side,
    packets: bool,
    bytes: bool,
}

impl Details {
    pub(crate) fn carry(&mut self, carry: Carry) {
        let side = carry.side as usize;
        self.packets[side] = self.packets[side].wrapping_add(u16::from(carry.packets));
        self.bytes[side] = self.bytes[side].wrapping_add(u32::from(carry.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use braid_packet::Slab;

    #[test]
    fn a_flow_costs_at_most_128_bytes() {
        // The two indexes: a line of 64 bytes for 9 flows each.
        let (flow, details) = (Slab::<Flow>::EACH, size_of::<Details>());
        assert_eq!(flow, 64);
        assert!(flow + details + 2 * 64 / 9 <= 128, "{flow} + {details} + indexes");
    }

    #[test]
    fn counters_go_on_beyond_32_bits() {
        let key = Key { near: 1, far: 2, near_port: 3, far_port: 4, protocol: UDP };
        let (now, generation, serial) = (Time(0), 0, 0);
        let opening =
            Opening { forward: key, reverse: key, now, generation, serial, app: 0, edge: 0, set: 1, way: Service::Nat };
        let (mut flow, mut details) = (Flow::new(&opening, |_| 0), Details::default());
        flow.packets = [u32::MAX - 2; 2];
        for n in 1..=10_u64 {
            for (side, bytes) in [(Side::Client, u32::MAX), (Side::Server, 1)] {
                if let Some(carry) = flow.count(side, bytes as usize, now) {
                    details.carry(carry);
                }
                let packets = u64::from(u32::MAX) - 2 + n;
                assert_eq!(flow.traffic(Some(&details), side), Traffic { packets, bytes: n * u64::from(bytes) });
            }
        }
    }
}
