"""Makes and removes the namespaces of a plan with ``ip``, one batch each."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from lab import netns
from lab.errors import LabError
from lab.script import (
    HUB_SYSCTLS,
    HUB_SYSCTLS_OPTIONAL,
    direct_commands,
    hub_commands,
    member_commands,
    port_sysctls,
    sysctls,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lab.plan import Plan

ETC = Path("/etc/netns")


def namespaces_of(plan: Plan) -> tuple[str, ...]:
    return (plan.hub, *(member.namespace for member in plan.members.values()))


def require_machine() -> None:
    """LabError with the remedy when this user or machine cannot hold a lab."""
    if os.geteuid() != 0:
        raise LabError("network namespaces need root", "run it with sudo")
    if shutil.which("ip") is None:
        raise LabError("the command `ip` is missing", "apt-get install iproute2")


def refuse_foreign(plan: Plan) -> None:
    """LabError when a namespace of the plan's names exists already."""
    taken = [name for name in namespaces_of(plan) if netns.exists(name)]
    if taken:
        raise LabError(
            f"the network namespace {taken[0]} exists already", f"`ip netns del {taken[0]}` if nobody needs it"
        )


def make(plan: Plan) -> None:
    """Everything in the plan. LabError with what ``ip`` said; what was made until then is left to ``remove``."""
    for namespace in namespaces_of(plan):
        ip("netns", "add", namespace)
    netns.write_sysctls(plan.hub, HUB_SYSCTLS)
    netns.write_sysctls(plan.hub, HUB_SYSCTLS_OPTIONAL, optional=True)
    for member in plan.members.values():
        netns.write_sysctls(member.namespace, sysctls(member))
    batch(plan.hub, hub_commands(plan))
    for name, lines in direct_commands(plan).items():
        batch(plan.members[name].namespace, lines)
    for member in plan.members.values():
        netns.write_sysctls(member.namespace, port_sysctls(plan, member))
        batch(member.namespace, member_commands(plan, member))
        if member.resolvers:
            place = ETC / member.namespace
            place.mkdir(parents=True, exist_ok=True)
            text = "".join(f"nameserver {address}\n" for address in member.resolvers)
            (place / "resolv.conf").write_text(text + "options timeout:1 attempts:3\n")


def remove(namespaces: Iterable[str]) -> None:
    """Idempotent: what is not there is not missed."""
    for namespace in namespaces:
        if netns.exists(namespace):
            ip("netns", "del", namespace)
        shutil.rmtree(ETC / namespace, ignore_errors=True)
    with contextlib.suppress(OSError):
        ETC.rmdir()


def batch(namespace: str, lines: Iterable[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    if text:
        ip("-n", namespace, "-batch", "-", text=text)


def ip(*arguments: str, text: str = "") -> str:
    done = subprocess.run(["ip", *arguments], input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = done.stderr.strip()
        raise LabError(f"`ip {' '.join(arguments)}` failed: {_with_line(said, text)}")
    return done.stdout


def _with_line(said: str, text: str) -> str:
    """``ip -batch`` names the number of the failed line only."""
    place, _, number = said.rpartition("Command failed -:")
    lines = text.splitlines()
    if place and number.strip().isdigit() and 0 < int(number) <= len(lines):
        return f"{place.strip()} in: {lines[int(number) - 1]}"
    return said
