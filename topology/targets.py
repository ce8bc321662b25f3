"""The status endpoints of a topology as Prometheus wants them (file_sd): ``python -m topology.targets FILE``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from topology.model import SocketAddress
from topology.problem import TopologyError
from topology.source import load

if TYPE_CHECKING:
    from topology.model import Node, Topology


def targets(topology: Topology) -> list[dict[str, Any]]:
    """One entry per node, with its name, role and region as labels."""
    return [
        {
            "targets": [str(_address(node))],
            "labels": {"node": node.name, "role": node.role.value, "region": node.region},
        }
        for node in topology.nodes.values()
    ]


def _address(node: Node) -> SocketAddress:
    """A node that listens everywhere is asked at its first underlay address."""
    if node.status.host.is_unspecified:
        return SocketAddress(node.underlay[0], node.status.port)
    return node.status


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m topology.targets FILE", file=sys.stderr)
        return 2
    try:
        topology = load(Path(arguments[0]))
    except TopologyError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(targets(topology), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
