//! The state machine on a simulated path: what passes is decided by its size, and by chance.

use super::*;
use proptest::prelude::*;

const MS: u64 = Time::MILLISECOND;
const MOST: u16 = 1420;

struct Simulated {
    search: Search,
    now: Time,
    /// What the path carries now.
    carries: u16,
    /// Probability that a probe or its answer is lost.
    loss: f64,
    delay: u64,
    random: u64,
    /// Answers under way: when they come, and to which probe.
    answers: Vec<(Time, u32)>,
    large: bool,
    bytes: u64,
    /// When a size was in use last that the path does not carry.
    too_large_until: Time,
    lowered: bool,
}

impl Simulated {
    fn new(carries: u16) -> Simulated {
        Simulated {
            search: Search::new(MOST),
            now: Time(Time::SECOND),
            carries,
            loss: 0.0,
            delay: 20 * MS,
            random: 1,
            answers: Vec::new(),
            large: true,
            bytes: 0,
            too_large_until: Time(0),
            lowered: false,
        }
    }

    fn chance(&mut self) -> f64 {
        self.random = self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.random >> 11) as f64 / (1u64 << 53) as f64
    }

    fn run(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds {
            self.now = self.now.after(MS);
            let now = self.now;
            if self.large {
                self.search.carried_large();
            }
            let mut sent = Vec::new();
            if now >= self.search.next_timeout() {
                self.search.handle_timeout(now, |number, size| sent.push((number, size)));
            }
            for (number, size) in sent {
                self.bytes += u64::from(size);
                if size <= self.carries && self.chance() >= self.loss && self.chance() >= self.loss {
                    self.answers.push((now.after(self.delay), number));
                }
            }
            let due: Vec<u32> = self.answers.iter().filter(|(at, _)| *at <= now).map(|(_, number)| *number).collect();
            self.answers.retain(|(at, _)| *at > now);
            for number in due {
                self.search.receive_answer(number, now);
            }
            if self.search.mtu() > self.carries && self.search.carries() {
                self.too_large_until = now;
            }
            self.lowered |= self.search.mtu() < MOST;
        }
    }

    fn found(&self) -> (State, u16) {
        (self.search.state(), self.search.mtu())
    }

    fn is_found(&self) -> bool {
        let (state, mtu) = self.found();
        match self.carries {
            carries if carries < BASE => state == State::Error,
            carries => state == State::Complete && mtu <= carries && carries.min(MOST) - mtu < STEP,
        }
    }
}

#[test]
fn the_configured_size_is_believed_and_then_proved() {
    let mut path = Simulated::new(MOST);
    assert_eq!(path.found(), (State::Base, MOST));
    path.run(50);
    assert_eq!(path.found(), (State::Complete, MOST));
    path.run(60_000);
    assert!(!path.lowered);
    path.search.since().unwrap();
}

#[test]
fn a_path_that_shrinks_is_noticed_within_a_second_and_found_again_when_it_grows() {
    for carries in [1404, 1280, 1000] {
        let mut path = Simulated::new(MOST);
        path.run(10_000);
        path.carries = carries;
        let shrunk = path.now;
        path.run(4000);
        let noticed = path.too_large_until.since(shrunk) / MS;
        assert!(noticed < 700, "{carries}: {noticed} ms");
        assert!(path.is_found(), "{carries}: {:?}", path.found());
        path.carries = MOST;
        path.run(11_000);
        assert_eq!(path.found(), (State::Complete, MOST));
    }
}

#[test]
fn a_host_that_refuses_is_believed_at_once() {
    let mut path = Simulated::new(MOST);
    path.run(1000);
    path.carries = 1300;
    path.search.receive_refusal(MOST, path.now);
    assert_eq!(path.found(), (State::Searching, BASE));
    path.run(1500);
    assert!(path.is_found(), "{:?}", path.found());
    path.search.receive_refusal(BASE, path.now);
    assert_eq!(path.search.state(), State::Error);
}

#[test]
fn loss_is_not_taken_for_size() {
    for (seed, loss) in (1..40).flat_map(|seed| [(seed, 0.02), (seed, 0.1), (seed, 0.25)]) {
        let mut path = Simulated::new(MOST);
        (path.random, path.loss) = (seed * 7919, loss);
        path.run(30_000);
        assert!(!path.lowered, "seed {seed}, loss {loss}");
    }
}

#[test]
fn size_is_noticed_on_a_path_that_loses() {
    let mut worst = 0;
    for seed in 1..60 {
        let mut path = Simulated::new(MOST);
        (path.random, path.loss) = (seed * 7919, 0.1);
        path.run(3000);
        let shrunk = path.now;
        path.carries = 1300;
        path.run(5000);
        worst = worst.max(path.too_large_until.since(shrunk) / MS);
    }
    assert!(worst < 1500, "{worst} ms");
}

#[test]
fn an_outage_says_nothing_of_size() {
    let mut path = Simulated::new(MOST);
    path.run(2000);
    for _ in 0..20 {
        path.carries = 0;
        path.run(517);
        path.carries = MOST;
        path.run(483);
    }
    assert!(!path.lowered);
}

#[test]
fn probes_are_few_when_nothing_happens() {
    let mut path = Simulated::new(MOST);
    path.run(1000);
    path.bytes = 0;
    path.run(60_000);
    assert!(path.bytes <= 60 * 5 * u64::from(MOST), "while large packets are sent: {}", path.bytes);
    path.large = false;
    path.run(1000);
    path.bytes = 0;
    path.run(60_000);
    assert!(path.bytes <= 7 * u64::from(MOST), "idle: {}", path.bytes);
    path.carries = 1300;
    path.large = true;
    path.run(5000);
    path.large = false;
    path.bytes = 0;
    path.run(60_000);
    assert!(path.bytes <= 20 * u64::from(MOST), "below the configured size: {}", path.bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the path does, it is found within 11 s when it does nothing more; what is in use passes, or is on its way down.
    #[test]
    fn finds_what_a_path_carries(
        steps in proptest::collection::vec((0u16..1500, 0u64..3000, any::<bool>()), 1..8),
        seed: u64,
        loss in 0.0..0.2f64,
        delay in 0u64..150,
    ) {
        let mut path = Simulated::new(MOST);
        (path.random, path.delay) = (seed, delay * MS);
        for (carries, milliseconds, large) in steps {
            (path.carries, path.large, path.loss) = (carries, large, loss);
            path.run(milliseconds);
            prop_assert!((BASE..=MOST).contains(&path.search.mtu()));
        }
        (path.loss, path.large) = (0.0, true);
        let began = path.now;
        path.run(4000);
        prop_assert!(path.carries < 64 || path.too_large_until.since(began) < 4000 * MS);
        path.run(11_000);
        prop_assert!(path.carries < 64 || path.is_found(), "{} {:?}", path.carries, path.found());
    }

    #[test]
    fn answers_that_nobody_waits_for_do_nothing(numbers in proptest::collection::vec(any::<u32>(), 0..50)) {
        let mut path = Simulated::new(1300);
        path.run(5000);
        let before = path.found();
        path.answers.clear();
        for number in numbers {
            path.search.receive_answer(number.saturating_add(1000), path.now);
        }
        prop_assert_eq!(path.found(), before);
    }
}
