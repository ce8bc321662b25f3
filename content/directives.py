"""Cache-Control of messages as the cache sees them. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from braid.from_store import Directives
from content.message import field

if TYPE_CHECKING:
    from content.message import Headers


def read_directives(headers: Headers) -> Directives:
    return Directives(field(headers, b"cache-control"), field(headers, b"pragma"))


@lru_cache(4096)
def directives_of(headers: Headers) -> Directives:
    """Of a stored answer, which is judged for each request."""
    return read_directives(headers)
