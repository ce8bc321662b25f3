"""A content proxy that lives, and that its gateway or an edge does not reach: clients at that edge go on without it,
and are not left without anybody who would."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from lab.impairment import Impairment
from lab.origin import digest, size_of
from tests.netns import test_proxy_gone
from tests.netns.test_proxy_gone import AT_ONCE, SIZE, downloads, store, stored
from tests.netns.test_transfer import GATEWAY, PROXY, until
from tests.netns.test_transfer_origin import EDGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lab.running import RunningLab

pytestmark = test_proxy_gone.pytestmark

DEAD = Impairment(loss=1.0)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    with stored(tmp_path_factory.mktemp("proxycut"), "proxycut") as running:
        yield running


def events(lab: RunningLab) -> dict[str, int]:
    found: dict[str, int] = lab.status(GATEWAY)["transfers"]["events"]
    return found


def test_what_cannot_change_goes_on_when_the_edge_alone_misses_the_proxy(lab: RunningLab, tmp_path: Path) -> None:
    before = events(lab).get("proxy_gone", 0)
    done = downloads(lab, tmp_path, "", lambda: lab.impair(EDGE, PROXY, DEAD))
    after = events(lab)
    lab.impair(EDGE, PROXY, None)
    store(lab)
    assert done == [(0, digest(size_of(SIZE)), "1 200 0 200 0 200 ")] * AT_ONCE, after
    until(lambda: events(lab)["proxy_gone"] > before)
    until(lambda: lab.status(PROXY)["transfers"]["open"] == 0)


def test_what_may_have_changed_is_reset_as_soon_as_the_edge_misses_the_proxy(
    lab: RunningLab, tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    began = 0.0

    def cut() -> None:
        nonlocal began
        began = time.monotonic()
        lab.impair(EDGE, PROXY, DEAD)

    before = events(lab).get("reset_changing", 0)
    done = downloads(lab, tmp_path, "weak/", cut)
    took = time.monotonic() - began
    until(lambda: events(lab).get("reset_changing", 0) > before)
    lab.impair(EDGE, PROXY, None)
    store(lab)
    assert [code for code, _, _ in done] == [56] * AT_ONCE, done  # "Failure with receiving network data."
    figure("An edge misses a proxy in mid-download without a strong validator: reset after", f"{took:.2f} s")


def test_a_proxy_that_its_gateway_has_missed_for_a_while_may_still_die(lab: RunningLab, tmp_path: Path) -> None:
    def cut_and_kill() -> None:
        lab.impair(GATEWAY, PROXY, DEAD)
        # It asks the edge for them for two seconds, and leaves them to the proxy.
        time.sleep(3.5)
        lab.kill(PROXY)

    before = events(lab).get("proxy_gone", 0)
    done = downloads(lab, tmp_path, "", cut_and_kill)
    after = events(lab)
    lab.impair(GATEWAY, PROXY, None)
    lab.start(PROXY)
    store(lab)
    assert done == [(0, digest(size_of(SIZE)), "1 200 0 200 0 200 ")] * AT_ONCE, after
    until(lambda: events(lab)["proxy_gone"] > before)
