"""What ``braid check`` says of certificates, keys and authorities."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from click.testing import CliRunner

from braid.cli import braid
from braid.tls.files import problems
from tests.gateway.certificates import write_certificate
from tests.topology.test_transfers import CERTIFICATE, TLS_ROW, tls_text
from topology.source import parse

if TYPE_CHECKING:
    from pathlib import Path

OTHER = TLS_ROW.replace("[shop.apps.example]", '[shop.apps.example, cdn.apps.example, "*.x.apps.example"]')
AUTHORITIES = (f", {CERTIFICATE}}}", f", {CERTIFICATE}, origin_ca: ca.pem}}")


def test_good_ones_are_not_mentioned(tmp_path: Path) -> None:
    write_certificate(tmp_path, "own", "shop.apps.example")
    write_certificate(tmp_path, "ca", "ca.example")
    assert list(problems(parse(tls_text(TLS_ROW, AUTHORITIES), "t"), tmp_path)) == []


def test_a_name_without_a_certificate(tmp_path: Path) -> None:
    write_certificate(tmp_path, "own", "*.apps.example")
    assert list(problems(parse(tls_text(OTHER), "t"), tmp_path)) == [
        "transfers[0].sni: c-1 has no certificate for *.x.apps.example; add it to nodes.c-1.content.tls.certificates"
    ]


def test_what_is_missing_bad_or_expired_is_named_with_a_remedy(tmp_path: Path) -> None:
    topology = parse(tls_text(TLS_ROW, AUTHORITIES), "t")
    key = "nodes.c-1.content"
    assert list(problems(topology, tmp_path)) == [
        f"{key}.tls.certificates[0]: {tmp_path}/own.pem: no such file or directory; put the file there for this node",
        f"{key}.origin_ca: ca.pem: no such file or directory; put the authorities' certificates there for this node",
    ]
    write_certificate(tmp_path, "own", "shop.apps.example")
    (tmp_path / "ca.pem").write_text("nothing")
    authorities = (
        f"{key}.origin_ca: ca.pem: no certificate in PEM; put the authorities' certificates there for this node"
    )
    assert list(problems(topology, tmp_path)) == [authorities]
    late = datetime.now(UTC) + timedelta(days=30)
    expired, last = problems(topology, tmp_path, late)
    assert expired.startswith(f"{key}.tls.certificates[0]: own.pem: expired at 20")
    assert (expired.endswith("; renew it"), last) == (True, authorities)


def test_they_are_warnings_of_check(tmp_path: Path) -> None:
    file = tmp_path / "net.yaml"
    file.write_text(tls_text())
    shown = CliRunner().invoke(braid, ["check", str(file)])
    assert shown.exit_code == 0
    assert f"warning: nodes.c-1.content.tls.certificates[0]: {tmp_path}/own.pem: no such file" in shown.output
