"""Settings of a lab's hosts that are put back."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.running import RunningLab

OPTIONS = ("timestamps", "sack", "window_scaling")


def option_sets() -> list[dict[str, int]]:
    """Of TCP: all, and all but one."""
    whole = dict.fromkeys(OPTIONS, 1)
    return [whole, *(whole | {name: 0} for name in OPTIONS)]


@contextmanager
def options(lab: RunningLab, host: str, **values: int) -> Iterator[None]:
    """Of TCP, on or off; all are on otherwise."""

    def write(**values: int) -> None:
        lab.exec(host, ["sysctl", "-qw", *(f"net.ipv4.tcp_{name}={value}" for name, value in values.items())])

    write(**values)
    try:
        yield
    finally:
        write(**dict.fromkeys(values, 1))


@contextmanager
def mtu(lab: RunningLab, host: str, size: int) -> Iterator[None]:
    listed = lab.exec(host, ["ip", "-o", "link", "show", "up"]).stdout.splitlines()
    name = next(line.split(": ")[1].split("@")[0] for line in listed if ": lo:" not in line)
    before = lab.exec(host, ["cat", f"/sys/class/net/{name}/mtu"]).stdout.strip()
    lab.exec(host, ["ip", "link", "set", name, "mtu", str(size)])
    try:
        yield
    finally:
        lab.exec(host, ["ip", "link", "set", name, "mtu", before])
