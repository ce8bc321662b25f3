"""What is shown of applications with a target loss."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from prometheus_client.exposition import generate_latest

from braid.redundancy.node import Redundancy
from braid.status.app import make_app
from braid.status.metrics import registry
from braid.status.redundancy import redundancy_statuses, redundancy_table
from tests.braid.fake_node import FakeView, edge_status, small_topology
from tests.braid.redundancy.test_directions import PEER, SHOP, Wire, selection
from topology.policy import TargetLoss

if TYPE_CHECKING:
    from braid.status.redundancy import RedundancyStatus


def status(target: float = 1e-3, seconds: float = 30, loss: dict[int, float] | None = None) -> RedundancyStatus:
    wire = Wire(Redundancy(), selection(4, {SHOP: TargetLoss(target)}))
    wire.run(seconds)
    if loss:
        wire.run(1, loss)
    (found,) = redundancy_statuses(wire.redundancy.standings(), small_topology(), ("shop",))
    return found


def test_verdict_paths_and_ledger() -> None:
    quiet = status()
    assert (quiet.application, quiet.peer) == ("shop", small_topology().by_number(PEER).name)  # type: ignore[union-attr]
    assert (quiet.mode, quiet.verdict, quiet.text) == ("steady", "MET", "MET")
    assert (len(quiet.using), quiet.candidates, quiet.surges) == (2, 4, 0)
    assert (quiet.packets, quiet.copies_sent, quiet.mean_copies) == (30_000, 60_000, 2.0)
    assert quiet.bytes_per_repair is None
    bad = status(loss=dict.fromkeys(range(4), 0.3))
    assert (bad.mode, bad.verdict, len(bad.using)) == ("surge", "BEST EFFORT", 4)
    assert bad.surge_cause.startswith("loss ")
    assert bad.repaired > 100
    assert bad.bytes_per_repair == bad.copied_bytes / bad.repaired


def test_a_target_that_cannot_be_proved_yet_says_what_it_needs() -> None:
    found = status(target=1e-6, seconds=5)
    assert found.verdict == "NOT PROVABLE YET"
    assert "needs" in found.text
    assert "about" in found.text


def test_it_is_in_the_documents_the_metrics_and_the_table() -> None:
    found = status()
    view = FakeView(status=replace(edge_status(), redundancy=(found,)))
    text = generate_latest(registry(view.snapshot)).decode()
    labels = f'application="shop",peer="{found.peer}"'
    assert f"braid_joint_loss_target{{{labels}}} 0.001" in text
    assert f'braid_redundancy_verdict{{{labels},verdict="MET"}} 1.0' in text
    assert f"braid_redundancy_sent_copies_total{{{labels}}} 60000.0" in text
    table = redundancy_table({"edge-fra-1": {"redundancy": [asdict(found)]}})
    assert [cell.text for cell in table.rows[0][:5]] == ["shop", f"edge-fra-1 > {found.peer}", "0.001", "MET", "2 of 4"]
    assert make_app(view)
