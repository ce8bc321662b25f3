"""Whether a request's own fields let a stored answer serve it (RFC 9111 4, 5.2.1, RFC 5861): content proxies judge by
them, and gateways, which do not offer what a proxy would refuse for them. Pure; whatever is written there, nothing
raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Value = Callable[[bytes], bytes | None]
    """Of a field by its name in lower case, several lines joined; None without it."""

MOST_SECONDS = 1 << 31
"""RFC 9111 1.2.2."""
ORIGIN_ONLY = (b"if-match", b"if-unmodified-since")
"""Conditions that only the origin can judge (RFC 9111 4.3.2)."""


def looked_up(method: bytes, value: Value) -> bool:
    """Whether a stored answer may serve the request at all."""
    return method in (b"GET", b"HEAD") and not any(value(name) for name in ORIGIN_ONLY)


def may_answer(method: bytes, value: Value) -> bool:
    """Whether one may do so without a question to the origin."""
    return looked_up(method, value) and not Directives(value(b"cache-control"), value(b"pragma")).wants_new


class Directives:
    """Of Cache-Control, or of Pragma where there is none. Names in lower case. A directive with a list of fields
    (``private="set-cookie"``) counts as the one without."""

    def __init__(self, written: bytes | None, pragma: bytes | None = None) -> None:
        self._given: dict[str, list[bytes]] = {}
        for member in members(written or b""):
            name, _, value = member.partition(b"=")
            self._given.setdefault(name.strip().decode("latin-1").lower(), []).append(value.strip(b' \t"'))
        if written is None and b"no-cache" in (pragma or b"").lower():
            self._given["no-cache"] = [b""]

    def __contains__(self, name: str) -> bool:
        return name in self._given

    @property
    def wants_new(self) -> bool:
        """Of a request: nothing that is stored, however new, answers it without a question to the origin."""
        return "no-cache" in self or self.seconds("max-age") == 0

    def any_of(self, *names: str) -> bool:
        return not self._given.keys().isdisjoint(names)

    def is_bare(self, name: str) -> bool:
        """Whether it is given without a value, and only so."""
        return set(self._given.get(name, ())) == {b""}

    def seconds(self, name: str) -> int | None:
        """None when it is not given. What cannot be read, or is given twice and differs, is 0: not fresh."""
        values = set(self._given.get(name, ()))
        if not values:
            return None
        value = values.pop()
        if values or not value.isdigit():
            return 0
        return MOST_SECONDS if len(value) > 10 else min(int(value), MOST_SECONDS)


def members(value: bytes, *, escapes: bool = True) -> list[bytes]:
    """Of a list (RFC 9110 5.6.1): split at commas that are in no quoted string. Entity tags know no ``escapes``."""
    found: list[bytes] = []
    begin, position, quoted = 0, 0, False
    while position < len(value):
        octet = value[position]
        if octet == 0x22:
            quoted = not quoted
        elif octet == 0x5C and quoted and escapes:
            position += 1
        elif octet == 0x2C and not quoted:
            found.append(value[begin:position].strip(b" \t"))
            begin = position + 1
        position += 1
    found.append(value[begin:].strip(b" \t"))
    return [member for member in found if member]
