"""What ``braid pki`` prints; the work is in ``braid.pki``. Keys are never shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from braid import pki
from braid.credentials import CredentialError

if TYPE_CHECKING:
    from pathlib import Path

    from topology.model import Topology

__all__ = ["CredentialError", "init", "issue", "revoke", "show"]


def init(topology: Topology, directory: Path, *, days: float, force: bool, if_missing: bool) -> None:
    made = pki.init(topology, directory, datetime.now(UTC), days=days, force=force, if_missing=if_missing)
    if not made:
        print(f"{directory}: nothing is missing")
        return
    print(f"{directory}: credentials for {len(made)} nodes, valid until {made[0].not_after:%Y-%m-%d %H:%M} UTC")
    print(f"keep {directory / 'ca.key'} away from the nodes: they need ca.crt, crl.pem, peers.pem and nodes/NODE/")


def issue(topology: Topology, directory: Path, node: str, *, days: float) -> None:
    made = pki.issue(topology, directory, node, datetime.now(UTC), days=days)
    print(f"{node}: serial {made.serial:#x}, valid until {made.not_after:%Y-%m-%d %H:%M} UTC")
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


def _state(row: pki.CertificateStatus, now: datetime) -> str:
    if row.revoked:
        return "revoked"
    if now > row.certificate.not_after:
        return "expired"
    return "valid" if now >= row.certificate.not_before else "not yet valid"
