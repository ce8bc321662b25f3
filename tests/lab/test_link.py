"""Impaired links, measured with numbered packets: what the emulator counts is what the receiver sees."""

from __future__ import annotations

import json
import os
import subprocess
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab import state
from lab.errors import LabError
from lab.impairment import Impairment
from lab.link import all_counters, tool
from lab.plan import make_plan
from lab.running import RunningLab
from lab.up import raise_namespaces
from tests.lab.small import neighbours, small

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.netns
NAME = f"u{os.getpid()}"
ENDINGS = 10
"""Datagrams that announce the end of a run, on top of the numbered ones."""
STRAY = 4
"""Frames the kernel may send of its own accord while a link is young (neighbour, multicast listener discovery)."""


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    topology = small(NAME)
    plan = make_plan(topology, neighbours(topology))
    with raise_namespaces(RunningLab(topology, Path("/nonexistent.yaml"), plan)) as running:
        yield running


@pytest.fixture(autouse=True)
def perfect_afterwards(lab: RunningLab) -> Iterator[None]:
    yield
    lab.impair("edge-1", "mid-1", None)


def measure(
    lab: RunningLab,
    *,
    rate: int = 5000,
    seconds: float = 1.0,
    size: int = 500,
    to: str = "10.80.0.11:9",
    meanwhile: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """From edge-1 to mid-1; the receiver's report, with the number sent."""
    traffic = str(tool("braid-traffic", "BRAID_TRAFFIC"))
    limit = str(seconds + 4)
    receiver = lab.listening("mid-1", [traffic, "udp-recv", "--bind", to, "--idle", "1", "--seconds", limit])
    words = ["--rate", str(rate), "--seconds", str(seconds), "--size", str(size)]
    sender = lab.popen("edge-1", [traffic, "udp-send", "--to", to, *words], stdout=subprocess.PIPE)
    meanwhile()
    sent = json.loads(sender.communicate(timeout=60)[0])
    report: dict[str, Any] = json.loads(receiver.communicate(timeout=60)[0])
    assert sent["send_errors"] == 0
    return {**report, "sent": sent["sent"], "lost": sent["sent"] - report["received"]}


def counted(lab: RunningLab, run: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], dict[str, int]]:
    """The report of a run, and what the counters of its direction grew by."""
    before = lab.counters("edge-1", "mid-1")["a-to-b"]
    report = run()
    after = lab.counters("edge-1", "mid-1")["a-to-b"]
    return report, {key: after[key] - before[key] for key in after}


@pytest.mark.parametrize("to", ["10.80.0.11:9", "[fd80::11]:9"])
def test_losses_counted_are_losses_seen(lab: RunningLab, to: str) -> None:
    lab.impair("edge-1", "mid-1", Impairment(loss=0.1, seed=3), direction="a-to-b")
    report, grown = counted(lab, lambda: measure(lab, to=to))
    stray = grown["received"] - report["sent"] - ENDINGS
    assert 0 <= stray <= STRAY
    assert grown["delivered"] + grown["lost_random"] == grown["received"]
    assert 0 <= grown["lost_random"] - report["lost"] <= ENDINGS + stray
    # 5,000 packets at 10 %: 500, standard deviation 21.
    assert 400 < report["lost"] < 600
    assert report["reordered"] == report["duplicated"] == report["damaged"] == 0


def test_the_same_seed_loses_the_same_packets(lab: RunningLab) -> None:
    missing = []
    for _ in range(2):
        lab.impair("edge-1", "mid-1", Impairment(loss=0.02, seed=11), direction="a-to-b")
        missing.append(measure(lab, seconds=0.4)["missing"])
    assert missing[0]
    assert missing[0] == missing[1]


def test_delay_is_added_one_way_and_keeps_order(lab: RunningLab) -> None:
    lab.impair("edge-1", "mid-1", Impairment(delay_ms=30, jitter_ms=5), direction="a-to-b")
    report = measure(lab)
    assert (report["lost"], report["reordered"]) == (0, 0)
    assert report["delay_ms_min"] >= 24.9
    assert 28 <= report["delay_ms_p50"] <= 45
    back = lab.counters("edge-1", "mid-1")["b-to-a"]
    assert back["received"] == back["delivered"] <= STRAY
    assert not any(count for name, count in back.items() if name not in ("received", "delivered"))


def test_a_blackhole_takes_one_direction(lab: RunningLab) -> None:
    lab.impair("mid-1", "edge-1", Impairment(blackhole=True), direction="b-to-a")
    report, grown = counted(lab, lambda: measure(lab, seconds=0.2))
    assert report["received"] == 0
    assert 0 <= grown["blackholed"] - report["sent"] - ENDINGS <= STRAY
    lab.impair("edge-1", "mid-1", None)
    assert measure(lab, seconds=0.2)["lost"] == 0


def test_duplicates_reordering_and_corruption(lab: RunningLab) -> None:
    lab.impair("edge-1", "mid-1", Impairment(duplicate=0.1, reorder=0.05, reorder_ms=3), direction="a-to-b")
    report, grown = counted(lab, lambda: measure(lab))
    assert report["lost"] == 0
    assert 0 <= grown["duplicated"] - report["duplicated"] <= ENDINGS + STRAY
    assert 0 <= grown["reordered"] - report["reordered"] <= ENDINGS + STRAY + 0.1 * grown["reordered"]
    assert report["reorder_ms_max"] >= 2.5
    lab.impair("edge-1", "mid-1", Impairment(corrupt=0.1), direction="a-to-b")
    report, grown = counted(lab, lambda: measure(lab))
    assert report["damaged"] == 0, "checksums catch one flipped bit"
    # A flip in fields no checksum covers (the IPv6 flow label, the ECN bits' equals) would still be delivered.
    assert 0 <= grown["corrupted"] - report["lost"] <= ENDINGS + STRAY
    assert grown["corrupted"] > 400


def test_the_rate_limit_holds(lab: RunningLab) -> None:
    lab.impair("edge-1", "mid-1", Impairment(rate_mbit=10, queue_ms=20), direction="a-to-b")
    report, grown = counted(lab, lambda: measure(lab))
    # 542-byte frames at 10 Mbit/s are 2,306 per second.
    assert report["received"] == pytest.approx(2306 * report["seconds"], rel=0.1)
    assert grown["lost_rate"] > 2000


def test_links_that_share_a_risk_lose_at_the_same_time(lab: RunningLab) -> None:
    shared = Impairment(joint_loss=0.5, joint_slot_ms=200, joint_seed=5)
    traffic = str(tool("braid-traffic", "BRAID_TRAFFIC"))
    senders = []
    for node, address in (("mid-1", "10.80.0.11:9"), ("mid-2", "10.80.0.12:9")):
        lab.impair("edge-1", node, shared, direction="a-to-b")
        words = ["--to", address, "--rate", "2000", "--seconds", "4", "--size", "100"]
        senders.append(lab.popen("edge-1", [traffic, "udp-send", *words], stdout=subprocess.DEVNULL))
    samples = []
    while all(sender.poll() is None for sender in senders):
        links = all_counters(lab.plan)
        samples.append(tuple(links[f"edge-1/{node}"]["a_to_b"]["lost_joint"] for node in ("mid-1", "mid-2")))
        time.sleep(0.05)
    lab.impair("edge-1", "mid-2", None)
    for sender in senders:
        sender.wait(timeout=30)
    lossy = [tuple(later > earlier for earlier, later in zip(*pair, strict=True)) for pair in pairwise(samples)]
    agreeing = sum(one == other for one, other in lossy)
    assert 0.1 < sum(one for one, _ in lossy) / len(lossy) < 0.9
    # Independent links would agree half of the time. Those that share may differ where a slot begins or ends.
    assert agreeing / len(lossy) > 0.85, lossy


def test_changing_an_impairment_loses_nothing(lab: RunningLab) -> None:
    def change() -> None:
        for step in range(6):
            time.sleep(0.2)
            lab.impair("edge-1", "mid-1", Impairment(delay_ms=step))

    assert measure(lab, seconds=2, meanwhile=change)["lost"] == 0


def test_going_off_and_onto_the_bridge_loses_nothing(lab: RunningLab) -> None:
    def toggle() -> None:
        for step in range(8):
            time.sleep(0.2)
            lab.impair("edge-1", "mid-1", None if step % 2 else Impairment(delay_ms=1))

    assert measure(lab, rate=10_000, seconds=2.5, meanwhile=toggle)["lost"] == 0


@pytest.mark.parametrize("to", ["10.80.0.11:9", "[fd80::11]:9"])
def test_bulk_tcp_passes_as_single_frames_with_valid_checksums(lab: RunningLab, to: str) -> None:
    traffic = str(tool("braid-traffic", "BRAID_TRAFFIC"))
    lab.impair("edge-1", "mid-1", Impairment(delay_ms=0.2))
    before = lab.counters("edge-1", "mid-1")["a-to-b"]["received"]
    sink = lab.listening("mid-1", [traffic, "tcp-sink", "--bind", to])
    sent = json.loads(lab.exec("edge-1", [traffic, "tcp-send", "--to", to, "--seconds", "1"]).stdout)
    assert sink.stdout is not None
    assert json.loads(sink.stdout.readline())["bytes"] == sent["bytes"]
    sink.kill()
    frames = lab.counters("edge-1", "mid-1")["a-to-b"]["received"] - before
    assert sent["bytes"] > 5_000_000
    assert frames >= sent["bytes"] / 1460


def test_50000_packets_per_second_at_100_ms_on_one_core(lab: RunningLab) -> None:
    lab.impair("edge-1", "mid-1", Impairment(delay_ms=100), direction="a-to-b")
    pid = next(process.pid for process in state.processes(NAME) if process.name == "braid-link")
    before = cpu_seconds(pid)
    began = time.monotonic()
    report, grown = counted(lab, lambda: measure(lab, rate=50_000, seconds=3, size=1000))
    assert grown["kernel_drops"] == grown["lost_queue"] == grown["send_errors"] == 0
    assert report["lost"] == report["socket_drops"] == report["reordered"] == 0
    assert report["delay_ms_min"] >= 97
    used = cpu_seconds(pid) - before
    # Half of one is enough where nothing else runs; slower machines need more.
    assert used <= max(3.0, time.monotonic() - began), f"{used} s of processor time for 3 s of traffic"


def test_the_emulator_refuses_what_it_does_not_understand(lab: RunningLab) -> None:
    with pytest.raises(LabError, match="there is no underlay link between edge-1 and gw-1"):
        lab.impair("edge-1", "gw-1", Impairment(loss=1))
    assert set(lab.counters("gw-1", "mid-1")["a-to-b"].values()) == {0}


def test_a_missing_program_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAID_LINK", "/nonexistent/braid-link")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(LabError, match="make build"):
        tool("braid-link", "BRAID_LINK")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
