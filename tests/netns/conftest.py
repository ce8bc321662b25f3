"""The lab that the tests of figures share, and the record of what they measured."""

from __future__ import annotations

import fcntl
import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.netns import labs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.running import RunningLab

RESULTS = Path(__file__).parent.parent / "results" / "figures.json"


@pytest.fixture(scope="session")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    with labs.running(labs.demo("fig"), tmp_path_factory.mktemp("fig")) as lab:
        yield lab


@pytest.fixture
def lab(shared_lab: RunningLab) -> Iterator[RunningLab]:
    """The demo's topology on real packets, whole at the beginning of each test."""
    yield shared_lab
    labs.mend(shared_lab)


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str, object], None]:
    """Shows a measured figure as one line, also of a test that passes, and keeps the last ones in ``RESULTS``, which
    runs at the same time share."""
    capture: Any = request.config.pluginmanager.get_plugin("capturemanager")

    def record(name: str, measured: object) -> None:
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            print(f"\nfigure: {name}: {measured}", flush=True)
        RESULTS.parent.mkdir(exist_ok=True)
        with RESULTS.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            figures = json.loads(file.read() or "{}") | {name: measured}
            file.truncate(0)
            file.write(json.dumps(figures, indent=2) + "\n")

    return record
