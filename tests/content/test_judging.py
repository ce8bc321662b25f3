"""Which connections a content proxy takes over, and what is fetched where it has not what was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from braid.tcp.record import TcpRecord, Window, encode_record
from braid.transfer import Reason, TransferRequest, numbers_of
from content.cache import Ready
from content.entry import Entry
from content.freshness import Times
from content.index import Index
from content.judging import UNREACHED_FOR, Judge, Judged
from content.keys import Keys
from content.message import Head, Request
from content.policy import Use
from content.sites import Sites
from content.telling import by_keys
from tests.delegations import situation as situation_of
from tests.topology.test_transfers import text
from topology.model import SocketAddress
from topology.source import parse

if TYPE_CHECKING:
    from braid.role import Situation
    from content.message import Headers
    from content.sites import Site

TOPOLOGY = parse(text("{application: shop, proxies: [c-1], path: /video/, least_kb: 100}"), "net.yaml")
SITUATION = situation_of(TOPOLOGY, "c-1")
SERVE = situation_of(
    parse(
        text(
            '{application: shop, proxies: [c-1], path: /app/, mode: serve, until: "1970-01-01T00:01:00Z"}\n'
            "  - {application: shop, proxies: [c-1], path: /video/}"
        ),
        "net.yaml",
    ),
    "c-1",
)
"""Where a row has all of ``/app/`` served from here, and another only what is stored."""
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


def judge(cache: FakeCache, *, room: bool = True, draining: bool = False, wall: float = 0.0) -> Judge:
    find = Sites(TOPOLOGY, "c-1").find
    return Judge(cache, find, lambda: wall, lambda: room, lambda: draining, Keys("c-1"))  # type: ignore[arg-type]


def request(path: str, *, vip: SocketAddress = VIP, method: str = "GET", fields: str = "") -> TransferRequest:
    head = f"{method} {path} HTTP/1.1\r\nHost: {NAME}\r\n{fields}\r\n".encode()
    record = TcpRecord(vip, CLIENT, 1, 1 + len(head), 1448, None, False, None, Window(1, 1, 1, 1, 1), head)
    content = f"http://{NAME}{path}".encode()
    return TransferRequest(bytes(16), 100, numbers_of(record), (0, 0), content, encode_record(record))


def test_what_is_stored_and_large_enough_is_taken(cache: FakeCache) -> None:
    cache.add("/video/1?a", 100_000)
    judged = judge(cache).offered(SITUATION, GATEWAY, request("/video/1?a"))
    assert isinstance(judged, Judged)
    assert (judged.record.remote, judged.edge, judged.application) == (CLIENT, "e-1", "shop")
    assert judged.found is not None
    assert judged.found.ready is not None
    assert judged.found.ready.entry.length == 100_000


def test_the_key_alone_decides_that_nothing_is_stored_or_all_is_too_small(cache: FakeCache) -> None:
    cache.add("/video/1", 99_999)
    cache.add("/img/1", 100_000)
    for path in ("/video/1", "/video/2", "/img/1"):
        assert judge(cache).offered(SITUATION, GATEWAY, request(path)) is Reason.CONTENT, path
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


def test_what_a_row_has_served_in_any_case_is_taken_though_it_is_not_stored(cache: FakeCache) -> None:
    judged = judge(cache).offered(SERVE, GATEWAY, request("/app/1"))
    assert isinstance(judged, Judged)
    assert judged.found is not None
    assert (judged.found.ready, judged.found.asked.key) == (None, f"http://{NAME}/app/1")
    cache.add("/app/2", 10)
    judged = judge(cache).offered(SERVE, GATEWAY, request("/app/2"))
    assert isinstance(judged, Judged)
    assert judged.found is not None
    assert judged.found.ready is not None
    assert cache.warmed == [], "it is fetched by whoever serves it"


def test_and_nothing_else(cache: FakeCache) -> None:
    upgrade = request("/app/1", fields="Connection: upgrade\r\nUpgrade: websocket\r\n")
    for wrong, asks, reason in (
        (request("/video/1"), judge(cache), Reason.CONTENT),
        (request("/app/1"), judge(cache, wall=60.0), Reason.CONTENT),
        (request("/app/1"), judge(cache, draining=True), Reason.DRAINING),
        (request("/app/1"), judge(cache, room=False), Reason.BUSY),
        (request("/app/1", method="POST"), judge(cache), Reason.VARIANT),
        (upgrade, judge(cache), Reason.CONTENT),
    ):
        assert asks.offered(SERVE, GATEWAY, wrong) is reason


def test_an_origin_that_was_out_of_reach_is_left_to_the_gateways_for_a_while(cache: FakeCache) -> None:
    now = 0.0
    judging = Judge(
        cache, Sites(TOPOLOGY, "c-1").find, lambda: now, lambda: True, lambda: False, Keys("c-1")  # type: ignore[arg-type]
    )  # fmt: skip
    asked = Request(b"GET", NAME, 80, b"/app/1")
    judging.out_of_reach(asked)
    assert judging.offered(SERVE, GATEWAY, request("/app/1")) is Reason.CONTENT
    assert not judging.keeps(SERVE, asked, "shop", CLIENT, "e")
    cache.add("/app/2", 10)
    assert isinstance(judging.offered(SERVE, GATEWAY, request("/app/2")), Judged), "it is stored"
    for later in (UNREACHED_FOR, -3600.0):
        now = later
        assert isinstance(judging.offered(SERVE, GATEWAY, request("/app/1")), Judged), "also if the clock is set back"
    assert judging.keeps(SERVE, asked, "shop", CLIENT, "e")


@pytest.mark.parametrize(
    ("method", "target", "fields", "wall", "kept"),
    [
        (b"GET", b"/app/1", (), 0.0, True),
        (b"POST", b"/app/1?a", (), 0.0, True),
        (b"GET", b"/app/1", (), 60.0, False),
        (b"GET", b"/app/1", ((b"upgrade", b"websocket"),), 0.0, False),
        (b"CONNECT", b"/app/1", (), 0.0, False),
        (b"GET", b"/video/1", (), 0.0, True),
        (b"GET", b"/video/2", (), 0.0, False),
        (b"POST", b"/video/1", (), 0.0, False),
        (b"GET", b"/img/1", (), 0.0, False),
    ],
)
def test_which_next_requests_keep_their_connection_here(
    cache: FakeCache, method: bytes, target: bytes, fields: Headers, wall: float, kept: bool
) -> None:
    cache.add("/video/1", 10)
    asked = Request(method, NAME, 80, target, fields)
    assert judge(cache, wall=wall).keeps(SERVE, asked, "shop", CLIENT, "e") is kept
    fetched = [f"http://{NAME}/video/2"] if target == b"/video/2" else []
    assert [key for key in cache.warmed if "/video/" in key] == fetched


@pytest.mark.parametrize(("situation", "wall", "judged"), [
    (SITUATION, 0.0, {"shop"}), (SERVE, 0.0, set()), (SERVE, 60.0, {"shop"})
])  # fmt: skip
def test_of_which_applications_the_data_thread_refuses_by_the_key(
    situation: Situation, wall: float, judged: set[str]
) -> None:
    assert by_keys(situation.topology, "c-1", wall) == judged
