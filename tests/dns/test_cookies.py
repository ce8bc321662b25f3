"""DNS cookies: the vectors of RFC 9018 appendix A and of SipHash, and what is accepted from whom and for how long."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from dns.cookies import REMEMBERED, Cookies, CookieVerdict
from dns.siphash import siphash24
from tests.dataplane.reference import siphash

NEW, VALID, RENEWED = CookieVerdict.NEW, CookieVerdict.VALID, CookieVerdict.RENEWED
SECRET = bytes.fromhex("e5e973e5a6b2a43f48e7dc849e37bfcf")
CLIENT = bytes.fromhex("2464c4abcf10c957")
ADDRESS = ip_address("198.51.100.100").packed
MADE = 1559731985
COOKIE = CLIENT + bytes.fromhex("010000005cf79f111f8130c3eee29480")


def test_siphash_is_the_published_one() -> None:
    assert siphash24(bytes(range(16)), bytes(range(15))).hex() == "e545be4961ca29a1"


@pytest.mark.parametrize("length", range(40))
def test_siphash_equals_another_reading_of_the_paper(length: int) -> None:
    message = bytes(range(100, 100 + length))
    assert siphash24(SECRET, message) == siphash(SECRET, message).to_bytes(8, "little")


@pytest.mark.parametrize(
    ("cookie", "secret", "address", "now", "expected"),
    [
        # RFC 9018 A.1: a client that has no server cookie yet.
        ("2464c4abcf10c957", SECRET.hex(), "198.51.100.100", 1559731985, "010000005cf79f111f8130c3eee29480"),
        # A.3: reserved bytes that are not zero are covered by the hash, and zero in the fresh cookie.
        (
            "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
            SECRET.hex(),
            "203.0.113.203",
            1559734700,
            "010000005cf7a9acf73a7810aca2381e",
        ),
        # A.4: IPv6, made with the secret before the last.
        (
            "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
            "445536bcd2513298075a5d379663c962",
            "2001:db8:220:1:59de:d0f4:8769:82b8",
            1559741961,
            "010000005cf7c609a6bb79d16625507a",
        ),
    ],
)
def test_vectors(cookie: str, secret: str, address: str, now: int, expected: str) -> None:
    secrets = [bytes.fromhex(secret), bytes.fromhex("dd3bdf9344b678b185a6f5cb60fca715")]
    data = bytes.fromhex(cookie)
    verdict, answer = Cookies(secrets).check(data, ip_address(address).packed, now)
    assert answer == data[:8] + bytes.fromhex(expected)
    # The second one is 6,715 s old: worth nothing, but answered like one that is renewed.
    assert verdict is (RENEWED if address.startswith("2001") else NEW)


@pytest.mark.parametrize(
    ("age", "verdict"),
    [
        (-301, NEW),
        (-300, VALID),
        (0, VALID),
        (1800, VALID),
        (1801, RENEWED),
        (3600, RENEWED),
        (3601, NEW),
        (1 << 31, NEW),
    ],
)
def test_age(age: int, verdict: CookieVerdict) -> None:
    got, answer = Cookies([SECRET]).check(COOKIE, ADDRESS, MADE + age)
    assert got is verdict
    assert (answer == COOKIE) is (verdict is VALID)
    assert Cookies([SECRET]).check(answer, ADDRESS, MADE + age)[0] is VALID


def test_every_bit_counts_and_the_address_too() -> None:
    cookies = Cookies([SECRET])
    assert cookies.check(COOKIE, ADDRESS, MADE)[0] is VALID
    for bit in range(len(COOKIE) * 8):
        other = (int.from_bytes(COOKIE, "big") ^ 1 << bit).to_bytes(len(COOKIE), "big")
        assert cookies.check(other, ADDRESS, MADE)[0] is NEW
    assert cookies.check(COOKIE, ip_address("198.51.100.101").packed, MADE)[0] is NEW
    assert Cookies([bytes(16)]).check(COOKIE, ADDRESS, MADE)[0] is NEW


def test_other_lengths_are_other_servers_cookies() -> None:
    for cookie in (COOKIE[:16], COOKIE + b"x", COOKIE + bytes(16)):
        verdict, answer = Cookies([SECRET]).check(cookie, ADDRESS, MADE)
        assert (verdict, answer[:8], len(answer)) == (NEW, CLIENT, 24)


def test_what_is_remembered_is_bounded_and_still_right() -> None:
    cookies = Cookies([SECRET])
    for number in range(REMEMBERED + 10):
        client = number.to_bytes(8, "big")
        _, made = cookies.check(client, ADDRESS, MADE)
        assert cookies.check(made, ADDRESS, MADE)[0] is VALID
    assert len(cookies._seen) <= REMEMBERED
    assert cookies.check(COOKIE, ADDRESS, MADE)[0] is VALID
    assert cookies.check(COOKIE, ADDRESS, MADE + 3601)[0] is NEW, "a remembered one grows old, too"
