"""Who a node is: X.509 certificates that bind name, role, region and the X25519 static key of Noise.

Pure: no clock, no files (``braid.pki`` has both). A node certificate is signed by the Braid's Ed25519 CA and carries
its identity in exactly one place, a SubjectAlternativeName URI ``braid://<braid>/<role>/<region>/<node>``; the common
name is for people. Revocation is by serial *and* by key id, so neither a second encoding of a signature nor a
certificate re-issued over a stolen key escapes it. That of a content proxy also says what is delegated to it
(``braid.delegation``), in an extension of our own.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID, NameOID, SignatureAlgorithmOID

from braid.delegation import NOTHING, Delegation, parse
from topology.model import NodeNumber, Role, Topology

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
from functools import lru_cache

MALFORMED = "malformed"
OTHER_CA = "other_ca"
EXPIRED = "expired"
NOT_YET_VALID = "not_yet_valid"
REVOKED = "revoked"
KEY_MISMATCH = "key_mismatch"
UNKNOWN_NODE = "unknown_node"
WRONG_ROLE = "wrong_role"
WRONG_REGION = "wrong_region"
WRONG_BRAID = "wrong_braid"
REASONS = (
    MALFORMED,
    OTHER_CA,
    EXPIRED,
    NOT_YET_VALID,
    REVOKED,
    KEY_MISMATCH,
    UNKNOWN_NODE,
    WRONG_ROLE,
    WRONG_REGION,
    WRONG_BRAID,
)

MAX_CERTIFICATE = 2048
"""Bytes of DER; ours are about 450."""
KEY_ID_OID = x509.ObjectIdentifier("2.25.201533719471836920518264490172835096113")
"""CRL entry extension: the key id (32 octets) of the revoked certificate. 2.25 is the arc of UUIDs (X.667)."""
DELEGATION_OID = x509.ObjectIdentifier("2.25.147103994111137005536568370466244032142")
"""Certificate extension, not critical: a UTF8String, the text of a ``Delegation``. Without it nothing is delegated."""

_NAME, _ROLE = "[a-z0-9-]{1,63}", "|".join(Role)
_URI = re.compile(rf"braid://({_NAME})/({_ROLE})/({_NAME})/({_NAME})")
_PARSE_ERRORS = (
    ValueError,
    TypeError,
    Warning,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
_ED25519_TAIL = bytes.fromhex("300506032b6570034100")
"""DER between the signed part and the signature: AlgorithmIdentifier, then a BIT STRING without unused bits."""
_X25519_PRIME = 2**255 - 19


class Refused(Exception):
    """A certificate gives no session. ``reason`` is one of ``REASONS``, usable as a metric label."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Identity:
    """What the CA vouches for."""

    braid: str
    role: Role
    region: str
    node: str

    @property
    def uri(self) -> str:
        return f"braid://{self.braid}/{self.role.value}/{self.region}/{self.node}"


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """A node certificate that the CA has signed; not yet judged by date, revocation or topology (``verify`` does)."""

    braid: str
    name: str
    role: Role
    region: str
    static_key: bytes
    """X25519 public key, 32 bytes."""
    serial: int
    not_before: datetime
    not_after: datetime
    delegation: Delegation
    der: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom a node believes. ``peers`` are the certificates to be expected, by node name."""

    ca: x509.Certificate
    revoked_serials: frozenset[int] = frozenset()
    revoked_keys: frozenset[bytes] = frozenset()
    """Key ids, see ``key_id``."""
    peers: Mapping[str, PeerCertificate] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one node proves itself with."""

    node: str
    private_key: bytes = field(repr=False)
    """X25519 private key, 32 bytes."""
    static_key: bytes
    """X25519 public key, 32 bytes."""
    certificate: bytes = field(repr=False)
    """DER, to be sent in the handshake."""
    trust: Trust = field(repr=False)

    @property
    def ca(self) -> x509.Certificate:
        return self.trust.ca


@dataclass(frozen=True, slots=True)
class Verified:
    """The node at the other end, as topology and CA agree on it."""

    name: str
    number: NodeNumber
    role: Role
    region: str
    not_after: datetime


def key_id(static_key: bytes) -> bytes:
    """Returns SHA-256 over the canonical form of an X25519 public key (32 bytes), so that the encodings which
    RFC 7748 section 5 maps to one point have one id."""
    point = (int.from_bytes(static_key, "little") & (1 << 255) - 1) % _X25519_PRIME
    return sha256(point.to_bytes(32, "little")).digest()


def parse_uri(uri: str) -> Identity:
    """Raises ``Refused(MALFORMED)`` for anything but lower-case ASCII names of 1..63 characters and a known role."""
    match = _URI.fullmatch(uri)
    if match is None:
        raise Refused(MALFORMED)
    braid, role, region, node = match.groups()
    return Identity(braid, Role(role), region, node)


def certify(
    ca: x509.Certificate,
    ca_key: Ed25519PrivateKey,
    identity: Identity,
    static_key: bytes,
    *,
    serial: int,
    not_before: datetime,
    not_after: datetime,
    delegation: Delegation = NOTHING,
) -> bytes:
    """Returns the DER of a node certificate. ``static_key`` is an X25519 public key of 32 bytes, ``serial`` random and
    positive. Raises ``ValueError`` for an identity that ``parse_uri`` would refuse."""
    if _URI.fullmatch(identity.uri) is None:
        raise ValueError(f"{identity.uri!r}: names in certificates are a-z, 0-9 and '-', at most 63 characters")
    key_usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=True,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.node)]))
        .issuer_name(ca.subject)
        .public_key(X25519PublicKey.from_public_bytes(static_key))
        .serial_number(serial)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage, critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity.uri)]), critical=True)
    )
    if delegation != NOTHING:
        value = asn1.encode_der(delegation.text)
        builder = builder.add_extension(x509.UnrecognizedExtension(DELEGATION_OID, value), critical=False)
    return builder.sign(ca_key, None).public_bytes(Encoding.DER)


@lru_cache(maxsize=1024)
def read_certificate(der: bytes, ca: x509.Certificate) -> PeerCertificate:
    """Decodes a node certificate signed by ``ca``. Raises ``Refused`` with ``MALFORMED`` or ``OTHER_CA`` only.

    The signature is checked before anything else is read, so that extensions are parsed only as the CA wrote them.
    Cached: every peer's certificate is judged anew each second, and only the date and the lists can have changed.
    """
    if len(der) > MAX_CERTIFICATE:
        raise Refused(MALFORMED)
    with warnings.catch_warnings():
        # The library reports bad encodings that it tolerates as warnings; here they are errors.
        warnings.simplefilter("error")
        try:
            certificate = x509.load_der_x509_certificate(der)
            _check_signature(certificate, der, ca)
            return _read_signed(certificate, der)
        except _PARSE_ERRORS:
            raise Refused(MALFORMED) from None


def _check_signature(certificate: x509.Certificate, der: bytes, ca: x509.Certificate) -> None:
    ca_key = ca.public_key()
    if not isinstance(ca_key, Ed25519PublicKey) or certificate.signature_algorithm_oid != SignatureAlgorithmOID.ED25519:
        raise Refused(OTHER_CA)
    try:
        ca_key.verify(certificate.signature, certificate.tbs_certificate_bytes)
    except InvalidSignature:
        raise Refused(OTHER_CA) from None
    if certificate.issuer != ca.subject:
        raise Refused(OTHER_CA)
    # What the signature does not cover has one encoding only, so that one certificate has one form.
    if not der.endswith(certificate.tbs_certificate_bytes + _ED25519_TAIL + certificate.signature):
        raise Refused(MALFORMED)


def _read_signed(certificate: x509.Certificate, der: bytes) -> PeerCertificate:
    key = certificate.public_key()
    if not isinstance(key, X25519PublicKey) or certificate.version is not x509.Version.v3:
        raise Refused(MALFORMED)
    known = {ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, ExtensionOID.SUBJECT_ALTERNATIVE_NAME}
    extensions = certificate.extensions
    if any(extension.critical and extension.oid not in known for extension in extensions):
        raise Refused(MALFORMED)
    constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    names = list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    if constraints.ca or usage.key_cert_sign or usage.crl_sign or not usage.key_agreement or len(names) != 1:
        raise Refused(MALFORMED)
    (name,) = names
    if not isinstance(name, x509.UniformResourceIdentifier):
        raise Refused(MALFORMED)
    identity = parse_uri(name.value)
    common_names = [attribute.value for attribute in certificate.subject]
    if common_names != [identity.node]:
        raise Refused(MALFORMED)
    return PeerCertificate(
        braid=identity.braid,
        name=identity.node,
        role=identity.role,
        region=identity.region,
        static_key=key.public_bytes_raw(),
        serial=certificate.serial_number,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        delegation=_read_delegation(extensions),
        der=der,
    )


def _read_delegation(extensions: x509.Extensions) -> Delegation:
    for extension in extensions:
        if extension.oid == DELEGATION_OID and isinstance(extension.value, x509.UnrecognizedExtension):
            return parse(asn1.decode_der(str, extension.value.value))
    return NOTHING


def verify(certificate_der: bytes, static_key: bytes, trust: Trust, topology: Topology, now: datetime) -> Verified:
    """Decides whether the holder of ``static_key`` (the Noise static key, 32 bytes) is a node of this Braid now.

    ``now`` is an aware datetime. Raises ``Refused`` and nothing else, whatever the bytes are.
    """
    certificate = read_certificate(certificate_der, trust.ca)
    if certificate.braid != topology.name:
        raise Refused(WRONG_BRAID)
    if certificate.static_key != static_key:
        raise Refused(KEY_MISMATCH)
    if certificate.serial in trust.revoked_serials or key_id(certificate.static_key) in trust.revoked_keys:
        raise Refused(REVOKED)
    if now < max(certificate.not_before, trust.ca.not_valid_before_utc):
        raise Refused(NOT_YET_VALID)
    if now >= min(certificate.not_after, trust.ca.not_valid_after_utc):
        raise Refused(EXPIRED)
    node = topology.nodes.get(certificate.name)
    if node is None:
        raise Refused(UNKNOWN_NODE)
    if node.role is not certificate.role:
        raise Refused(WRONG_ROLE)
    if node.region != certificate.region:
        raise Refused(WRONG_REGION)
    return Verified(node.name, node.number, node.role, node.region, certificate.not_after)
