"""HTTP messages as the cache sees them: names in lower case, values as they came. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache

Headers = tuple[tuple[bytes, bytes], ...]

_LONGEST_DATE = 64


@dataclass(frozen=True, slots=True)
class Request:
    method: bytes
    host: str
    """Lower case, without the port."""
    port: int
    target: bytes
    """Path and query; begins with ``/`` (or is ``*``)."""
    headers: Headers = ()
    https: bool = False
    """Whether the client asked by https; the port is of that."""

    @property
    def authority(self) -> str:
        """Host, and port where it is not the scheme's own."""
        return self.host if self.port == (443 if self.https else 80) else f"{self.host}:{self.port}"

    @property
    def key(self) -> str:
        """What stored answers are found by (RFC 9111 2); ``Vary`` chooses among them."""
        return self.sibling(self.target)

    def sibling(self, target: bytes) -> str:
        """The key of something else at the same origin."""
        return f"{'https' if self.https else 'http'}://{self.authority}{target.decode('latin-1')}"


@dataclass(frozen=True, slots=True)
class Head:
    """Of an answer."""

    status: int
    headers: Headers = ()
    reason: bytes = b""


def field(headers: Headers, name: bytes) -> bytes | None:
    """The field's value, several lines joined (RFC 9110 5.3); None without it."""
    found = [value for word, value in headers if word == name]
    return b", ".join(found) if found else None


def without(headers: Headers, *names: bytes) -> Headers:
    return tuple((name, value) for name, value in headers if name not in names)


@lru_cache(4096)
def read_date(value: bytes | None) -> float | None:
    """Unix seconds; None for what is no date. The form that names no zone (asctime, RFC 9110 5.6.7) is in UTC."""
    if value is None or len(value) > _LONGEST_DATE:
        return None
    try:
        found = parsedate_to_datetime(value.decode("ascii"))
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def write_date(seconds: float) -> bytes:
    return formatdate(seconds, usegmt=True).encode()
