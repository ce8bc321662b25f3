"""What a gateway does as its row in the routing table comes, changes and goes, or an operator's order."""

from __future__ import annotations

import errno
import threading
from collections import Counter
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pytest
import trio
import trio.testing

from braid.drained import Order, orders_file, read_orders, write_order
from gateway.drain import service as module
from gateway.drain.carrier import MoveFailed
from gateway.drain.service import DrainService
from gateway.drain.state import AT_HOME, State, of_lender
from tests.gateway.moved import Moved
from tests.topology.test_drains import text
from topology.source import parse

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

A, B, C = "gw-1-1", "gw-1-2", "gw-1-3"
NONE = parse(text(), "net.yaml")
TO_B, TO_C = (parse(text(f"{{gateway: {A}, to: {to}}}"), "net.yaml") for to in (B, C))
UNTIL = parse(text(f'{{gateway: {A}, to: {B}, until: "1970-01-01T00:01:00Z"}}'), "net.yaml")


class FakeLender:
    """Every step is done in a second."""

    steps: list[str]
    standing = AT_HOME

    numbers: list[int]
    """Of the first message of each."""

    def __init__(self, _node: object, _flows: object, order: Order, *more: Any) -> None:
        self.numbers.append(next(more[-1]))
        self.order = order
        self.state = State.AWAY
        self.began = trio.current_time()
        self.told = (0, 0)
        self.again = 0
        self.look = SimpleNamespace(opening=0, stay=0)

    async def leave(self) -> None:
        await trio.sleep(1)
        self.state = State.AWAY
        self.steps.append(f"to {self.order.to}")

    async def come_back(self) -> None:
        await trio.sleep(1)
        self.state = State.HOME
        self.steps.append(f"home from {self.order.to}")

    async def be_away(self) -> None:
        await trio.lowlevel.checkpoint()

    def stay_diverted(self) -> None:
        """The edges know."""


class FakeHost:
    lease = None
    lender = ""
    standing = AT_HOME
    taken = refused = 0
    why = ""

    def __init__(self, *_words: object) -> None:
        pass

    async def run(self) -> NoReturn:
        await trio.sleep_forever()
        raise AssertionError


class World:
    def __init__(self, file: Path, steps: list[str], topology: Any = NONE) -> None:
        self.file = file
        self.steps = steps
        self.topology = topology
        self.wall = 0.0
        self.counts: Counter[str] = Counter()
        self.service = DrainService(lambda *_: (), self._lodge, lambda *_, **__: None, Moved(), dict, lambda: self.wall)
        self.service.remember(file, topology, A)

    async def _lodge(self, _pools: object) -> None:
        await trio.lowlevel.checkpoint()

    def node(self) -> Any:
        def situation() -> SimpleNamespace:
            return SimpleNamespace(topology=self.topology, node=A, links=None)

        return SimpleNamespace(flows=object(), situation=situation, replan=lambda: None, recapture=None)

    def shown(self) -> tuple[str, str, str]:
        found = self.service.status()
        return found.state, found.to, found.by


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(module, "Lender", FakeLender)
    monkeypatch.setattr(module, "Host", FakeHost)
    FakeLender.steps, FakeLender.numbers, FakeLender.standing = [], [], AT_HOME
    return FakeLender.steps


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "net.yaml"


async def start(nursery: trio.Nursery, world: World) -> None:
    await nursery.start(world.service.run, cast("Any", world.node()))


async def test_a_row_that_comes_drains_and_one_that_goes_undrains(
    file: Path, steps: list[str], autojump_clock: MockClock
) -> None:
    world = World(file, steps)
    async with trio.open_nursery() as nursery:
        await start(nursery, world)
        await trio.sleep(5)
        assert world.shown() == ("home", "", "")
        world.topology = TO_B
        await trio.sleep(5)
        assert world.shown() == ("away", B, "transfers[0]")
        world.topology = NONE
        await trio.sleep(5)
        assert world.shown()[0] == "home"
        world.topology = TO_B
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert steps == [f"to {B}", f"home from {B}", f"to {B}"]
    assert read_orders(orders_file(file)) == {}, "nothing was ordered"


async def test_a_gateway_that_was_drained_when_it_ended_answers_for_its_pools_when_its_sibling_is_dead(
    file: Path, steps: list[str], autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def be_away(lender: FakeLender) -> None:
        lender.state, lender.standing = State.HOME, AT_HOME
        await world.service._settle()
        raise MoveFailed("dead")

    async def recapture() -> None:
        await trio.lowlevel.checkpoint()
        captured.append(world.service.captured(TO_B, pools))

    captured: list[object] = []
    pools = TO_B.nodes[A].snat_pools
    world = World(file, steps, TO_B)
    assert world.service.captured(TO_B, pools) == ()
    FakeLender.standing = of_lender(State.AWAY, TO_B.nodes[B].number)
    monkeypatch.setattr(FakeLender, "be_away", be_away)
    node = world.node()
    node.recapture = recapture
    async with trio.open_nursery() as nursery:
        await nursery.start(world.service.run, node)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert captured == [pools]


async def test_edges_believe_the_next_drain_though_the_clock_was_set_back(
    file: Path, steps: list[str], autojump_clock: MockClock
) -> None:
    world = World(file, steps, TO_B)
    async with trio.open_nursery() as nursery:
        await start(nursery, world)
        for wall, topology in ((100.0, NONE), (-3600.0, TO_B), (-3600.0, NONE)):
            world.wall, world.topology = wall, topology
            await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert steps == [f"home from {B}", f"to {B}", f"home from {B}"]
    first, second = FakeLender.numbers
    assert first < second


async def test_a_row_that_names_another_gateway_leads_there_by_home(
    file: Path, steps: list[str], autojump_clock: MockClock
) -> None:
    world = World(file, steps, TO_B)
    async with trio.open_nursery() as nursery:
        await start(nursery, world)
        await trio.sleep(5)
        assert steps == [], "it was drained when it started"
        world.topology = TO_C
        await trio.sleep(10)
        assert world.shown() == ("away", C, "transfers[0]")
        nursery.cancel_scope.cancel()
    assert steps == [f"home from {B}", f"to {C}"]


async def test_a_row_ends_at_its_moment(file: Path, steps: list[str], autojump_clock: MockClock) -> None:
    world = World(file, steps, UNTIL)
    async with trio.open_nursery() as nursery:
        await start(nursery, world)
        await trio.sleep(5)
        assert world.shown() == ("away", B, "transfers[0]")
        world.wall = 60.0
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert steps == [f"home from {B}"]
    assert World(file, steps, UNTIL).service.leaves() is False


async def test_what_both_say_holds_until_both_are_gone(file: Path, steps: list[str], autojump_clock: MockClock) -> None:
    world = World(file, steps, TO_B)
    write_order(orders_file(file), A, Order(B))
    async with trio.open_nursery() as nursery:
        await start(nursery, world)
        await trio.sleep(5)
        world.topology = NONE
        await trio.sleep(5)
        assert world.shown() == ("away", B, "braid drain")
        assert steps == []
        write_order(orders_file(file), A, None)
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert steps == [f"home from {B}"]


async def come_home(nursery: trio.Nursery, file: Path, steps: list[str]) -> World:
    write_order(orders_file(file), A, Order(B, back=True))
    world = World(file, steps)
    await start(nursery, world)
    return world


async def test_a_disk_that_takes_its_time_does_not_hold_up_the_gateway(
    file: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    begun, done, written, in_time = threading.Event(), threading.Event(), threading.Event(), list[bool]()

    def write(*_: object) -> None:
        begun.set()
        in_time.append(done.wait(5))
        written.set()

    monkeypatch.setattr(module, "write_order", write)
    await come_home(nursery, file, steps)
    await trio.to_thread.run_sync(partial(begun.wait, 5))
    await trio.testing.wait_all_tasks_blocked()
    done.set()
    await trio.to_thread.run_sync(partial(written.wait, 5))
    assert in_time[0], "nothing else went on meanwhile"


async def test_an_order_that_cannot_be_taken_out_is_told_and_obeyed_once(
    file: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    # Which does not know of threads.
    autojump_clock.autojump_threshold = 0.02

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(module, "write_order", refuse)
    async with trio.open_nursery() as nursery:
        world = await come_home(nursery, file, steps)
        await trio.sleep(10)
        problem = f"{orders_file(file)} cannot be written (Read-only file system): take out the line of {A}"
        assert world.service.status().problem == problem
        write_order(orders_file(file), A, None)
        await trio.sleep(1)
        assert world.service.status().problem == ""
        nursery.cancel_scope.cancel()
    assert steps == [f"home from {B}"]
