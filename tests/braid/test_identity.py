"""Certificates: what the CA signs is accepted, everything else is refused with its own reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from braid import identity, pki
from braid.credentials import load_credentials, load_trust
from braid.identity import Credentials, Refused, Trust, key_id, parse_uri, verify
from tests.braid.small_topology import TOPOLOGY, make_topology
from topology.model import Role, Topology

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def replaced_node(**changes: object) -> Topology:
    changed = replace(TOPOLOGY.nodes["mid-ams-1"], **changes)  # type: ignore[arg-type]
    return replace(TOPOLOGY, nodes=TOPOLOGY.nodes | {"mid-ams-1": changed})


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    pki.init(TOPOLOGY, tmp_path / "pki", NOW)
    return tmp_path / "pki"


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    folder = tmp_path_factory.mktemp("held") / "pki"
    pki.init(TOPOLOGY, folder, NOW)
    return load_credentials(folder, "mid-ams-1")


def reason(certificate: bytes, static_key: bytes, trust: Trust, topology: Topology, now: datetime = NOW) -> str:
    with pytest.raises(Refused) as caught:
        verify(certificate, static_key, trust, topology, now)
    assert caught.value.reason in identity.REASONS
    return caught.value.reason


def test_what_the_ca_signed_is_accepted(held: Credentials) -> None:
    verified = verify(held.certificate, held.static_key, held.trust, TOPOLOGY, NOW)
    assert (verified.name, verified.number, verified.role, verified.region) == (
        "mid-ams-1",
        21,
        Role.INTERMEDIATE,
        "mid-ams",
    )
    assert verified.not_after == NOW + timedelta(days=90)


def test_the_bundle_gives_an_initiator_the_static_key_of_every_node(directory: Path) -> None:
    peers = load_credentials(directory, "edge-fra-1").trust.peers
    assert set(peers) == {"edge-fra-1", "mid-ams-1"}
    assert peers["mid-ams-1"].static_key == load_credentials(directory, "mid-ams-1").static_key


def test_the_private_key_is_in_no_repr(held: Credentials) -> None:
    assert repr(held.private_key) not in repr(held)
    assert held.private_key.hex() not in repr(held)


@pytest.mark.parametrize(
    ("topology", "expected"),
    [
        (make_topology("other"), identity.WRONG_BRAID),
        (replace(TOPOLOGY, nodes={}), identity.UNKNOWN_NODE),
        (replaced_node(role=Role.GATEWAY), identity.WRONG_ROLE),
        (replaced_node(region="mid-lon"), identity.WRONG_REGION),
    ],
)
def test_a_certificate_must_agree_with_the_topology(held: Credentials, topology: Topology, expected: str) -> None:
    assert reason(held.certificate, held.static_key, held.trust, topology) == expected


def test_a_certificate_is_bound_to_its_noise_key(held: Credentials) -> None:
    assert reason(held.certificate, bytes(32), held.trust, TOPOLOGY) == identity.KEY_MISMATCH


def test_dates_are_judged_by_the_argument(held: Credentials) -> None:
    end = NOW + timedelta(days=90)
    verify(held.certificate, held.static_key, held.trust, TOPOLOGY, end - timedelta(seconds=1))
    assert reason(held.certificate, held.static_key, held.trust, TOPOLOGY, end) == identity.EXPIRED
    early = NOW - timedelta(minutes=6)
    assert reason(held.certificate, held.static_key, held.trust, TOPOLOGY, early) == identity.NOT_YET_VALID


def test_validity_can_be_chosen(directory: Path) -> None:
    start = NOW + timedelta(days=10)
    issued = pki.issue(TOPOLOGY, directory, "mid-ams-1", NOW, days=2, not_before=start)
    assert (issued.not_before, issued.not_after) == (start, start + timedelta(days=2))


def test_another_ca_with_the_same_name_is_refused(held: Credentials, directory: Path) -> None:
    stranger = load_credentials(directory, "mid-ams-1")
    assert stranger.ca.subject == held.ca.subject
    assert reason(stranger.certificate, stranger.static_key, held.trust, TOPOLOGY) == identity.OTHER_CA


def test_revocation_by_name_reaches_serial_key_and_bundle(directory: Path) -> None:
    before = load_credentials(directory, "mid-ams-1")
    (serial,) = pki.revoke(directory, "mid-ams-1", NOW)
    trust = load_trust(directory)
    assert trust.revoked_serials == {serial}
    assert trust.revoked_keys == {key_id(before.static_key)}
    assert set(trust.peers) == {"edge-fra-1"}
    assert reason(before.certificate, before.static_key, trust, TOPOLOGY) == identity.REVOKED
    by_serial = replace(trust, revoked_keys=frozenset())
    by_key = replace(trust, revoked_serials=frozenset())
    assert reason(before.certificate, before.static_key, by_serial, TOPOLOGY) == identity.REVOKED
    assert reason(before.certificate, before.static_key, by_key, TOPOLOGY) == identity.REVOKED
    assert pki.revoke(directory, "mid-ams-1", NOW) == ()
    pki.issue(TOPOLOGY, directory, "mid-ams-1", NOW)
    after = load_credentials(directory, "mid-ams-1")
    assert verify(after.certificate, after.static_key, after.trust, TOPOLOGY, NOW).name == "mid-ams-1"
    assert after.trust.revoked_serials == {serial}


def test_revocation_by_serial_alone(directory: Path) -> None:
    held = load_credentials(directory, "mid-ams-1")
    serial = held.trust.peers["mid-ams-1"].serial
    pki.issue(TOPOLOGY, directory, "mid-ams-1", NOW)
    assert pki.revoke(directory, hex(serial), NOW) == (serial,)
    assert reason(held.certificate, held.static_key, load_trust(directory), TOPOLOGY) == identity.REVOKED


def test_a_replaced_certificate_of_a_known_node_is_listed_with_its_key(directory: Path) -> None:
    pki.revoke(directory, "edge-fra-1", NOW)
    pki.revoke(directory, "mid-ams-1", NOW)
    crl = x509.load_pem_x509_crl((directory / "crl.pem").read_bytes())
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 3
    rows = pki.describe(directory)
    assert rows.braid == "demo"
    assert [(row.certificate.name, row.revoked) for row in rows.certificates] == [
        ("edge-fra-1", True),
        ("mid-ams-1", True),
    ]


def test_equal_points_have_one_key_id() -> None:
    key = (9).to_bytes(32, "little")
    assert key_id(key) == key_id((9 | 1 << 255).to_bytes(32, "little")) == key_id((2**255 - 10).to_bytes(32, "little"))
    assert key_id(key) != key_id((8).to_bytes(32, "little"))


# Certificates that this CA would never write, signed by its key nevertheless.


def forge(
    directory: Path,
    names: Iterable[x509.GeneralName],
    *,
    common_name: str = "mid-ams-1",
    extra: x509.Extension[x509.ExtensionType] | None = None,
    ca: bool = False,
    key_agreement: bool = True,
) -> tuple[bytes, bytes, Trust]:
    trust = load_trust(directory)
    key = load_pem_private_key((directory / "ca.key").read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    static_key = bytes(range(32))
    usage = x509.KeyUsage(not key_agreement, False, False, False, key_agreement, False, False, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(trust.ca.subject)
        .public_key(X25519PublicKey.from_public_bytes(static_key))
        .serial_number(77)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
    )
    if extra is not None:
        builder = builder.add_extension(extra.value, extra.critical)
    return builder.sign(key, None).public_bytes(Encoding.DER), static_key, trust


URI = "braid://demo/intermediate/mid-ams/mid-ams-1"
UNKNOWN_OID = x509.ObjectIdentifier("1.2.3.4")


def uri(value: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier._init_without_validation(value)


def test_a_hand_made_certificate_of_the_usual_shape_is_accepted(directory: Path) -> None:
    certificate, key, trust = forge(directory, [uri(URI)])
    assert verify(certificate, key, trust, TOPOLOGY, NOW).name == "mid-ams-1"
    harmless: x509.Extension[x509.ExtensionType] = x509.Extension(
        UNKNOWN_OID, False, x509.UnrecognizedExtension(UNKNOWN_OID, b"\x05\x00")
    )
    certificate, key, trust = forge(directory, [uri(URI)], extra=harmless)
    assert verify(certificate, key, trust, TOPOLOGY, NOW).name == "mid-ams-1"


@pytest.mark.parametrize(
    "names",
    [
        [uri(URI), uri("braid://demo/gateway/gw/gw-1")],
        [uri(URI), x509.DNSName("mid-ams-1")],
        [x509.DNSName("mid-ams-1")],
        [uri(URI + "\x00.gateway")],
        [uri(URI + "\n")],
        [uri(URI + "/")],
        [uri(URI.upper())],
        [uri("https://demo/intermediate/mid-ams/mid-ams-1")],
        [uri("braid://demo/client/mid-ams/mid-ams-1")],
        [uri("braid://demo/intermediate//mid-ams-1")],
        [uri("braid://demo/intermediate/mid-ams/..")],
        [uri("braid://demo/intermediate/mid-ams/" + "a" * 64)],
    ],
)
def test_names_of_another_form_are_malformed(directory: Path, names: list[x509.GeneralName]) -> None:
    certificate, key, trust = forge(directory, names)
    assert reason(certificate, key, trust, TOPOLOGY) == identity.MALFORMED


def test_other_shapes_are_malformed(directory: Path) -> None:
    critical: x509.Extension[x509.ExtensionType] = x509.Extension(
        UNKNOWN_OID, True, x509.UnrecognizedExtension(UNKNOWN_OID, b"\x05\x00")
    )
    for certificate, key, trust in (
        forge(directory, [uri(URI)], extra=critical),
        forge(directory, [uri(URI)], ca=True),
        forge(directory, [uri(URI)], key_agreement=False),
        forge(directory, [uri(URI)], common_name="mid-lon-1"),
    ):
        assert reason(certificate, key, trust, TOPOLOGY) == identity.MALFORMED


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (asn1.encode_der("10.1.0.0/16 shop.apps.example"), "10.1.0.0/16 shop.apps.example"),
        (asn1.encode_der(""), ""),
        (asn1.encode_der("10.1.0.1/16"), None),
        (asn1.encode_der("shop.apps.example 10.1.0.0/16"), None),
        (asn1.encode_der("10.1.0.0/16") + b"x", None),
        (b"10.1.0.0/16", None),
        (b"\x0c\x02\xff\xff", None),
        (b"", None),
    ],
)
def test_a_delegation_has_one_form(directory: Path, value: bytes, expected: str | None) -> None:
    extension: x509.Extension[x509.ExtensionType] = x509.Extension(
        identity.DELEGATION_OID, False, x509.UnrecognizedExtension(identity.DELEGATION_OID, value)
    )
    certificate, key, trust = forge(directory, [uri(URI)], extra=extension)
    if expected is None:
        assert reason(certificate, key, trust, TOPOLOGY) == identity.MALFORMED
    else:
        assert identity.read_certificate(certificate, trust.ca).delegation.text == expected


def test_a_ca_certificate_is_no_node_certificate(held: Credentials) -> None:
    der = held.ca.public_bytes(Encoding.DER)
    assert reason(der, held.static_key, held.trust, TOPOLOGY) == identity.MALFORMED


@given(st.text())
def test_any_uri_parses_or_is_malformed(text: str) -> None:
    try:
        parsed = parse_uri(text)
    except Refused:
        return
    assert parsed.uri == text


@given(st.one_of(st.binary(max_size=600), st.binary(min_size=2049, max_size=2100)))
@settings(max_examples=300)
def test_any_bytes_are_malformed(held: Credentials, blob: bytes) -> None:
    assert reason(blob, bytes(32), held.trust, TOPOLOGY) == identity.MALFORMED


def test_unused_bits_in_the_signature_are_refused(directory: Path) -> None:
    def even() -> Credentials:
        while True:
            pki.issue(TOPOLOGY, directory, "mid-ams-1", NOW)
            held = load_credentials(directory, "mid-ams-1")
            if held.certificate[-1] % 2 == 0:
                return held

    held = even()
    mutated = bytearray(held.certificate)
    assert mutated[-65] == 0
    mutated[-65] = 1
    assert reason(bytes(mutated), held.static_key, held.trust, TOPOLOGY) == identity.MALFORMED


def test_no_single_bit_of_a_certificate_can_change(held: Credentials) -> None:
    for index in range(len(held.certificate) * 8):
        mutated = bytearray(held.certificate)
        mutated[index // 8] ^= 1 << index % 8
        assert reason(bytes(mutated), held.static_key, held.trust, TOPOLOGY) in (identity.MALFORMED, identity.OTHER_CA)


@given(st.data())
@settings(max_examples=300)
def test_mutations_of_a_certificate_never_verify(held: Credentials, data: st.DataObject) -> None:
    der = held.certificate
    start = data.draw(st.integers(0, len(der)))
    end = data.draw(st.integers(start, min(len(der), start + 12)))
    mutated = der[:start] + data.draw(st.binary(max_size=12)) + der[end:]
    if mutated != der:
        assert reason(mutated, held.static_key, held.trust, TOPOLOGY) in (identity.MALFORMED, identity.OTHER_CA)
