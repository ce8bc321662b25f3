//! How many requests wait for each proxy's word: so many at once, and the origin serves what comes beyond. A proxy answers one
//! after the other; what waits behind too many others waits in vain, and all behind it.

use std::collections::HashMap;

/// Of so many at once none was answered too late (`bench.many`).
pub const MOST: usize = 64;

/// By proxy.
#[derive(Debug, Default)]
pub struct UnderWay(HashMap<u16, usize>);

impl UnderWay {
    /// One more is to be asked. False if there is no room for it.
    pub fn asked(&mut self, proxy: u16) -> bool {
        let count = self.0.entry(proxy).or_default();
        let has_room = *count < MOST;
        *count += usize::from(has_room);
        has_room
    }

    /// For each that there was room for, once: it was answered, or is not waited for any more.
    pub fn answered(&mut self, proxy: u16) {
        if let Some(count) = self.0.get_mut(&proxy) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(&proxy);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_proxy_has_room_for_so_many() {
        let mut under_way = UnderWay::default();
        assert!((0..MOST).all(|_| under_way.asked(1)));
        assert!(!under_way.asked(1) && under_way.asked(2));
        under_way.answered(1);
        assert!(under_way.asked(1) && !under_way.asked(1));
        under_way.answered(2);
        under_way.answered(3);
        for _ in 0..MOST {
            under_way.answered(1);
        }
        assert!(under_way.0.is_empty(), "nothing is kept of proxies that nobody waits for");
    }
}
