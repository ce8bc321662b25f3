"""From the head of a request to what the cache is asked for. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.http import without_port
from content.message import Request
from dataplane import _native

if TYPE_CHECKING:
    from collections.abc import Callable

    from content.message import Headers
    from content.sites import Site

    Look = Callable[[str, int | None], Site | None]


def resolve(
    method: bytes, target: bytes, authority: bytes, headers: Headers, find: Look
) -> tuple[Request, Site] | None:  # fmt: skip
    """None for hosts of others, and for what is no path."""
    text = authority.decode("latin-1").lower()
    host = without_port(text)
    _, colon, port = text.rpartition(":")
    written = colon and port.isascii() and port.isdigit() and len(port) < 6
    site = find(host, int(port) if written else None)
    if site is None or not (target.startswith(b"/") or target == b"*"):
        return None
    # A fragment is none of the server's business, and would make another key.
    return Request(method, host, site.port, target.partition(b"#")[0], headers, site.https), site


def read_request(data: bytes, find: Look) -> tuple[Request, Site, bool] | None:
    """The request that is all of these bytes, without a body, and whether the connection is to end behind its answer;
    None for anything else, and for hosts of others."""
    head = _native.read_request(data)
    if head is None:
        return None
    method, target, authority, headers, closes = head
    found = resolve(method, target, authority, headers, find)
    return None if found is None else (*found, closes)
