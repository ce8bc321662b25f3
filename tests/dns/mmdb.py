"""Writes small files in MaxMind DB format 2.0 (IPv6 tree, records of 32 bits), for tests."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from topology.model import IPNetwork, Location

_MARKER = b"\xab\xcd\xefMaxMind.com"
_IPV4_BITS = 96


class _Uint32(int):
    pass


class _Uint64(int):
    """The format's library insists on the width of each number of its metadata; others here are of 16 bits."""


@dataclass
class _Node:
    children: list[_Node | int | None] = field(default_factory=lambda: [None, None])
    """An int is an offset in the data section."""


def database(places: Mapping[IPNetwork, Location | None], *, built: int = 1_800_000_000) -> bytes:
    """Prefixes must not overlap. None is a record without coordinates."""
    data, root = b"", _Node()
    for prefix, place in places.items():
        position = len(data)
        record: dict[str, object] = {"city": {"names": {"en": "Somewhere"}}}
        if place is not None:
            record["location"] = {"latitude": place.latitude, "longitude": place.longitude}
        data += _encode(record)
        bits = f"{int(prefix.network_address):0{prefix.max_prefixlen}b}"[: prefix.prefixlen]
        _insert(root, "0" * _IPV4_BITS + bits if prefix.version == 4 else bits, position)
    nodes = _all_nodes(root)
    numbers = {id(node): number for number, node in enumerate(nodes)}
    tree = b""
    for node in nodes:
        for child in node.children:
            match child:
                case None:
                    value = len(nodes)
                case int():
                    value = len(nodes) + 16 + child
                case _:
                    value = numbers[id(child)]
            tree += struct.pack("!I", value)
    metadata = {
        "node_count": _Uint32(len(nodes)),
        "record_size": 32,
        "ip_version": 6,
        "database_type": "Test-City",
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": _Uint64(built),
        "languages": [],
        "description": {"en": "for tests"},
    }
    return tree + bytes(16) + data + _MARKER + _encode(metadata)


def _insert(node: _Node, bits: str, position: int) -> None:
    for bit in bits[:-1]:
        child = node.children[int(bit)]
        if child is None:
            child = node.children[int(bit)] = _Node()
        assert isinstance(child, _Node), "prefixes overlap"
        node = child
    assert node.children[int(bits[-1])] is None, "prefixes overlap"
    node.children[int(bits[-1])] = position


def _all_nodes(root: _Node) -> list[_Node]:
    found = [root]
    for node in found:
        found += [child for child in node.children if isinstance(child, _Node)]
    return found


def _encode(value: object) -> bytes:
    match value:
        case str():
            return _control(2, len(value.encode())) + value.encode()
        case float():
            return _control(3, 8) + struct.pack("!d", value)
        case _Uint64():
            return _control(9, 8) + struct.pack("!Q", value)
        case _Uint32():
            return _control(6, 4) + struct.pack("!I", value)
        case int():
            return _control(5, 2) + struct.pack("!H", value)
        case dict():
            return _control(7, len(value)) + b"".join(_encode(key) + _encode(each) for key, each in value.items())
        case list():
            return _control(11, len(value)) + b"".join(map(_encode, value))
        case _:
            raise TypeError(value)


def _control(kind: int, size: int) -> bytes:
    assert size < 29, "longer values are not needed"
    return bytes([kind << 5 | size]) if kind < 8 else bytes([size, kind - 7])
