"""Servers of connections that Rust carries: chosen one by one, and connected all at once, so that the core is asked
once for the addresses that they are talked to from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.normalpath.promotion import open_servers
from gateway.proxy.message import IDEMPOTENT
from gateway.proxy.tls import UNRECOGNIZED_NAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataplane._native import Relay
    from gateway.normalpath.promotion import Promoted
    from gateway.proxy.relayed import RelayedConnection
    from topology.model import SocketAddress


class Opening:
    """``stay`` is told of a connection that may not go on in the data plane, and why."""

    def __init__(self, native: Relay, stay: Callable[[RelayedConnection, str], None]) -> None:
        self.taken: list[Promoted] = []
        """Connections that the stack has now, and the core has yet to be told of."""
        self._native = native
        self._stay = stay
        self._chosen: list[tuple[RelayedConnection, bool]] = []
        """Each has a server, to which it is to be connected; whether once more."""
        self._servers: dict[SocketAddress, tuple[int, str]] = {}

    @property
    def due(self) -> bool:
        return bool(self.taken or self._chosen)

    def server(self, address: SocketAddress) -> tuple[int, str]:
        """Its number in Rust, and its host in words."""
        found = self._servers.get(address)
        if found is None:
            host = str(address.host)
            found = self._servers[address] = self._native.server(host, address.port), host
        return found

    def select(self, connection: RelayedConnection, now: float, reason: str = "no_server") -> None:
        """Choose a server for the request under way; ``open`` is to follow."""
        assert connection.request is not None
        chosen = connection.application.choose(connection.request, connection.tried, None)
        if chosen is None:
            self.refuse(connection, reason, now)
            return
        connection.begin(chosen)
        if connection.speech == "http":
            number = connection.number
            server, kept = self.server(chosen.address)[0], self._native.own_server(number)
            if kept is not None and kept[0] == server and connection.request.method.encode() in IDEMPOTENT:
                self._native.serve(number, server, chosen.cookie, now)
                return
            if kept is not None:
                self._native.drop_server(number)
        self._chosen.append((connection, False))

    def foresee(self, connection: RelayedConnection) -> tuple[int, str] | None:
        """Choose a server for a request that may yet go elsewhere: its number and the cookie, as ``Relay.expect`` of
        Rust has it. None: serving the request takes more than that, or there is no server."""
        simple = connection.speech == "http" and _wanted(connection) is None
        if not simple or connection.request is None or self._native.own_server(connection.number) is not None:
            return None
        chosen = connection.application.choose(connection.request, connection.tried, None)
        if chosen is None:
            return None
        connection.begin(chosen)
        return self.server(chosen.address)[0], chosen.cookie

    def again(self, connection: RelayedConnection) -> None:
        """Another connection to the server that was chosen; ``open`` is to follow."""
        self._chosen.append((connection, True))

    def refuse(self, connection: RelayedConnection, reason: str, now: float) -> None:
        """No server is left for what was asked."""
        if connection.speech == "http":
            self._native.refuse(connection.number, reason, 503 if reason == "no_server" else 502, now)
            return
        unknown = connection.speech == "tls-sni" and reason == "no_server"
        self._native.refuse_with(connection.number, reason, UNRECOGNIZED_NAME if unknown else b"", now)

    def open(self, now: float) -> None:
        """Tell the core what is the stack's, and connect what has a server."""
        if not self.due:
            return
        taken, self.taken = self.taken, []
        chosen, self._chosen = self._chosen, []
        wanted = [_wanted(connection) for connection, _ in chosen]
        asked = []
        for (connection, _), own in zip(chosen, wanted, strict=True):
            if own is not None and connection.server is not None:
                address = connection.server.address
                holds = connection.speech != "http" and connection.may_return
                asked.append((own, self.server(address)[1], address.port, holds))
        sources = iter(open_servers(taken, asked))
        for (connection, again), own in zip(chosen, wanted, strict=True):
            self._connect(connection, again, next(sources) if own is not None else None, now)

    def _connect(self, connection: RelayedConnection, again: bool, source: tuple[str, int] | None, now: float) -> None:
        promoted, number, chosen = connection.promoted, connection.number, connection.server
        assert chosen is not None
        if source is not None and promoted is not None:
            own = (*source, promoted.mss)
            try:
                if again:
                    self._native.reconnect(number, now, own)
                else:
                    self._native.serve(number, self.server(chosen.address)[0], chosen.cookie, now, own)
                return
            except OSError:
                # The address cannot be had here: as if the core had none.
                pass
        if connection.speech != "http" and promoted is not None and connection.may_return:
            self._stay(connection, "server_not_translatable")
        if connection.is_transparent:
            self.refuse(connection, "not_transparent", now)
        elif again:
            self._native.reconnect(number, now)
        else:
            self._native.serve(number, self.server(chosen.address)[0], chosen.cookie, now)


def _wanted(connection: RelayedConnection) -> Promoted | None:
    """Where a connection is to have one of its own to its server, so that it may go on in the data plane, or the server
    sees the client's address."""
    plain = connection.speech != "http"
    may_go = connection.may_return and (plain or connection.application.settings.splice_above is not None)
    return connection.promoted if may_go or connection.is_transparent else None
