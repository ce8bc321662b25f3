"""The same decisions for an operator's own PowerDNS: its questions to a remote backend, and what they are told. Pure.

PowerDNS asks for names one by one, finds wildcards and negative answers itself, and wants text, not wire form. What it
gets is what our own answers are made of, read back by dnslib. Of an application's hostname it gets the VIPs of the edge
for the client that it names, and in ``scopeMask`` how far around that client the answer is right. That is never 0: what
has a scope PowerDNS does not keep in its caches, which know no clients and no TTL of ours.
https://doc.powerdns.com/authoritative/backends/remote.html
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from dnslib import QTYPE, DNSRecord

from dns.answer import steer
from dns.client import Client
from dns.counters import Counters
from dns.message import QR, pack
from dns.records import TYPE_A, TYPE_AAAA, TYPE_ANY, TYPE_CNAME, TYPE_SOA, asked_name
from topology.model import ClientSubnetUse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dns.answer import Responder
    from dns.view import View
    from dns.zone import Name, Reply, Zone

Row = dict[str, Any]
_NOBODY = "0.0.0.0"
_LIMIT = 65535
_CLASS_IN = b"\x00\x01"
METHODS = ("initialize", "lookup", "getAllDomains", "getDomainInfo", "getDomainMetadata", "getAllDomainMetadata")
"""Those with an answer; False to all others: PowerDNS must not transfer, change or sign the zones."""


def call(responder: Responder, method: str, parameters: Mapping[str, Any]) -> Any:
    """The ``result`` of one call; False is how the backend says that it has nothing, or does not do that.

    ``parameters`` are those of the method in PowerDNS's documentation. Never raises for anything in them.
    """
    view = responder.view
    responder.counters.powerdns[method if method in METHODS else "other"] += 1
    match method:
        case "initialize":
            return True
        case "lookup":
            return _lookup(view, parameters)
        case "getAllDomains":
            return [_domain(view, zone) for zone in view.zones.apexes]
        case "getDomainInfo":
            name = _wire(parameters.get("name"))
            return next((_domain(view, zone) for zone in view.zones.apexes if zone.apex == name), False)
        case "getDomainMetadata":
            return []
        case "getAllDomainMetadata":
            return {}
        case _:
            return False


def _lookup(view: View, parameters: Mapping[str, Any]) -> list[Row]:
    owner = _wire(parameters.get("qname"))
    name = None if owner is None else view.zones.names.get(owner)
    if owner is None or name is None:
        return []
    wanted = str(parameters.get("qtype", "ANY")).upper()
    client = client_of(parameters, view.config.settings.client_subnet)
    rows: list[Row] = []
    for kind, reply, scope in _replies(view, name, client, wanted):
        rows += _rows(owner, kind, reply, scope, 1 + view.zones.apexes.index(name.zone))
    if not rows and wanted == "ANY":
        # Exists, and has nothing of any type: an empty non-terminal, or a hostname without a VIP for this client now.
        empty = {"qtype": "", "qname": parameters["qname"], "content": "", "ttl": 0, "auth": 1}
        return [empty | {"scopeMask": 1 if name.steered else 0}]
    return rows


def _replies(view: View, name: Name, client: Client, wanted: str) -> Iterator[tuple[int, Reply, int]]:
    """(type, what stands under it, scope)."""
    alias = TYPE_CNAME in name.replies
    for kind, reply in name.replies.items():
        if kind != TYPE_ANY and (not alias or kind == TYPE_CNAME) and wanted in ("ANY", _text_of(kind)):
            yield kind, reply, 0
    for kind, asked in name.steered.items():
        if wanted in ("ANY", _text_of(kind)):
            # Not counted as an answer: PowerDNS asks for all types whatever it was asked for, and keeps what it hears.
            result = steer(asked, client, view, Counters())
            yield kind, result.reply, max(result.scope, 1)


def _rows(owner: bytes, kind: int, reply: Reply, scope: int, domain: int) -> list[Row]:
    if not reply.answers:
        return []
    question = owner + kind.to_bytes(2, "big") + _CLASS_IN
    record = DNSRecord.parse(pack(b"\x00\x00", question, QR, reply, None, b"", _LIMIT))
    return [
        {
            "qtype": _text_of(kind),
            "qname": str(each.rname),
            "content": str(each.rdata),
            "ttl": each.ttl,
            "auth": 1,
            "domain_id": domain,
            "scopeMask": scope,
        }
        for each in record.rr
    ]


def client_of(parameters: Mapping[str, Any], use: ClientSubnetUse) -> Client:
    """The client prefix that PowerDNS was told of, else the address it was asked from."""
    remote = _address(parameters.get("remote")) or ip_address(_NOBODY)
    sender = Client(remote.version, int(remote), False)
    try:
        real = ip_network(str(parameters.get("real-remote") or remote), strict=False)
    except ValueError:
        return sender
    if not real.prefixlen or use is ClientSubnetUse.OFF or real.network_address == remote:
        return sender
    if use is ClientSubnetUse.PUBLIC and not real.network_address.is_global:
        return sender
    return Client(real.version, int(real.network_address), True)


def _domain(view: View, zone: Zone) -> Row:
    """Ids count the zones from 1. The serial is that of the SOA."""
    number = 1 + view.zones.apexes.index(zone)
    (soa,) = _rows(zone.apex, TYPE_SOA, view.zones.names[zone.apex].replies[TYPE_SOA], 0, number)
    return {"id": number, "zone": soa["qname"], "serial": int(soa["content"].split()[2]), "kind": "native"}


def _text_of(kind: int) -> str:
    return {TYPE_A: "A", TYPE_AAAA: "AAAA"}.get(kind) or str(QTYPE.get(kind))


def _wire(name: Any) -> bytes | None:
    if not isinstance(name, str) or len(name) > 1024:
        return None
    try:
        return asked_name(name)
    except ValueError:
        return None


def _address(text: Any) -> Any:
    try:
        return ip_address(str(text))
    except ValueError:
        return None
