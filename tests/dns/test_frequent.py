"""Frequent queries are answered past the gate: exactly as through it, whatever the bytes and whatever came before."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from bench.dns.mutate import mutated, query, question
from dns import gate
from dns.counters import Counters
from dns.frequent import REMEMBERED, SHAPES
from dns.policy import Standing
from dns.sockets import packed_address
from dns.view import View, make_view
from tests.dns.zone import FULL, UNIX, responder
from topology.model import ClientSubnetUse, DnsSettings

if TYPE_CHECKING:
    import pytest

SUBNETS = (
    "0008000700011800010203", "00080008000120000a5b0109", "00080007000118000a5b01", "0008000400010000",
    "0008000b00023800fd910001000000", "0008000400000000",
    "0008000700011801010203", "000800070001190001020a", "00080008000119000102030a",
)  # fmt: skip
"""Six that are sound, three that are not."""
OTHERS = ("", "000a00086162636465666768", "00030000", "000b0000", "0064000161", "000a0003616263", "0008", "00")
NAMES = ("shop.apps.example", "a.deep.apps.example", "wide.apps.example", "big.apps.example", "nosuch.apps.example")
CLIENTS = tuple(packed_address(text) for text in ("10.91.1.10", "192.0.2.1", "fd91:1::10", "2001:db8::1"))


def views() -> list[View]:
    """Every use of client prefixes, edges that are well and in trouble; answers that fit into some datagrams."""
    found = []
    vips = FULL.vips | {(2, "wide"): FULL.vips[2, "wide"][:45]}
    for use in ClientSubnetUse:
        config = replace(FULL, vips=vips, settings=DnsSettings(client_subnet=use))
        for standing in (Standing.UP, Standing.DOWN):
            standings = dict.fromkeys(FULL.vips, Standing.UP) | {(0, "shop"): standing, (2, "deep"): standing}
            found.append(make_view(config, standings))
    return found


VIEWS = views()


def queries(rng: Random) -> list[bytes]:
    """One query, and then the same or one with an error in it."""
    name = "".join(letter.upper() if rng.random() < 0.3 else letter for letter in rng.choice(NAMES))
    asked = question(name, rng.choice((1, 1, 1, 28, 28, 28, 65, 97)), rng.choice((1,) * 8 + (3, 33)))
    options = None
    if rng.random() < 0.8:
        parts = [rng.choice(SUBNETS[:6] if rng.random() < 0.5 else SUBNETS + OTHERS) for _ in range(rng.randint(0, 2))]
        options = b"".join(bytes.fromhex(part) for part in parts)
    flags = rng.choice((0, 0, 0x100, 0x100, 0x20, 0x10, 0x130, 0x8000, 0x200, 0x40, 0x2000, 0x780))
    data = query(asked, options, ident=rng.randrange(65536), flags=flags, ttl=rng.choice((0, 0, 0x8000, 1 << 16, 64)))
    size = rng.choice((0, 511, 512, 600, 1232, 4096))
    data = data.replace(b"\x00\x00\x29\x04\xd0", b"\x00\x00\x29" + size.to_bytes(2, "big"))
    match rng.randrange(6):
        case 0:
            return [data, mutated(rng, [data])]
        case 1:
            counts = (rng.choice((0, 0, 1, 1, 2)) for _ in range(4))
            return [data, data[:4] + b"".join(count.to_bytes(2, "big") for count in counts) + data[12:]]
        case 2:
            return [data, data[:11] + bytes([rng.randrange(3)]) + data[12:]]
        case 3:
            return [data, data[: -rng.randint(1, 30)]]
        case _:
            return [data, data]


@given(st.integers(0, 1 << 32), st.sampled_from(VIEWS), st.sampled_from((0, 3)))
def test_the_short_way_and_the_gate_answer_alike(seed: int, view: View, per_second: int) -> None:
    rng, short, gated = Random(seed), Counters(), Counters()
    quick = responder(replace(view, additionals={}), short, per_second=per_second)
    strict = responder(replace(view, zones=replace(view.zones, steered={})), gated, per_second=per_second)
    for number in range(50):
        client, now = rng.choice(CLIENTS), number / 10
        for data in queries(rng):
            assert quick.respond(data, client, "udp", now, UNIX) == strict.respond(data, client, "udp", now, UNIX)
    short.fold()
    assert short == gated


def test_ordinary_queries_go_the_short_way_from_the_second_on(monkeypatch: pytest.MonkeyPatch) -> None:
    read = Counter[bytes]()
    original = gate.read

    def counted(data: bytes) -> gate.Query | gate.Fault | gate.Drop:
        read[data] += 1
        return original(data)

    monkeypatch.setattr(gate, "read", counted)
    quick = responder(replace(VIEWS[0], additionals={}))
    kinds = (None, b"", *(bytes.fromhex(text) for text in SUBNETS[:6]))
    for options in kinds:
        for ident in (1, 2, 3):
            data = query(question("sHop.apps.example"), options, ident=ident)
            assert quick.respond(data, CLIENTS[ident], "udp", 0.0, UNIX)
    assert read.total() == len(kinds) - 1, "the first of each kind that has an OPT record, no other"


def test_what_is_remembered_is_bounded() -> None:
    view = replace(VIEWS[0], additionals={})
    quick = responder(view)
    for number in range(REMEMBERED + 100):
        data = query(question("shop.apps.example"), b"\x00\x08\x00\x07\x00\x01\x18\x00" + number.to_bytes(3, "big"))
        assert quick.respond(data, CLIENTS[0], "udp", 0.0, UNIX)
    assert 0 < len(view.additionals) <= REMEMBERED
    long = query(question("shop.apps.example"), b"\x00\x64\x00\x40" + bytes(64))
    assert quick.respond(long, CLIENTS[0], "udp", 0.0, UNIX)
    assert long[-64:] not in {key[-64:] for key in view.additionals}


def test_no_frequent_shape_is_a_fault() -> None:
    for head, shape in SHAPES.items():
        data = b"\x00\x07" + head + question("shop.apps.example")
        got = gate.read(data + bytes.fromhex("0000290200000000000000") * shape.opt)
        assert isinstance(got, gate.Query), head
