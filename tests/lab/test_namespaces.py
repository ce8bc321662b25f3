"""A lab on this machine: made, refused twice, removed, also after a crash."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab import netns, state
from lab.errors import LabError
from lab.forward import Forward
from lab.namespaces import ETC
from lab.plan import make_plan
from lab.running import RunningLab, take_down
from lab.up import raise_namespaces
from tests.lab.small import neighbours, small

if TYPE_CHECKING:
    from collections.abc import Iterator

    from topology.model import Topology

pytestmark = pytest.mark.netns
NAME = f"t{os.getpid()}"


def make(topology: Topology, *, direct: bool = False) -> RunningLab:
    return raise_namespaces(
        RunningLab(topology, Path("/nonexistent.yaml"), make_plan(topology, neighbours(topology), direct=direct))
    )


@pytest.fixture
def lab() -> Iterator[RunningLab]:
    with make(small(NAME)) as running:
        yield running


def answers(lab: RunningLab, source: str, address: str) -> bool:
    """Whether a datagram to a closed port comes back as an ICMP error, which shows both directions."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with lab.socket(source, family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        sock.connect((address, 9))
        sock.send(b"?")
        try:
            sock.recv(1)
        except ConnectionRefusedError:
            return True
        except TimeoutError:
            return False
    return False


@pytest.mark.parametrize("address", ["10.80.0.11", "fd80::11"])
def test_neighbours_reach_each_other(lab: RunningLab, address: str) -> None:
    assert answers(lab, "edge-1", address)


@pytest.mark.parametrize("address", ["10.81.1.2", "fd81:1::2", "10.80.0.10"])
def test_a_client_reaches_its_edge(lab: RunningLab, address: str) -> None:
    assert answers(lab, "alice", address)


def test_strangers_do_not_reach_each_other(lab: RunningLab) -> None:
    with lab.socket("edge-1", kind=socket.SOCK_DGRAM) as sock, pytest.raises(OSError, match="unreachable"):
        sock.connect(("10.80.0.13", 9))


def test_direct_links_carry_as_well() -> None:
    with make(small(NAME), direct=True) as lab:
        assert answers(lab, "edge-1", "10.80.0.12")
        assert answers(lab, "alice", "10.81.1.2")
        with pytest.raises(LabError, match="without --direct"):
            lab.impair("edge-1", "mid-1", None)


def test_the_client_asks_braids_dns(lab: RunningLab) -> None:
    said = lab.exec("alice", ["cat", "/etc/resolv.conf"]).stdout
    assert said.splitlines()[0] == "nameserver 10.81.1.53"


def test_a_second_up_is_refused_and_leaves_the_first_alone(lab: RunningLab) -> None:
    with pytest.raises(LabError, match=f"braid lab down {NAME}"):
        make(small(NAME))
    assert answers(lab, "edge-1", "10.80.0.11")


def test_a_namespace_of_somebody_else_is_not_touched() -> None:
    subprocess.run(["ip", "netns", "add", f"{NAME}-gw-1"], check=True)
    try:
        with pytest.raises(LabError, match=f"ip netns del {NAME}-gw-1"):
            make(small(NAME))
        assert netns.exists(f"{NAME}-gw-1")
        assert not netns.exists(f"{NAME}-edge-1")
        assert state.read(NAME) is None
    finally:
        subprocess.run(["ip", "netns", "del", f"{NAME}-gw-1"], check=True)


def test_a_failure_half_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.namespaces.member_commands", lambda plan, member: ("addr add nonsense dev lo",))
    with pytest.raises(LabError, match="nonsense"):
        make(small(NAME))
    assert_gone()


def test_down_is_idempotent_and_takes_everything(lab: RunningLab) -> None:
    child = lab.popen("mid-1", ["sleep", "60"])
    lab.down()
    assert child.returncode is not None
    assert_gone()
    lab.down()
    assert not take_down(NAME)


def test_a_crashed_owner_leaves_a_lab_that_can_be_removed() -> None:
    script = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})
from tests.lab.test_namespaces import make
from tests.lab.small import small
lab = make(small({NAME!r}))
lab.start("origin-1")
lab.wait_ready("origin-1")
print(lab.nodes["origin-1"], flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    origin = int(done.stdout)
    assert state.start_time(origin) is not None
    assert take_down(NAME)
    assert state.start_time(origin) is None
    assert_gone()


def test_origins_start_die_and_start_again(lab: RunningLab) -> None:
    for _ in range(2):
        lab.start("origin-1")
        lab.wait_ready("origin-1")
        with pytest.raises(LabError, match="runs already"):
            lab.start("origin-1")
        lab.kill("origin-1")
        assert not lab.ready("origin-1")


def test_a_node_that_ends_is_reported_with_its_log(lab: RunningLab) -> None:
    lab.start("edge-1")
    with pytest.raises(LabError, match=r"nonexistent\.yaml"):
        lab.wait_ready("edge-1", timeout=30)


def test_a_forwarded_port_leads_into_the_namespace(lab: RunningLab) -> None:
    lab.start("origin-1")
    lab.wait_ready("origin-1")
    with Forward(lab.namespace("gw-1"), "10.83.0.10", 80) as forward:
        done = subprocess.run(
            ["curl", "-sS", f"http://127.0.0.1:{forward.port}/"], capture_output=True, text=True, check=True
        )
    assert done.stdout == "origin-1\n"


def test_unknown_members_and_namespaces_are_named(lab: RunningLab) -> None:
    with pytest.raises(LabError, match="it has edge-1"):
        lab.exec("bob", ["true"])
    with pytest.raises(LabError, match="there is no network namespace nowhere"):
        netns.socket_in("nowhere")


def assert_gone() -> None:
    assert not [name for name in os.listdir(netns.DIRECTORY) if name.startswith(f"{NAME}-")]
    assert not list(ETC.glob(f"{NAME}-*"))
    assert not (state.ROOT / NAME).exists()
