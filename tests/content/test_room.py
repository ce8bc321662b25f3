"""Whether a content proxy has room for one connection more."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from content.settings import EACH, OTHERS, most_connections
from tests.content.test_service import until
from tests.content.test_tls import secured
from tests.content.web import topology_of

if TYPE_CHECKING:
    from pathlib import Path


async def test_those_that_wait_for_their_handshake_count(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proxy, port = await secured(nursery, monkeypatch, tmp_path, connections=2)
    await until(proxy.service._has_room)
    first = await trio.open_tcp_stream("127.0.0.1", port)
    second = await trio.open_tcp_stream("127.0.0.1", port)
    async with first:
        async with second:
            await until(lambda: not proxy.service._has_room())
        await until(proxy.service._has_room)


@pytest.mark.parametrize(("descriptors", "most"), [(OTHERS + 10 * EACH + 1, 10), (10, 1), (1 << 20, 1000)])
def test_descriptors_last_for_so_many(tmp_path: Path, descriptors: int, most: int) -> None:
    settings = topology_of(tmp_path, 80).nodes["c-1"].content
    assert settings is not None
    assert most_connections(replace(settings, connections=1000), descriptors) == most
