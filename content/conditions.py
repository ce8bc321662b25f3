"""Whether the client has the stored answer already (RFC 9110 13, RFC 9111 4.3.2). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.from_store import members
from content.message import Head, field, read_date

if TYPE_CHECKING:
    from content.message import Request

_OF_304 = frozenset((b"cache-control", b"content-location", b"date", b"etag", b"expires", b"vary"))
"""RFC 9110 15.4.5."""


def not_modified(request: Request, head: Head) -> bool:
    """Whether 304 answers the request."""
    if head.status != 200:
        return False
    tags = field(request.headers, b"if-none-match")
    if tags is not None:
        own = field(head.headers, b"etag")
        known = members(tags, escapes=False)
        return known == [b"*"] or (own is not None and any(weak_match(tag, own) for tag in known))
    since = read_date(field(request.headers, b"if-modified-since"))
    changed = None if since is None else read_date(field(head.headers, b"last-modified"))
    return since is not None and changed is not None and changed <= since


def as_not_modified(head: Head) -> Head:
    return Head(304, tuple(each for each in head.headers if each[0] in _OF_304))


def weak_match(one: bytes, other: bytes) -> bool:
    return one.removeprefix(b"W/") == other.removeprefix(b"W/")


def strong_match(one: bytes, other: bytes) -> bool:
    return one == other and not one.startswith(b"W/")
