"""Files of TLS that a topology names, as they are on this machine: what is wrong with them, for ``braid check``."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING

from cryptography import x509

from braid.tls.authorities import AuthoritiesError, trusting
from braid.tls.certificates import Certificates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from topology.model import Topology
    from topology.tls import Tls


def problems(topology: Topology, directory: Path, now: datetime | None = None) -> Iterator[str]:
    """One sentence each, with the key and a remedy. ``directory`` is that of the topology file."""
    wanted = _wanted(topology)
    certificates = Certificates()
    certificates.look(wanted, directory)
    found = certificates.problems
    yield from (f"{key}: {problem}" for key, problem in found.items())
    for key, tls in wanted.items():
        for position, pair in enumerate(tls.certificates):
            place = f"{key}.certificates[{position}]"
            if place not in found and (until := _end(directory / pair.certificate)) <= (now or datetime.now(UTC)):
                yield f"{place}: {pair.certificate}: expired at {until:%Y-%m-%dT%H:%M:%SZ}; renew it"
    for node in topology.nodes.values():
        if node.content is not None:
            try:
                trusting(directory, node.content.origin_ca)
            except AuthoritiesError as error:
                yield f"nodes.{node.name}.content.origin_ca: {error}"
    drains = {row.position for row in topology.drains}
    places = (position for position in count() if position not in drains)
    for position, row in zip(places, topology.transfers, strict=False):
        for proxy in row.proxies:
            key = f"nodes.{proxy}.content.tls"
            if key in wanted and not any(place.startswith(f"{key}.") for place in found):
                names = (name for name in row.sni if not certificates.covers(key, name))
                yield from (
                    f"transfers[{position}].sni: {proxy} has no certificate for {name}; add it to {key}.certificates"
                    for name in names
                )


def _wanted(topology: Topology) -> dict[str, Tls]:
    wanted: dict[str, Tls] = {}
    for application in topology.applications.values():
        if application.proxy is not None and application.proxy.tls is not None:
            wanted[f"applications.{application.name}.proxy.tls"] = application.proxy.tls
    for node in topology.nodes.values():
        if node.content is not None and node.content.tls is not None:
            wanted[f"nodes.{node.name}.content.tls"] = node.content.tls
    return wanted


def _end(file: Path) -> datetime:
    return x509.load_pem_x509_certificates(file.read_bytes())[0].not_valid_after_utc
