"""The Rust core talks to a node written in Python from docs/wire.md alone, over sockets of the loopback interface."""

from __future__ import annotations

import time
from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.dataplane.hosts import PATIENCE, Host, accept, udp_socket
from tests.dataplane.member import Member, Session
from tests.dataplane.probe import decode_probe
from tests.dataplane.reference import (
    AES_256_GCM,
    CHACHA20_POLY1305,
    CONTROL,
    COOKIE,
    DATA,
    HEADER,
    INITIATION,
    KEEPALIVE,
    RESPONSE,
    Header,
    decode,
    hop_tag,
    open_cookie,
    with_macs,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

CORE, EDGE, GATEWAY = 21, 11, 31


class Peer:
    """A neighbour of the core in Python: a member of the Braid and its socket."""

    def __init__(self, number: int) -> None:
        self.member = Member(number, bytes([number]) * 32, b"certificate of %d" % number, Random(number))
        self.socket: socket.socket = udp_socket()
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"

    def send(self, host: Host, datagram: bytes) -> None:
        self.socket.sendto(datagram, ("127.0.0.1", host.port))

    def receive(self, *kinds: int) -> bytes:
        """The next datagram of one of these kinds."""
        while True:
            datagram = self.socket.recv(2000)
            if decode(datagram).kind in kinds:
                return datagram

    def join(self, host: Host, epoch: int) -> Session:
        """A neighbour session that we initiate, confirmed."""
        self.send(host, self.member.initiate(host.public, epoch=epoch))
        accept(host)
        session = self.member.finish(self.receive(RESPONSE))
        self.send(host, session.keepalive())
        host.wait("established")
        return session


@pytest.fixture
def core() -> Iterator[Host]:
    host = Host(CORE)
    yield host
    host.core.stop()


@pytest.fixture
def edge() -> Iterator[Peer]:
    peer = Peer(EDGE)
    with peer.socket:
        yield peer


@pytest.fixture
def gateway() -> Iterator[Peer]:
    peer = Peer(GATEWAY)
    with peer.socket:
        yield peer


@pytest.mark.parametrize("suite", [AES_256_GCM, CHACHA20_POLY1305])
@pytest.mark.parametrize("epoch", [1, 2, 3, 255])
def test_it_answers_our_initiation(core: Host, edge: Peer, suite: int, epoch: int) -> None:
    core.configure({EDGE: edge.address})
    edge.send(core, edge.member.initiate(core.public, suite=suite, epoch=epoch))
    event = accept(core)
    assert event[2:] == (EDGE, True, edge.member.public, edge.member.certificate)
    session = edge.member.finish(edge.receive(RESPONSE))
    assert session.suite in (suite, CHACHA20_POLY1305)
    edge.send(core, session.sealed(CONTROL, b"hello"))
    assert ("control", EDGE, True, b"hello") in core.wait("control")
    assert core.core.send_control(EDGE, True, b"hello yourself")
    assert session.open(edge.receive(CONTROL)) == b"hello yourself"


def test_we_answer_its_initiation(core: Host, edge: Peer) -> None:
    core.configure({EDGE: edge.address})
    core.core.initiate(EDGE, True, edge.member.public, b"certificate of the core")
    session, asked, answer = edge.member.respond(edge.receive(INITIATION))
    assert (asked.adjacent, asked.number, asked.counter) == (True, CORE, 1)
    assert asked.certificate == b"certificate of the core"
    edge.send(core, answer)
    assert core.wait("established")[-1] == ("established", EDGE, True, asked.epoch, True, edge.member.boot)
    probe = decode_probe(session.open(edge.receive(KEEPALIVE)))
    assert probe
    assert (probe.number, probe.sent, probe.used, probe.reports) == (1, 1, 1, ())


def test_it_relays_as_the_page_says(core: Host, edge: Peer, gateway: Peer) -> None:
    core.configure({EDGE: edge.address, GATEWAY: gateway.address})
    from_edge, to_gateway = edge.join(core, epoch=3), gateway.join(core, epoch=2)
    header = Header(DATA, path=5, epoch=77, receiver=0xDEADBEEF, sequence=5, route=(GATEWAY, 40, 41, 42))
    edge.send(core, from_edge.hop(header, bytes(range(100))))
    got = gateway.receive(DATA)
    seen = decode(got)
    assert seen.hop_tag == hop_tag(to_gateway.rx.hop, got)
    expected = Header(DATA, 5, 2, True, 77, 7, 0xDEADBEEF, 5, (40, 41, 42), seen.hop_tag)
    assert seen == expected
    assert got[HEADER:] == bytes(range(100))


def test_a_recorded_handshake_changes_nothing(core: Host, edge: Peer) -> None:
    core.configure({EDGE: edge.address})
    initiation = edge.member.initiate(core.public)
    edge.send(core, initiation)
    accept(core)
    session = edge.member.finish(edge.receive(RESPONSE))
    edge.send(core, session.keepalive())
    core.wait("established")
    for _ in range(10):
        edge.send(core, initiation)
    core.wait_drops("handshake_copy", 10)
    edge.send(core, session.sealed(CONTROL, b"still here"))
    assert core.wait("control")[-1] == ("control", EDGE, True, b"still here")


def junk_initiation(recipient: bytes, rng: Random, cookie: bytes | None = None) -> bytes:
    """Its macs are right, its Noise message is not."""
    index = rng.getrandbits(32)
    body = with_macs(recipient, INITIATION, index, rng.randbytes(150), cookie)
    return Header(INITIATION, tagged=False, receiver=index, sequence=1).encode() + body


def demanded_cookie(core: Host, edge: Peer, rng: Random) -> bytes:
    """Floods the core until it answers with a cookie message; the cookie in it."""
    edge.socket.settimeout(0.01)
    for _ in range(200):
        flood = {decode(each).receiver: each for each in (junk_initiation(core.public, rng) for _ in range(100))}
        for each in flood.values():
            edge.send(core, each)
        try:
            answer = edge.receive(COOKIE)
        except TimeoutError:
            continue
        edge.socket.settimeout(PATIENCE)
        initiation = flood[decode(answer).receiver]
        assert len(answer) < len(initiation)
        return open_cookie(core.public, initiation[-32:-16], answer[HEADER:])
    pytest.fail("a flood of 20,000 initiations was not answered with a cookie")


def test_under_a_flood_a_cookie_is_demanded_and_honoured(core: Host, edge: Peer) -> None:
    """The flood knows the public key, so mac1 is right; it may not shut out who has the cookie."""
    core.configure({EDGE: edge.address})
    core.core.events()
    rng = Random(5)
    cookie = demanded_cookie(core, edge, rng)

    def judged() -> tuple[int, int]:
        core.core.events()
        drops = core.drops()
        return drops["handshake_load"], drops.get("handshake_rate", 0) + drops.get("handshake_noise", 0)

    def settled() -> tuple[int, int]:
        """What is still under way of the flood has no cookie: until nothing comes any more."""
        known = judged()
        while True:
            time.sleep(0.2)
            before, known = known, judged()
            if before == known:
                return known

    load, others = settled()
    for _ in range(300):
        edge.send(core, junk_initiation(core.public, rng, cookie))
    deadline = time.monotonic() + PATIENCE
    while judged()[1] < others + 300:
        assert time.monotonic() < deadline, core.drops()
    assert judged()[0] == load, "a cookie was demanded of somebody who had it"
