"""Hashes for ring_hash, maglev and stickiness: equal in every gateway and after every restart."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from topology.model import Target


def hash64(text: str, salt: bytes = b"") -> int:
    """BLAKE2b (RFC 7693), 64 bits."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, person=salt).digest(), "big")


def name_of(server: Target) -> str:
    return f"{server.address} {server.port}"
