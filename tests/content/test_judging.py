"""Which connections a content proxy takes over, and what is fetched where it has not what was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from braid.role import Situation
from braid.tcp.record import TcpRecord, Window, encode_record
from braid.transfer import Reason, TransferRequest, numbers_of
from content.cache import Ready
from content.entry import Entry
from content.freshness import Times
from content.index import Index
from content.judging import Judge, Judged
from content.keys import Keys
from content.message import Head
from content.policy import Use
from content.sites import Sites
from tests.topology.test_transfers import text
from topology.model import SocketAddress
from topology.source import parse

if TYPE_CHECKING:
    from content.message import Request
    from content.sites import Site

TOPOLOGY = parse(text("{application: shop, proxies: [c-1], path: /video/, least_kb: 100}"), "net.yaml")
SITUATION = Situation(TOPOLOGY, "c-1", None)  # type: ignore[arg-type]
GATEWAY = TOPOLOGY.nodes["g-1"].number
CLIENT = SocketAddress(ip_address("10.1.0.10"), 40000)
VIP = SocketAddress(TOPOLOGY.vips[0].address, 80)
NAME = "shop.apps.example"


@dataclass
class FakeCache:
    index: Index = field(default_factory=lambda: Index(1 << 30))
    fresh: bool = True
    warmed: list[str] = field(default_factory=list)
    looked: int = 0

    @property
    def store(self) -> SimpleNamespace:
        return SimpleNamespace(index=self.index)

    def add(self, path: str, length: int) -> None:
        key, number = f"http://{NAME}{path}", len(self.index)
        self.index.add(Entry(f"{number:032x}", key, (), Head(200), Times(number, number), length, 0))

    def ready(self, request: Request) -> Ready | None:
        self.looked += 1
        found = self.index.find(request.key)
        return Ready(found[0], Use.FRESH) if found and self.fresh else None

    def warm(self, request: Request, _site: Site) -> None:
        self.warmed.append(request.key)


@pytest.fixture
def cache() -> FakeCache:
    return FakeCache()


def judge(cache: FakeCache, *, room: bool = True, draining: bool = False) -> Judge:
    find = Sites(TOPOLOGY, "c-1").find
    return Judge(cache, find, lambda: 0.0, lambda: room, lambda: draining, Keys("c-1"))  # type: ignore[arg-type]


def request(path: str, *, vip: SocketAddress = VIP, method: str = "GET") -> TransferRequest:
    head = f"{method} {path} HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode()
    record = TcpRecord(vip, CLIENT, 1, 1 + len(head), 1448, None, False, None, Window(1, 1, 1, 1, 1), head)
    content = f"http://{NAME}{path}".encode()
    return TransferRequest(bytes(16), 100, numbers_of(record), (0, 0), content, encode_record(record))


def test_what_is_stored_and_large_enough_is_taken(cache: FakeCache) -> None:
    cache.add("/video/1?a", 100_000)
    judged = judge(cache).offered(SITUATION, GATEWAY, request("/video/1?a"))
    assert isinstance(judged, Judged)
    assert (judged.record.remote, judged.edge, judged.application) == (CLIENT, "e-1", "shop")
    assert judged.found is not None
    assert judged.found.ready.entry.length == 100_000


def test_the_key_alone_decides_that_nothing_is_stored_or_all_is_too_small(cache: FakeCache) -> None:
    cache.add("/video/1", 99_999)
    cache.add("/img/1", 100_000)
    for path in ("/video/1", "/video/2", "/img/1"):
        asked = replace(request(path), record=request(path).record[:30])
        assert judge(cache).offered(SITUATION, GATEWAY, asked) is Reason.CONTENT, path
    assert cache.looked == 0


def test_what_is_not_good_any_more_is_refused(cache: FakeCache) -> None:
    cache.add("/video/1", 100_000)
    cache.fresh = False
    assert judge(cache).offered(SITUATION, GATEWAY, request("/video/1")) is Reason.VARIANT
    assert cache.warmed == [], "the gateway has its answer first"


def test_what_was_missed_is_fetched(cache: FakeCache) -> None:
    cache.add("/video/1", 99_999)
    for path in ("/video/1", "/video/2", "/img/1"):
        judge(cache).missed(SITUATION, GATEWAY, request(path))
    assert cache.warmed == [f"http://{NAME}/video/2"]
    judge(cache).missed(SITUATION, GATEWAY, replace(request("/video/3"), record=b""))
    judge(cache, draining=True).missed(SITUATION, GATEWAY, request("/video/3"))
    assert len(cache.warmed) == 1


def test_everything_else_has_to_hold_too(cache: FakeCache) -> None:
    cache.add("/video/1", 100_000)
    good = request("/video/1")
    moved = replace(good.numbers, receive_next=good.numbers.receive_next + 1)
    stranger = SocketAddress(ip_address("10.1.0.254"), 80)
    other = replace(request("/video/2"), content=good.content)
    for wrong, asks, reason in (
        (request("/video/1", vip=stranger), judge(cache), Reason.NOT_DELEGATED),
        (good, judge(cache, draining=True), Reason.DRAINING),
        (good, judge(cache, room=False), Reason.BUSY),
        (replace(good, numbers=moved), judge(cache), Reason.MISMATCH),
        (replace(good, record=good.record[:-1]), judge(cache), Reason.MISMATCH),
        (replace(good, record=b""), judge(cache), Reason.MISMATCH),
        (other, judge(cache), Reason.CONTENT),
        (request("/video/1", method="POST"), judge(cache), Reason.VARIANT),
    ):
        assert asks.offered(SITUATION, GATEWAY, wrong) is reason
    edge = TOPOLOGY.nodes["e-1"].number
    assert judge(cache).offered(SITUATION, edge, good) is Reason.NOT_DELEGATED
