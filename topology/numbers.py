"""Node numbers: 16 bits that stand for a node in the route field of the hop header.

The number depends on the node's name alone, so that nodes which hold different versions of the topology for a moment
agree on it. Two names may meet in one number; the file then has to say ``number:`` for one of them.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from topology.model import NodeNumber

if TYPE_CHECKING:
    from collections.abc import Container

MAX_NODES = 65534
"""The largest number, too: 0 is no node, and 65535 is a word of messages (``braid.transfer.IF_GONE``)."""


def node_number(name: str) -> NodeNumber:
    """1..65534, the same for the same name on every machine and in every version."""
    digest = blake2b(name.encode(), digest_size=8, person=b"braid-node").digest()
    return NodeNumber(min(1 + int.from_bytes(digest) % 65535, MAX_NODES))


def free_number(name: str, taken: Container[int]) -> NodeNumber:
    """The first number not taken, counted up from the node's own. Some number must be free."""
    number = int(node_number(name))
    while number in taken:
        number = number % MAX_NODES + 1
    return NodeNumber(number)
