"""A killed process's TUN goes, and what its sockets then say must not reach clients by another route of the host."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from braid.tun import DEVICE
from lab.running import REPOSITORY
from tests.netns.flags import FIN

pytestmark = pytest.mark.netns


def said(device: str) -> list[int]:
    words = ["unshare", "--net", sys.executable, "-m", "tests.netns.ending", device]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(words, cwd=REPOSITORY, env=environment, capture_output=True, check=True, timeout=30)
    found: list[int] = json.loads(done.stdout)
    return found


def test_sockets_that_are_bound_to_the_tun_say_nothing_when_it_is_gone() -> None:
    assert any(flags & FIN for flags in said("")), "by the default route"
    assert said(DEVICE) == []
