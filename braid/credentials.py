"""What a running node reads of its ``--pki`` directory, and how files in there are written.

``DIR/ca.crt``, ``crl.pem``, ``peers.pem`` (every current node certificate) and ``nodes/NODE/{node.crt,node.key}``.
A key that others can read, or anything here that others can write, is refused.
"""

from __future__ import annotations

import os
import secrets
import stat
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from braid.identity import KEY_ID_OID, Credentials, PeerCertificate, Refused, Trust, read_certificate

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

OCTET_STRING_32 = b"\x04\x20"
"""DER tag and length in front of a key id in a CRL entry."""
_MAX_FILE = 4 << 20


class CredentialError(Exception):
    """Credentials that cannot be used or made; names the file and the remedy."""

    def __init__(self, file: Path, problem: str, remedy: str) -> None:
        super().__init__(f"{file}: {problem}; {remedy}")
        self.file = file
        self.problem = problem
        self.remedy = remedy


def load_credentials(directory: Path, node: str) -> Credentials:
    """Reads all that ``node`` needs to run. Raises ``CredentialError``.

    Dates, role and region are not judged here: ``identity.verify`` does that, for a node's own certificate as well.
    """
    trust = load_trust(directory)
    folder = node_directory(directory, node)
    reissue = f"make new credentials: braid pki issue {node}"
    private_key = load_private_key(folder / "node.key", reissue)
    if not isinstance(private_key, X25519PrivateKey):
        raise CredentialError(folder / "node.key", "is not an X25519 key", reissue)
    certificate = load_node_certificate(folder / "node.crt", trust.ca, reissue)
    static_key = private_key.public_key().public_bytes_raw()
    if certificate.static_key != static_key:
        raise CredentialError(folder / "node.crt", "does not belong to node.key", reissue)
    if certificate.name != node:
        raise CredentialError(folder / "node.crt", f"is the certificate of node {certificate.name!r}", reissue)
    return Credentials(node, private_key.private_bytes_raw(), static_key, certificate.der, trust)


def load_trust(directory: Path) -> Trust:
    """Reads ``ca.crt``, ``crl.pem`` and ``peers.pem``; for start and reload. Raises ``CredentialError``."""
    ca = load_ca(directory)
    serials: set[int] = set()
    keys: set[bytes] = set()
    for entry in load_crl(directory, ca):
        serials.add(entry.serial_number)
        for extension in entry.extensions:
            if extension.oid == KEY_ID_OID and isinstance(extension.value, x509.UnrecognizedExtension):
                keys.add(extension.value.value.removeprefix(OCTET_STRING_32))
    return Trust(ca, frozenset(serials), frozenset(keys), load_peers(directory, ca))


def load_ca(directory: Path) -> x509.Certificate:
    file = directory / "ca.crt"
    remedy = "name the directory with --pki, or make one: braid pki init"
    try:
        ca = x509.load_pem_x509_certificate(read_file(file, remedy))
        ca.verify_directly_issued_by(ca)
        constraints = ca.extensions.get_extension_for_class(x509.BasicConstraints).value
        sound = constraints.ca and isinstance(ca.public_key(), Ed25519PublicKey)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound):
        sound = False
    if not sound:
        raise CredentialError(file, "is not a self-signed Ed25519 CA certificate in PEM", "restore it from a backup")
    return ca


def load_crl(directory: Path, ca: x509.Certificate) -> x509.CertificateRevocationList:
    file = directory / "crl.pem"
    remedy = "copy it again from where braid pki runs"
    try:
        crl = x509.load_pem_x509_crl(read_file(file, remedy))
        if crl.is_signature_valid(_ed25519(ca)):
            return crl
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CredentialError(file, "is not a revocation list in PEM", remedy) from None
    raise CredentialError(file, "is not signed by ca.crt", remedy)


def load_peers(directory: Path, ca: x509.Certificate) -> dict[str, PeerCertificate]:
    file = directory / "peers.pem"
    remedy = "copy it again from where braid pki runs"
    content = read_file(file, remedy)
    if not content.strip():
        return {}
    try:
        certificates = x509.load_pem_x509_certificates(content)
        peers = [read_certificate(certificate.public_bytes(Encoding.DER), ca) for certificate in certificates]
    except ValueError:
        raise CredentialError(file, "is not a list of certificates in PEM", remedy) from None
    except Refused as refused:
        raise CredentialError(file, f"has a certificate that is refused: {refused.reason}", remedy) from None
    return {peer.name: peer for peer in peers}


def load_node_certificate(file: Path, ca: x509.Certificate, remedy: str) -> PeerCertificate:
    try:
        certificate = x509.load_pem_x509_certificate(read_file(file, remedy))
        return read_certificate(certificate.public_bytes(Encoding.DER), ca)
    except ValueError:
        raise CredentialError(file, "is not a certificate in PEM", remedy) from None
    except Refused as refused:
        problem = "is not signed by ca.crt" if refused.reason == "other_ca" else "is not a node certificate of Braid"
        raise CredentialError(file, problem, remedy) from None


def load_private_key(file: Path, remedy: str) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(read_file(file, remedy, secret=True), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CredentialError(file, "is not an unencrypted PKCS #8 key in PEM", remedy) from None


def node_directory(directory: Path, node: str) -> Path:
    return directory / "nodes" / node


def read_file(file: Path, remedy: str, *, secret: bool = False) -> bytes:
    """Returns the content of a regular file that is safe from other users."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise CredentialError(file, (error.strerror or "cannot be read").lower(), remedy) from None
    with open(descriptor, "rb") as opened:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise CredentialError(file, "is not a regular file", remedy)
        if secret and stat.S_IMODE(status.st_mode) & 0o077:
            raise CredentialError(file, "can be read by other users", f"chmod 600 {file}")
        if stat.S_IMODE(status.st_mode) & 0o022:
            raise CredentialError(file, "can be written by other users", f"chmod go-w {file}")
        # Root may use what a user has prepared (sudo braid run); nobody else takes credentials from a stranger.
        if os.geteuid() not in (0, status.st_uid) and status.st_uid != 0:
            raise CredentialError(file, "belongs to another user", f"chown {os.geteuid()} {file}")
        content = opened.read(_MAX_FILE + 1)
    if len(content) > _MAX_FILE:
        raise CredentialError(file, "is larger than 4 MiB", remedy)
    return content


def make_directories(directories: Iterable[Path]) -> None:
    """Makes what is missing, for the owner alone; leaves present ones as they are."""
    for directory in directories:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            problem = f"cannot be made: {(error.strerror or 'unknown error').lower()}"
            raise CredentialError(directory, problem, "choose another --pki directory") from None


def write_file(file: Path, content: bytes, mode: int) -> None:
    """Replaces the file as a whole: a reader sees the old or the new content, also after a crash."""
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as opened:
                os.fchmod(descriptor, mode)
                opened.write(content)
                opened.flush()
                os.fsync(descriptor)
            temporary.replace(file)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        problem = f"cannot be written: {(error.strerror or 'unknown error').lower()}"
        raise CredentialError(file, problem, "check the directory and its owner") from None


def _ed25519(ca: x509.Certificate) -> Ed25519PublicKey:
    key = ca.public_key()
    if not isinstance(key, Ed25519PublicKey):
        raise TypeError("load_ca lets Ed25519 pass alone")
    return key
