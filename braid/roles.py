"""From a role's name to its room. With the command line, the only place that knows all rooms."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from topology.model import Role

if TYPE_CHECKING:
    from random import Random

    from braid.role import RoleRuntime


def role_runtime(role: Role, rng: Random) -> RoleRuntime:
    """A new runtime of the role. Imports only the room that is needed."""
    match role:
        case Role.EDGE:
            from edge.node import Edge

            return Edge(rng)
        case Role.INTERMEDIATE:
            from intermediate.node import Intermediate

            return Intermediate()
        case Role.GATEWAY:
            from braid.tcp.repair import unavailable
            from gateway.node import Gateway

            return Gateway(rng, unavailable())
        case Role.DNS:
            from dns.role import Dns

            return Dns()
        case Role.CONTENT:
            from content.node import Content

            return Content()
        case _:
            assert_never(role)
