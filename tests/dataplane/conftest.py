from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.dataplane.hosts import Host, join
from tests.dataplane.relayed import GATEWAY, PROXY

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    """A gateway and a proxy, whose control side is the test."""
    gateway, proxy = Host(GATEWAY, "gateway"), Host(PROXY, "content")
    join(gateway, proxy)
    yield gateway, proxy
    gateway.core.stop()
    proxy.core.stop()
