"""Deadlines by key, compared with looking at all of them."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from braid.deadlines import SPARE, Deadlines

KEYS = st.sampled_from([bytes([n]) for n in range(8)])


@given(st.lists(st.tuples(KEYS, st.none() | st.integers(0, 50).map(float)), max_size=300), st.integers(0, 50))
def test_as_looking_at_all(steps: list[tuple[bytes, float | None]], now: int) -> None:
    deadlines, plain = Deadlines(), {}
    for key, due in steps:
        deadlines.set(key, due)
        plain[key] = inf if due is None else due
        assert deadlines.next() == min(plain.values())
        assert len(deadlines._heap) <= 2 * 8 + SPARE
    expected = {key for key, due in plain.items() if due <= now}
    for _ in range(2):
        passed = deadlines.passed(now)
        assert set(passed) == expected
        assert len(passed) == len(expected)
        assert [plain[key] for key in passed] == sorted(plain[key] for key in passed)
    for key in expected:
        deadlines.set(key, None)
    assert deadlines.passed(now) == []
