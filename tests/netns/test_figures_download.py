"""200 MB by name over two copies: intact, and no TCP retransmission because of a lossy path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab.impairment import Impairment
from lab.origin import digest, size_of
from tests.netns import labs, traffic

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

ORIGINS = ("origin-1", "origin-2")
SIZE = "200MB"
URL = f"http://shop.apps.example/object/{SIZE}"


def test_200_mb_by_name_over_two_copies(lab: RunningLab, figure: Callable[[str, object], None]) -> None:
    got, again = whole_download(lab)
    assert got.remote in {labs.vip(lab, "shop", 4), labs.vip(lab, "shop", 6)}
    assert again.needed == 0
    figure("200 MB by name, 2 copies", f"sha256 equal, {again}, {got.megabits:.0f} Mbit/s")


def test_200_mb_with_20_percent_loss_on_one_path(lab: RunningLab, figure: Callable[[str, object], None]) -> None:
    relay = labs.pair(lab, "edge-fra-1", "gw-sto-1")[0]
    ends = ("edge-fra-1", "gw-sto-1")
    for number, end in enumerate(ends):
        lab.impair(end, relay, Impairment(loss=0.2, seed=7 + number))
    before = lost_end_to_end(lab)
    got, again = whole_download(lab)
    counters = [direction for end in ends for direction in lab.counters(end, relay).values()]
    dropped, offered = sum(c["lost_random"] for c in counters), sum(c["received"] for c in counters)
    assert 0.19 < dropped / offered < 0.21
    assert again.needed == 0
    assert lost_end_to_end(lab) == before
    figure(
        "200 MB by name, 2 copies, 20 % loss on both links of one path",
        f"sha256 equal, {again}, {got.megabits:.0f} Mbit/s, {dropped} of {offered} datagrams lost on the links",
    )


def whole_download(lab: RunningLab) -> tuple[traffic.Download, traffic.Retransmissions]:
    """Fails unless every byte is right."""
    before = traffic.retransmissions(lab, "client", *ORIGINS)
    got = traffic.download(lab, "client", URL)
    assert got.sha256 == digest(size_of(SIZE))
    return got, traffic.retransmissions(lab, "client", *ORIGINS) - before


def lost_end_to_end(lab: RunningLab) -> list[int]:
    """Packets of which no copy came: at the edge and at the gateway (802.1CB's "lost")."""
    return [
        session["recovery"]["lost"]
        for node, peer in (("edge-fra-1", "gw-sto-1"), ("gw-sto-1", "edge-fra-1"))
        for session in lab.status(node)["sessions"]
        if session["peer"] == peer
    ]
