"""Credentials on disk: private, replaced as a whole, and refused with the file's name when they are not sound."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from braid import pki
from braid.credentials import CredentialError, load_credentials, load_trust
from braid.delegation import NOTHING, Delegation, wanted
from tests.braid.small_topology import TOPOLOGY, make_topology
from tests.topology.test_transfers import ROW, text
from topology.source import parse

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    pki.init(TOPOLOGY, tmp_path / "pki", NOW)
    return tmp_path / "pki"


def test_files_are_private(directory: Path) -> None:
    modes = {
        str(path.relative_to(directory)): path.stat().st_mode & 0o777 for path in [directory, *directory.rglob("*")]
    }
    assert modes["."] == modes["nodes"] == modes["nodes/mid-ams-1"] == 0o700
    assert modes["ca.key"] == modes["nodes/mid-ams-1/node.key"] == 0o600
    assert modes["ca.crt"] == modes["peers.pem"] == modes["crl.pem"] == modes["nodes/mid-ams-1/node.crt"] == 0o644
    assert len(modes) == 12, "no temporary file is left behind"


def test_an_existing_ca_is_kept(directory: Path) -> None:
    before = (directory / "ca.crt").read_bytes()
    with pytest.raises(CredentialError, match=r"ca.crt: there is a CA already; use --if-missing"):
        pki.init(TOPOLOGY, directory, NOW)
    assert pki.init(TOPOLOGY, directory, NOW, if_missing=True) == ()
    assert (directory / "ca.crt").read_bytes() == before
    (directory / "nodes/mid-ams-1/node.key").unlink()
    assert [made.name for made in pki.init(TOPOLOGY, directory, NOW, if_missing=True)] == ["mid-ams-1"]
    assert (directory / "ca.crt").read_bytes() == before
    assert len(pki.init(TOPOLOGY, directory, NOW, force=True)) == 2
    assert (directory / "ca.crt").read_bytes() != before
    assert {row.revoked for row in pki.describe(directory).certificates} == {False}


def test_if_missing_makes_all_where_nothing_is(tmp_path: Path) -> None:
    assert len(pki.init(TOPOLOGY, tmp_path / "new" / "pki", NOW, if_missing=True)) == 2


@pytest.mark.parametrize(
    ("file", "mode", "remedy"),
    [
        ("nodes/mid-ams-1/node.key", 0o640, "chmod 600"),
        ("nodes/mid-ams-1/node.key", 0o604, "chmod 600"),
        ("ca.crt", 0o664, "chmod go-w"),
        ("peers.pem", 0o666, "chmod go-w"),
    ],
)
def test_files_open_to_others_are_refused(directory: Path, file: str, mode: int, remedy: str) -> None:
    (directory / file).chmod(mode)
    with pytest.raises(CredentialError, match=remedy) as caught:
        load_credentials(directory, "mid-ams-1")
    assert caught.value.file == directory / file


@pytest.mark.parametrize(
    "file", ["ca.crt", "crl.pem", "peers.pem", "nodes/mid-ams-1/node.key", "nodes/mid-ams-1/node.crt"]
)
@pytest.mark.parametrize(
    "content", [None, b"\x00\xff rubbish", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_missing_and_spoilt_files_name_the_file(directory: Path, file: str, content: bytes | None) -> None:
    (directory / file).unlink() if content is None else (directory / file).write_bytes(content)
    with pytest.raises(CredentialError) as caught:
        load_credentials(directory, "mid-ams-1")
    assert caught.value.file == directory / file
    assert caught.value.remedy


def test_a_fifo_does_not_hang_the_start(directory: Path) -> None:
    (directory / "crl.pem").unlink()
    os.mkfifo(directory / "crl.pem")
    with pytest.raises(CredentialError, match="not a regular file"):
        load_credentials(directory, "mid-ams-1")


def test_files_of_another_ca_or_node_are_told_apart(directory: Path, tmp_path: Path) -> None:
    pki.init(TOPOLOGY, tmp_path / "other", NOW)
    crl = (directory / "crl.pem").read_bytes()
    (directory / "crl.pem").write_bytes((tmp_path / "other/crl.pem").read_bytes())
    with pytest.raises(CredentialError, match=r"crl.pem: is not signed by ca.crt"):
        load_credentials(directory, "mid-ams-1")
    (directory / "crl.pem").write_bytes(crl)
    own = directory / "nodes/mid-ams-1/node.crt"
    own.write_bytes((tmp_path / "other/nodes/mid-ams-1/node.crt").read_bytes())
    with pytest.raises(CredentialError, match=r"node.crt: is not signed by ca.crt"):
        load_credentials(directory, "mid-ams-1")
    own.write_bytes((directory / "nodes/edge-fra-1/node.crt").read_bytes())
    with pytest.raises(CredentialError, match=r"node.crt: does not belong to node.key"):
        load_credentials(directory, "mid-ams-1")


def test_issue_and_revoke_say_what_is_wrong(directory: Path) -> None:
    with pytest.raises(CredentialError, match="'gw-1' is not in the topology"):
        pki.issue(TOPOLOGY, directory, "gw-1", NOW)
    with pytest.raises(CredentialError, match="is not the CA of 'other'"):
        pki.issue(make_topology("other"), directory, "mid-ams-1", NOW)
    with pytest.raises(CredentialError, match="no validity"):
        pki.issue(TOPOLOGY, directory, "mid-ams-1", NOW, days=-1)
    with pytest.raises(CredentialError, match="no certificate of node 'gw-1'"):
        pki.revoke(directory, "gw-1", NOW)
    (directory / "ca.key").unlink()
    with pytest.raises(CredentialError, match=r"ca.key: no such file"):
        pki.issue(TOPOLOGY, directory, "mid-ams-1", NOW)


def test_a_damaged_file_of_one_node_does_not_keep_another_from_being_revoked(directory: Path) -> None:
    (directory / "nodes/edge-fra-1/node.crt").write_text("damaged")
    assert pki.revoke(directory, "mid-ams-1", NOW)
    assert "mid-ams-1" not in load_trust(directory).peers
    assert pki.revoke(directory, "edge-fra-1", NOW), "peers.pem knows it still"


def test_a_node_runs_without_the_ca_key_and_the_others(directory: Path) -> None:
    (directory / "ca.key").unlink()
    for file in (directory / "nodes/edge-fra-1").iterdir():
        file.unlink()
    assert load_credentials(directory, "mid-ams-1").node == "mid-ams-1"


def test_a_content_nodes_certificate_says_what_is_delegated(tmp_path: Path) -> None:
    topology, directory = parse(text(ROW), "net.yaml"), tmp_path / "pki"
    made = {certificate.name: certificate.delegation for certificate in pki.init(topology, directory, NOW)}
    assert {name for name, delegation in made.items() if delegation != NOTHING} == {"c-1", "c-2"}
    assert made["c-1"] == wanted(topology, "c-1")
    narrow = pki.issue(topology, directory, "c-1", NOW, vips=[ip_network("10.1.0.128/30")])
    assert narrow.delegation == Delegation((ip_network("10.1.0.128/30"),), made["c-1"].names)
    other = pki.issue(topology, directory, "c-1", NOW, hosts=["*.img.example"])
    assert other.delegation == Delegation(made["c-1"].prefixes, ("*.img.example",))
    assert load_trust(directory).peers["c-1"].delegation == other.delegation
    with pytest.raises(CredentialError, match="'g-1' is no content node"):
        pki.issue(topology, directory, "g-1", NOW, hosts=["shop.apps.example"])


def test_what_does_not_fit_a_handshake_is_refused_with_the_remedy(tmp_path: Path) -> None:
    topology, directory = parse(text(ROW), "net.yaml"), tmp_path / "pki"
    pki.init(topology, directory, NOW)
    before = (directory / "nodes/c-1/node.crt").read_bytes()
    with pytest.raises(CredentialError, match=r"of at most 1000.*--host '\*\.apps\.example'"):
        pki.issue(topology, directory, "c-1", NOW, hosts=[f"host-{number}.apps.example" for number in range(40)])
    assert (directory / "nodes/c-1/node.crt").read_bytes() == before
