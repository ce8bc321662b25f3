"""What ``braid pki`` prints; the work is in ``braid.pki``. Keys are never shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import TYPE_CHECKING

from braid import pki
from braid.credentials import CredentialError
from braid.delegation import NOTHING, is_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from topology.model import IPNetwork, Topology

__all__ = ["BadDelegation", "CredentialError", "init", "issue", "revoke", "show"]


class BadDelegation(Exception):
    """VIPs or names that are none; says how they are written."""


def init(topology: Topology, directory: Path, *, days: float, force: bool, if_missing: bool) -> None:
    made = pki.init(topology, directory, datetime.now(UTC), days=days, force=force, if_missing=if_missing)
    if not made:
        print(f"{directory}: nothing is missing")
        return
    print(f"{directory}: credentials for {len(made)} nodes, valid until {made[0].not_after:%Y-%m-%d %H:%M} UTC")
    print(f"keep {directory / 'ca.key'} away from the nodes: they need ca.crt, crl.pem, peers.pem and nodes/NODE/")


def issue(
    topology: Topology, directory: Path, node: str, *, days: float, vips: Sequence[str], hosts: Sequence[str]
) -> None:
    """``vips`` and ``hosts`` as they were written."""
    now, prefixes = datetime.now(UTC), [_prefix(each) for each in vips]
    names = [_host(each) for each in hosts]
    made = pki.issue(topology, directory, node, now, days=days, vips=prefixes, hosts=names)
    print(f"{node}: serial {made.serial:#x}, valid until {made.not_after:%Y-%m-%d %H:%M} UTC")
    if made.delegation != NOTHING:
        print(f"may have connections to {made.delegation.text}")
    print("give every node the new peers.pem and send it SIGHUP, then start this one with its new credentials")


def revoke(directory: Path, node_or_serial: str) -> None:
    added = pki.revoke(directory, node_or_serial, datetime.now(UTC))
    if not added:
        print("was revoked already")
        return
    for serial in added:
        print(f"revoked {serial:#x}")
    print("give every node the new crl.pem and peers.pem and send it SIGHUP")


def show(directory: Path, *, as_json: bool) -> None:
    known = pki.describe(directory)
    now = datetime.now(UTC)
    rows = [
        {
            "node": row.certificate.name,
            "role": str(row.certificate.role),
            "region": row.certificate.region,
            "serial": f"{row.certificate.serial:#x}",
            "not_before": row.certificate.not_before.isoformat(),
            "not_after": row.certificate.not_after.isoformat(),
            "state": _state(row, now),
            "delegated": row.certificate.delegation.text,
        }
        for row in known.certificates
    ]
    if as_json:
        print(
            json.dumps(
                {"braid": known.braid, "ca_not_after": known.ca_not_after.isoformat(), "certificates": rows}, indent=2
            )
        )
        return
    print(f"CA of {known.braid}, valid until {known.ca_not_after:%Y-%m-%d}")
    width = max((len(row["node"]) for row in rows), default=0)
    for row in rows:
        until = row["not_after"][:16]
        print(f"{row['node']:<{width}}  {row['role']:<12}  {row['state']:<13}  until {until}  {row['serial']}")
        if row["delegated"]:
            print(f"{'':<{width}}  may have connections to {row['delegated']}")


def _prefix(word: str) -> IPNetwork:
    try:
        return ip_network(word)
    except ValueError as error:
        raise BadDelegation(f"--vips {word}: {error}; write for instance 10.91.1.160/28") from None


def _host(word: str) -> str:
    if is_name(word):
        return word
    raise BadDelegation(f"--host {word}: is no host name; write for instance shop.apps.example or '*.apps.example'")


def _state(row: pki.CertificateStatus, now: datetime) -> str:
    if row.revoked:
        return "revoked"
    if now > row.certificate.not_after:
        return "expired"
    return "valid" if now >= row.certificate.not_before else "not yet valid"
