"""Hostile datagrams at each kind of node, on real packets: none delivered, none forwarded, each counted, no growth.

All the while a client asks an origin every 5 ms through the same nodes, and every answer must come.
"""

from __future__ import annotations

import time
from collections import Counter
from ipaddress import IPv4Address
from random import Random
from typing import TYPE_CHECKING

import pytest

from lab.running import RunningLab, take_down
from lab.up import up
from tests.netns import attacks
from tests.netns.hostile import Address, Heartbeat, Stream, Wire, record, silenced, vip_of, wait_protected, write
from tests.netns.siege import Outcome, Siege, check_harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.netns

MANY = 10_000
STRANGER = Address(IPv4Address("10.70.0.99"), 7400)
NEIGHBOUR = {"edge": "mid-1", "gateway": "mid-1", "mid-1": "edge", "names": "edge"}
"""In whose name each node is attacked."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    take_down("hos")
    with up(write(tmp_path_factory.mktemp("hos"))) as running:
        wait_protected(running)
        yield running


@pytest.fixture(scope="module")
def heartbeat(lab: RunningLab) -> Iterator[Heartbeat]:
    beating = Heartbeat(lab, vip_of(lab, "edge"), 5000)
    yield beating
    beating.close()


@pytest.fixture(scope="module", params=["edge", "mid-1", "gateway", "names"])
def siege(lab: RunningLab, heartbeat: Heartbeat, request: pytest.FixtureRequest) -> Iterator[Siege]:
    """A node, and real datagrams to it that it has not received: both paths were cut while they were sent."""
    target: str = request.param
    neighbours = {"edge": ("mid-1", "mid-2"), "gateway": ("mid-1", "mid-2"), "mid-1": ("edge",), "names": ("edge",)}
    wires = [Wire(lab, neighbour, target) for neighbour in neighbours[target]]
    if target == "mid-1":
        wires.append(Wire(lab, "edge", "mid-2"))
    stream = None
    if target == "names":
        with silenced(wires):
            time.sleep(0.7)
            recorded = list(wires[0].from_neighbour.datagrams())
    else:
        stream = Stream(lab, vip_of(lab, "edge"), 6000 + len(target), size=333, upwards=target != "edge")
        recorded = record(wires, stream, MANY)[0]
    for wire in wires:
        wire.close()
    wait_protected(lab)
    found = Siege(lab, target, heartbeat, stream, recorded)
    yield found
    found.close()


def check_alive(siege: Siege) -> None:
    """What was recorded and kept back is still good, once: no attack has moved a window."""
    if siege.target == "names":
        return
    kept = siege.fresh(20)
    first = siege.strike(siege.wires[NEIGHBOUR[siege.target]], kept)
    assert len(first.delivered) == 20 or siege.target == "mid-1", first
    again = siege.strike(siege.wires[NEIGHBOUR[siege.target]], kept)
    check_harmless(again)


def expect(outcome: Outcome, expected: Counter[str]) -> None:
    """Each datagram counted, once, under the right reason."""
    reasons = Counter(outcome.reasons)
    if forged := expected.pop(attacks.FORGED_COOKIE, 0):
        assert reasons["handshake_unexpected"] + reasons["handshake_rate"] == forged
    assert {reason: reasons[reason] for reason in expected} == expected


ATTACKS = {
    "flipped": attacks.flipped,
    "truncated": attacks.truncated,
    "forged": attacks.forged,
    "wrong epoch": attacks.wrong_epoch,
}


@pytest.mark.parametrize("kind", ATTACKS)
def test_from_a_neighbours_address(siege: Siege, kind: str, figure: Callable[[str, object], None]) -> None:
    attack = attacks.flipped_where_tagged if kind == "flipped" else ATTACKS[kind]
    injected = list(attack(siege.recorded[: MANY // 2], MANY, Random(kind)))
    outcome = siege.strike(siege.wires[NEIGHBOUR[siege.target]], injected)
    report(figure, siege, kind, outcome)
    expect(outcome, Counter(attacks.verdict(datagram, stranger=False) for datagram in injected))
    check_harmless(outcome)
    check_alive(siege)


def test_replayed(siege: Siege, figure: Callable[[str, object], None]) -> None:
    """The first time each of them is good; so the node has them all behind it, and then come ten thousand replays."""
    wire = siege.wires[NEIGHBOUR[siege.target]]
    once = siege.recorded[:1000]
    first = siege.strike(wire, once)
    if siege.stream and siege.target != "mid-1":
        assert len(first.delivered) == len(once)
    if siege.target == "mid-1":
        assert first.forwarded >= len(once)
    outcome = siege.strike(wire, attacks.replayed(once, MANY, Random(1)))
    report(figure, siege, "replayed", outcome)
    check_harmless(outcome)
    if siege.target in ("mid-1", "names"):
        expect(outcome, Counter({"replay": MANY}))
    else:
        # To the last node of a session they are copies like those of the other path.
        assert outcome.discarded >= MANY


def test_from_a_strangers_address(siege: Siege, figure: Callable[[str, object], None]) -> None:
    """Another host, then another port of the neighbour; among them are datagrams that are good, but not from there."""
    rng = Random(7)
    wire = siege.wires[NEIGHBOUR[siege.target]]
    kinds = [attacks.replayed, *ATTACKS.values()]
    injected = [datagram for kind in kinds for datagram in kind(siege.recorded, MANY // len(kinds), rng)]
    for source in (STRANGER, Address(wire.source.host, 9999)):
        outcome = siege.strike(wire, injected, source)
        report(figure, siege, f"from {source.host}:{source.port}", outcome)
        expect(outcome, Counter(attacks.verdict(datagram, stranger=True) for datagram in injected))
        check_harmless(outcome)
    check_alive(siege)


def report(figure: Callable[[str, object], None], siege: Siege, kind: str, outcome: Outcome) -> None:
    counted = {reason: count for reason, count in outcome.reasons.most_common() if count}
    figure(
        f"hostile: {outcome.injected} {kind} at {siege.target}",
        f"delivered {len(outcome.delivered)}, forwarded {len(outcome.foreign)}, memory {outcome.memory:+d} bytes, "
        f"honest {outcome.asked - outcome.lost} of {outcome.asked}; eliminated {outcome.discarded}; counted {counted}",
    )
