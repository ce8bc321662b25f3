"""From the configuration to the zones that are answered from. Runs when the configuration is read, never per query."""

from __future__ import annotations

from dataclasses import replace
from struct import Struct
from typing import TYPE_CHECKING
from zlib import crc32

from dnslib import NS, PTR, SOA

from dns import records
from dns.records import (
    TO_QUESTION,
    TYPE_A,
    TYPE_AAAA,
    TYPE_ANY,
    TYPE_CNAME,
    TYPE_HINFO,
    TYPE_NS,
    TYPE_SOA,
    wire_name,
)
from dns.reverse import reverse_zones
from dns.zone import Name, Reply, Steered, Zone, Zones

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from dns.config import DnsConfig

STATIC_TTL = 3600
"""Seconds, for what no health decides: NS, SOA, name servers' addresses, PTR."""
_QUESTION_TAIL = Struct("!HH")
_CLASS_IN = 1
_HINFO_RFC8482 = b"\x07RFC8482\x00"

RecordSets = dict[bytes, dict[int, list[bytes]]]
"""Owner -> type -> packed records."""


def make_zones(config: DnsConfig) -> Zones:
    names = _forward(config)
    if config.settings.reverse:
        for apex, pointers in reverse_zones(config.vip_pools, _first_hostnames(config)).items():
            sets = _apex_records(config, apex)
            for owner, hostname in pointers.items():
                sets.setdefault(wire_name(owner), {})[records.TYPE_PTR] = [records.pack(PTR(hostname), STATIC_TTL)]
            names |= _names(_zone(config, apex), sets, {})
    steered = {
        owner + _QUESTION_TAIL.pack(kind, _CLASS_IN): asked
        for owner, name in names.items()
        for kind, asked in name.steered.items()
    }
    return Zones(names, steered, tuple({name.zone.apex: name.zone for name in names.values()}.values()))


def _forward(config: DnsConfig) -> dict[bytes, Name]:
    sets = _apex_records(config, config.zone.name)
    glue: list[bytes] = []
    for server in config.servers:
        owner = wire_name(server.hostname)
        for kind, packed in records.pack_addresses(server.addresses, STATIC_TTL).items():
            sets.setdefault(owner, {}).setdefault(kind, []).extend(packed)
            glue += [owner + record for record in packed]
    for record in config.zone.records:
        packed_record = records.pack_data(record.kind, record.ttl, record.data)
        sets.setdefault(wire_name(record.owner), {}).setdefault(record.kind, []).append(packed_record)
    zone = _zone(config, config.zone.name)
    applications = {name: _steered(config, name, zone) for name in set(config.hosts.values())}
    names = _names(zone, sets, {wire_name(hostname): applications[name] for hostname, name in config.hosts.items()})
    apex = names[zone.apex]
    servers = replace(apex.replies[TYPE_NS], extra=b"".join(glue), extras=len(glue))
    names[zone.apex] = replace(apex, replies={**apex.replies, TYPE_NS: servers})
    return names


def _zone(config: DnsConfig, name: str) -> Zone:
    apex = wire_name(name)
    soa = records.soa_around(apex, records.pack(_soa(config), min(config.zone.ttl, STATIC_TTL)))
    return Zone(apex, soa, name)


def _apex_records(config: DnsConfig, name: str) -> RecordSets:
    servers = [records.pack(NS(server.hostname), STATIC_TTL) for server in config.servers]
    return {wire_name(name): {TYPE_SOA: [records.pack(_soa(config), STATIC_TTL)], TYPE_NS: servers}}


def _soa(config: DnsConfig) -> SOA:
    """Equal files give equal serials, on every node and after every start."""
    content = (config.zone, config.servers, sorted(config.hosts.items()), sorted(config.vips.items(), key=str))
    serial = crc32(repr(content).encode())
    numbers = (serial, records.REFRESH, records.RETRY, records.EXPIRE, config.zone.ttl)
    return SOA(config.servers[0].hostname, config.zone.contact, numbers)


def _names(zone: Zone, sets: RecordSets, steered: Mapping[bytes, Mapping[int, Steered]]) -> dict[bytes, Name]:
    existing = _with_parents({*sets, *steered}, zone.apex)
    names: dict[bytes, Name] = {}
    for owner in existing:
        own = sets.get(owner, {})
        if TYPE_CNAME in own:
            names[owner] = _alias(zone, owner, sets, steered, existing)
            continue
        replies = {kind: _reply(packed) for kind, packed in own.items()}
        if own or owner in steered:
            # RFC 8482 4.2: one small record instead of all that there is.
            replies[TYPE_ANY] = _reply([records.pack_data(TYPE_HINFO, STATIC_TTL, _HINFO_RFC8482)])
        names[owner] = Name(zone, replies, steered=steered.get(owner, {}))
    return names


def _alias(zone: Zone, owner: bytes, sets: RecordSets, steered: Container[bytes], existing: Container[bytes]) -> Name:
    """The alias, and with it what stands at its end if that is the same for every client.

    An alias of a steered name is answered alone (RFC 7871 section 7.2.1): the client prefix for which the answer is
    right belongs to the name at its end.
    """
    own = _reply(sets[owner][TYPE_CNAME])
    chain, count, target = own.answer, 1, _target(sets[owner])
    while TYPE_CNAME in sets.get(target, {}):
        chain, count = chain + target + sets[target][TYPE_CNAME][0], count + 1
        target = _target(sets[target])
    if target in steered or target not in existing:
        return Name(zone, {TYPE_CNAME: own, TYPE_ANY: own}, Reply(chain, count))
    replies = {
        kind: Reply(chain + b"".join(target + record for record in packed), count + len(packed))
        for kind, packed in sets.get(target, {}).items()
    }
    return Name(zone, replies | {TYPE_CNAME: own, TYPE_ANY: own}, Reply(chain, count, negative=True))


def _target(own: Mapping[int, list[bytes]]) -> bytes:
    return own[TYPE_CNAME][0][records.HEAD :].lower()


def _reply(packed: Iterable[bytes]) -> Reply:
    packed = tuple(packed)
    return Reply(b"".join(TO_QUESTION + record for record in packed), len(packed))


def _steered(config: DnsConfig, application: str, zone: Zone) -> dict[int, Steered]:
    vips, degraded = (_vips(config, application, ttl) for ttl in (config.zone.ttl, config.ttl_degraded))
    return {
        kind: Steered(application, zone, (label, zone.name), vips[kind], degraded[kind], any(vips[kind]))
        for kind, label in ((TYPE_A, "A"), (TYPE_AAAA, "AAAA"))
    }


def _vips(config: DnsConfig, application: str, ttl: int) -> dict[int, tuple[Reply | None, ...]]:
    """Type -> per edge."""
    packed = [
        records.pack_addresses(config.vips.get((edge, application), ()), ttl) for edge in range(len(config.edges))
    ]
    return {kind: tuple(_reply(own[kind]) if kind in own else None for own in packed) for kind in (TYPE_A, TYPE_AAAA)}


def _first_hostnames(config: DnsConfig) -> dict[str, str]:
    """VIP as text -> the first hostname of its application."""
    first: dict[str, str] = {}
    for hostname, application in config.hosts.items():
        first.setdefault(application, hostname)
    return {
        str(address): first[application]
        for (_, application), addresses in config.vips.items()
        for address in addresses
        if application in first
    }


def _with_parents(names: set[bytes], apex: bytes) -> set[bytes]:
    """Returns the names inside the zone and every name between them and the apex."""
    found: set[bytes] = set()
    for name in names:
        chain = [name]
        while chain[-1] != apex and chain[-1] != b"\x00":
            chain.append(records.parent(chain[-1]))
        if chain[-1] == apex:
            found.update(chain)
    return found
