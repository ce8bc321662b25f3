"""The same where edge and gateway have two shards each: what the edge saw, the connection's shard knows."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from lab.origin import digest, size_of
from tests.netns.test_proxy_gone import AT_ONCE, SIZE, downloads, stored
from tests.netns.test_transfer import GATEWAY, PROXY
from tests.netns.test_transfer_origin import NGINX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.running import RunningLab

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(not shutil.which(NGINX), reason="nginx, the stock origin server, is not installed"),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    with stored(tmp_path_factory.mktemp("gone"), "goneshards", shards=2) as running:
        yield running


def test_what_cannot_change_goes_on_when_the_node_is_killed(lab: RunningLab, tmp_path: Path) -> None:
    done = downloads(lab, tmp_path, "", lambda: lab.kill(PROXY))
    after = lab.status(GATEWAY)["transfers"]["events"]
    assert done == [(0, digest(size_of(SIZE)), "1 200 0 200 0 200 ")] * AT_ONCE, after
    assert after["resumed"] == AT_ONCE
