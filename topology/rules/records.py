"""Extra records of the zone, and what DNS nodes are told: what may stand beside what Braid itself publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topology.model import Role, ZoneRecord
from topology.zonefile import CNAME, RecordError, parse_record

if TYPE_CHECKING:
    from topology.problem import Key
    from topology.shape import Draft

_ADDRESS_TYPES = (1, 28)
_MAX_CHAIN = 8


def check(draft: Draft) -> None:
    if draft.is_broken("zone"):
        return
    zone = draft.document.zone
    records: dict[Key, ZoneRecord] = {}
    for position, text in enumerate(zone.records):
        key: Key = ("zone", "records", position)
        try:
            records[key] = parse_record(text, zone.name, zone.ttl)
        except RecordError as error:
            draft.report.add(key, str(error), error.remedy)
    hostnames = {name for application in draft.document.applications.values() for name in application.hostnames}
    servers = _name_servers(draft, hostnames)
    for key, record in records.items():
        _owner(draft, key, record, hostnames, servers)
    _aliases(draft, records, hostnames | servers)
    _ttls_agree(draft, records)


def _name_servers(draft: Draft, taken: set[str]) -> set[str]:
    count = sum(
        1
        for node in draft.document.nodes.values()
        if (region := draft.document.regions.get(node.region)) is not None and region.role is Role.DNS
    )
    return set(server_names(draft.document.zone.name, count, taken))


def server_names(zone: str, count: int, taken: set[str]) -> list[str]:
    """``ns1``, ``ns2`` ... in the zone, without the names that applications have."""
    names: list[str] = []
    number = 0
    while len(names) < count:
        number += 1
        if (name := f"ns{number}.{zone}") not in taken:
            names.append(name)
    return names


def _owner(draft: Draft, key: Key, record: ZoneRecord, hostnames: set[str], servers: set[str]) -> None:
    zone = draft.document.zone.name
    if record.owner != zone and not record.owner.endswith(f".{zone}"):
        draft.report.add(
            key, f"{record.owner} lies outside the zone {zone}", "use a name in the zone, without final dot"
        )
    elif record.kind in _ADDRESS_TYPES and record.owner in hostnames | servers:
        whose = "an application's hostname" if record.owner in hostnames else "a name server of the zone"
        draft.report.add(key, f"{record.owner} is {whose}, whose addresses Braid gives", "use another name")


def _aliases(draft: Draft, records: dict[Key, ZoneRecord], taken: set[str]) -> None:
    zone = draft.document.zone.name
    owners = {record.owner for record in records.values()}
    targets: dict[str, str] = {}
    for key, record in records.items():
        if record.kind != CNAME:
            continue
        others = [other for place, other in records.items() if place != key and other.owner == record.owner]
        if others or record.owner in taken or record.owner == zone:
            draft.report.add(key, f"{record.owner} is an alias and has other records, too", "an alias stands alone")
        targets[record.owner] = _text(record.data)
    for key, record in records.items():
        if record.kind != CNAME:
            continue
        name, steps = record.owner, 0
        while name in targets and steps <= _MAX_CHAIN:
            name, steps = targets[name], steps + 1
        if steps > _MAX_CHAIN:
            draft.report.add(key, f"the alias {record.owner} leads in a circle", "let it end at a name with records")
        elif name.endswith(f".{zone}") and not _exists(name, owners | taken, zone):
            draft.report.add(key, f"the alias leads to {name}, which does not exist", "correct the name or add it")


def _exists(name: str, names: set[str], zone: str) -> bool:
    while name != zone and name not in names and f"*.{name.partition('.')[2]}" not in names:
        if any(other.endswith(f".{name}") for other in names):
            return True
        name = name.partition(".")[2]
        if name == zone:
            return False
    return True


def _ttls_agree(draft: Draft, records: dict[Key, ZoneRecord]) -> None:
    """RFC 2181 section 5.2: the records of one name and type have one TTL."""
    first: dict[tuple[str, int], ZoneRecord] = {}
    for key, record in records.items():
        other = first.setdefault((record.owner, record.kind), record)
        if other.ttl != record.ttl:
            draft.report.add(key, f"TTL {record.ttl} beside {other.ttl} of the same name and type", "write one TTL")
        if other is not record and other.data == record.data:
            draft.report.add(key, "the same record twice", "keep one of the two")


def _text(wire: bytes) -> str:
    labels: list[str] = []
    while wire[0]:
        labels.append(wire[1 : 1 + wire[0]].decode("ascii"))
        wire = wire[1 + wire[0] :]
    return ".".join(labels)
