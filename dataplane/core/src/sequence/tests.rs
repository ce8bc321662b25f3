use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// The window by its definition.
struct Model {
    came: BTreeSet<u64>,
    highest: u64,
    window: u64,
    oldest: u64,
}

impl Model {
    fn of(recovery: &Recovery) -> Model {
        Model { came: BTreeSet::new(), highest: 0, window: recovery.window(), oldest: 0 }
    }

    fn seen(&self, sequence: u64) -> Seen {
        if sequence < self.oldest {
            Seen::TooOld
        } else if self.came.contains(&sequence) {
            Seen::Copy
        } else {
            Seen::New
        }
    }

    /// What once was too old stays so, whatever the window becomes.
    fn settle(&mut self) {
        self.oldest = self.oldest.max((self.highest + 1).saturating_sub(self.window));
    }

    fn commit(&mut self, sequence: u64) {
        self.came.insert(sequence);
        self.highest = self.highest.max(sequence);
        self.settle();
    }
}

proptest! {
    #[test]
    fn equals_the_model_whatever_its_size(
        steps in proptest::collection::vec((0u64..900, 0u8..12), 1..400),
        jumps in proptest::collection::vec(0u64..4000, 0..8),
    ) {
        let mut recovery = Recovery::new(256);
        let mut model = Model::of(&recovery);
        let mut base = 1;
        let mut jumps = jumps.into_iter();
        for (offset, action) in steps {
            match action {
                0 => base += jumps.next().unwrap_or(1),
                1 => base += 60,
                2 => {
                    recovery.resize(128 << (offset % 5));
                    model.window = recovery.window();
                    model.settle();
                }
                _ => {}
            }
            let sequence = base + offset;
            prop_assert_eq!(recovery.seen(sequence), model.seen(sequence));
            if model.seen(sequence) == Seen::New {
                recovery.commit(sequence);
                model.commit(sequence);
            }
            prop_assert_eq!(recovery.highest(), model.highest);
        }
        for _ in 0..4 {
            recovery.mark();
        }
        prop_assert_eq!(recovery.lost(), model.highest - model.came.len() as u64);
        prop_assert_eq!(recovery.counters.passed, model.came.len() as u64);
    }
}

#[test]
fn not_yet_settled_is_not_lost() {
    let mut recovery = Recovery::new(65536);
    recovery.commit(1);
    recovery.commit(5);
    assert_eq!(recovery.lost(), 0);
    for _ in 0..4 {
        recovery.mark();
    }
    assert_eq!(recovery.lost(), 3);
    recovery.commit(3);
    assert_eq!(recovery.lost(), 2);
}

#[test]
fn out_of_order_is_all_but_the_next_as_in_802_1cb() {
    let mut recovery = Recovery::new(128);
    for (sequence, expected) in [(1, 0), (2, 0), (4, 1), (3, 2), (5, 2), (300, 3), (301, 3)] {
        recovery.commit(sequence);
        assert_eq!(recovery.counters.out_of_order, expected, "{sequence}");
    }
}

#[test]
fn both_edges_of_the_window() {
    let mut recovery = Recovery::new(128);
    recovery.commit(1000);
    let oldest = 1000 - recovery.window() + 1;
    assert_eq!((recovery.seen(oldest), recovery.seen(oldest - 1)), (Seen::New, Seen::TooOld));
    assert_eq!((recovery.seen(1000), recovery.seen(u64::MAX)), (Seen::Copy, Seen::New));
}

#[test]
fn what_came_before_a_resize_is_still_a_copy_and_what_was_forgotten_not_new() {
    let mut recovery = Recovery::new(4096);
    for sequence in (1..=10_000).filter(|sequence| sequence % 7 != 0) {
        recovery.commit(sequence);
    }
    let oldest = 10_000 - recovery.window() + 1;
    for bits in [8192, 65_536, 1 << 20, 4096] {
        recovery.resize(bits);
        for sequence in oldest..=10_000 {
            let expected = if sequence % 7 == 0 { Seen::New } else { Seen::Copy };
            assert_eq!(recovery.seen(sequence), expected, "{sequence} in {bits}");
        }
        assert!((0..oldest).all(|sequence| recovery.seen(sequence) == Seen::TooOld));
    }
    recovery.resize(1024);
    assert_eq!(recovery.seen(10_000 - recovery.window()), Seen::TooOld);
    assert_eq!(recovery.seen(9996), Seen::New);
}
