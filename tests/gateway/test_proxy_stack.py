"""What the gateway's own stack needs of the host is removed, by a few processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid import linux
from gateway.proxy import stack

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

RULES = """0:\tfrom all lookup local
740:\tfrom 10.1.0.0/16 lookup 5
7400:\tfrom 10.91.1.128/26 iif lo lookup 7400
7400:\tfrom all to 10.93.0.128/30 iif braid0 lookup 7401
32766:\tfrom all lookup main
"""


async def test_all_of_ours_is_removed_in_two_processes_of_each_ip_version(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[tuple[str, ...], list[str]]] = []

    async def run(command: Sequence[str], stdin: bytes) -> str:
        ran.append((tuple(command), stdin.decode().splitlines()))
        if "-4" in command and "-batch" in command:
            raise linux.LinuxError("ip", "there is no such table", "none")
        return RULES

    monkeypatch.setattr(linux, "_run", run)
    await stack.clear()
    assert [command for command, _ in ran] == [
        ("ip", "-4", "rule", "show"),
        ("ip", "-force", "-4", "-batch", "-"),
        ("ip", "-6", "rule", "show"),
        ("ip", "-force", "-6", "-batch", "-"),
    ], "and what fails for one version is no reason to leave the other"
    lines = ran[-1][1]
    assert lines[:3] == ["route flush table local proto 187", "route flush table 7400", "route flush table 7401"]
    assert lines[3:] == ["rule delete priority 7400"] * 2
