"""What a gateway says has changed is dropped, also what is still under way, and the gateway hears of it then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
import trio.testing

from braid.outdated import Dropped, Outdated, decode
from content.outdating import MOST, Outdating
from content.reach import may_outdate
from tests.content.test_outdated import asking_first
from tests.content.test_service import fresh, stored, until
from tests.content.web import Asked, Reply, proxied
from tests.gateway.test_outdated import KEY, topology

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

GATEWAY = 31
ID = bytes(16)


async def test_what_was_asked_for_before_is_not_stored_and_answers_none_behind_it(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proxy = await proxied(nursery, monkeypatch, tmp_path / "store")
    hold, version, told = trio.Event(), b"old", list[Dropped]()

    def tell(peer: int, message: bytes) -> None:
        assert peer == GATEWAY
        found = decode(message)
        assert isinstance(found, Dropped)
        told.append(found)

    def reply(_asked: Asked) -> Reply:
        made = fresh(proxy, version * 1000)
        made.hold = hold if version == b"old" else None
        return made

    proxy.origin.reply = reply
    cache = proxy.service.cache
    assert cache is not None
    outdating, read = Outdating(lambda key: cache.outdate(frozenset((key,))), tell), trio.Event()
    nursery.start_soon(outdating.run, read)
    async with asking_first(proxy) as got:
        (key,) = cache.flights._all
        assert outdating.add(GATEWAY, Outdated(ID, key))
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert told == [], "what is stored is not known yet"
        read.set()
        await until(lambda: told == [Dropped(ID)])
        version = b"new"
        assert (await proxy.get()).body == b"new" * 1000
        hold.set()
    assert got == [b"old" * 1000]
    await stored(proxy)
    await until(lambda: not len(cache.flights))
    assert (await proxy.get()).body == b"new" * 1000
    assert proxy.events["stored"] == 1

    version = b"newest"
    assert (await proxy.get()).body == b"new" * 1000, "from the store"
    assert outdating.add(GATEWAY, Outdated(bytes([1]) * 16, key))
    await until(lambda: len(told) == 2)
    assert (await proxy.get()).body == b"newest" * 1000


async def test_what_is_said_again_waits_once_and_too_much_is_left(nursery: trio.Nursery) -> None:
    dropped, answers = list[str](), list[bytes]()

    async def drop(key: str) -> None:
        dropped.append(key)

    outdating, read = Outdating(drop, lambda _peer, message: answers.append(message)), trio.Event()
    nursery.start_soon(outdating.run, read)
    for number in range(MOST):
        assert outdating.add(GATEWAY, Outdated(number.to_bytes(16), f"{number}"))
    assert outdating.add(GATEWAY, Outdated(ID, "0")), "said again"
    assert not outdating.add(GATEWAY, Outdated(MOST.to_bytes(16), "more"))
    read.set()
    await until(lambda: len(answers) == MOST)
    assert dropped == [f"{number}" for number in range(MOST)]
    assert outdating.add(GATEWAY, Outdated(MOST.to_bytes(16), "more"))
    await until(lambda: dropped[-1] == "more")


def test_a_gateway_says_it_of_its_own_applications_alone() -> None:
    found = topology()
    gateway, edge = found.nodes["g-1"].number, found.nodes["e-1"].number
    assert may_outdate(found, gateway, KEY)
    assert may_outdate(found, gateway, "http://shop.apps.example:8000/")
    assert not may_outdate(found, edge, KEY)
    assert not may_outdate(found, gateway, "http://other.example/")
    assert not may_outdate(found, gateway, "")
