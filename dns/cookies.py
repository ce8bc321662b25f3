"""DNS cookies: a client that sends back what it was given stands where its address says. RFC 7873, RFC 9018.

Pure: times are Unix seconds.
"""

from __future__ import annotations

import struct
from enum import Enum
from typing import TYPE_CHECKING

from dns.siphash import siphash24

if TYPE_CHECKING:
    from collections.abc import Sequence

CLIENT_BYTES = 8
SERVER_BYTES = 16
LIFETIME = 3600
"""Seconds after which a cookie is worth nothing; older than ``RENEWAL`` it is replaced (RFC 9018 section 4.3)."""
RENEWAL = 1800
CLOCK_SKEW = 300
REMEMBERED = 4096

_HEAD = struct.Struct("!B3xI")
_VERSION = 1


class CookieVerdict(Enum):
    NEW = "new"
    """Only a client's part, or a server's that is not ours, is too old or from the future."""
    VALID = "valid"
    RENEWED = "renewed"
    """Valid, and due for a fresh one: it is old, or its secret is."""

    @property
    def known(self) -> bool:
        """Whether the client has been told this cookie at the address that it uses now."""
        return self is not CookieVerdict.NEW


class Cookies:
    """Makes and checks server cookies with the first of ``secrets``, checks also with the others."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._secrets = tuple(secrets)
        self._seen: dict[tuple[bytes, bytes], int] = {}
        """Cookies whose hash was right: resolvers send the same one for half an hour, and a hash costs more than all
        the rest of an answer."""

    def check(self, cookie: bytes, client: bytes, now: int) -> tuple[CookieVerdict, bytes]:
        """``cookie`` is the option's content, ``client`` the packed address it came from.

        Returns the verdict and the content of the option for the answer, which always goes with it.
        """
        ours, theirs = cookie[:CLIENT_BYTES], cookie[CLIENT_BYTES:]
        if len(theirs) == SERVER_BYTES and theirs[0] == _VERSION:
            age = (now - _HEAD.unpack_from(theirs)[1] + (1 << 31)) % (1 << 32) - (1 << 31)
            if -CLOCK_SKEW <= age <= LIFETIME and (maker := self._maker(cookie, client)) is not None:
                if age <= RENEWAL and maker == 0:
                    return CookieVerdict.VALID, cookie
                return CookieVerdict.RENEWED, self._make(ours, client, now)
        return CookieVerdict.NEW, self._make(ours, client, now)

    def _maker(self, cookie: bytes, client: bytes) -> int | None:
        """Position of the secret that the cookie was made with, None if it is no cookie of ours for this client."""
        key = (cookie, client)
        if (known := self._seen.get(key)) is not None:
            return known
        covered = cookie[:-8] + client
        for position, secret in enumerate(self._secrets):
            if siphash24(secret, covered) == cookie[-8:]:
                if len(self._seen) >= REMEMBERED:
                    self._seen.clear()
                self._seen[key] = position
                return position
        return None

    def _make(self, ours: bytes, client: bytes, now: int) -> bytes:
        covered = ours + _HEAD.pack(_VERSION, now % (1 << 32))
        return covered + siphash24(self._secrets[0], covered + client)
