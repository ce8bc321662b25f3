"""What is ended in a drain, and what is not; and what a stack has, by the reason."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, cast

import trio

from gateway.proxy.farewell import Farewell
from gateway.proxy.pool import ProxiedApplication
from tests.gateway.proxy_bench import application
from topology.proxy import HTTP, ProxySettings

if TYPE_CHECKING:
    from braid.desired import Accept
    from gateway.proxy.relay import Relay as OfClients

SETTINGS = ProxySettings(HTTP)


class Relay:
    """Without connections in clear text."""

    def finish(self, _which: object) -> None:
        pass


def made(accept: Accept) -> ProxiedApplication:
    found = ProxiedApplication(application((), SETTINGS), SETTINGS, lambda _key: True, Random(1))
    found.accept = accept
    return found


def say(farewell: Farewell) -> None:
    farewell.say(cast("OfClients", Relay()), (), {}, 0.0)


async def test_tls_of_applications_that_listeners_accept_goes_on_in_a_drain_and_ends_with_the_node() -> None:
    farewell = Farewell()
    with farewell.awaited(made("first-byte")) as moves, farewell.awaited(made("listener")) as stays:
        say(farewell)
        assert (moves.is_set(), stays.is_set()) == (True, False)
        with farewell.awaited(made("first-byte")) as later:
            assert not later.is_set(), "until it is said again"
            say(farewell)
            assert later.is_set()
        farewell.end()
        assert stays.is_set()
        assert len(list(farewell.with_tls)) == 2
    assert not list(farewell.with_tls)
    await trio.lowlevel.checkpoint()
