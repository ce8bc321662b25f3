"""The query gate: the table of malformed packets, and that nothing whatever makes it raise."""

from __future__ import annotations

import random
import struct
from time import thread_time

import pytest
from dnslib import DNSError, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from dns import gate
from dns.gate import Drop, Fault, Query, read
from dns.options import ClientSubnet, Edns
from tests.dns.zone import query

QUESTION = b"\x04shop\x04apps\x07example\x00\x00\x01\x00\x01"


def packet(body: bytes = QUESTION, counts: tuple[int, int, int, int] = (1, 0, 0, 0), flags: int = 0) -> bytes:
    return struct.pack("!6H", 7, flags, *counts) + body


def opt(
    options: bytes = b"", owner: bytes = b"\x00", size: int = 1232, ttl: int = 0, length: int | None = None
) -> bytes:
    return owner + struct.pack("!HHIH", 41, size, ttl, len(options) if length is None else length) + options


def option(code: int, content: bytes = b"") -> bytes:
    return struct.pack("!HH", code, len(content)) + content


def with_opt(*records: bytes, body: bytes = QUESTION) -> bytes:
    return packet(body + b"".join(records), (1, 0, 0, len(records)))


def test_a_plain_question() -> None:
    got = read(packet(QUESTION.replace(b"shop", b"ShOp"), flags=0x0100))
    assert got == Query(7, True, QUESTION.replace(b"shop", b"ShOp"), QUESTION[:-4], 1, 1, None)


def test_edns_is_read() -> None:
    options = option(10, b"abcdefgh") + option(3) + option(10, b"x" * 8) + option(8, b"\x00\x01\x14\x00\xc0\x00\x20")
    got = read(with_opt(opt(options + option(11) + option(100, b"abc"), size=4096, ttl=0x8000)))
    assert isinstance(got, Query)
    subnet = ClientSubnet(1, 20, b"\xc0\x00\x20")
    assert got.edns == Edns(4096, True, subnet=subnet, cookie=b"abcdefgh", nsid=True, keepalive=True)
    assert subnet.number == 0xC0002000


@pytest.mark.parametrize("content", ["00000000", "00010000", "00020000", "00011800c00002", "00010100" + "80"])
def test_sound_client_subnets(content: str) -> None:
    got = read(with_opt(opt(option(8, bytes.fromhex(content)))))
    assert isinstance(got, Query)
    assert got.edns is not None
    assert got.edns.subnet is not None


@pytest.mark.parametrize("length", [8, 16, 24, 40])
def test_sound_cookies(length: int) -> None:
    got = read(with_opt(opt(option(10, bytes(length)))))
    assert isinstance(got, Query)
    assert got.edns == Edns(1232, False, cookie=bytes(length))


def test_a_query_without_a_question_may_fetch_a_cookie() -> None:
    got = read(packet(opt(option(10, b"abcdefgh")), (0, 0, 0, 1)))
    assert got == Query(7, False, b"", b"", 0, 0, Edns(1232, False, cookie=b"abcdefgh"))
    for data in (packet(opt(option(3)), (0, 0, 0, 1)), packet(opt(option(10, b"abc")), (0, 0, 0, 1))):
        got = read(data)
        assert isinstance(got, Fault)
        assert (got.rcode, got.edns) == (gate.FORMERR, Edns(1232, False, nsid=got.reason == "counts"))


def test_other_additional_records_are_ignored() -> None:
    other = b"\x01x\x00" + struct.pack("!HHIH", 250, 255, 0, 3) + b"abc"
    got = read(with_opt(opt(), other))
    assert isinstance(got, Query)
    assert got.edns == Edns(1232, False)


@pytest.mark.parametrize("length", range(12))
def test_less_than_a_header_gets_no_answer(length: int) -> None:
    assert read(packet()[:length]) == Drop("short")


def test_an_answer_gets_no_answer() -> None:
    assert read(packet(flags=0x8000)) == Drop("response")


@pytest.mark.parametrize("opcode", range(1, 16))
def test_other_opcodes_are_not_implemented_and_nothing_of_them_is_echoed(opcode: int) -> None:
    assert read(packet(flags=opcode << 11 | 0x07F0)) == Fault(7, opcode, False, gate.NOTIMP, b"", None, "opcode")


LABEL = b"\x01a"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (packet(counts=(0, 0, 0, 0)), "counts"),
        (packet(b"", (0, 0, 0, 0)), "counts"),
        (packet(QUESTION * 2, (2, 0, 0, 0)), "counts"),
        (packet(b"", (1, 0, 0, 0)), "question"),
        (packet(QUESTION[:8]), "question"),
        (packet(QUESTION[:-5]), "question"),
        (packet(QUESTION[:-4]), "question"),
        (packet(QUESTION[:-1]), "question"),
        (packet(b"\xc0\x0c\x00\x01\x00\x01"), "label"),
        (packet(b"\x01a\xc0\x0c\x00\x01\x00\x01"), "label"),
        (packet(b"\xc0\x20\x00\x01\x00\x01"), "label"),
        (packet(b"\x40" + b"a" * 64 + b"\x00\x00\x01\x00\x01"), "label"),
        (packet(b"\x80abc\x00\x00\x01\x00\x01"), "label"),
        (packet(LABEL * 127 + b"\x01a\x00\x00\x01\x00\x01"), "name"),
        (packet((b"\x3f" + b"a" * 63) * 4 + b"\x00\x00\x01\x00\x01"), "name"),
        (packet(counts=(1, 1, 0, 0)), "counts"),
        (packet(counts=(1, 0, 1, 0)), "counts"),
        (packet(counts=(1, 0, 0, 3)), "counts"),
        (packet(counts=(1, 0, 0, 65535)), "counts"),
        (packet(counts=(1, 0, 0, 1)), "question"),
        (packet(QUESTION + b"\x00"), "trailing"),
        (with_opt(opt() + b"\x00"), "trailing"),
        (with_opt(opt(), opt()), "opt"),
        (with_opt(opt(owner=b"\x01a\x00")), "opt"),
        (with_opt(opt(owner=b"\xc0\x0c")), "label"),
        (with_opt(opt()[:-1]), "additional"),
        (with_opt(opt(length=1)), "additional"),
        (with_opt(opt(b"\x00\x08\x00")), "option"),
        (with_opt(opt(b"\x00\x08\x00\x01")), "option"),
        (with_opt(opt(option(99) * 33)), "option"),
        *((with_opt(opt(option(10, bytes(length)))), "cookie") for length in (0, 1, 7, 9, 15, 41)),
        *(
            (with_opt(opt(option(8, bytes.fromhex(content)))), "subnet")
            for content in (
                "",
                "01",
                "002a0000",
                "002a0800ff",
                "00012100c0000200",
                "00028100" + "00" * 17,
                "00012000c00002",
                "00011800c0000201",
                "00011f00c0000201",
                "00011801c00002",
                "00000800ff",
            )
        ),
        (with_opt(opt(option(8, b"\x00\x01\x00\x00") * 2)), "subnet"),
        (with_opt(opt(b"\x00\x0c\x10\x00" + bytes(4096))), "size"),
    ],
)
def test_malformed_queries_are_told_so(data: bytes, reason: str) -> None:
    got = read(data)
    assert isinstance(got, Fault)
    assert (got.rcode, got.reason, got.id) == (gate.FORMERR, reason, 7)


def test_the_longest_name_is_read() -> None:
    name = LABEL * 127 + b"\x00"
    got = read(packet(name + b"\x00\x01\x00\x01"))
    assert isinstance(got, Query)
    assert got.name == name


def test_a_broken_question_is_not_echoed_and_a_sound_one_is() -> None:
    broken, sound = read(packet(QUESTION[:-1])), read(packet(QUESTION + b"\x00"))
    assert isinstance(broken, Fault)
    assert isinstance(sound, Fault)
    assert (broken.question, sound.question) == (b"", QUESTION)


def test_an_opt_with_broken_options_is_answered_with_one() -> None:
    got = read(with_opt(opt(b"\x00\x08\x00", ttl=0x8000)))
    assert isinstance(got, Fault)
    assert got.edns == Edns(1232, True)


def test_edns_versions_of_the_future_are_bad_versions_whatever_their_options() -> None:
    got = read(with_opt(opt(b"\x00\x08\x00", ttl=1 << 16)))
    assert isinstance(got, Fault)
    assert (got.rcode, got.edns) == (gate.BADVERS, Edns(1232, False))


@pytest.mark.parametrize("qtype", [251, 252])
def test_transfers_are_refused(qtype: int) -> None:
    body = QUESTION[:-4] + struct.pack("!HH", qtype, 1)
    for data in (packet(body), packet(body + opt(), (1, 0, 0, 1))):
        got = read(data)
        assert isinstance(got, Fault)
        assert got.rcode == gate.REFUSED
    got = read(packet(QUESTION[:-4] + b"\x00\xfb\x00\x01" + b"\xc0\x0c" + bytes(30), (1, 0, 1, 0)))
    assert isinstance(got, Fault)
    assert got.rcode == gate.REFUSED


@given(
    st.lists(st.from_regex(rb"[a-zA-Z0-9_-]{1,20}", fullmatch=True), max_size=8),
    st.integers(0, 65535),
    st.none() | st.integers(0, 65535),
)
def test_what_dnslib_writes_is_read(labels: list[bytes], ident: int, size: int | None) -> None:
    name = b".".join(labels).decode() + "."
    got = read(query(name, "AAAA", edns=size, id=ident))
    assert isinstance(got, Query)
    assert (got.id, got.qtype, got.qclass) == (ident, 28, 1)
    assert got.name == b"".join(bytes([len(label)]) + label.lower() for label in labels) + b"\x00"
    assert (got.edns and got.edns.udp_size) == size


@given(st.binary(max_size=5000))
def test_any_bytes_give_a_verdict(data: bytes) -> None:
    assert isinstance(read(data), Query | Fault | Drop)


def test_twenty_thousand_mutated_packets_give_a_verdict_quickly_and_agree_with_a_lenient_reader() -> None:
    rng = random.Random(20260301)
    seeds = [
        packet(),
        with_opt(opt()),
        with_opt(opt(b"\x00\x08\x00\x07\x00\x01\x18\x00\xc0\x00\x02\x00\x0a\x00\x08abcdefgh", ttl=0x8000)),
        packet(LABEL * 100 + b"\x00\x00\x01\x00\x01"),
        with_opt(opt(bytes(1200))),
    ]
    worst, read_as_query = 0.0, 0
    for _ in range(20_000):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 6)):
            match rng.randrange(4):
                case 0:
                    data[rng.randrange(len(data))] = rng.randrange(256)
                case 1:
                    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
                case 2:
                    del data[rng.randrange(12, len(data)) :]
                case _:
                    at = rng.randrange(len(data))
                    data[at:at] = rng.randbytes(rng.randint(1, 8))
            if len(data) < 13:
                break
        start = thread_time()
        got = read(bytes(data))
        worst = max(worst, thread_time() - start)
        if isinstance(got, Query):
            read_as_query += 1
            try:
                theirs = DNSRecord.parse(bytes(data))
            except (DNSError, UnicodeDecodeError):
                continue
            assert (theirs.header.id, theirs.q.qtype, theirs.q.qclass) == (got.id, got.qtype, got.qclass)
    assert read_as_query > 1000
    assert worst < 0.05
