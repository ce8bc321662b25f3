use crate::flows::FlowInfo;
use crate::fragments::Fragments;
use crate::identification::Identifications;
use crate::key::Random;
use crate::look_ahead::Ahead;
use crate::rules::Rules;
use crate::table::Table;
use crate::verdict::{Answer, Refusal};
use crate::{Counters, Forward, Policy, Reason, Released};
use braid_packet::{icmp, tcp_reset, Ip, RateLimit, Time};

/// The flow table and all that decides about it.
pub struct Nat {
    pub(crate) rules: Rules,
    /// Number of the policy; flows of an earlier one are looked at again when used.
    pub(crate) generation: u32,
    pub(crate) table: Table,
    pub(crate) serial: u32,
    pub(crate) random: Random,
    pub(crate) seed: u64,
    pub(crate) forward_fragments: Fragments,
    pub(crate) reverse_fragments: Fragments,
    pub(crate) forward_ids: Identifications,
    pub(crate) reverse_ids: Identifications,
    pub(crate) released: Vec<Released>,
    pub(crate) counters: Counters,
    /// Where the search for idle flows goes on, and when.
    pub(crate) hand: u32,
    pub(crate) next_scan: Time,
    pub(crate) ahead: Ahead,
    reply: Vec<u8>,
    errors: RateLimit,
    resets: RateLimit,
}

impl Nat {
    /// An empty table for `max_flows` that refuses everything until `set_policy`. `seed` must be hard to guess;
    /// with an equal one clients keep their SNAT addresses over a restart.
    pub fn new(seed: u64, max_flows: usize) -> Nat {
        Nat::of_shard(seed, max_flows, (0, 1))
    }

    /// The same in shard `index` of `shards`, a power of two. All need the same seed: a client keeps its SNAT address whichever
    /// shard its flows fall to.
    pub fn of_shard(seed: u64, max_flows: usize, (index, shards): (u8, u8)) -> Nat {
        Nat {
            rules: Rules::new(Policy::default()),
            generation: 0,
            table: Table::new(seed, max_flows),
            serial: 0,
            random: Random::new(seed),
            seed,
            forward_fragments: Fragments::new(seed),
            reverse_fragments: Fragments::new(seed),
            forward_ids: Identifications::new(seed, (index, shards)),
            reverse_ids: Identifications::new(!seed, (index, shards)),
            released: Vec::new(),
            counters: Counters::default(),
            hand: 0,
            next_scan: Time(0),
            ahead: Ahead::new(),
            reply: Vec::new(),
            errors: RateLimit::new(1000, 200),
            resets: RateLimit::new(10_000, 2000),
        }
    }

    /// Flows live on if their application, VIP and SNAT address still exist, whatever their target became.
    pub fn set_policy(&mut self, policy: Policy) {
        self.table.loose = policy.moving;
        self.rules = Rules::new(policy);
        self.generation = self.generation.wrapping_add(1);
        self.counters.targets_refused = self.rules.targets_refused;
    }

    /// A packet from a client by way of an edge. `partial`: the transport checksum is only that of the pseudo-header.
    /// Rewritten in place on `Pass`, otherwise left as it is.
    pub fn forward(&mut self, packet: &mut [u8], partial: bool, from_edge: u16, now: Time) -> Forward {
        let guess = self.ahead.next();
        match self.try_forward(packet, partial, from_edge, guess, now) {
            Ok(()) => Forward::Pass,
            Err(Refusal::Hold) => Forward::Held,
            Err(Refusal::Stranger(app)) => Forward::Stranger(app),
            Err(Refusal::Fast(flow)) => Forward::Fast(flow),
            Err(refusal) => match self.refuse(packet, refusal, now) {
                None => Forward::Reply,
                Some(reason) => Forward::Drop(reason),
            },
        }
    }

    /// A (super-)packet from a server. Rewritten in place on `Pass`, otherwise left as it is.
    pub fn reverse(&mut self, packet: &mut [u8], partial: bool, now: Time) -> crate::Reverse {
        match self.try_reverse(packet, partial, now) {
            Ok(way) => crate::Reverse::Pass { edge: way.edge, set: way.set, app: way.app, fast: way.fast },
            Err(Refusal::Hold) => crate::Reverse::Held,
            Err(Refusal::Normal(flow)) => crate::Reverse::Normal(flow),
            Err(refusal) => match self.refuse(packet, refusal, now) {
                None => crate::Reverse::Reply,
                Some(reason) => crate::Reverse::Drop(reason),
            },
        }
    }

    /// Counts, and makes the answer if one is due and allowed; None if it was made.
    pub(crate) fn refuse(&mut self, packet: &[u8], refusal: Refusal, now: Time) -> Option<Reason> {
        let (reason, answer) = match refusal {
            Refusal::Hold | Refusal::Stranger(_) | Refusal::Fast(_) | Refusal::Normal(_) => return None,
            Refusal::Drop(reason) => (reason, None),
            Refusal::Answer(reason, answer) => (reason, Some(answer)),
        };
        self.counters.refuse(reason);
        let Some(answer) = answer else { return Some(reason) };
        let Ok(ip) = Ip::parse(packet) else { return Some(reason) };
        let (made, limit) = match answer {
            Answer::Reset => (tcp_reset(&mut self.reply, packet), &mut self.resets),
            Answer::Unreachable(why) => {
                (icmp::unreachable(&mut self.reply, packet, ip.destination, why), &mut self.errors)
            }
        };
        if made.is_none() {
            return Some(reason);
        }
        if !limit.allow(now) {
            self.counters.replies_suppressed += 1;
            return Some(reason);
        }
        self.counters.replies += 1;
        None
    }

    /// The packet to send back after the last call returned `Reply`.
    pub fn reply(&self) -> &[u8] {
        &self.reply
    }

    /// Fragments that can go on since the last packet passed. To be called after each `Pass`; usually empty.
    pub fn take_released(&mut self) -> impl Iterator<Item = Released> + '_ {
        self.released.drain(..)
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Live flows, and idle ones that `expire` has not come to yet.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Flows of each application that has some.
    pub fn flows_by_app(&self) -> Vec<(u16, usize)> {
        self.table.by_app()
    }

    /// At most `limit` flows, most recently used first. Passes over all flows at once: not while packets wait.
    pub fn flows(&self, limit: usize, now: Time) -> Vec<FlowInfo> {
        let mut search = self.start_search(limit);
        while !self.search(&mut search, u32::MAX, now) {}
        search.into_flows().collect()
    }
}
