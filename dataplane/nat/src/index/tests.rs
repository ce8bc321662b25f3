use super::*;
use crate::key::mix;
use proptest::prelude::*;
use std::collections::HashMap;

#[test]
fn what_it_was_made_for_fits_and_lines_are_cache_lines() {
    for most in [1, 8, 9, 10, 100, 10_000] {
        let mut index = Index::new(most);
        let hashes: Vec<u64> = (0..most as u64).map(|n| mix(&[n])).collect();
        for (number, &hash) in hashes.iter().enumerate() {
            assert!(index.insert(hash, number as u32));
        }
        for (number, &hash) in hashes.iter().enumerate() {
            assert_eq!(index.find(hash, |found| found == number as u32), Some(number as u32));
        }
        assert_eq!(index.line(0).unwrap().as_ptr() as usize % 64, 0);
    }
}

#[test]
fn most_are_guessed() {
    let mut index = Index::new(100_000);
    (0..100_000).for_each(|n| assert!(index.insert(mix(&[n]), n as u32)));
    let right = (0..100_000).filter(|&n| index.guess(mix(&[n])) == n as u32).count();
    assert!(right > 90_000, "{right}");
}

#[test]
fn one_hash_for_all_only_costs_time() {
    let mut index = Index::new(100);
    (0..100).for_each(|n| assert!(index.insert(7, n)));
    assert!((0..100).all(|n| index.find(7, |found| found == n).is_some()));
    (0..100).filter(|n| n % 3 != 0).for_each(|n| index.remove(7, n));
    assert!((0..100).all(|n| index.find(7, |found| found == n).is_some() == (n % 3 == 0)));
    (0..100).for_each(|n| index.remove(7, n));
    assert!(index.words.iter().skip(index.first).step_by(WORDS).all(|&passed| passed == 0));
}

proptest! {
    #[test]
    fn is_a_map(steps in proptest::collection::vec((any::<bool>(), 0..40_u32, 0..4_u64), 1..400)) {
        // Few hashes, alike in the home line or the tag or both, so that lines overflow and tags deceive.
        let hash = |number: u32, kind: u64| match kind {
            0 => 1,
            1 => u64::from(number % 3),
            2 => u64::from(number) << 60 | 1,
            _ => mix(&[u64::from(number)]),
        };
        let mut index = Index::new(40);
        let mut model = HashMap::new();
        for (insert, number, kind) in steps {
            match (insert, model.get(&number).copied()) {
                (true, None) => {
                    prop_assert!(index.insert(hash(number, kind), number));
                    model.insert(number, hash(number, kind));
                }
                (false, Some(hash)) => {
                    index.remove(hash, number);
                    model.remove(&number);
                }
                _ => {}
            }
            for number in 0..40 {
                for kind in 0..4 {
                    let hash = hash(number, kind);
                    let found = index.find(hash, |found| found == number);
                    match model.get(&number) {
                        None => prop_assert_eq!(found, None),
                        Some(&its) if its == hash => prop_assert_eq!(found, Some(number)),
                        Some(_) => {} // may have the same line and tag
                    }
                }
            }
        }
    }
}
