"""Who asks, and what follows the question, as far as answers depend on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dns.cells import Cell
    from dns.client import Client


@dataclass(frozen=True, slots=True, eq=False)
class Asker:
    """A client as far as answers depend on it and on the configuration."""

    client: Client
    cell: Cell
    scope: int
    """Of an answer that is the same for all of the cell; 0 when the client was not passed on."""
    prefix: tuple[int, int]
    """IP version and ``sticky_prefix``."""
    prefix_scope: int
    """Of an answer that depends on that prefix."""


@dataclass(frozen=True, slots=True, eq=False)
class Additional:
    """What follows the question, and what the answer gets for it."""

    limit: int
    """Bytes of the answer."""
    opt: bytes = b""
    """Our OPT record, all of it or up to the scope."""
    after: bytes | None = None
    """What follows the scope; None when none is given."""
    family: int | None = None
    """Of the client's prefix, if there is one."""
    asker: Asker | None = None
    """Whom the prefix tells us of; else it is the sender."""
    tail: bytes = b""
    """All of our OPT record, when the answer is the same for all of the client's cell."""
    prefix_tail: bytes = b""
    """The same when the answer depends on the client's prefix."""
