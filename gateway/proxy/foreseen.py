"""Requests that wait for another node's word, and go to their servers at once if it refuses them. Of most Rust decides
by itself whether another node is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid.core import OfferApi
    from dataplane._native import Plan, Relay, Stored
    from gateway.proxy.opening import Opening
    from gateway.proxy.relayed import RelayedConnection


class Foreseen:
    def __init__(self, native: Relay, opening: Opening) -> None:
        self.turned_down: Callable[[bytes, int, bool, float], None] = lambda *_: None
        """Hears that a transfer was refused, the reason, and whether its request is served already; when."""
        self._native = native
        self._opening = opening

    def offer_by(self, core: OfferApi, stored: Stored, deadline: int) -> None:
        """Offer requests of connections that have a plan by what is stored, to be answered in so many milliseconds.
        Refusals of what that core offers are heard here."""
        core.offers_of(self._native, stored, deadline)

    def expect(self, connection: RelayedConnection, transfer: bytes, now: float) -> None:
        """It is offered to another node, by that transfer: have a server ready. On a refusal its socket lives again and
        the request is served before anything else happens, where that can be said ahead: at once, if it came."""
        found = self._opening.foresee(connection)
        if found is not None:
            self._native.expect(connection.number, transfer, *found, now)

    def hear(self, now: float) -> None:
        """Tell now what else would be told in some milliseconds: before anything is decided about what is offered."""
        for told in self._native.all_turned_down():
            self.turned_down(*told, now)

    def is_turned_down(self, transfer: bytes) -> bool:
        """Whether it was refused, which ``turned_down`` has yet to hear."""
        return self._native.is_turned_down(transfer)

    def plan(self, connection: RelayedConnection, plan: Plan) -> None:
        """For the requests that come."""
        self._native.plan(connection.number, plan)

    def forget_plans(self) -> None:
        self._native.forget_plans()

    def asked(self, proxy: int) -> bool:
        """One request waits for a proxy's word that Rust does not offer by itself. False: so many do that it would wait
        in vain."""
        return self._native.asked(proxy)

    def answered(self, proxy: int) -> None:
        """For each that waited, also if Rust has offered it: it does not any more."""
        self._native.answered(proxy)

    def forget(self, transfer: bytes) -> None:
        """Its refusal is of no use any more."""
        self._native.unexpect(transfer)
