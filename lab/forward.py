"""Ports on this machine's loopback that lead into a lab's namespace: for a browser that shall see a status page."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

from lab.netns import socket_in

if TYPE_CHECKING:
    from types import TracebackType


class Forward:
    """Accepts on 127.0.0.1 (``port`` if free, else any) and joins each connection to ``host:to`` in the namespace.

    Daemon threads; ``close`` ends the listener, connections end with their peers.
    """

    def __init__(self, namespace: str, host: str, to: int, port: int = 0) -> None:
        self._namespace = namespace
        self._target = (host, to)
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = _listen(port)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True, name=f"forward-{self.port}").start()

    def close(self) -> None:
        # Closing alone would leave accept(2) waiting in its thread.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def __enter__(self) -> Forward:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        with client, socket_in(self._namespace, self._family) as server:
            try:
                server.connect(self._target)
            except OSError:
                return
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()


def _listen(port: int) -> socket.socket:
    with contextlib.suppress(OSError):
        return socket.create_server(("127.0.0.1", port))
    return socket.create_server(("127.0.0.1", 0))


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
