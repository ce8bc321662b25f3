"""An application whose servers see their clients' own addresses, and whose clients move to a content proxy."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from lab.origin import chunks, size_of
from tests.netns import labs
from tests.netns.gated import bounded, gate
from tests.netns.test_transfer import GATEWAY, HOST, PROXY, document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

LARGE, BEGINNING = "20MB", 2_000_000
CLIENT = {4: "10.91.1.10", 6: "fd91:1::10"}
CLIENTS = (("-4", "10.91.0.0/16", "10.93.0.2"), ("-6", "fd91::/16", "fd93::2"))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    directory = tmp_path_factory.mktemp("own")
    found = document(directory)
    found["name"] = "own"
    found["applications"]["shop"]["proxy"] |= {"client_address": "transparent"}
    with labs.running(found, directory) as running:
        for family, clients, gateway in CLIENTS:
            running.exec("origin-1", ["ip", family, "route", "add", clients, "via", gateway])
        labs.store(running, PROXY, *(f"{HOST}/cached/{size}" for size in ("3MB", LARGE)))
        bounded(running)
        yield running


@pytest.mark.parametrize("version", [4, 6])
def test_servers_see_the_client_before_it_moves_and_when_it_is_back(
    lab: RunningLab, tmp_path: Path, version: int
) -> None:
    before = lab.status(GATEWAY)["transfers"]
    files = [tmp_path / name for name in ("before", "object", "after")]
    paths = "/headers", "/cached/3MB", "/headers"
    places = [word for file, path in zip(files, paths, strict=True) for word in ("-o", str(file), HOST + path)]
    words = ["curl", "-sS", "--fail", f"-{version}", "-w", "%{num_connects} %header{cache-status}\n", *places]
    told = lab.exec("client", words, timeout=60).stdout.splitlines()
    assert [line.split(";")[0] for line in told] == ["1 ", f"0 {PROXY}", "0 "]
    assert {json.loads(files[at].read_text())["client"] for at in (0, 2)} == {CLIENT[version]}
    after = lab.status(GATEWAY)["transfers"]
    assert (after["moved"], after["returned"]) == (before["moved"] + 1, before["returned"] + 1)


def test_what_a_proxy_that_is_gone_was_sending_is_cut_off(lab: RunningLab, tmp_path: Path) -> None:
    """Whoever asks the servers for the rest is not the client in their eyes."""
    with gate(tmp_path / "object", BEGINNING) as download:
        words = ["curl", "-sS", "--fail", "-4", "-o", str(tmp_path / "object"), f"{HOST}/cached/{LARGE}"]
        child = lab.popen("client", words)
        download.wait(BEGINNING)
        lab.kill(PROXY)
        download.open()
        assert child.wait(20) != 0
        told = download.digest()
    events = lab.status(GATEWAY)["transfers"]["events"]
    assert events["proxy_gone"] == sum(count for name, count in events.items() if name.startswith("reset_")) == 1
    whole = b"".join(chunks(size_of(LARGE)))
    assert told == hashlib.sha256(whole[: download.came]).hexdigest()
    lab.start(PROXY)
    lab.wait_ready(PROXY)
