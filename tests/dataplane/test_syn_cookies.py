"""Golden vectors of SYN cookies, by a second implementation; dataplane/fastpath/tests/vectors.rs checks the first."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest

from braid.cookies import PERIOD, next_change, period_key, period_keys
from dns.siphash import siphash24
from tests.dataplane.vectors import Case, cases

SIZES = (536, 1220, 1300, 1340, 1360, 1380, 1440, 8900)


def widen(packed: bytes) -> bytes:
    return packed if ip_address(packed).version == 6 else bytes(10) + b"\xff\xff" + packed


@pytest.mark.parametrize("case", cases("syn_cookie.txt", "cookie"), ids=str)
def test_cookies(case: Case) -> None:
    size = max(index for index, known in enumerate(SIZES) if known <= case.number("mss"))
    scale = 15 if case.number("scale") == 255 else case.number("scale")
    bits = case.number("period") % 4 << 8 | size << 5 | scale << 1 | case.number("sack")
    high, low = divmod(case.number("sequence"), 1 << 22)
    ports = struct.pack("!4H", case.number("client_port"), case.number("vip_port"), bits, high)
    keys = int.from_bytes(siphash24(case["key"], widen(case["client"]) + widen(case["vip"]) + ports), "little")
    assert (bits + high) % 1024 << 22 | encipher(keys, low) == case.number("cookie")
    assert keys >> 32 == case.number("timestamp")


def encipher(keys: int, low: int) -> int:
    left, right = divmod(low, 1 << 11)
    for key in (keys >> shift & 0xFFFF for shift in (0, 16, 32, 48)):
        left, right = right, left ^ (right + key) * 0x9E3779B1 % (1 << 32) >> 21
    return left << 11 | right


@pytest.mark.parametrize("case", cases("syn_cookie.txt", "key"), ids=str)
def test_keys_of_periods(case: Case) -> None:
    assert period_key(case["secret"], case.number("period")) == case["key"]


def test_each_period_has_its_own_keys_and_two_hold_over() -> None:
    secret = bytes(16)
    for unix in (0.0 + PERIOD, 1e9, 1e9 + PERIOD - 0.1):
        current, keys = period_keys(secret, unix)
        assert [period for period, _ in keys] == [current - 1, current, current + 1]
        assert unix < next_change(unix) <= unix + PERIOD
        after = period_keys(secret, next_change(unix))
        assert after.current == current + 1
        assert set(after.keys) & set(keys) == set(keys[1:])
