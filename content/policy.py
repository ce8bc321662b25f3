"""What a shared cache may keep, and what of it may answer which request (RFC 9111 3 and 4, RFC 5861). Pure."""

from __future__ import annotations

import struct
from dataclasses import replace
from enum import Enum
from functools import lru_cache, partial
from http import HTTPStatus
from math import inf
from typing import TYPE_CHECKING

from braid import from_store
from braid.from_store import Directives, members
from braid.http import target_at
from content.conditions import weak_match
from content.directives import directives_of, read_directives
from content.freshness import HEURISTIC_STATUSES, Times, current_age, explicit_lifetime, lifetime
from content.message import Head, Headers, Request, field, without
from dataplane import _native

if TYPE_CHECKING:
    from collections.abc import Iterable

SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
_MUST_VALIDATE = ("must-revalidate", "proxy-revalidate", "s-maxage", "no-cache")
_UNDERSTOOD = frozenset(status.value for status in HTTPStatus)
"""Statuses that ``must-understand`` lets be stored (RFC 9111 5.2.2.3)."""
MOST_VARY = 16
"""Fields named by ``Vary`` beyond which an answer is not kept."""
_ANSWER = struct.Struct("!dddIBB")
_NEVER = (1 << 32) - 1


class Use(Enum):
    """What a stored answer is good for."""

    FRESH = "fresh"
    STALE = "stale"
    """It answers, and is asked for anew meanwhile (stale-while-revalidate)."""
    VALIDATE = "validate"


_USES = tuple(Use)


def looked_up(request: Request) -> bool:
    """Whether a stored answer may serve the request at all."""
    return from_store.looked_up(request.method, partial(field, request.headers))


def reason_not_to_store(request: Request, head: Head) -> str:
    """Empty when the answer to a GET may be stored."""
    answer = read_directives(head.headers)
    if request.method != b"GET" or head.status in (206, 304) or head.status < 200:
        return "partial"
    if "no-store" in answer or "no-store" in read_directives(request.headers):
        return "no-store"
    if "must-understand" in answer and head.status not in _UNDERSTOOD:
        return "status"
    if "private" in answer:
        return "private"
    if field(request.headers, b"authorization") is not None and not _shareable(answer):
        return "authorization"
    if field(head.headers, b"set-cookie") is not None and not answer.any_of("public", "s-maxage"):
        return "set-cookie"
    vary = vary_names(head)
    if b"*" in vary or len(vary) > MOST_VARY:
        return "vary"
    validator = field(head.headers, b"etag") or field(head.headers, b"last-modified")
    if explicit_lifetime(head) is None:
        # Made for one client, as far as anybody can tell.
        if field(request.headers, b"cookie") is not None:
            return "cookie"
        if head.status not in HEURISTIC_STATUSES or validator is None:
            return "unspecified"
    if lifetime(head) <= 0 and validator is None:
        return "stale"
    return ""


def _shareable(answer: Directives) -> bool:
    return answer.any_of("public", "must-revalidate", "s-maxage")


def judge(request: Request, head: Head, times: Times, now: float) -> Use:
    """What a stored answer that ``selected`` the request is good for."""
    return _USES[_native.judge_answer(request.headers, as_answer(head, times), now)]


@lru_cache(4096)
def as_answer(head: Head, times: Times, selecting: Headers = ()) -> bytes:
    """What of a stored answer decides which requests it may serve: ``dataplane/core/src/answer.rs`` has the picture. It
    is judged by that here, and where connections are refused before we are asked."""
    answer = directives_of(head.headers)
    behind = answer.seconds("stale-while-revalidate")
    flags = _shareable(answer) | ("no-cache" in answer) << 1 | answer.any_of(*_MUST_VALIDATE) << 2
    said = _ANSWER.pack(
        times.received, current_age(head, times, times.received), lifetime(head), _NEVER if behind is None else behind,
        flags, len(selecting),
    )  # fmt: skip
    for name, value in selecting:
        said += bytes([len(name)]) + name + len(value).to_bytes(2) + value
    return said


def may_join(request: Request, head: Head, times: Times, now: float, *, together: bool) -> bool:
    """Whether an answer that comes to another request, and that ``selected`` this one, may serve it. ``together``: this
    one was there before the answer began; later ones may have it as if it were stored."""
    if "no-cache" in directives_of(head.headers):
        return False
    return together or judge(request, head, times, now) is not Use.VALIDATE


def good_until(head: Head, times: Times) -> float:
    """Unix seconds until when it answers a request that asks for nothing special, without the origin."""
    answer = directives_of(head.headers)
    if "no-cache" in answer:
        return -inf
    fresh = times.received + lifetime(head) - current_age(head, times, times.received)
    return fresh if answer.any_of(*_MUST_VALIDATE) else fresh + (answer.seconds("stale-while-revalidate") or 0)


def good_on_error(request: Request, head: Head, times: Times, now: float) -> bool:
    """Whether a stored answer may stand for an origin that does not answer or has an error (stale-if-error)."""
    answer = read_directives(head.headers)
    if answer.any_of(*_MUST_VALIDATE) or "no-cache" in read_directives(request.headers):
        return False
    allowed = [each.seconds("stale-if-error") for each in (answer, read_directives(request.headers))]
    stale = current_age(head, times, now) - lifetime(head)
    return any(seconds is not None and stale <= seconds for seconds in allowed)


def vary_names(head: Head) -> list[bytes]:
    return sorted({member.lower() for member in members(field(head.headers, b"vary") or b"")})


def selecting(request: Request, names: Iterable[bytes]) -> Headers:
    """The request's values of the fields that ``Vary`` names, so written that equal meanings compare equal."""
    return tuple((name, _native.selecting(request.headers, name)) for name in names)


def selected(request: Request, stored: Headers) -> bool:
    return selecting(request, (name for name, _ in stored)) == stored


def conditional(request: Request, stored: Head | None) -> Request:
    """The request as the origin gets it: for the whole, on condition that it is not what is ``stored``."""
    headers = without(request.headers, b"range", b"if-range", b"if-none-match", b"if-modified-since")
    if stored is not None:
        for condition, validator in ((b"if-none-match", b"etag"), (b"if-modified-since", b"last-modified")):
            value = field(stored.headers, validator)
            headers += ((condition, value),) if value else ()
    return replace(request, method=b"GET", headers=headers)


def confirms(stored: Head, confirmed: Head) -> bool:
    """Whether a 304 is about what is stored: it may name something else, or what is stored has no name (RFC 9111
    4.3.4)."""
    told, own = field(confirmed.headers, b"etag"), field(stored.headers, b"etag")
    return told is None or (own is not None and weak_match(told, own))


def freshened(stored: Head, confirmed: Head) -> Head:
    """What is stored after a 304 that ``confirms`` it: the fields of both, the newer ones where both have them (RFC
    9111 3.2). What says how the body is written stays, and its name: a weak one would else become a strong one."""
    kept = (b"content-length", b"content-encoding", b"content-type", b"content-range", b"etag")
    newer = without(confirmed.headers, *kept)
    names = {name for name, _ in newer} | {b"age"}
    return Head(stored.status, without(stored.headers, *names) + newer, stored.reason)


def invalidated(request: Request, head: Head) -> frozenset[str]:
    """Keys whose stored answers an unsafe request made worthless (RFC 9111 4.4)."""
    if request.method in SAFE or not 200 <= head.status < 400:
        return frozenset()
    keys = {request.key}
    for name in (b"location", b"content-location"):
        target = target_at(field(head.headers, name) or b"", request.host, request.port, https=request.https)
        if target:
            keys.add(request.sibling(target))
    return frozenset(keys)
