"""What a gateway offers of its requests."""

from __future__ import annotations

import pytest

from gateway.transfer.offer import has_passed


@pytest.mark.parametrize(
    ("via", "passed"),
    [
        ("1.1 cache-1", True),
        ("1.0 fred, 1.1 CACHE-1 (Braid)", True),
        ("1.1 cache-10", False),
        ("cache-1", False),
        ("", False),
        (" , ,", False),
    ],
)
def test_a_proxys_own_requests_are_not_offered_to_it(via: str, passed: bool) -> None:
    assert has_passed(via, "cache-1") is passed
