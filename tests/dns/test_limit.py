"""Response rate limiting: how much one prefix gets, that others do not notice, and that abuse gains nothing."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dns.counters import Counters
from dns.limit import UNIT, RateLimiter, Verdict
from dns.sockets import packed_address
from tests.dns.zone import FULL, UNIX, make_full_view, query, responder

SEND, SLIP, DROP = Verdict.SEND, Verdict.SLIP, Verdict.DROP
VICTIM, NEIGHBOUR, ELSEWHERE = (packed_address(a) for a in ("192.0.2.1", "192.0.2.200", "198.51.100.1"))


def verdicts(limiter: RateLimiter, client: bytes, rate: int, seconds: float, size: int = 100) -> list[Verdict]:
    return [limiter.judge(client, size, 1000.0 + n / rate) for n in range(int(rate * seconds))]


def test_a_prefix_gets_its_rate_and_of_the_rest_every_second_slips() -> None:
    got = verdicts(RateLimiter(200, 2), VICTIM, 500, 10)
    assert 2000 <= got.count(SEND) <= 2200
    assert abs(got.count(SLIP) - got.count(DROP)) <= 1


@pytest.mark.parametrize(("slip", "share"), [(0, 0.0), (1, 1.0), (2, 0.5), (5, 0.2)])
def test_slip(slip: int, share: float) -> None:
    got = verdicts(RateLimiter(10, slip), VICTIM, 1000, 5)
    limited = len(got) - got.count(SEND)
    assert abs(got.count(SLIP) / limited - share) < 0.01


def test_below_the_rate_nothing_is_limited_and_a_rest_of_a_second_is_filled_up() -> None:
    limiter = RateLimiter(200, 2)
    assert set(verdicts(limiter, VICTIM, 190, 20)) == {SEND}
    assert [limiter.judge(VICTIM, 100, 2000.0) for _ in range(201)].count(SEND) == 200
    assert [limiter.judge(VICTIM, 100, 2001.0) for _ in range(201)].count(SEND) == 200


def test_long_answers_count_more() -> None:
    assert verdicts(RateLimiter(200, 2), VICTIM, 1000, 1, UNIT * 10).count(SEND) < 45


def test_the_limit_is_for_a_prefix_and_others_do_not_notice() -> None:
    limiter = RateLimiter(100, 2)
    verdicts(limiter, VICTIM, 10_000, 1)
    assert [limiter.judge(NEIGHBOUR, 100, 1001.0) for _ in range(10)].count(SEND) <= 1
    assert limiter.judge(ELSEWHERE, 100, 1001.0) is SEND
    six = [packed_address(a) for a in ("2001:db8:0:100::1", "2001:db8:0:1ff::1", "2001:db8:0:200::1")]
    for _ in range(100):
        limiter.judge(six[0], 100, 1001.0)
    assert limiter.judge(six[1], 100, 1001.0) is not SEND
    assert limiter.judge(six[2], 100, 1001.0) is SEND


def test_no_limit() -> None:
    assert set(verdicts(RateLimiter(0, 2), VICTIM, 100_000, 0.5)) == {SEND}


@given(
    st.integers(1, 300),
    st.lists(st.tuples(st.floats(0, 0.5), st.integers(12, 1232)), min_size=1, max_size=200),
)
def test_what_is_sent_never_exceeds_the_rate(per_second: int, steps: list[tuple[float, int]]) -> None:
    limiter, now, sent = RateLimiter(per_second, 2), 100.0, 0
    for step, size in steps:
        now += step
        if limiter.judge(VICTIM, size, now) is SEND:
            sent += -(-size // UNIT)
        assert sent <= per_second * (1 + now - 100.0) + 1e-6


ZONE_AND_TAIL = query("apps.example", "A", edns=4096)[12:]
KINDS = [
    ("shop.apps.example", "ANY"),
    ("apps.example", "ANY"),
    ("apps.example", "NS"),
    ("big.apps.example", "TXT"),
    ("wide.apps.example", "A"),
    ("random", "A"),
    ("shop.apps.example", "AAAA"),
    ("www.example.org", "A"),
]


@pytest.mark.parametrize(("name", "kind"), KINDS)
@pytest.mark.parametrize(("rate", "most"), [(1000, 1.5), (20_000, 0.6)])
def test_a_flood_from_one_prefix_gains_nothing(name: str, kind: str, rate: int, most: float) -> None:
    """Bytes out over bytes in, of one second of flood to a prefix after its bucket has been emptied."""
    rng = random.Random(1)
    server = responder(make_full_view(), per_second=FULL.settings.responses_per_second)
    bytes_in = bytes_out = 0
    for second in range(2):
        bytes_in = bytes_out = 0
        data = query(name, kind, edns=4096)
        for number in range(rate):
            if name == "random":
                data = data[:12] + b"\x08" + f"{rng.getrandbits(32):08x}".encode() + ZONE_AND_TAIL
            answer = server.respond(data, VICTIM, "udp", 1000.0 + second + number / rate, UNIX)
            bytes_in += len(data)
            bytes_out += len(answer or b"")
    assert bytes_out <= most * bytes_in


def test_cookies_and_tcp_are_exempt() -> None:
    counters = Counters()
    server = responder(make_full_view(), counters, per_second=10)
    plain = query("shop.apps.example", edns=1232)
    with_cookie = plain[:-2] + b"\x00\x0c\x00\x0a\x00\x08abcdefgh"
    answers = [server.respond(with_cookie, VICTIM, "udp", 1000.0, UNIX) for _ in range(30)]
    assert sum(answer is None for answer in answers) == 10, "the client's part alone proves nothing"
    slipped = next(answer for answer in answers if answer is not None and answer[2] & 2)
    assert slipped[-24:-16] == b"abcdefgh", "but the way out is in the answer"
    cookie = slipped[-24:]
    full = plain[:-2] + b"\x00\x1c\x00\x0a\x00\x18" + cookie
    for _ in range(100):
        answer = server.respond(full, VICTIM, "udp", 1000.0, UNIX)
        assert answer is not None
        assert not answer[2] & 2
        assert server.respond(plain, VICTIM, "tcp", 1000.0, UNIX) is not None
    assert server.respond(full, ELSEWHERE, "udp", 1000.0, UNIX) is not None
    assert counters.cookies == {"new": 31, "valid": 100}
    assert counters.limited == {"drop": 10, "slip": 10}
