use crate::side::Side;
use crate::{Nat, Reason};
use braid_packet::Time;

/// All flows are looked at once in this time, if the budget of a call allows.
const ROUND: u64 = 4 * Time::SECOND;
const LONGEST_PAUSE: u64 = Time::SECOND / 2;
const SHORTEST_PAUSE: u64 = Time::MILLISECOND;

impl Nat {
    /// Ends idle flows and gives up old fragments, looking at no more than `budget` of each.
    pub fn expire(&mut self, now: Time, budget: usize) {
        self.sweep(now, budget);
        for fragments in [&mut self.forward_fragments, &mut self.reverse_fragments] {
            for _ in 0..fragments.expire(now, budget) {
                self.counters.refuse(Reason::FragmentsExpired);
            }
        }
        let calls = (self.table.slots() as usize).div_ceil(budget.max(1)).max(1);
        self.next_scan = now.after((ROUND / calls as u64).clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
    }

    /// When `expire` is due again; None when there is nothing to expire.
    pub fn next_timeout(&self) -> Option<Time> {
        let scan = (!self.table.is_empty()).then_some(self.next_scan);
        let fragments = [self.forward_fragments.next_timeout(), self.reverse_fragments.next_timeout()];
        scan.into_iter().chain(fragments.into_iter().flatten()).min()
    }

    /// Moves the hand over `budget` places of the table.
    pub(crate) fn sweep(&mut self, now: Time, budget: usize) {
        let slots = self.table.slots();
        for _ in 0..budget.min(slots as usize) {
            self.hand = if self.hand + 1 < slots { self.hand + 1 } else { 0 };
            if self.is_expired(self.hand, now) {
                self.end(self.hand);
            }
        }
    }

    fn is_expired(&self, index: u32, now: Time) -> bool {
        self.table.get(index).is_some_and(|flow| flow.is_expired(&self.rules.timeouts, now))
    }

    pub(crate) fn end(&mut self, index: u32) {
        if self.table.remove(index) {
            self.counters.expired += 1;
        }
    }

    /// The flow under this number if it is to be used: not idle for too long, and still in the policy.
    pub(crate) fn live(&mut self, index: Option<u32>, now: Time) -> Option<u32> {
        let index = index?;
        if self.is_expired(index, now) || !self.is_in_policy(index) {
            self.end(index);
            return None;
        }
        Some(index)
    }

    fn is_in_policy(&mut self, index: u32) -> bool {
        let Some(flow) = self.table.get(index) else { return false };
        if flow.generation == self.generation {
            return true;
        }
        let keys = (self.table.key(flow, Side::Client), self.table.key(flow, Side::Server));
        let (Some(forward), Some(reverse)) = keys else { return false };
        let Some((vip, rule)) = self.rules.vip(forward.far) else { return false };
        let own = rule.transparent && reverse.far == forward.near && self.rules.is_transparent(reverse.near);
        if rule.id != flow.app || !(reverse.is_nothing() || own || self.rules.is_snat(reverse.far)) {
            return false;
        }
        let Some(flow) = self.table.get_mut(index) else { return false };
        flow.edge = vip.edge;
        flow.set = rule.set;
        flow.generation = self.generation;
        true
    }
}
