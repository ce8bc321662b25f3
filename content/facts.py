"""What a worker knows of a transferred connection that the next one needs. Pure.

::

    JSON: peer, application, edge, its region, gateway | 0 | TRANSFER_REQUEST
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from braid.errors import BadPacket
from braid.transfer import TransferRequest, decode, encode


@dataclass(frozen=True, slots=True)
class Facts:
    peer: int
    """The gateway's number."""
    application: str
    edge: str
    region: str
    """Of the edge."""
    gateway: str
    request: TransferRequest


def encode_facts(facts: Facts) -> bytes:
    words = facts.peer, facts.application, facts.edge, facts.region, facts.gateway
    return json.dumps(words).encode() + b"\0" + encode(facts.request)


def decode_facts(data: bytes) -> Facts:
    """Raises ``BadPacket`` and nothing else."""
    words, _, message = data.partition(b"\0")
    request = decode(message)
    try:
        peer, *names = json.loads(words)
    except (ValueError, TypeError, RecursionError):
        raise BadPacket("facts") from None
    if type(peer) is not int or len(names) != 4 or not all(isinstance(name, str) for name in names):
        raise BadPacket("facts")
    if not isinstance(request, TransferRequest):
        raise BadPacket("facts")
    application, edge, region, gateway = names
    return Facts(peer, application, edge, region, gateway, request)
