/// Rows and counts in each: 256 KiB, whatever the number of clients.
const ROWS: usize = 4;
const COLUMNS: usize = 1 << 14;

/// How many flows each client has: exact, or more with a chance that does not matter.
///
/// A count-min sketch (Cormode and Muthukrishnan 2005). A client counts too high only if in each of the rows it meets
/// others that have very much; of the few that can have a noteworthy share of the table, a chance of 10^-13. It takes
/// no memory per client and never grows, which a map of clients would do under traffic.
#[derive(Debug)]
pub(crate) struct Shares {
    counts: Vec<u32>,
}

impl Shares {
    pub(crate) fn new() -> Shares {
        Shares { counts: vec![0; ROWS * COLUMNS] }
    }

    /// `client` is the keyed hash of its address.
    fn places(client: u64) -> impl Iterator<Item = usize> {
        (0..ROWS).map(move |row| row * COLUMNS + (client >> (row * 16)) as usize % COLUMNS)
    }

    pub(crate) fn of(&self, client: u64) -> u32 {
        Shares::places(client).filter_map(|place| self.counts.get(place)).copied().min().unwrap_or(0)
    }

    pub(crate) fn add(&mut self, client: u64) {
        for place in Shares::places(client) {
            if let Some(count) = self.counts.get_mut(place) {
                *count += 1;
            }
        }
    }

    pub(crate) fn release(&mut self, client: u64) {
        for place in Shares::places(client) {
            if let Some(count) = self.counts.get_mut(place) {
                *count = count.saturating_sub(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::mix;

    #[test]
    fn a_few_large_clients_do_not_hide_the_others() {
        let mut shares = Shares::new();
        let client = |n: u64| mix(&[n]);
        for n in 0..8 {
            (0..10_000).for_each(|_| shares.add(client(n)));
        }
        for n in 8..100_000 {
            shares.add(client(n));
        }
        assert!((0..8).all(|n| (10_000..10_100).contains(&shares.of(client(n)))));
        assert!((8..200_000).all(|n| shares.of(client(n)) < 100));
        for n in 8..100_000 {
            shares.release(client(n));
        }
        assert!((0..8).all(|n| shares.of(client(n)) == 10_000));
        assert_eq!(shares.of(client(8)), 0);
    }
}
