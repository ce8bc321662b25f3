"""Errors that more than one room raises or catches."""

from __future__ import annotations


class BadPacket(Exception):
    """Bytes from outside do not decode. ``reason`` is a short constant usable as a metric label."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
