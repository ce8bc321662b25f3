"""Commands and settings of the Linux network stack. Every failure names what was tried and the remedy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Sequence

SYSCTL = Path("/proc/sys")


class LinuxError(Exception):
    """The host does not let us set up what the node needs."""

    def __init__(self, what: str, problem: str, remedy: str) -> None:
        super().__init__(f"{what}: {problem}; {remedy}")
        self.remedy = remedy


NEEDS_NET_ADMIN = "run as root, or give the process CAP_NET_ADMIN (container: cap_add: [NET_ADMIN])"
NEEDS_IPROUTE2 = "install iproute2 (Debian: apt-get install iproute2)"


async def ip(*arguments: str) -> str:
    """Run ``ip`` and return what it prints. LinuxError when it fails."""
    return await _run(("ip", *arguments), b"")


async def ip_batch(lines: Sequence[Sequence[str]], *, go_on: bool = False, family: int = 0) -> None:
    """Run many ``ip`` commands in one process, in order. The first that fails ends it with LinuxError; with ``go_on``
    the others are still run, and then LinuxError names all that failed. ``family`` is 4 or 6 where the words leave it
    open.

    The words are addresses and interface names, never text from outside: a batch line has no quoting.
    """
    for line in lines:
        if any(not word or set(word) & set(" \t\n\"'\\#") for word in line):
            raise ValueError(f"not a plain word in {line!r}")
    if lines:
        options = [*(["-force"] if go_on else ()), *([f"-{family}"] if family else ())]
        await _run(("ip", *options, "-batch", "-"), "".join(f"{' '.join(line)}\n" for line in lines).encode())


async def _run(command: Sequence[str], stdin: bytes) -> str:
    what = " ".join(command)
    try:
        done = await trio.run_process(
            command, stdin=stdin, capture_stdout=True, capture_stderr=True, check=False, env={"LC_ALL": "C", **_PATH}
        )
    except FileNotFoundError:
        raise LinuxError(what, "the command is missing", NEEDS_IPROUTE2) from None
    if done.returncode != 0:
        problem = done.stderr.decode(errors="replace").strip().replace("\n", " / ") or f"exit code {done.returncode}"
        refused = "not permitted" in problem or "ermission denied" in problem
        raise LinuxError(what, problem, NEEDS_NET_ADMIN if refused else "see `ip help` and the addresses involved")
    return done.stdout.decode(errors="replace")


_PATH = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One kernel setting and why the node wants it."""

    key: tuple[str, ...]
    """Folders below /proc/sys; no dots, since interface names may have some."""
    value: str
    reason: str

    @property
    def name(self) -> str:
        return ".".join(self.key)


def read_setting(*key: str, root: Path = SYSCTL) -> str | None:
    """None if this kernel, or container, does not show it."""
    try:
        return root.joinpath(*key).read_text().strip()
    except OSError:
        return None


def apply_settings(settings: Sequence[Setting], root: Path = SYSCTL) -> list[str]:
    """Write each setting that is not right yet. Returns one warning per setting that stays wrong."""
    warnings = []
    for setting in settings:
        file = root.joinpath(*setting.key)
        try:
            if file.read_text().split() == setting.value.split():
                continue
            file.write_text(setting.value)
        except OSError as error:
            problem = (error.strerror or "cannot be written").lower()
            remedy = f"set {setting.name}={setting.value} on the host or for the container (sysctls:)"
            warnings.append(f"{setting.name}: {problem}; {setting.reason}; {remedy}")
    return warnings
