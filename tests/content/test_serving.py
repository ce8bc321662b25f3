"""What the data thread is told that this node serves."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import trio

from braid.stored import name
from braid.transfer import Reason
from content.entry import Entry
from content.freshness import Times
from content.index import Index
from content.message import Head
from content.policy import as_answer
from content.serving import SPARE, Serving, told_of
from content.telling import Teller
from tests.delegations import situation
from tests.topology.test_transfers import text
from topology.source import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from content.message import Headers
    from topology.model import IPAddress

A, B = b"a" * 8, b"b" * 8


def test_what_is_new_and_what_is_not_good_any_more_is_told_once() -> None:
    serving = Serving()
    assert serving.set(A, -inf, 0.0) is None
    assert serving.set(A, 10.0, 0.0) is True
    assert serving.set(A, 20.0, 0.0) is True, "longer"
    assert serving.set(B, 15.0, 0.0) is True
    assert serving.expire(14.0) == []
    assert serving.expire(15.0) == [B]
    assert serving.set(B, 15.0, 16.0) is None
    assert serving.expire(30.0) == [A]
    assert serving.set(A, 40.0, 30.0) is True
    assert serving.set(A, -inf, 31.0) is False
    assert serving.expire(50.0) == []


def test_what_is_remembered_follows_what_is_served() -> None:
    serving = Serving()
    for number in range(10 * SPARE):
        serving.set(A, 10.0 + number, 0.0)
    assert len(serving._due) <= SPARE + 2
    assert serving.expire(1e9) == [A]


def test_all_that_is_stored_under_a_key_is_told_or_we_judge() -> None:
    plain, varied = entry("/a", 1), entry("/a", 2, selecting=((b"accept", b"x"),))
    named = name(plain.key)
    answers = [as_answer(each.head, each.times, each.selecting) for each in (plain, varied)]
    assert told_of(plain.key, [plain, varied]) == named + b"\2" + b"".join(answers)
    assert answers[1] == answers[0][:-1] + b"\1\6accept\0\1x"
    ours = entry("/a", 3, selecting=((b"via", b"1.1 x"),))
    long = entry("/a", 4, selecting=((b"accept", b"x" * 250),))
    for variants in ([plain, ours], [long], [varied] * 30):
        assert told_of(plain.key, variants) == named + b"\0"


@dataclass
class Thread:
    """As the core's would be."""

    keys: set[bytes] = field(default_factory=set)
    told: list[bytes] = field(default_factory=list)
    clocks: list[float] = field(default_factory=list)
    nothing: Reason | None = None
    vips: dict[IPAddress, tuple[int, ...]] = field(default_factory=dict)
    forgot: int = 0

    def forget(self) -> None:
        self.keys, self.nothing, self.vips = set(), None, {}
        self.forgot += 1

    def add(self, told: Sequence[bytes]) -> None:
        self.keys |= {each[:8] for each in told}
        self.told += told

    def clock(self, now: float) -> None:
        self.clocks.append(now)

    def remove(self, keys: Sequence[bytes]) -> None:
        assert set(keys) <= self.keys
        self.keys -= set(keys)

    def refuse(self, reason: Reason | None) -> None:
        self.nothing = reason

    def judge(self, vip: IPAddress, gateways: Sequence[int]) -> None:
        self.vips[vip] = tuple(gateways)


def entry(path: str, length: int, fresh: int = 1000, selecting: Headers = ()) -> Entry:
    key, head = f"http://shop.apps.example{path}", Head(200, ((b"cache-control", b"max-age=%d" % fresh),))
    return Entry(f"{hash((path, length)) % 2**64:032x}", key, selecting, head, Times(0.0, 0.0), length, 0)


def named(*paths: str) -> set[bytes]:
    return {name(f"http://shop.apps.example{path}") for path in paths}


async def test_the_data_thread_knows_what_the_store_has(autojump_clock: trio.testing.MockClock) -> None:
    topology = parse(text("{application: shop, proxies: [c-1], path: /video/, least_kb: 100}"), "net.yaml")
    other = parse(text("{application: shop, proxies: [c-1]}"), "net.yaml")
    thread, index = Thread(), Index(1 << 30)
    nothing: list[Reason | None] = [None]
    index.add(entry("/video/1", 100_000))
    index.add(entry("/video/2", 99_999))
    index.add(entry("/img/1", 100_000))
    now = {"topology": topology}
    node: Any = SimpleNamespace(
        situation=lambda: situation(now["topology"], "c-1"),
        serves=thread,
        tell=lambda *_: None,
    )
    read = trio.Event()
    async with trio.open_nursery() as nursery:
        teller = Teller(index, trio.current_time, lambda: nothing[0])
        nursery.start_soon(teller.run, node, read)
        await trio.sleep(1)
        assert thread.forgot == 0, "the store is not read"
        read.set()
        await trio.sleep(1)
        assert thread.keys == named("/video/1")
        assert thread.vips == {topology.vips[0].address: (topology.nodes["g-1"].number,)}
        stays = entry("/video/3", 200_000, 10)
        index.add(stays)
        assert thread.keys == named("/video/1", "/video/3"), "at once"
        assert thread.told[-1] == told_of(stays.key, [stays])
        index.add(replace(stays, head=Head(200, ((b"cache-control", b"max-age=9"),))))
        assert thread.told[-1] == told_of(stays.key, index.find(stays.key)) != thread.told[-2], "another head of it"
        assert thread.clocks[-1] - thread.clocks[0] >= 0.5
        index.remove(entry("/video/1", 100_000).id)
        assert thread.keys == named("/video/3")
        nothing[0] = Reason.DRAINING
        await trio.sleep(1)
        assert thread.nothing == Reason.DRAINING
        nothing[0] = None
        await trio.sleep(10)
        assert thread.keys == set(), "it is stale"
        assert not thread.nothing
        now["topology"] = other
        await trio.sleep(1)
        assert thread.keys == named("/video/2", "/img/1")
        nursery.cancel_scope.cancel()
