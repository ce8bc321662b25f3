from __future__ import annotations

from braid.trouble import Sample, Troubles
from topology.model import HealthSettings


def follow(samples: list[tuple[float, float | None, float | None]]) -> Troubles:
    troubles = Troubles()
    for now, rtt, loss in samples:
        troubles.observe({"path": Sample(rtt, loss)}, now)
    return troubles


def kinds(troubles: Troubles) -> list[str]:
    return [trouble.kind for trouble in troubles.of("path")]


def test_bad_news_counts_at_once_and_says_what_is_measured() -> None:
    troubles = follow([(0.0, 10.0, 0.0), (1.0, 10.0, 0.184)])
    assert [(trouble.text, trouble.since) for trouble in troubles.of("path")] == [("loses 18 % of its copies", 1.0)]
    troubles = follow([(0.0, 10.0, 0.0), (1.0, 110.0, 0.0), (2.0, 112.0, 0.0)])
    assert [(trouble.text, trouble.since) for trouble in troubles.of("path")] == [("112 ms instead of 10 ms", 1.0)]


def test_good_news_is_believed_after_it_has_held() -> None:
    bad = [(0.0, 10.0, 0.0), (1.0, 10.0, 0.05)]
    good = [(float(second), 10.0, 0.001) for second in range(2, 33)]
    assert kinds(follow(bad + good[:-1])) == ["loss"]
    assert kinds(follow(bad + good)) == []
    relapse = [(20.0, 10.0, 0.03)]
    assert kinds(follow(bad + good[:18] + relapse + good[19:])) == ["loss"]


def test_between_the_thresholds_nothing_changes() -> None:
    between = [(float(second), 11.0, 0.01) for second in range(2, 100)]
    assert kinds(follow([(0.0, 10.0, 0.0), *between])) == []
    assert kinds(follow([(0.0, 10.0, 0.0), (1.0, 10.0, 0.05), *between])) == ["loss"]


def test_a_few_milliseconds_more_on_a_short_way_are_no_trouble() -> None:
    assert kinds(follow([(0.0, 1.0, 0.0), (1.0, 5.0, 0.0)])) == []
    assert kinds(follow([(0.0, 100.0, 0.0), (1.0, 120.0, 0.0)])) == []
    assert kinds(follow([(0.0, 100.0, 0.0), (1.0, 125.0, 0.0)])) == ["delay"]


def test_a_way_that_stays_longer_becomes_the_normal_one() -> None:
    long = [(float(second), 60.0, 0.0) for second in range(1, 600)]
    assert kinds(follow([(0.0, 10.0, 0.0), *long])) == ["delay"]
    longer = [(float(second), 60.0, 0.0) for second in range(1, 720)]
    assert kinds(follow([(0.0, 10.0, 0.0), *longer])) == []


def test_what_is_no_longer_sampled_is_forgotten() -> None:
    troubles = Troubles(HealthSettings(loss_bad=0.5))
    troubles.observe({"a": Sample(None, 0.4), "b": Sample(None, 0.6)}, 0.0)
    assert (troubles.of("a"), len(troubles.of("b"))) == ((), 1)
    troubles.observe({"a": Sample(None, None)}, 1.0)
    assert troubles.of("b") == ()
    assert troubles.of("nobody") == ()


def test_what_flaps_has_to_hold_for_longer_and_says_so() -> None:
    troubles = Troubles()
    ends = []
    now = 0.0
    for _ in range(4):
        troubles.observe({"path": Sample(10.0, 0.1)}, now)
        began = now
        while kinds(troubles):
            now += 1.0
            troubles.observe({"path": Sample(10.0, 0.0)}, now)
        ends.append(now - began)
        now += 5.0
    assert ends == [31.0, 61.0, 121.0, 241.0]
    troubles.observe({"path": Sample(10.0, 0.1)}, now)
    assert troubles.of("path")[0].text == "loses 10 % of its copies, flaps: relapse 4"
    troubles.observe({"path": Sample(10.0, 0.0)}, now + 1)
    troubles.observe({"path": Sample(10.0, 0.0)}, now + 302)
    assert kinds(troubles) == []
    troubles.observe({"path": Sample(10.0, 0.1)}, now + 302 + 601)
    assert troubles.of("path")[0].text == "loses 10 % of its copies"


def test_a_path_that_was_silent_for_a_moment_was_interrupted() -> None:
    troubles = Troubles()
    for second in range(3):
        troubles.observe({"path": Sample(10.0, 0.0, second == 1)}, float(second))
    assert [trouble.text for trouble in troubles.of("path")] == ["was interrupted"]
    for second in range(3, 33):
        troubles.observe({"path": Sample(10.0, 0.0, False)}, float(second))
    assert kinds(troubles) == []
