"""Thousands of connections of one content proxy: their worker is killed, and all of them go on with the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from braid.process import allow_descriptors
from tests.content.test_service import until
from tests.content.test_supervisor import BODY, begin, body, started

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

MANY, LOADING = 2000, 10


async def test_thousands_go_on_with_the_next_worker(
    nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow_descriptors()
    # They are more than may wait for a worker that does not read.
    monkeypatch.setattr("content.channel.MOST_WAITING", 100)
    running = await started(nursery, tmp_path, connections=2 * MANY)
    loading = [await running.connect() for _ in range(LOADING)]
    got = [await begin(client) for client in loading]
    resting = [await running.connect() for _ in range(MANY)]
    await until(lambda: len(running.supervisor._keeper.kept) == MANY + LOADING)
    await running.die()
    with trio.fail_after(60):
        for index, client in enumerate(loading):
            got[index] += await body(client, len(BODY) - len(got[index]))
            assert got[index] == BODY
        for client in resting[:: MANY // 20]:
            assert (await client.ask("/a", range="bytes=5-9")).body == BODY[5:10]
    assert running.events["worker_deaths"] == 1
    assert running.events["carried"] == MANY + LOADING
    assert running.events["resumed"] == LOADING
    for client in (*loading, *resting):
        await client.stream.aclose()
