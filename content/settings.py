"""A content node's settings, and its directory."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from braid.role import StartError

if TYPE_CHECKING:
    from pathlib import Path

    from braid.role import NodeHandle
    from topology.content import ContentSettings


EACH, OTHERS = 3, 256
"""Descriptors that a client's connection needs at most in the worker, two of sockets and one of a file, and those that
all else needs. In the node's process it is one less."""


def settings_of(node: NodeHandle) -> ContentSettings:
    situation = node.situation()
    settings = situation.topology.nodes[situation.node].content
    assert settings is not None, "the topology's rules see to it"
    return settings


def most_connections(settings: ContentSettings, descriptors: int) -> int:
    """At one time, in a process that may have so many descriptors: a worker that gets none any more loses the
    connections that are there."""
    return min(settings.connections, max(1, (descriptors - OTHERS) // EACH))


def take_directory(directory: Path) -> int:
    """A descriptor that keeps other nodes out of it. StartError."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(explain(directory, error)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StartError(f"{directory}: another node uses it; give each its own `directory:`") from None
    return descriptor


def explain(directory: Path, error: OSError) -> str:
    return f"{directory}: {error.strerror or error}; correct content.directory in the topology, or the permissions"
