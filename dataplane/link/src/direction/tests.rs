use super::*;
use proptest::prelude::*;

const MS: u64 = 1_000_000;

fn direction(setting: Impairment) -> Direction {
    let mut direction = Direction::new("a>b".into());
    direction.set(Some(setting));
    direction
}

/// `|observed - expected| <= 4.5 sigma` of a binomial distribution: a seed that fails is one in 150,000.
fn assert_binomial(observed: u64, trials: u64, probability: f64) {
    let expected = trials as f64 * probability;
    let sigma = (expected * (1.0 - probability)).sqrt();
    assert!((observed as f64 - expected).abs() <= 4.5 * sigma, "{observed} of {trials} at {probability}");
}

fn fates(setting: Impairment, frames: u64, gap: u64) -> (Vec<Fate>, Counters) {
    let mut direction = direction(setting);
    let fates = (0..frames).map(|i| direction.decide(i * gap, 1000)).collect();
    (fates, direction.counters)
}

#[test]
fn random_loss_is_what_was_asked_for() {
    for (seed, loss) in [(1, 0.01), (2, 0.05), (3, 0.10), (4, 0.5)] {
        let setting = Impairment { loss, seed, ..Impairment::default() };
        let (_, counters) = fates(setting, 200_000, MS);
        assert_binomial(counters.lost_random, 200_000, loss);
    }
    let all = Impairment { loss: 1.0, ..Impairment::default() };
    assert_eq!(fates(all, 1000, MS).1.lost_random, 1000);
}

#[test]
fn what_is_longer_than_the_mtu_is_lost() {
    let mut direction = direction(Impairment { mtu: 1280, ..Impairment::default() });
    let lost = [100, 1294, 1295, 1514].map(|length| direction.decide(MS, length) == Fate::Lost);
    assert_eq!((lost, direction.counters.lost_size), ([false, false, true, true], 2));
    assert!(Impairment { mtu: 67, ..Impairment::default() }.check().is_err());
}

#[test]
fn equal_settings_on_two_links_lose_independently() {
    let setting = Impairment { loss: 0.1, ..Impairment::default() };
    let mut links = [Direction::new("a>b".into()), Direction::new("a>c".into())];
    let mut both = 0;
    for link in &mut links {
        link.set(Some(setting.clone()));
    }
    for i in 0..400_000 {
        let lost = links.each_mut().map(|link| link.decide(i * MS, 100) == Fate::Lost);
        both += u64::from(lost[0] && lost[1]);
    }
    assert_binomial(both, 400_000, 0.01);
}

#[test]
fn bursts_have_the_mean_length_and_the_share_of_the_model() {
    let (enter, leave) = (0.01, 0.25);
    let setting = Impairment { burst_enter: enter, burst_leave: leave, ..Impairment::default() };
    let (fates, counters) = fates(setting, 400_000, MS);
    let bursts = fates.windows(2).filter(|pair| pair[0] != Fate::Lost && pair[1] == Fate::Lost).count();
    let mean = counters.lost_burst as f64 / bursts as f64;
    // Lengths are geometric with mean 1/r and deviation sqrt(1-r)/r; about 3,800 bursts.
    let sigma = (1.0 - leave).sqrt() / leave / (bursts as f64).sqrt();
    assert!((mean - 1.0 / leave).abs() < 4.5 * sigma, "mean burst {mean}");
    let share = counters.lost_burst as f64 / 400_000.0;
    assert!((share - enter / (enter + leave)).abs() < 0.004, "share {share}");
}

#[test]
fn links_that_share_a_risk_lose_the_same_slots_at_the_rate_set() {
    let setting = Impairment { joint_loss: 0.05, joint_slot_ms: 2.0, joint_seed: 7, ..Impairment::default() };
    let other = Impairment { joint_seed: 8, ..setting.clone() };
    let mut a = Direction::new("a>b".into());
    let mut b = Direction::new("a>c".into());
    let mut stranger = Direction::new("a>d".into());
    a.set(Some(setting.clone()));
    b.set(Some(Impairment { seed: 99, ..setting }));
    stranger.set(Some(other));
    let (mut lost, mut with_stranger) = (0, 0);
    for slot in 0..100_000 {
        let now = slot * 2 * MS;
        let first = a.decide(now + 1, 100) == Fate::Lost;
        assert_eq!(first, b.decide(now + 2 * MS - 1, 100) == Fate::Lost);
        lost += u64::from(first);
        with_stranger += u64::from(first && stranger.decide(now, 100) == Fate::Lost);
    }
    assert_binomial(lost, 100_000, 0.05);
    assert!(with_stranger < 400, "{with_stranger}: another seed is another risk");
}

#[test]
fn the_rate_limit_delivers_its_rate_and_bounds_the_wait() {
    let setting = Impairment { rate_mbit: 8.0, queue_ms: 20.0, ..Impairment::default() };
    // 1000 bytes are 1 ms at 8 Mbit/s; two arrive per millisecond for one second.
    let (fates, counters) = fates(setting, 2000, MS / 2);
    let delivered = fates.iter().filter(|fate| **fate != Fate::Lost).count();
    assert!((1000..=1022).contains(&delivered), "{delivered}");
    assert_eq!(counters.lost_rate as usize, 2000 - delivered);
    for (i, fate) in fates.iter().enumerate() {
        if let Fate::Carried { due, .. } = fate {
            assert!(*due - i as u64 * MS / 2 <= 21 * MS);
        }
    }
}

#[test]
fn a_blackhole_takes_everything_and_a_cleared_link_nothing() {
    let mut link = direction(Impairment { blackhole: true, ..Impairment::default() });
    assert!((0..100).all(|i| link.decide(i, 60) == Fate::Lost));
    assert_eq!(link.counters.blackholed, 100);
    link.set(None);
    assert!((0..100).all(|i| link.decide(1000 + i, 60) == Fate::Carried { due: 1000 + i, twice: false, corrupt: None }));
}

#[test]
fn delays_have_the_mean_and_deviation_asked_for() {
    for (shape, expected) in [(JitterShape::Uniform, 2.0 / 3f64.sqrt()), (JitterShape::Normal, 2.0)] {
        let setting = Impairment { delay_ms: 50.0, jitter_ms: 2.0, jitter_shape: shape, ..Impairment::default() };
        let seed = derive(1, "x");
        let delays: Vec<f64> = (0..50_000).map(|i| delay(&setting, seed, i) as f64 / 1e6).collect();
        let mean = delays.iter().sum::<f64>() / 5e4;
        let deviation = (delays.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / 5e4).sqrt();
        assert!((mean - 50.0).abs() < 0.05, "{shape:?} mean {mean}");
        assert!((deviation - expected).abs() < 0.05, "{shape:?} deviation {deviation}");
    }
}

fn settings() -> impl Strategy<Value = Impairment> {
    let chance = || prop_oneof![Just(0.0), Just(1.0), 0.0..1.0f64];
    (
        (0.0..50.0f64, 0.0..10.0f64, any::<bool>(), chance(), chance(), chance()),
        (chance(), chance(), chance(), chance(), any::<bool>(), any::<u64>()),
        prop_oneof![Just(0.0), 0.1..1000.0f64],
    )
        .prop_map(
            |(
                (delay_ms, jitter_ms, normal, loss, burst_enter, burst_leave),
                (joint_loss, reorder, duplicate, corrupt, blackhole, seed),
                rate_mbit,
            )| Impairment {
                delay_ms,
                jitter_ms,
                jitter_shape: if normal { JitterShape::Normal } else { JitterShape::Uniform },
                loss,
                burst_enter,
                burst_leave,
                joint_loss,
                reorder,
                duplicate,
                corrupt,
                blackhole,
                seed,
                rate_mbit,
                ..Impairment::default()
            },
        )
}

proptest! {
    #[test]
    fn every_frame_is_counted_once_and_decisions_repeat(setting in settings(), gaps in proptest::collection::vec(0u64..3 * MS, 1..200)) {
        prop_assert!(setting.check().is_ok());
        let run = || {
            let mut link = direction(setting.clone());
            let mut now = 0;
            let fates: Vec<(u64, Fate)> = gaps.iter().map(|gap| { now += gap; (now, link.decide(now, 500)) }).collect();
            (fates, link.counters)
        };
        let (fates, counters) = run();
        prop_assert_eq!(&run().0, &fates);
        let lost = fates.iter().filter(|(_, fate)| *fate == Fate::Lost).count() as u64;
        prop_assert_eq!(counters.received, gaps.len() as u64);
        prop_assert_eq!(lost, counters.lost_random + counters.lost_burst + counters.lost_joint + counters.lost_size + counters.lost_rate + counters.blackholed);
        for (now, fate) in &fates {
            if let Fate::Carried { due, .. } = fate {
                prop_assert!(due >= now);
            }
        }
    }

    #[test]
    fn jitter_alone_never_reorders(seed: u64, jitter_ms in 0.0..20.0f64, gaps in proptest::collection::vec(0u64..MS, 1..200)) {
        let mut link = direction(Impairment { delay_ms: 10.0, jitter_ms, seed, ..Impairment::default() });
        let (mut now, mut last) = (0, 0);
        for gap in gaps {
            now += gap;
            if let Fate::Carried { due, .. } = link.decide(now, 100) {
                prop_assert!(due >= last);
                last = due;
            }
        }
    }
}
