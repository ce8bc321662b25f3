"""The worker process of a content node, for those that kill it."""

from __future__ import annotations

from pathlib import Path


def worker_of(node: int) -> int | None:
    """Its process id, by that of its node; None at a moment when there is none."""
    for server in _children(node):
        if b"content.forkserver" in _words(server):
            return next(iter(_children(server)), None)
    return None


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


def _words(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []
