"""What no ordinary client sends or sees: malformed packets, cookies, scopes, rate limit and TCP, on real sockets."""

from __future__ import annotations

import socket
import subprocess
import time
from collections import Counter
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

import pytest
from dnslib import DNSRecord

from bench.dns.mutate import query, question, subnet
from dns import tcp
from tests.dns.digging import DIG
from tests.dns.served import HOSTS, TRANSPORTS, everything, exchange, read_message, served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dns.answer import Transport
    from dns.node import DnsService

SHOP = question("shop.apps.example")
FORMERR, REFUSED = 1, 5


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[int, DnsService]]:
    with served(everything()) as found:
        yield found


def header(*counts: int, flags: int = 0) -> bytes:
    return b"".join(number.to_bytes(2, "big") for number in (7, flags, *counts))


def opt(options: bytes = b"", owner: bytes = b"\x00") -> bytes:
    return owner + bytes.fromhex("002904d000000000") + len(options).to_bytes(2, "big") + options


def cookie(content: bytes) -> bytes:
    return b"\x00\x0a" + len(content).to_bytes(2, "big") + content


ONE_OCTET = b"\x01a" * 127 + b"\x00\x00\x01\x00\x01"
MALFORMED = [
    ("H2", header(1, 0, 0, 0, flags=0x8000) + SHOP, None, False),
    ("H3", header(0, 0, 0, 0), FORMERR, False),
    ("H4 nothing", header(1, 0, 0, 0), FORMERR, False),
    ("H4 name", header(1, 0, 0, 0) + SHOP[:8], FORMERR, False),
    ("H4 type", header(1, 0, 0, 0) + SHOP[:-3], FORMERR, False),
    ("H4 class", header(1, 0, 0, 0) + SHOP[:-1], FORMERR, False),
    ("H5", header(2, 0, 0, 0) + SHOP * 2, FORMERR, False),
    ("H6 self", header(1, 0, 0, 0) + b"\xc0\x0c\x00\x01\x00\x01", FORMERR, False),
    ("H6 forward", header(1, 0, 0, 0) + b"\xc0\x20\x00\x01\x00\x01", FORMERR, False),
    ("H6 cycle", header(1, 0, 0, 0) + b"\x01a\xc0\x0c\x00\x01\x00\x01", FORMERR, False),
    ("H7 40", header(1, 0, 0, 0) + b"\x40" + b"a" * 64 + b"\x00\x00\x01\x00\x01", FORMERR, False),
    ("H7 80", header(1, 0, 0, 0) + b"\x80abc\x00\x00\x01\x00\x01", FORMERR, False),
    ("H8", header(1, 0, 0, 0) + b"\x01a" + ONE_OCTET, FORMERR, False),
    ("H9", header(1, 0, 0, 0) + ONE_OCTET, REFUSED, True),
    ("H10", header(1, 0, 0, 2) + SHOP + opt() * 2, FORMERR, True),
    ("H11", header(1, 0, 0, 1) + SHOP + opt(owner=b"\x01a\x00"), FORMERR, True),
    ("H12 beyond", header(1, 0, 0, 1) + SHOP + opt(b"\x00\x0a\x00\x09abcdefgh"), FORMERR, True),
    ("H12 short", header(1, 0, 0, 1) + SHOP + opt(b"\x00\x0a\x00"), FORMERR, True),
    ("H13 answer", header(1, 1, 0, 0) + SHOP + b"\xff" * 20, FORMERR, True),
    ("H13 authority", header(1, 0, 1, 0) + SHOP + b"\xff" * 20, FORMERR, True),
    ("H13 additional", header(1, 0, 0, 3) + SHOP + b"\xff" * 20, FORMERR, True),
    ("H13 90 records", header(1, 0, 0, 90) + SHOP + opt() * 90, FORMERR, True),
    ("H14", header(1, 0, 0, 0) + SHOP + b"\x00", FORMERR, True),
]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(("name", "data", "rcode", "echoed"), MALFORMED, ids=[name for name, *_ in MALFORMED])
def test_malformed(
    server: tuple[int, DnsService],
    host: str,
    transport: Transport,
    name: str,
    data: bytes,
    rcode: int | None,
    echoed: bool,
) -> None:
    answer = exchange(host, server[0], data, transport, 0.1 if rcode is None else 5.0)
    if rcode is None:
        assert answer is None
        return
    assert answer is not None, name
    assert answer[:2] == data[:2]
    assert answer[2] & 0x84 == 0x80
    assert answer[3] & 15 == rcode
    assert answer[4:10] == bytes((0, echoed, 0, 0, 0, 0))
    DNSRecord.parse(answer)


@pytest.mark.parametrize("host", HOSTS)
def test_less_than_a_header_is_dropped(server: tuple[int, DnsService], host: str) -> None:
    """H1; over TCP it ends the connection, see ``test_unsound_lengths``."""
    port, service = server
    before = service.counters.drops["short"]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asker:
        asker.settimeout(5)
        asker.connect((host, port))
        for length in range(12):
            asker.send(header(1, 0, 0, 0)[:length])
        asker.send(header(1, 0, 0, 0) + SHOP)
        assert asker.recv(65535)[6:8] == b"\x00\x01", "the only answer is that to the query behind them"
    assert service.counters.drops["short"] - before == 12


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_cookies(server: tuple[int, DnsService], host: str, transport: Transport) -> None:
    """D3, D6."""

    def sent(content: bytes, asked: bytes = SHOP) -> bytes:
        data = header(1 if asked else 0, 0, 0, 1) + asked + opt(cookie(content))
        answer = exchange(host, server[0], data, transport)
        assert answer is not None
        assert answer[3] & 15 == 0
        assert answer[4:8] == (b"\x00\x01\x00\x01" if asked else bytes(4))
        assert answer[-28:-24] == b"\x00\x0a\x00\x18"
        return answer[-24:]

    first = sent(b"abcdefgh")
    assert first[:8] == b"abcdefgh"
    assert first[8:12] == b"\x01\x00\x00\x00"
    assert abs(int.from_bytes(first[12:16], "big") - time.time()) < 60
    assert sent(first) == first
    flipped = first[:-1] + bytes([first[-1] ^ 1])
    assert sent(flipped)[:12] == first[:12]
    assert sent(flipped) != flipped
    old = first[:12] + (int.from_bytes(first[12:16], "big") - 7200).to_bytes(4, "big") + first[16:]
    assert sent(old) != old
    assert sent(b"abcdefgh", b"")[:12] == first[:12], "a query without a question fetches one"


def test_scopes_do_not_overlap_and_a_scope_has_one_answer(server: tuple[int, DnsService]) -> None:
    """C17: prefixes from all over, half of them near the edges' own."""
    rng, told = Random(17), {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(5)
        asker.connect((HOSTS[0], server[0]))
        for number in range(1000):
            near = 0x010200 + rng.randrange(512)
            prefix = (near if number % 2 else rng.randrange(1 << 24)).to_bytes(3, "big")
            asker.send(query(SHOP, subnet(prefix)))
            answer = asker.recv(65535)
            echoed, scope = answer[-3:], answer[-4]
            assert echoed == prefix
            address = DNSRecord.parse(answer).rr[0].rdata
            if scope:
                told.setdefault((int.from_bytes(prefix, "big") >> max(24 - scope, 0), scope), set()).add(str(address))
    assert {24} < {scope for _, scope in told}
    assert all(len(addresses) == 1 for addresses in told.values())
    ranges = sorted((start << 32 - scope, start + 1 << 32 - scope) for start, scope in told)
    assert all(end <= start for (_, end), (start, _) in pairwise(ranges))


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("kind", [251, 252])
def test_no_transfers_over_udp(server: tuple[int, DnsService], host: str, kind: int) -> None:
    """F3, F4."""
    answer = exchange(host, server[0], query(question("apps.example", kind)), "udp")
    assert answer is not None
    assert answer[3] & 15 == REFUSED
    assert answer[4:12] == b"\x00\x01" + bytes(6)


@pytest.mark.parametrize("host", HOSTS)
def test_an_idle_connection_ends_in_order(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """G3: a FIN and no reset, which would be an error here; the limit is shortened from what ``IDLE_LIMIT`` says."""
    assert 5 <= tcp.IDLE_LIMIT <= 60
    monkeypatch.setattr(tcp, "IDLE_LIMIT", 0.5)
    with served(everything(), (host,)) as (port, service), socket.create_connection((host, port), 10) as stream:
        stream.sendall(len(query(SHOP)).to_bytes(2, "big") + query(SHOP))
        assert read_message(stream) is not None
        began = time.monotonic()
        assert stream.recv(1) == b""
        assert time.monotonic() - began > 0.3
        assert service.counters.closed == {"idle": 1}


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("data", [b"\x00\x00", b"\x00\x0b" + bytes(11), b"\xff\xff" + bytes(65535)], ids=len)
def test_unsound_lengths(server: tuple[int, DnsService], host: str, data: bytes) -> None:
    """G4."""
    port, service = server
    before = service.counters.closed["unsound"]
    with socket.create_connection((host, port), 5) as bystander, socket.create_connection((host, port), 5) as stream:
        try:
            stream.sendall(data)
            assert stream.recv(1) == b""
        except ConnectionError:
            assert len(data) > 65535, "closed while we still wrote"
        message = query(SHOP)
        bystander.sendall(len(message).to_bytes(2, "big") + message)
        assert read_message(bystander) is not None
    assert service.counters.closed["unsound"] == before + 1


@pytest.mark.skipif(DIG is None, reason="dig is not installed: make setup")
@pytest.mark.parametrize("host", HOSTS)
def test_one_connection_for_many_questions(host: str) -> None:
    """G7."""
    with served(everything(), (host,)) as (port, service):
        asked = ["+tcp", "+keepopen", "SOA", "apps.example", "NS", "apps.example", "CAA", "apps.example"]
        done = subprocess.run(
            [str(DIG), f"@{host}", "-p", str(port), *asked], capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout.count("status: NOERROR") == 3
        end = time.monotonic() + 60
        while not service.counters.closed and time.monotonic() < end:
            time.sleep(0.01)
        assert service.counters.closed.total() + service.counters.connections == 1


def flood(port: int, data: list[bytes], source: str = "127.0.0.1") -> Counter[str]:
    """What became of queries sent at once: whole answers, truncated ones, none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        asker.bind((source, 0))
        asker.connect(("127.0.0.1", port))
        found = Counter[str]()
        for start in range(0, len(data), 50):
            for message in data[start : start + 50]:
                asker.send(message)
            asker.settimeout(0.2)
            try:
                for _ in data[start : start + 50]:
                    found["truncated" if asker.recv(65535)[2] & 2 else "whole"] += 1
            except TimeoutError:
                pass
            asker.settimeout(None)
        found["none"] = len(data) - found.total()
        return found


@pytest.mark.parametrize("kind", ["one name", "random names"])
def test_the_rate_limit(kind: str) -> None:
    """I1 to I4: far above the limit within a moment, so that nothing fills up again."""
    rng, limit = Random(1), 50
    names = ["shop" if kind == "one name" else f"{rng.getrandbits(40):010x}" for _ in range(500)]
    messages = [query(question(f"{name}.apps.example")) for name in names]
    with served(everything(limit), ("127.0.0.1",)) as (port, _):
        began = time.monotonic()
        got = flood(port, messages)
        seconds = time.monotonic() - began
        assert limit / 2 <= got["whole"] <= limit * (1 + seconds) + 1
        assert abs(got["truncated"] - got["none"]) <= 3, "slip: every second"
        assert flood(port, messages[:20], "127.0.1.1") == {"whole": 20, "none": 0}, "another /24"
        for message in messages[:100]:
            answer = exchange("127.0.0.1", port, message, "tcp")
            assert answer is not None
            assert not answer[2] & 2
        learned = exchange("127.0.0.1", port, query(SHOP, cookie(b"abcdefgh")), "tcp")
        assert learned is not None
        known = [query(message[12:], cookie(learned[-24:])) for message in messages]
        assert flood(port, known) == {"whole": 500, "none": 0}, "a valid cookie"
