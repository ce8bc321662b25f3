"""The content proxy's worker is killed in mid-download; a witness beside the client counts packets that say so."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from lab.origin import digest, size_of
from lab.workers import worker_of
from tests.netns import labs
from tests.netns.flags import FIN, RST, SYN, witness
from tests.netns.gated import bounded, gate
from tests.netns.labs import until
from tests.netns.test_transfer import GATEWAY, HOST, PROXY, document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

SIZE = "40MB"
OWN = ["--connect-to", "::10.91.1.80:80"]
"""To the proxy's own listener."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    directory = tmp_path_factory.mktemp("death")
    with labs.running(document(directory), directory) as running:
        bounded(running)
        fetch = ["curl", "-sS", "--fail", *OWN, "-o", "/dev/null", f"{HOST}/cached/{SIZE}"]
        running.exec("client", fetch, timeout=60)
        until(lambda: running.status(PROXY)["content"]["answers"] == 1)
        yield running


def events(lab: RunningLab) -> dict[str, int]:
    found: dict[str, int] = lab.status(PROXY)["content"]["events"]
    return found


def kill_worker(lab: RunningLab) -> None:
    before = events(lab).get("worker_deaths", 0)
    until(lambda: worker_of(lab.nodes[PROXY]))
    pid = worker_of(lab.nodes[PROXY])
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: events(lab).get("worker_deaths", 0) > before)


def killed(lab: RunningLab, words: list[str], file: Path, rng: random.Random, times: int = 1) -> tuple[list[str], str]:
    """What curl tells of a download to a file, in which the worker dies, and its digest. Each time the client has less
    than the next quarter of it, and buffers hold another one at most."""
    words = ["curl", "-sS", "--fail", "--limit-rate", "15M", "--max-time", "60", *words]
    before = {"resumed": 0, "worker_deaths": 0} | events(lab)
    quarter = size_of(SIZE) // 4
    with gate(file, 0) as gated:
        child = lab.popen("client", words, stdout=subprocess.PIPE, text=True)
        for number in range(times):
            gated.open((number + 1) * quarter)
            gated.wait(round((number + rng.uniform(0, 0.8)) * quarter))
            kill_worker(lab)
        gated.open()
        told, _ = child.communicate(timeout=60)
        assert child.returncode == 0, lab.log_tail(PROXY)
        found = gated.digest()
    after = events(lab)
    assert after["resumed"] == before["resumed"] + times
    assert after["worker_deaths"] == before["worker_deaths"] + times, lab.log_tail(PROXY, 40)
    return str(told).split(), found


def test_downloads_from_its_own_address_go_on(lab: RunningLab, tmp_path: Path) -> None:
    rng = random.Random(1)
    for turn in range(3):
        file = tmp_path / f"{turn}"
        with witness(lab) as seen:
            words = [*OWN, "-o", str(file), "-w", "%{num_connects} %header{cache-status}", f"{HOST}/cached/{SIZE}"]
            told, found = killed(lab, words, file, rng)
        assert (told[:3], found) == (["1", f"{PROXY};", "hit;"], digest(size_of(SIZE)))
        came = [flags for inward, flags in seen if inward]
        assert sum(bool(flags & SYN) for flags in came) == 1
        assert not any(flags & (FIN | RST) for flags in came[:-2])


@pytest.mark.parametrize("version", [4, 6])
def test_a_transferred_download_goes_on_and_its_connection_comes_back(
    lab: RunningLab, tmp_path: Path, figure: Callable[[str, object], None], version: int
) -> None:
    rng, file, headers = random.Random(version), tmp_path / "object", tmp_path / "headers"
    returned = lab.status(GATEWAY)["transfers"]["returned"]
    out = ["-w", "%{num_connects} %header{cache-status}\\n"]
    words = [f"-{version}", "-o", "/dev/null", *out, f"{HOST}/", "-o", str(file), *out, f"{HOST}/cached/{SIZE}",
             "-o", str(headers), *out, f"{HOST}/headers"]  # fmt: skip
    with witness(lab) as seen:
        told, found = killed(lab, words, file, rng, times=2)
    assert [told[0], told[1], told[2], told[3], told[-1]] == ["1", "0", f"{PROXY};", "hit;", "0"]
    assert found == digest(size_of(SIZE))
    came = [flags for inward, flags in seen if inward]
    assert sum(bool(flags & SYN) for flags in came) == 1
    assert [flags for flags in came[1:-2] if flags & (SYN | FIN | RST)] == []
    assert not any(flags & RST for flags in came)
    assert '"origin-1"' in headers.read_text()
    assert lab.status(GATEWAY)["transfers"]["returned"] == returned + 1
    figure(f"Worker killed twice in a transferred download (IPv{version})", f"{told}, {events(lab)}")


def test_what_is_still_being_fetched_goes_on_too(lab: RunningLab, tmp_path: Path) -> None:
    file = tmp_path / "object"
    words = [*OWN, "-o", str(file), "-w", "%header{cache-status}", f"{HOST}/cached/41MB"]
    told, found = killed(lab, words, file, random.Random(9))
    assert (told[1], found) == ("fwd=miss;", digest(size_of("41MB")))


def test_the_node_still_ends_with_0(lab: RunningLab) -> None:
    lab.kill(PROXY, signal.SIGTERM)
    assert worker_of(lab.nodes[PROXY]) is None
