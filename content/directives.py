"""Cache-Control, of requests and answers (RFC 9111 5.2, RFC 5861). Pure; whatever is written there, nothing raises."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from content.message import field, members

if TYPE_CHECKING:
    from content.message import Headers

MOST_SECONDS = 1 << 31
"""RFC 9111 1.2.2."""


@lru_cache(4096)
def directives_of(headers: Headers) -> Directives:
    """Of a stored answer, which is judged for each request."""
    return Directives(headers)


class Directives:
    """Names in lower case. A directive with a list of fields (``private="set-cookie"``) counts as the one without."""

    def __init__(self, headers: Headers) -> None:
        self._given: dict[str, list[bytes]] = {}
        written = field(headers, b"cache-control")
        for member in members(written or b""):
            name, _, value = member.partition(b"=")
            self._given.setdefault(name.strip().decode("latin-1").lower(), []).append(value.strip(b' \t"'))
        if written is None and b"no-cache" in (field(headers, b"pragma") or b"").lower():
            self._given["no-cache"] = [b""]

    def __contains__(self, name: str) -> bool:
        return name in self._given

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
