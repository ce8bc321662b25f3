"""One line of a zone file (RFC 1035 section 5, RFC 3597, RFC 9460) becomes a record in wire form.

dnslib reads and packs the data. What it lets pass and a name server must not is refused here: data left over, relative
names that it would cut, parameters of SVCB out of order.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

from dnslib import HTTPS, QTYPE, RD, RDMAP, DNSBuffer, DNSLabel, WordLexer

from topology.model import ZoneRecord

MAX_TTL = 604800
_NAME_AT = {"CNAME": 0, "PTR": 0, "MX": 1, "SRV": 3, "HTTPS": 1, "SVCB": 1}
"""Type -> position of the domain name in its data."""
_WORDS = {"A": 1, "AAAA": 1, "CNAME": 1, "PTR": 1, "MX": 2, "SRV": 4, "CAA": 3, "TLSA": 4, "SSHFP": 3}
_KNOWN = (*_WORDS, "TXT", "HTTPS", "SVCB")
_META = range(128, 256)
"""Types that are questions, not data (RFC 6895 section 3.1)."""
_OURS = {2: "NS", 6: "SOA", 39: "DNAME", 41: "OPT", 43: "DS", 46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 50: "NSEC3"}
CNAME = 5


class RecordError(ValueError):
    """The line is no record that Braid can serve; ``remedy`` says what to write."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class _Plain(DNSBuffer):  # type: ignore[misc]
    """Writes names in full."""

    def encode_name(self, name: DNSLabel) -> None:
        self.encode_name_nocompress(name)


def parse_record(text: str, zone: str, ttl: int) -> ZoneRecord:
    """Returns the record of one line: ``OWNER [TTL] [IN] TYPE DATA``. Names without a final dot are relative to
    ``zone``, ``@`` is the zone itself, ``ttl`` is for lines without one. Raises ``RecordError`` and nothing else."""
    words = _words(text)
    owner = _absolute(words.pop(0), zone) if words else ""
    if words and words[0].isdigit():
        ttl = int(words.pop(0))
        if ttl > MAX_TTL:
            raise RecordError(f"TTL {ttl} is out of range", f"use at most {MAX_TTL} seconds")
    if words and words[0].upper() == "IN":
        words.pop(0)
    if len(words) < 2:
        raise RecordError("owner, type or data is missing", "write for instance: www 300 CNAME shop")
    kind = words.pop(0).upper()
    number = _type_number(kind)
    try:
        data = _data(kind, number, words, zone)
    except RecordError:
        raise
    except Exception as error:  # noqa: BLE001 dnslib raises what it likes for data it cannot read
        raise RecordError(f"{kind} does not read {' '.join(words)[:60]!r} ({error})", "correct the data") from None
    return ZoneRecord(owner.removesuffix("."), number, ttl, data)


def _words(text: str) -> list[str]:
    lexer = WordLexer(text + "\n")
    lexer.commentchars = ";"
    try:
        words = [word for kind, word in lexer if kind == "ATOM"]
    except Exception:  # noqa: BLE001 an open quote ends in an IndexError, other signs in a ValueError
        raise RecordError("no line of a zone file", "use printable ASCII and close every quote") from None
    if "(" in words or ")" in words:
        raise RecordError("parentheses", "write the record on one line without them")
    return words


def _absolute(name: str, zone: str) -> str:
    """Lower case, with the final dot."""
    absolute = f"{zone}." if name == "@" else name if name.endswith(".") else f"{name}.{zone}."
    labels = [] if absolute == "." else absolute[:-1].split(".")
    if not all(1 <= len(label) <= 63 for label in labels) or len(absolute) > 254 or not absolute.isascii():
        raise RecordError(f"{name!r} is no domain name", "write labels of at most 63 characters with dots between")
    return absolute.lower()


def _type_number(kind: str) -> int:
    if kind.startswith("TYPE") and kind[4:].isdigit():
        number = int(kind[4:])
    elif kind == "SVCB":
        number = 64
    elif kind in _KNOWN:
        number = int(getattr(QTYPE, kind))
    else:
        number = next((number for number, name in _OURS.items() if name == kind), 0)
        if not number:
            raise RecordError(f"unknown type {kind}", f"use {', '.join(_KNOWN)} or TYPEnnn with \\# data")
    if number in _OURS or not 1 <= number <= 65535 or number in _META:
        raise RecordError(
            f"{_OURS.get(number, kind)} cannot be an extra record", "remove it: Braid makes it or does not serve it"
        )
    return number


def _data(kind: str, number: int, words: list[str], zone: str) -> bytes:
    if words[0] == "\\#" and number != CNAME:
        return _unknown(words)
    if kind not in _KNOWN:
        raise RecordError(f"{kind} without \\#", "write the data as \\# LENGTH HEX")
    if len(words) != _WORDS.get(kind, len(words)):
        raise RecordError(f"{kind} with {len(words)} words of data", f"write {_WORDS[kind]}")
    if kind in ("A", "AAAA"):
        return (IPv4Address if kind == "A" else IPv6Address)(words[0]).packed
    if (position := _NAME_AT.get(kind)) is not None and words[position] != ".":
        words[position] = _absolute(words[position], zone)
    rdata = _service(words) if kind in ("HTTPS", "SVCB") else RDMAP[kind].fromZone(words, DNSLabel(zone))
    return _packed(rdata)


def _service(words: list[str]) -> Any:
    rdata = HTTPS.fromZone(
        [word.replace("ech=", "echconfig=", 1) if word.startswith("ech=") else word for word in words]
    )
    keys = [key for key, _ in rdata.params]
    if len(set(keys)) < len(keys):
        raise RecordError("a parameter is written twice", "keep one of the two")
    if rdata.priority == 0 and keys:
        raise RecordError("an alias (priority 0) has parameters", "remove them or use priority 1")
    # RFC 9460 section 2.2: in ascending order of their numbers.
    rdata.params = sorted(rdata.params, key=lambda param: int(param[0]))
    return rdata


def _unknown(words: list[str]) -> bytes:
    length, digits = words[1], "".join(words[2:])
    data = bytes.fromhex(digits)
    if not length.isdigit() or len(data) != int(length):
        raise RecordError(f"{len(data)} bytes where \\# {length} says otherwise", "write the length of the data")
    return _packed(RD(data))


def _packed(rdata: Any) -> bytes:
    buffer = _Plain()
    rdata.pack(buffer)
    return bytes(buffer.data)
