"""SipHash-2-4 with 64 bits of output, as RFC 9018 section 4.4 asks for in server cookies.

Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012. Not for comparing secrets in constant time:
what it protects is worth no more than one answer from a full rate limit.
"""

from __future__ import annotations

import struct

_MASK = (1 << 64) - 1


def siphash24(key: bytes, message: bytes) -> bytes:
    """``key`` has 16 bytes; returns 8, in the little-endian order of the reference implementation."""
    k0, k1 = struct.unpack("<2Q", key)
    a, b = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D
    c, d = k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573
    whole = len(message) // 8 * 8
    last = message[whole:].ljust(7, b"\x00") + bytes([len(message) & 255])
    for (word,) in struct.iter_unpack("<Q", message[:whole] + last):
        d ^= word
        a, b, c, d = _round(*_round(a, b, c, d))
        a ^= word
    c ^= 255
    a, b, c, d = _round(*_round(*_round(*_round(a, b, c, d))))
    return struct.pack("<Q", a ^ b ^ c ^ d)


def _round(a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
    a = (a + b) & _MASK
    c = (c + d) & _MASK
    b = ((b << 13 | b >> 51) & _MASK) ^ a
    d = ((d << 16 | d >> 48) & _MASK) ^ c
    a = a << 32 & _MASK | a >> 32
    a = (a + d) & _MASK
    c = (c + b) & _MASK
    d = ((d << 21 | d >> 43) & _MASK) ^ a
    b = ((b << 17 | b >> 47) & _MASK) ^ c
    c = c << 32 & _MASK | c >> 32
    return a, b, c, d
