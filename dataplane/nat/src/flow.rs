use crate::key::Key;
use crate::tracking::{State, Track};
use crate::Timeouts;
use braid_packet::ip::{ICMPV4, ICMPV6, TCP, UDP};
use braid_packet::Time;

/// Who sent a packet of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// One translation: (client, VIP) on one side, (target, SNAT address) on the other.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    /// near = client, far = VIP.
    pub(crate) forward: Key,
    /// near = target, far = SNAT address.
    pub(crate) reverse: Key,
    pub(crate) last: Time,
    pub(crate) from_client: Traffic,
    pub(crate) from_server: Traffic,
    pub(crate) track: Track,
    /// Of the policy that `app`, `edge` and `copies` were taken from.
    pub(crate) generation: u32,
    /// Tells this flow from earlier ones under the same number.
    pub(crate) serial: u32,
    pub(crate) app: u16,
    pub(crate) edge: u16,
    pub(crate) copies: u8,
    pub(crate) replied: bool,
}

impl Flow {
    fn idle_limit(&self, timeouts: &Timeouts) -> u64 {
        match self.forward.protocol {
            TCP if self.track.state() == State::Established => timeouts.tcp_established,
            TCP => timeouts.tcp_transitory,
            UDP if self.replied => timeouts.udp,
            UDP => timeouts.udp_unreplied,
            ICMPV4 | ICMPV6 => timeouts.icmp,
            _ => timeouts.other,
        }
    }

    pub(crate) fn is_expired(&self, timeouts: &Timeouts, now: Time) -> bool {
        now.since(self.last) >= self.idle_limit(timeouts)
    }

    pub(crate) fn count(&mut self, side: Side, bytes: usize, now: Time) {
        self.last = self.last.max(now);
        let traffic = match side {
            Side::Client => &mut self.from_client,
            Side::Server => {
                self.replied = true;
                &mut self.from_server
            }
        };
        traffic.packets += 1;
        traffic.bytes += bytes as u64;
    }

    pub(crate) fn state(&self) -> &'static str {
        match (self.forward.protocol, self.replied) {
            (TCP, _) => self.track.state().as_str(),
            (_, true) => "replied",
            (_, false) => "unreplied",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_costs_at_most_256_bytes() {
        // Each index: 4 bytes and a control byte at a load of at least 7/16. Client counts: 16 + 1 likewise.
        let flow = size_of::<Flow>();
        let all = flow + 2 * 5 * 16 / 7 + 17 * 16 / 7;
        assert!(all <= 256, "{flow} + indexes = {all}");
    }
}
