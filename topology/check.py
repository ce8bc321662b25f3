"""Everything that must hold in a topology file, checked in one run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from topology.build import build
from topology.problem import Problem, Report, TopologyError
from topology.rules import (
    addresses,
    applications,
    content,
    drains,
    health,
    lab,
    proxies,
    reach,
    records,
    regions,
    transfers,
)
from topology.shape import check_shape
from topology.vips import assign_vips

if TYPE_CHECKING:
    from topology.model import Topology

__all__ = ["Problem", "TopologyError", "check"]


def check(data: Any, report: Report) -> Topology:
    """The topology that the document describes. Raises ``TopologyError`` with all that is wrong with it."""
    draft = check_shape(data, report)
    if draft is None:
        raise TopologyError(report.problems)
    regions.check(draft)
    applications.check(draft)
    proxies.check(draft)
    content.check(draft)
    transfers.check(draft)
    drains.check(draft)
    records.check(draft)
    health.check(draft)
    connected = build(draft.document) if not report.problems else None
    if connected is not None:
        reach.check(connected, report)
    addresses.check(draft)
    lab.check(draft)
    if connected is None or report.problems:
        raise TopologyError(report.problems)
    return replace(connected, vips=assign_vips(connected.nodes.values(), connected.applications.values()))
