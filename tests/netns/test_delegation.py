"""A content proxy whose certificate does not allow it what the routing table gives it, and then does again."""

from __future__ import annotations

import signal
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from braid import pki
from tests.netns.labs import until
from tests.netns.test_transfer import GATEWAY, HOST, PROXY, lab

if TYPE_CHECKING:
    from lab.running import RunningLab

pytestmark = pytest.mark.netns
__all__ = ["lab"]
FETCH = ["curl", "-sS", "--fail", "-4", "-o", "/dev/null", "-w", "%header{cache-status}", f"{HOST}/cached/3MB"]


def reissue(lab: RunningLab, *hosts: str) -> None:
    """The proxy starts with a new certificate; the others hear of it by its handshakes alone."""
    pki.issue(lab.topology, lab.pki, PROXY, datetime.now(UTC), hosts=hosts)
    lab.kill(PROXY, signal.SIGTERM)
    lab.start(PROXY)


def answers(lab: RunningLab) -> bool:
    try:
        return bool(lab.status(PROXY))
    except OSError:
        return False


def reason(lab: RunningLab) -> str:
    """Why the proxy is not ready, as far as that is its certificate."""
    found: str = next(each["detail"] for each in lab.status(PROXY)["checks"] if each["name"] == "delegation")
    return found


def test_a_connection_moves_only_where_the_proxys_certificate_allows_it(lab: RunningLab) -> None:
    assert lab.exec("client", FETCH).stdout.startswith(f"{PROXY}; hit")
    reissue(lab, "other.example")
    until(lambda: answers(lab) and "does not allow shop.apps.example" in reason(lab))
    assert f"braid pki issue {PROXY}" in reason(lab)
    before = lab.status(GATEWAY)["transfers"]

    def refused() -> bool:
        assert lab.exec("client", FETCH).stdout == "", "the origin serves"
        after = lab.status(GATEWAY)["transfers"]
        return bool(after["refused"].get("not_delegated", 0) > before["refused"].get("not_delegated", 0))

    until(refused)
    assert lab.status(GATEWAY)["transfers"]["requests"] == before["requests"]

    reissue(lab)
    lab.wait_ready(PROXY)
    assert reason(lab) == ""

    def served() -> bool:
        time.sleep(0.2)
        return lab.exec("client", FETCH).stdout.startswith(f"{PROXY}; hit")

    until(served)
