"""Golden vectors of SYN cookies, by a second implementation; dataplane/fastpath/tests/vectors.rs checks the first."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest

from dns.siphash import siphash24
from gateway.cookies import PERIOD, next_change, period_key, period_keys
from tests.dataplane.vectors import Case, cases

SIZES = (536, 1220, 1300, 1340, 1360, 1380, 1440, 8900)


def widen(packed: bytes) -> bytes:
    return packed if ip_address(packed).version == 6 else bytes(10) + b"\xff\xff" + packed


@pytest.mark.parametrize("case", cases("syn_cookie.txt", "cookie"), ids=str)
def test_cookies(case: Case) -> None:
    size = max(index for index, known in enumerate(SIZES) if known <= case.number("mss"))
    scale = 15 if case.number("scale") == 255 else case.number("scale")
    bits = case.number("period") % 4 << 8 | size << 5 | scale << 1 | case.number("sack")
    ports = struct.pack("!3H", case.number("client_port"), case.number("vip_port"), bits)
    hashed = int.from_bytes(siphash24(case["key"], widen(case["client"]) + widen(case["vip"]) + ports), "little")
    assert ((bits << 22 | hashed & 0x3FFFFF) + case.number("sequence")) % (1 << 32) == case.number("cookie")
    assert hashed >> 32 == case.number("timestamp")


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
