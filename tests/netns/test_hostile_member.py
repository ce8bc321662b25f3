"""A member of the Braid turned hostile: it has good keys, signs its datagrams, and still nothing wrong comes through.

It is written in Python from docs/wire.md (tests/dataplane/member.py) and sits where a real node was.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from random import Random
from typing import TYPE_CHECKING

import pytest

from braid.credentials import load_credentials
from lab.running import RunningLab, take_down
from lab.up import up
from tests.dataplane.member import Member, Session
from tests.dataplane.reference import CONTROL, DATA, HEADER, RESPONSE, TAG, Header, decode
from tests.netns import attacks
from tests.netns.hostile import Heartbeat, Stream, Wire, record, vip_of, wait_protected, write
from tests.netns.siege import Outcome, Siege, check_harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.netns

MANY = 10_000
CUT = {
    "edge": (("mid-1", "edge"), ("mid-2", "edge")),
    "mid-1": (("edge", "mid-1"), ("edge", "mid-2")),
    "gateway": (("mid-1", "gateway"), ("mid-2", "gateway")),
}
"""The links on which datagrams for a node are recorded that nobody has received."""
PORTS = count(7000)
SEEDS = count()
"""One per life of a member: its handshakes are known by random numbers."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    take_down("hosm")
    with up(write(tmp_path_factory.mktemp("hosm"), "hosm")) as running:
        wait_protected(running)
        yield running


@pytest.fixture(scope="module")
def heartbeat(lab: RunningLab) -> Iterator[Heartbeat]:
    beating = Heartbeat(lab, vip_of(lab, "edge"), 5000)
    yield beating
    beating.close()


@dataclass(frozen=True, slots=True)
class Traitor:
    """A hostile member in the place of a node, in session with the node under siege."""

    siege: Siege
    member: Member
    session: Session
    wire: Wire
    figure: Callable[[str, object], None]

    def strike(self, name: str, datagrams: list[bytes]) -> Outcome:
        outcome = self.siege.strike(self.wire, datagrams)
        counted = {reason: count for reason, count in outcome.reasons.most_common() if count}
        self.figure(
            f"hostile member: {outcome.injected} {name} at {self.siege.target}",
            f"delivered {len(outcome.delivered)}, forwarded {len(outcome.foreign)}, memory {outcome.memory:+d} bytes, "
            f"honest {outcome.asked - outcome.lost} of {outcome.asked}; eliminated {outcome.discarded}; "
            f"counted {counted}",
        )
        return outcome

    def expect(self, reason: str, datagrams: list[bytes]) -> None:
        outcome = self.strike(reason, datagrams)
        assert outcome.reasons[reason] == len(datagrams), outcome.reasons
        check_harmless(outcome)


@contextmanager
def traitor(
    lab: RunningLab, heartbeat: Heartbeat, place: str, target: str, figure: Callable[[str, object], None]
) -> Iterator[Traitor]:
    """Ends the node ``place`` and takes its place; puts it back at the end."""
    nodes = lab.topology.nodes
    stream = Stream(lab, vip_of(lab, "edge"), next(PORTS), size=333, upwards=target != "edge")
    both = [Wire(lab, *ends) for ends in CUT[target]]
    recorded = record(both, stream, MANY)[0]
    for each in both:
        each.close()
    wait_protected(lab)
    siege = Siege(lab, target, heartbeat, stream, recorded)
    lab.kill(place)
    try:
        credentials = load_credentials(lab.pki, place)
        member = Member(nodes[place].number, credentials.private_key, credentials.certificate, Random(next(SEEDS)))
        wire = siege.wires[place]
        session = join(member, wire, credentials.trust.peers[target].static_key)
        yield Traitor(siege, member, session, wire, figure)
    finally:
        siege.close()
        lab.start(place)
        lab.wait_ready(place)
        wait_protected(lab)


def join(member: Member, wire: Wire, peer_static: bytes) -> Session:
    """A handshake in the name of the wire's neighbour."""
    list(wire.from_target.datagrams())
    initiation = member.initiate(peer_static, epoch=77)
    wire.inject([initiation])
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        for datagram in wire.from_target.datagrams():
            header = decode(datagram)
            if header.kind == RESPONSE and header.receiver == decode(initiation).receiver:
                session = member.finish(datagram)
                wire.inject([session.keepalive()])
                return session
        time.sleep(0.01)
    pytest.fail(f"{wire.target} does not answer the handshake of a member")


@pytest.mark.parametrize("target", ["edge", "gateway"])
def test_an_intermediate_cannot_make_the_last_node_take_anything(
    lab: RunningLab, heartbeat: Heartbeat, target: str, figure: Callable[[str, object], None]
) -> None:
    rng = Random(target)
    with traitor(lab, heartbeat, "mid-2", target, figure) as rogue:
        recorded, sign = rogue.siege.recorded, rogue.session.hop
        real = [(replace(decode(each), route=()), each[HEADER:]) for each in recorded]
        live = real[0][0]
        ahead = max(header.sequence for header, _ in real) + 1_000_000

        def junk(header: Header, number: int) -> bytes:
            return sign(replace(header, sequence=ahead + number), rng.randbytes(36 + TAG))

        changed = [attacks.flip(body, rng.randrange(8 * len(body))) for _, body in real[:MANY]]
        flips = zip(real, changed, strict=False)
        rogue.expect("aead", [sign(header, body) for (header, _), body in flips][:MANY])
        rogue.expect("aead", [junk(live, number) for number in range(MANY)])
        other = [replace(live, epoch=(live.epoch + 1 + number % 255) % 256) for number in range(MANY)]
        rogue.expect("epoch", [junk(header, number) for number, header in enumerate(other)])
        stranger = [replace(live, receiver=live.receiver ^ (1 + number)) for number in range(MANY)]
        rogue.expect("no_such_session", [junk(header, number) for number, header in enumerate(stranger)])
        rogue.expect("not_a_relay", [junk(replace(live, route=(21, 31)), number) for number in range(MANY)])
        own = Header(DATA, epoch=rogue.session.remote_epoch, receiver=rogue.session.remote_index)
        rogue.expect("wrong_session", [junk(own, number) for number in range(MANY)])

        # The newest ones: the window keeps numbers for a time, and what came before it takes a busy machine longer.
        kept = [sign(header, body) for header, body in real[-100:]]
        good = rogue.strike("good ones, handed over late", kept)
        assert len(good.delivered) == len(kept), "a forgery has moved the window"
        again = rogue.strike("replayed", kept * (MANY // len(kept)))
        assert again.discarded >= MANY
        check_harmless(again)


def test_a_neighbour_cannot_make_an_intermediate_send_more_than_it_got(
    lab: RunningLab, heartbeat: Heartbeat, figure: Callable[[str, object], None]
) -> None:
    rng = Random(3)
    with traitor(lab, heartbeat, "rogue", "mid-1", figure) as rogue:
        sign = rogue.session.hop

        def junk(number: int, **fields: object) -> bytes:
            header = Header(DATA, epoch=1, receiver=1, sequence=number + 1, route=(31,))
            return sign(replace(header, **fields), rng.randbytes(36 + TAG))  # type: ignore[arg-type]

        rogue.expect("ttl", [junk(number, ttl=number % 2) for number in range(MANY)])
        rogue.expect("unknown_next_hop", [junk(number, route=(1000 + number,)) for number in range(MANY)])
        rogue.expect("no_such_session", [junk(number, route=()) for number in range(MANY)])
        one = rogue.session.sealed(CONTROL, b"once")
        rogue.siege.strike(rogue.wire, [one])
        rogue.expect("replay", [one] * MANY)


def test_a_flip_inside_the_ciphertext_is_stopped_by_the_last_node(
    lab: RunningLab, heartbeat: Heartbeat, figure: Callable[[str, object], None]
) -> None:
    """An intermediate cannot see it (the hop tag covers header, length and AEAD tag): it hands on one for one."""
    with traitor(lab, heartbeat, "rogue", "mid-1", figure) as rogue:
        before = Counter(lab.status("gateway")["drops"])
        bent = list(attacks.flipped_inside(rogue.siege.recorded[:MANY], MANY, Random(5)))
        outcome = rogue.siege.strike(rogue.siege.wires["edge"], bent)
        after = Counter(lab.status("gateway")["drops"])
        figure("hostile: 10000 flipped inside at mid-1", f"gateway: {after['aead'] - before['aead']} aead, delivered 0")
        assert outcome.delivered == []
        assert outcome.lost == 0
        assert MANY <= outcome.forwarded <= MANY + 2 * outcome.crossing + 100 + 100 * outcome.seconds
        assert after["aead"] - before["aead"] == MANY


def test_a_recorded_handshake_is_a_copy(
    lab: RunningLab, heartbeat: Heartbeat, figure: Callable[[str, object], None]
) -> None:
    with traitor(lab, heartbeat, "mid-2", "edge", figure) as rogue:
        static = load_credentials(lab.pki, "mid-2").trust.peers["edge"].static_key
        initiation = rogue.member.initiate(static, epoch=78)
        first = rogue.siege.strike(rogue.wire, [initiation])
        assert first.lost == 0
        rogue.expect("handshake_copy", [initiation] * MANY)
        stale = [rogue.member.initiate(static, epoch=79) for _ in range(2)]
        rogue.siege.strike(rogue.wire, stale[1:])
        time.sleep(0.2)
        outcome = rogue.siege.strike(rogue.wire, stale[:1])
        assert outcome.reasons["handshake_stale"] == 1
