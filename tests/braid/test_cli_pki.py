"""What ``braid pki`` says of what is delegated to content nodes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.braid.test_cli import invoke
from tests.topology.test_transfers import ROW, text

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_delegated_can_be_chosen_and_is_shown(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(text(ROW))
    words, show = ("-t", str(tmp_path / "net.yaml")), ("pki", "show", "--pki", str(tmp_path / "pki"))
    assert invoke("pki", "init", *words).exit_code == 0
    assert "may have connections to 10.1.0.128/28 shop.apps.example" in invoke(*show).output
    issued = invoke("pki", "issue", "c-1", "--vips", "10.1.0.128/30", "--host", "*.apps.example", *words)
    assert "may have connections to 10.1.0.128/30 *.apps.example" in issued.output
    rows = json.loads(invoke(*show, "--json").output)["certificates"]
    assert {row["node"]: row["delegated"] for row in rows if row["delegated"]} == {
        "c-1": "10.1.0.128/30 *.apps.example",
        "c-2": "10.1.0.128/28 shop.apps.example",
    }
    for wrong, remedy in ((("--vips", "10.1.0.129/28"), "has host bits set; write for instance 10.91.1.160/28"),
                          (("--vips", "10.1"), "write for instance 10.91.1.160/28"),
                          (("--host", "Shop_1"), "--host Shop_1: is no host name; write for instance")):  # fmt: skip
        refused = invoke("pki", "issue", "c-1", *wrong, *words)
        assert (refused.exit_code, remedy in refused.stderr) == (2, True), refused.stderr
