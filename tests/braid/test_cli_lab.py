"""``braid status --lab``: asks each node of a lab from inside its own namespace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from click.testing import CliRunner

from braid import cli
from braid.status.app import serve
from tests.braid.fake_node import FakeView
from topology.model import SocketAddress

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.netns

REPOSITORY = Path(__file__).resolve().parents[2]
NAME = f"cli{os.getpid() % 100_000}"
FAKE_NODE = """
import sys, trio
from tests.braid.test_cli_lab import serve_fake_node
trio.run(serve_fake_node, sys.argv[1])
"""


async def serve_fake_node(address: str) -> None:
    """Runs in the node's namespace; says so on stdout once it listens."""
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, FakeView(), SocketAddress(ip_address(address), 7480))
        print("listening", flush=True)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    file = tmp_path / "lab.yaml"
    file.write_text((REPOSITORY / "lab/demo.yaml").read_text().replace("name: demo", f"name: {NAME}", 1))
    try:
        made = CliRunner().invoke(cli.braid, ["lab", "up", "--no-nodes", "--direct", str(file)])
        assert made.exit_code == 0, made.output
        yield NAME
    finally:
        assert CliRunner().invoke(cli.braid, ["lab", "down", NAME]).exit_code == 0


def test_each_node_is_asked_in_its_namespace(lab: str) -> None:
    command = ["ip", "netns", "exec", f"{lab}-edge-fra-1", sys.executable, "-c", FAKE_NODE, "10.90.0.11"]
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "listening\n"
        shown = CliRunner().invoke(cli.braid, ["status", "--json", "--lab", lab])
        document = json.loads(shown.stdout)
        assert shown.exit_code == 0
        assert document["nodes"]["edge-fra-1"]["name"] == "edge-fra-1"
        assert document["unreachable"]["mid-ams-1"] == "connection refused"
        assert len(document["unreachable"]) == 8
        one = CliRunner().invoke(cli.braid, ["paths", "--lab", lab, "edge-fra-1"])
        assert "mid-ams" in one.stdout
        assert CliRunner().invoke(cli.braid, ["status", "--lab", lab, "dns-1"]).exit_code == 3
        assert CliRunner().invoke(cli.braid, ["status", "--lab", lab, "nobody"]).exit_code == 2
    finally:
        child.terminate()
        child.communicate(timeout=20)
