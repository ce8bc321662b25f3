"""The choice from a client's order of edges."""

from __future__ import annotations

import pytest

from dns.policy import Standing, choose

UP, DRAINING, DOWN = Standing.UP, Standing.DRAINING, Standing.DOWN


@pytest.mark.parametrize(
    ("standings", "expected"),
    [
        ((UP, UP, UP), (2,)),
        ((UP, UP, DOWN), (0,)),
        ((UP, UP, DRAINING), (0,)),
        ((DOWN, UP, DRAINING), (1,)),
        ((DOWN, DRAINING, DOWN), (1,)),
        ((DRAINING, DRAINING, DOWN), (0,)),
        ((DOWN, DOWN, DOWN), (2, 0, 1)),
    ],
)
def test_choice(standings: tuple[Standing, ...], expected: tuple[int, ...]) -> None:
    assert choose((2, 0, 1), lambda edge: standings[edge]) == expected


def test_without_candidates_there_is_no_choice() -> None:
    assert choose((), lambda _: UP) == ()
