"""What the runtime asks of a role, by what it is."""

from __future__ import annotations

from random import Random

from braid.role import Proxies
from braid.roles import role_runtime
from topology.model import Role


def test_gateways_and_content_proxies_show_the_connections_that_end_in_them() -> None:
    assert {role for role in Role if isinstance(role_runtime(role, Random(1)), Proxies)} == {Role.GATEWAY, Role.CONTENT}
