//! Every packet that ends here is counted under a reason; nothing is logged per packet.

use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub struct Drops(BTreeMap<&'static str, u64>);

impl Drops {
    pub fn count(&mut self, reason: &'static str) {
        self.add(reason, 1);
    }

    pub fn add(&mut self, reason: &'static str, count: u64) {
        *self.0.entry(reason).or_insert(0) += count;
    }

    pub fn all(&self) -> &BTreeMap<&'static str, u64> {
        &self.0
    }
}
