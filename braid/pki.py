"""Makes the credentials of a Braid: the CA, node keys and certificates, the revocation list.

Beside what ``braid.credentials`` describes the directory holds ``ca.key`` (0600), which nodes do not need. Keys are
made here and never shown; each file is replaced as a whole. What is written for several nodes is written key first,
bundle last, so that ``--if-missing`` repairs an interrupted run.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from braid.credentials import (
    OCTET_STRING_32,
    CredentialError,
    load_ca,
    load_credentials,
    load_crl,
    load_node_certificate,
    load_peers,
    load_private_key,
    load_trust,
    make_directories,
    node_directory,
    write_file,
)
from braid.delegation import Delegation, delegation, wanted
from braid.identity import KEY_ID_OID, Identity, PeerCertificate, certify, key_id, read_certificate
from topology.model import Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from topology.model import IPNetwork, Node, Topology

__all__ = [
    "CertificateStatus",
    "CredentialError",
    "PkiDescription",
    "describe",
    "init",
    "issue",
    "load_credentials",
    "load_trust",
    "revoke",
]

CA_VALIDITY = timedelta(days=3652)
DEFAULT_DAYS = 90
CLOCK_SKEW = timedelta(minutes=5)
"""A fresh certificate is valid this much earlier, for nodes whose clocks are behind."""
LARGEST = 1000
"""Bytes of DER: the first packet of a handshake has 280 more at most, and is to pass links of 1280."""


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """One line of ``describe``."""

    certificate: PeerCertificate
    revoked: bool


@dataclass(frozen=True, slots=True)
class PkiDescription:
    braid: str
    ca_not_after: datetime
    certificates: tuple[CertificateStatus, ...]
    revoked_serials: tuple[int, ...]


def init(
    topology: Topology,
    directory: Path,
    now: datetime,
    *,
    force: bool = False,
    if_missing: bool = False,
    days: float = DEFAULT_DAYS,
    not_before: datetime | None = None,
) -> tuple[PeerCertificate, ...]:
    """Makes the CA and credentials for every node of the topology; returns the certificates made.

    An existing CA is an error; ``force`` replaces it with everything it signed, ``if_missing`` keeps it and issues
    for those nodes alone that have nothing yet.
    """
    ca_file, key_file = directory / "ca.crt", directory / "ca.key"
    if ca_file.exists() and if_missing and not force:
        peers = load_peers(directory, load_ca(directory))
        missing = [name for name in topology.nodes if name not in peers or not _has_files(directory, name)]
        return tuple(issue(topology, directory, name, now, days=days, not_before=not_before) for name in missing)
    if not force and (ca_file.exists() or (key_file.exists() and not if_missing)):
        raise CredentialError(
            ca_file if ca_file.exists() else key_file,
            "there is a CA already",
            "use --if-missing to keep it or --force to replace it and all it signed",
        )
    make_directories([directory])
    _forget_nodes(directory)
    ca_key = Ed25519PrivateKey.generate()
    ca = _self_signed(topology.name, ca_key, now)
    write_file(key_file, _private_pem(ca_key), 0o600)
    _write_crl(directory, ca, ca_key, [], 1, now)
    _write_peers(directory, {})
    write_file(ca_file, ca.public_bytes(Encoding.PEM), 0o644)
    issued = tuple(
        _issue_one(topology, directory, node, ca, ca_key, now, days, not_before, wanted(topology, node.name))
        for node in topology.nodes.values()
    )
    _write_peers(directory, {certificate.name: certificate for certificate in issued})
    return issued


def issue(
    topology: Topology,
    directory: Path,
    node: str,
    now: datetime,
    *,
    days: float = DEFAULT_DAYS,
    not_before: datetime | None = None,
    vips: Sequence[IPNetwork] = (),
    hosts: Sequence[str] = (),
) -> PeerCertificate:
    """Makes a new key and certificate for one node, replacing the ones it had, and rewrites ``peers.pem``. ``vips`` and
    ``hosts`` are delegated to a content node instead of what the topology says."""
    ca = load_ca(directory)
    ca_key = _load_ca_key(directory, ca)
    if ca.subject != _ca_name(topology.name):
        raise CredentialError(
            directory / "ca.crt", f"is not the CA of {topology.name!r}", "name the right --pki directory or make one"
        )
    if node not in topology.nodes:
        raise CredentialError(
            node_directory(directory, node),
            f"node {node!r} is not in the topology",
            "add it to the topology file first",
        )
    if (vips or hosts) and topology.nodes[node].role is not Role.CONTENT:
        raise CredentialError(
            node_directory(directory, node),
            f"node {node!r} is no content node, to which VIPs and names can be delegated",
            "leave out --vips and --host",
        )
    usual = wanted(topology, node)
    given = delegation(vips or usual.prefixes, hosts or usual.names)
    certificate = _issue_one(topology, directory, topology.nodes[node], ca, ca_key, now, days, not_before, given)
    peers = {name: peer for name, peer in load_peers(directory, ca).items() if name in topology.nodes}
    _write_peers(directory, peers | {node: certificate})
    return certificate


def revoke(directory: Path, node_or_serial: str | int, now: datetime) -> tuple[int, ...]:
    """Adds a node's certificates, or one serial number, to the revocation list; returns the serials newly listed.

    ``node_or_serial`` is a node name, or a serial as an integer or ``0x`` hexadecimal. Nodes obey after they have
    loaded the new ``crl.pem`` (SIGHUP).
    """
    ca = load_ca(directory)
    ca_key = _load_ca_key(directory, ca)
    known = _known_certificates(directory, ca, skip_unreadable=True)
    serial = _as_serial(node_or_serial)
    if serial is None:
        chosen = {c.serial: key_id(c.static_key) for c in known if c.name == node_or_serial}
        if not chosen:
            raise CredentialError(
                directory / "peers.pem", f"no certificate of node {node_or_serial!r} here", "give its serial as 0x..."
            )
    else:
        chosen = {serial: next((key_id(c.static_key) for c in known if c.serial == serial), b"")}
    crl = load_crl(directory, ca)
    entries = list(crl)
    listed = {entry.serial_number for entry in entries}
    added = [serial for serial in chosen if serial not in listed]
    entries += [_crl_entry(serial, chosen[serial], now) for serial in added]
    number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number + 1
    _write_crl(directory, ca, ca_key, entries, number, now)
    peers = {name: peer for name, peer in load_peers(directory, ca).items() if peer.serial not in chosen}
    _write_peers(directory, peers)
    return tuple(added)


def describe(directory: Path) -> PkiDescription:
    """Returns what ``directory`` holds: every node certificate found in it, by name."""
    ca = load_ca(directory)
    trust = load_trust(directory)
    rows = tuple(
        CertificateStatus(c, c.serial in trust.revoked_serials or key_id(c.static_key) in trust.revoked_keys)
        for c in sorted(_known_certificates(directory, ca), key=lambda c: (c.name, c.not_before))
    )
    name = ca.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    braid = name.decode() if isinstance(name, bytes) else name
    return PkiDescription(braid.removesuffix(" CA"), ca.not_valid_after_utc, rows, tuple(sorted(trust.revoked_serials)))


def _has_files(directory: Path, node: str) -> bool:
    folder = node_directory(directory, node)
    return (folder / "node.key").exists() and (folder / "node.crt").exists()


def _forget_nodes(directory: Path) -> None:
    """Removes what an earlier CA has signed."""
    for folder in (directory / "nodes").glob("*"):
        for name in ("node.crt", "node.key"):
            (folder / name).unlink(missing_ok=True)


def _ca_name(braid: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{braid} CA")])


def _self_signed(braid: str, key: Ed25519PrivateKey, now: datetime) -> x509.Certificate:
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(_ca_name(braid))
        .issuer_name(_ca_name(braid))
        .public_key(key.public_key())
        .serial_number(_random_serial())
        .not_valid_before(now.astimezone(UTC) - CLOCK_SKEW)
        .not_valid_after(now.astimezone(UTC) + CA_VALIDITY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, None)
    )


def _random_serial() -> int:
    return secrets.randbits(126) | 1 << 126


def _issue_one(
    topology: Topology,
    directory: Path,
    node: Node,
    ca: x509.Certificate,
    ca_key: Ed25519PrivateKey,
    now: datetime,
    days: float,
    not_before: datetime | None,
    delegated: Delegation,
) -> PeerCertificate:
    start = (not_before if not_before is not None else now - CLOCK_SKEW).astimezone(UTC)
    end = (start if not_before is not None else now).astimezone(UTC) + timedelta(days=days)
    if end <= start:
        raise CredentialError(directory, f"{days} days give no validity at all", "use a larger --days")
    private_key = X25519PrivateKey.generate()
    static_key = private_key.public_key().public_bytes_raw()
    identity = Identity(topology.name, node.role, node.region, node.name)
    folder = node_directory(directory, node.name)
    der = certify(
        ca,
        ca_key,
        identity,
        static_key,
        serial=_random_serial(),
        not_before=start,
        not_after=end,
        delegation=delegated,
    )
    if len(der) > LARGEST:
        raise CredentialError(
            folder,
            f"the certificate would have {len(der)} bytes of at most {LARGEST}: too many VIP prefixes and names",
            f"give wider ones, braid pki issue {node.name} --vips 10.0.0.0/8 --host '*.apps.example', and go on with "
            "braid pki init --if-missing if that was interrupted",
        )
    make_directories([folder.parent, folder])
    write_file(folder / "node.key", _private_pem(private_key), 0o600)
    write_file(folder / "node.crt", _certificate_pem(der), 0o644)
    return read_certificate(der, ca)


def _crl_entry(serial: int, key: bytes, now: datetime) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now.astimezone(UTC))
    if key:
        extension = x509.UnrecognizedExtension(KEY_ID_OID, OCTET_STRING_32 + key)
        builder = builder.add_extension(extension, critical=False)
    return builder.build()


def _as_serial(value: str | int) -> int | None:
    if isinstance(value, int):
        return value
    try:
        return int(value, 16) if value.lower().startswith("0x") else None
    except ValueError:
        return None


def _known_certificates(
    directory: Path, ca: x509.Certificate, *, skip_unreadable: bool = False
) -> tuple[PeerCertificate, ...]:
    """``skip_unreadable``: one node's damaged file must not stand in the way of revoking another."""
    found = {peer.serial: peer for peer in load_peers(directory, ca).values()}
    for file in sorted((directory / "nodes").glob("*/node.crt")):
        try:
            certificate = load_node_certificate(file, ca, "make new credentials: braid pki issue")
        except CredentialError:
            if skip_unreadable:
                continue
            raise
        found[certificate.serial] = certificate
    return tuple(found.values())


def _certificate_pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def _private_pem(key: Ed25519PrivateKey | X25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _load_ca_key(directory: Path, ca: x509.Certificate) -> Ed25519PrivateKey:
    file = directory / "ca.key"
    key = load_private_key(file, "run this where the CA was made, or restore it from a backup")
    if not isinstance(key, Ed25519PrivateKey) or key.public_key() != ca.public_key():
        raise CredentialError(file, "is not the key of ca.crt", "restore both from one backup")
    return key


def _write_crl(
    directory: Path,
    ca: x509.Certificate,
    ca_key: Ed25519PrivateKey,
    entries: Iterable[x509.RevokedCertificate],
    number: int,
    now: datetime,
) -> None:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.subject)
        .last_update(now.astimezone(UTC))
        .next_update(max(ca.not_valid_after_utc, now.astimezone(UTC) + CLOCK_SKEW))
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for entry in entries:
        builder = builder.add_revoked_certificate(entry)
    write_file(directory / "crl.pem", builder.sign(ca_key, None).public_bytes(Encoding.PEM), 0o644)


def _write_peers(directory: Path, peers: dict[str, PeerCertificate]) -> None:
    bundle = b"".join(_certificate_pem(peers[name].der) for name in sorted(peers))
    write_file(directory / "peers.pem", bundle, 0o644)
