"""One status of all workers that a node has had: counts add up, what is there now is the last one's. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from braid.errors import BadPacket
from braid.status.content import ContentStatus
from braid.status.flow import FlowStatus
from braid.status.transfers import TransferStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

Shown = TypeVar("Shown", ContentStatus, TransferStatus, FlowStatus)


def read_status(kind: type[Shown], values: object) -> Shown:
    """From JSON. BadPacket for what is none."""
    wanted = {each.name: str(each.type) for each in fields(kind)}
    if not isinstance(values, dict) or values.keys() != wanted.keys():
        raise BadPacket("shown")
    for name, value in values.items():
        if not _is(value, wanted[name]):
            raise BadPacket("shown")
    return kind(**values)


def content_total(before: ContentStatus, now: ContentStatus) -> ContentStatus:
    return replace(
        now,
        requests=_sum(before.requests, now.requests),
        client_bytes=before.client_bytes + now.client_bytes,
        origin_bytes=before.origin_bytes + now.origin_bytes,
        events=_sum(before.events, now.events),
    )


def transfers_total(before: TransferStatus, now: TransferStatus) -> TransferStatus:
    return replace(
        now,
        requests=before.requests + now.requests,
        accepted=before.accepted + now.accepted,
        moved=before.moved + now.moved,
        returned=before.returned + now.returned,
        refused=_sum(before.refused, now.refused),
        events=_sum(before.events, now.events),
        seconds=before.seconds + now.seconds,
        durations=_sum(before.durations, now.durations),
        bytes=before.bytes + now.bytes,
    )


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    both = Counter(one)
    both.update(other)
    return dict(sorted(both.items()))


def _is(value: Any, kind: str) -> bool:
    match kind:
        case "int":
            return type(value) is int
        case "float":
            return type(value) in (int, float)
        case "str":
            return type(value) is str
        case "dict[str, int]":
            return type(value) is dict and all(type(each) is int for each in value.values())
        case _:
            return value is None
