"""When connections that Rust carries go on in the data plane."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from gateway.normalpath.promotion import NOT_QUIET, SETTLE, SETTLE_LOOK, TOO_MUCH

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataplane._native import Relay
    from gateway.proxy.relayed import RelayedConnection


class Returning:
    """``went`` hears of a connection that the relay has no more: status and bytes of its answer, seconds to the first
    of them."""

    def __init__(self, native: Relay, went: Callable[[RelayedConnection, int, int, float], None]) -> None:
        self._native = native
        self._went = went
        self._resting: dict[RelayedConnection, float] = {}
        """Connections whose queues are to become short, and until when."""

    def offer(self, connection: RelayedConnection, now: float) -> None:
        """Something that may be carried on elsewhere; it may have been offered more than once in a turn."""
        if connection not in self._resting and not self._give_back(connection, now):
            self._native.go_on(connection.number)

    def hold(self, connection: RelayedConnection, now: float) -> bool:
        """The core holds it, as its server has begun to send. False: it is to be given to the stack again."""
        promoted = connection.promoted
        if promoted is None or connection.server is None or not connection.may_return or connection in self._resting:
            return False
        match promoted.leave(self._native, connection.number, now):
            case None:
                return False
            case ("went", status, size, latency):
                self._went(connection, status, size, latency)
            case ("stays", reason, _) if reason != TOO_MUCH:
                self.stay(connection, reason)
        # What is too much now is offered when the first bytes are here.
        return True

    def park(self, connection: RelayedConnection) -> bool:
        """Whether it waits in the data plane now for its client's next request: it was between two."""
        promoted = connection.promoted
        if promoted is None or connection in self._resting:
            return False
        found = promoted.park(self._native, connection.number)
        return found is not None and found[0] == "went"

    def forget(self, connection: RelayedConnection) -> None:
        self._resting.pop(connection, None)

    def look_again(self, now: float) -> float:
        """Try once more with those that rest; when to do so again."""
        for connection, until in list(self._resting.items()):
            if now >= until or self._give_back(connection, now) is None:
                self._wake(connection)
                if connection.speech == "http":
                    connection.stay(TOO_MUCH)
                else:
                    self.stay(connection, TOO_MUCH)
        return now + SETTLE_LOOK if self._resting else inf

    def stay(self, connection: RelayedConnection, reason: str) -> None:
        """It is not offered any more: for good, or until its next request is answered."""
        connection.may_return = reason == NOT_QUIET and connection.speech == "http"
        self._native.stay(connection.number)
        connection.stay(reason)

    def _wake(self, connection: RelayedConnection) -> None:
        if self._resting.pop(connection, None) is not None:
            self._native.rest(connection.number, False)

    def _give_back(self, connection: RelayedConnection, now: float) -> bool | None:
        """Whether it went; None: it is not as it was when it was offered."""
        promoted = connection.promoted
        if promoted is None or connection.server is None or not connection.may_return:
            return None
        match promoted.leave(self._native, connection.number):
            case None:
                return None
            case ("went", status, size, latency):
                self._resting.pop(connection, None)
                self._went(connection, status, size, latency)
                return True
            case ("stays", reason, read_on):
                if reason != TOO_MUCH:
                    self._wake(connection)
                    self.stay(connection, reason)
                elif read_on:
                    # The rest of the answer is offered again.
                    self._wake(connection)
                elif connection not in self._resting:
                    self._resting[connection] = now + SETTLE
                    self._native.rest(connection.number, True)
        return False
