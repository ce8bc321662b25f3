"""The machine that was measured on, and how busy it was before."""

from __future__ import annotations

import os
import platform
import re
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

AUTOGROUP = Path("/proc/self/autogroup")


def machine() -> dict[str, Any]:
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")]
    virtual = any(line.startswith("flags") and " hypervisor" in line for line in cpuinfo)
    return {
        "cpu": models[0] if models else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "virtual": virtual,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "congestion": Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip(),
        "load_before": round(os.getloadavg()[0], 2),
        "measured": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def described(machine: dict[str, Any]) -> str:
    kind = "virtual CPUs" if machine["virtual"] else "CPUs"
    # What a TCP sender keeps under way, and with it the round trip under load, depends on it.
    tcp = f", TCP by {machine['congestion']}" if "congestion" in machine else ""
    return (
        f"{machine['cpus']} {kind} ({machine['cpu']}), {machine['memory_gib']} GiB, Linux {machine['kernel']}"
        f"{tcp}, load {machine['load_before']} before, {machine['measured']}"
    )


@contextmanager
def preferred() -> Iterator[None]:
    """This session, with all that the lab starts in it, goes before the machine's other programs, where the kernel
    shares CPUs out by sessions. Needs root."""
    said = re.search(r"nice (-?\d+)", AUTOGROUP.read_text()) if AUTOGROUP.exists() else None
    if said is None:
        yield
        return
    AUTOGROUP.write_text("-20")
    try:
        yield
    finally:
        AUTOGROUP.write_text(said[1])
