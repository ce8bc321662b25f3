"""A connection that the control side is asked about is given to the other gateway, or decided here after all."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any, cast

import trio

from braid.moves import Flows, Have, decode
from gateway.drain.carrier import Carrier
from gateway.drain.window import RESEND

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

POOLS = (IPv4Network("10.93.0.128/30"),)
IDENT = b"12345678"


@dataclass
class Core:
    """Of flows; ``lacks`` are connections that nobody waits for any more."""

    lacks: set[int] = field(default_factory=set)
    left: list[int] = field(default_factory=list)

    def tell_flow(self, connection: int, pools: list[str], which: str) -> tuple[int, bytes] | None:
        assert (pools, which) == (["10.93.0.128/30"], "all")
        return None if connection in self.lacks else (1, b"piece of %d" % connection)

    def leave_flow(self, connection: int) -> None:
        self.left.append(connection)


@dataclass
class Node:
    said: list[bytes] = field(default_factory=list)

    def tell(self, name: str, message: bytes) -> None:
        assert name == "gw-b"
        self.said.append(message)

    def pieces(self) -> list[Flows]:
        said, self.said = [decode(message) for message in self.said], []
        return [piece for piece in said if isinstance(piece, Flows)]


def give(core: Core, node: Node) -> tuple[Carrier, Callable[[int], bool], list[int]]:
    refused: list[int] = []
    carrier = Carrier(cast("Any", node), cast("Any", core), "gw-b", IDENT)

    def one(connection: int) -> bool:
        return carrier.give(connection, POOLS, "all", lambda: refused.append(connection))

    return carrier, one, refused


async def test_it_is_left_when_the_other_gateway_has_it_and_not_before() -> None:
    core, node = Core(), Node()
    carrier, one, refused = give(core, node)
    assert one(7)
    (piece,) = node.pieces()
    assert (piece.shard, piece.piece) == (1, b"piece of 7"), "it goes at once"
    assert one(7)
    assert node.pieces() == [], "asked again meanwhile"
    assert core.left == []
    carrier.receive(Have(IDENT, piece.number, 0, 1, 0))
    carrier.receive(Have(IDENT, piece.number, 0, 1, 0))
    assert (core.left, refused) == ([7], [])


async def test_what_the_other_gateway_does_not_want_is_decided_here() -> None:
    core, node = Core(), Node()
    carrier, one, refused = give(core, node)
    assert one(7)
    assert one(8)
    first, second = node.pieces()
    carrier.receive(replace(Have(IDENT, first.number, 0, 0, 1), id=b"another!"))
    assert refused == []
    carrier.receive(Have(IDENT, first.number, 0, 0, 1))
    carrier.receive(Have(IDENT, second.number, 1, 0, 0))
    assert (core.left, refused) == ([8], [7])
    assert one(7), "and may be given another time"


async def test_what_the_other_gateway_says_nothing_about_is_decided_here_and_not_told_any_more() -> None:
    core, node = Core(), Node()
    carrier, one, refused = give(core, node)
    assert one(7)
    (piece,) = node.pieces()
    carrier.close()
    assert refused == [7]
    await trio.sleep(2 * RESEND)
    assert one(8)
    again, other = node.pieces()
    assert (again.number, again.piece, other.piece) == (piece.number, b"", b"piece of 8")
    carrier.receive(Have(IDENT, piece.number, 1, 0, 0))
    carrier.receive(Have(IDENT, other.number, 1, 0, 0))
    assert (core.left, refused) == ([8], [7])


async def test_what_is_no_flow_of_these_pools_is_not_given() -> None:
    core, node = Core(lacks={7}), Node()
    _, one, _ = give(core, node)
    assert not one(7)
    assert node.pieces() == []


async def test_a_piece_that_was_lost_is_sent_again(autojump_clock: MockClock) -> None:
    core, node = Core(), Node()
    carrier, one, _ = give(core, node)
    assert one(7)
    (piece,) = node.pieces()
    await trio.sleep(1.0)
    assert one(8)
    assert [each.number for each in node.pieces()] == [piece.number, piece.number + 1]
    assert carrier.sending.open == 2
