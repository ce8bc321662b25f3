"""The values in a topology file: words, names, addresses, numbers and their limits. Every message has its remedy."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import Annotated, Any, TypeVar

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from topology.model import (
    CheckKind,
    ClientSubnetUse,
    CookiePlace,
    Fallback,
    IPAddress,
    IPNetwork,
    Location,
    PortRange,
    Protocol,
    Role,
    ServiceMode,
    SocketAddress,
)
from topology.proxy import ClientAddress, ServerPolicy
from topology.tls import TlsVersion
from topology.transfer import HashedBy, ProxyPolicy, TransferMode

UDP_PORT = 7400
STATUS_PORT = 7480
DNS_PORT = 53
CONTENT_PORT = 80
CONTENT_TLS_PORT = 443
POWERDNS_PORT = 8053
MIN_MTU = 1376
"""1280 bytes, IPv6's least MTU, inside a datagram with 96 bytes of our headers."""

Word = TypeVar("Word", bound=StrEnum)

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_HOSTNAME = re.compile(rf"{_NAME.pattern}(\.{_NAME.pattern})*")


def _wrong(message: str, remedy: str) -> PydanticCustomError:
    # The texts go in as context: pydantic fills braces of the template only, so the file's own braces stay as they are.
    return PydanticCustomError("braid", "{message}", {"message": message, "remedy": remedy})


def _text(value: Any, example: str) -> str:
    if isinstance(value, str):
        return value
    raise _wrong(f"{shown(value)} is no text", f"write for instance {example}")


def shown(value: Any) -> str:
    """A value as an error message shows it: short, on one line."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _one_of(words: type[Word], value: Any) -> Word:
    for word in words:
        if isinstance(value, str) and word.value == value:
            return word
    raise _wrong(f"{shown(value)} is not accepted", f"write {' or '.join(words)}")


def _name(value: Any) -> str:
    if _NAME.fullmatch(_text(value, "edge-fra-1")):
        return str(value)
    raise _wrong(
        f"{shown(value)} is no name",
        "use 1 to 63 of a-z, 0-9 and -, not - first or last",
    )


def _hostname(value: Any) -> str:
    name = _text(value, "shop.apps.example").lower().removesuffix(".")
    if len(name) <= 253 and _HOSTNAME.fullmatch(name):
        return name
    raise _wrong(f"{shown(value)} is no domain name", "write labels of a-z, 0-9 and - with dots between")


def _label(value: Any) -> str:
    text = _text(value, "Frankfurt")
    if len(text) <= 255 and text.isprintable():
        return text
    raise _wrong(f"{shown(value)} is no single printable line", "write up to 255 printable characters")


def _path(value: Any) -> str:
    text = _text(value, "/health")
    if re.fullmatch(r"/[!-~]{0,1023}", text):
        return text
    raise _wrong(f"{shown(value)} is no URL path", "begin with / and use printable ASCII without spaces")


def _address(value: Any) -> IPAddress:
    text = _text(value, '192.0.2.1 or "2001:db8::1"')
    if "%" in text:
        raise _wrong(f"{shown(value)} has a scope id", "write an address that is valid beyond one link")
    try:
        return ip_address(text)
    except ValueError:
        raise _wrong(f"{shown(value)} is no IP address", 'write for instance 192.0.2.1 or "2001:db8::1"') from None


def _prefix(value: Any) -> IPNetwork:
    text = _text(value, '192.0.2.0/24 or "2001:db8::/64"')
    remedy = 'write for instance 192.0.2.0/24 or "2001:db8::/64"'
    if "%" in text or "/" not in text:
        raise _wrong(f"{shown(value)} is no prefix", remedy)
    try:
        network = ip_network(text, strict=False)
        address = ip_address(text.split("/")[0])
    except ValueError:
        raise _wrong(f"{shown(value)} is no prefix", remedy) from None
    if text.split("/")[1] != str(network.prefixlen):
        raise _wrong(f"{shown(value)} has no plain prefix length", f"write {network}")
    if address != network.network_address:
        raise _wrong(f"{shown(value)} has bits set behind the prefix", f"write {network}")
    return network


def socket_address(text: str, default_port: int) -> SocketAddress:
    """``192.0.2.1:53``, ``[2001:db8::1]:53``, or an address alone with the default port. Raises ValueError."""
    match = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::([0-9]{1,5}))?|([0-9.]+)(?::([0-9]{1,5}))?|([0-9A-Fa-f:.]+)", text)
    if match is None:
        raise ValueError(f"{text!r} is no address with port")
    port = int(match[2] or match[4] or default_port)
    address = ip_address(match[1] or match[3] or match[5])
    if not 1 <= port <= 65535 or (match[1] and address.version != 6):
        raise ValueError(f"{text!r} is no address with port")
    return SocketAddress(address, port)


def _socket(value: Any, default_port: int) -> SocketAddress:
    example = f'"192.0.2.1:{default_port}" or "[2001:db8::1]:{default_port}"'
    text = _text(value, example)
    try:
        return socket_address(text, default_port)
    except ValueError:
        raise _wrong(f"{shown(value)} is no address with port", f"write for instance {example}") from None


def _ports(value: Any) -> PortRange:
    remedy = "write tcp/80, udp/5000-5010, tcp, udp, icmp or any"
    match = re.fullmatch(r"(tcp|udp)(?:/([0-9]{1,5})(?:-([0-9]{1,5}))?)?|icmp|any", _text(value, "tcp/80"))
    if match is None:
        raise _wrong(f"{shown(value)} is no protocol with ports", remedy)
    protocol = Protocol(match[1] or value)
    if match[2] is None:
        return PortRange(protocol)
    low, high = int(match[2]), int(match[3] or match[2])
    if not 1 <= low <= high <= 65535:
        raise _wrong(f"{shown(value)} is no port range", "use ports 1 to 65535, the lower one first")
    return PortRange(protocol, low, high)


def _directory(value: Any) -> str:
    text = _text(value, "/var/cache/braid")
    if re.fullmatch(r"/[^\0]{1,80}", text) and text.isprintable():
        return text
    raise _wrong(f"{shown(value)} is no absolute directory", "write up to 80 characters, for instance /var/cache/braid")


def _location(value: Any) -> Location:
    remedy = "write [LATITUDE, LONGITUDE] in degrees, for instance [50.11, 8.68]"
    numbers = value if isinstance(value, tuple) else ()
    if len(numbers) != 2 or any(type(number) not in (int, float) for number in numbers):
        raise _wrong(f"{shown(value)} is no location", remedy)
    latitude, longitude = (float(number) for number in numbers)
    if abs(latitude) > 90 or abs(longitude) > 180:
        raise _wrong(f"[{latitude:g}, {longitude:g}] is nowhere on the Earth", remedy)
    return Location(latitude, longitude)


def _record(value: Any) -> str:
    text = _text(value, "www CNAME shop")
    if 0 < len(text) <= 4096 and text.isascii() and text.isprintable():
        return text
    raise _wrong(f"{shown(value)} is no line of a zone file", "write one record on one line of printable ASCII")


def _moment(value: Any) -> float:
    text = _text(value, "2027-01-31T00:00:00Z")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise _wrong(f"{shown(value)} is no moment", "write date, time and offset, for instance 2027-01-31T00:00:00Z")
    return moment.timestamp()


def _secret(value: Any) -> bytes:
    text = value if isinstance(value, str) else ""
    if re.fullmatch(r"[0-9A-Fa-f]{32}", text):
        return bytes.fromhex(text)
    # Not shown: it may be a secret with a slip in it.
    raise _wrong("no secret", "write 32 hexadecimal digits in quotes, from `openssl rand -hex 16`")


Name = Annotated[str, PlainValidator(_name)]
Hostname = Annotated[str, PlainValidator(_hostname)]
Label = Annotated[str, PlainValidator(_label)]
Directory = Annotated[str, PlainValidator(_directory)]
Place = Annotated[Location, PlainValidator(_location)]
UrlPath = Annotated[str, PlainValidator(_path)]
Moment = Annotated[float, PlainValidator(_moment)]
Address = Annotated[IPAddress, PlainValidator(_address)]
Prefix = Annotated[IPNetwork, PlainValidator(_prefix)]
StatusAddress = Annotated[SocketAddress, PlainValidator(lambda value: _socket(value, STATUS_PORT))]
DnsAddress = Annotated[SocketAddress, PlainValidator(lambda value: _socket(value, DNS_PORT))]
ContentAddress = Annotated[SocketAddress, PlainValidator(lambda value: _socket(value, CONTENT_PORT))]
ContentTlsAddress = Annotated[SocketAddress, PlainValidator(lambda value: _socket(value, CONTENT_TLS_PORT))]
PowerDnsAddress = Annotated[SocketAddress, PlainValidator(lambda value: _socket(value, POWERDNS_PORT))]
Ports = Annotated[PortRange, PlainValidator(_ports)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Cost = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
RoleName = Annotated[Role, PlainValidator(lambda value: _one_of(Role, value))]
ModeName = Annotated[ServiceMode, PlainValidator(lambda value: _one_of(ServiceMode, value))]
CookiePlaceName = Annotated[CookiePlace, PlainValidator(lambda value: _one_of(CookiePlace, value))]
Record = Annotated[str, PlainValidator(_record)]
Secret = Annotated[bytes, PlainValidator(_secret)]
SubnetUse = Annotated[ClientSubnetUse, PlainValidator(lambda value: _one_of(ClientSubnetUse, value))]
FallbackName = Annotated[Fallback, PlainValidator(lambda value: _one_of(Fallback, value))]
PolicyName = Annotated[ServerPolicy, PlainValidator(lambda value: _one_of(ServerPolicy, value))]
ProxyPolicyName = Annotated[ProxyPolicy, PlainValidator(lambda value: _one_of(ProxyPolicy, value))]
HashedByName = Annotated[HashedBy, PlainValidator(lambda value: _one_of(HashedBy, value))]
TransferModeName = Annotated[TransferMode, PlainValidator(lambda value: _one_of(TransferMode, value))]
ClientAddressName = Annotated[ClientAddress, PlainValidator(lambda value: _one_of(ClientAddress, value))]
TlsVersionName = Annotated[TlsVersion, PlainValidator(lambda value: _one_of(TlsVersion, value))]
CheckName = Annotated[CheckKind, PlainValidator(lambda value: _one_of(CheckKind, value))]
