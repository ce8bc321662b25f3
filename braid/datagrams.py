"""UDP in batches for services in Python: one system call receives many datagrams, another one sends their answers.

Only IO, and only a matter of speed: what is in a datagram, and whether it is answered, is for the caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from socket import socket


class Datagrams(Protocol):
    """Contracts are in ``dataplane/_native.pyi``."""

    def receive(self) -> list[tuple[bytes, bytes, int]]: ...
    def send(self, answers: list[bytes | None]) -> int: ...
    def close(self) -> None: ...


def open_datagrams(bound: socket, count: int, size: int) -> Datagrams:
    """Of a bound UDP socket, which stays the caller's to close. At most ``count`` datagrams at once, and of each at
    most ``size`` bytes. ImportError: the data plane is not built."""
    from dataplane import Datagrams as Native

    return Native(bound.fileno(), count, size)
