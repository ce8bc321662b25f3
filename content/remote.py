"""The node as its worker sees it: through channels to the process that holds sessions, packets and descriptors."""

from __future__ import annotations

import os
import pickle
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from braid.role import NodeHandle, Situation
from braid.tcp.progress import progress
from content.words import Done, Ended, Keep, Know, Own, Settled, Told, decode, encode

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from braid.delegation import Delegation
    from content.carry import Answering
    from content.channel import Channel
    from content.line import Line
    from content.wire import Keeping
    from topology.model import SocketAddress, Topology

OURS = 1 << 62
"""From here on ids are the worker's, below the keeper's."""


class RemoteLinks:
    """Neighbours alone: a content proxy's worker speaks to no others."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def neighbour_up(self, name: str) -> bool:
        node = self._remote.topology.nodes.get(name)
        return node is not None and node.number in self._remote.up

    def peer_up(self, name: str) -> bool:
        return False

    def usable_paths(self, name: str) -> int:
        return 0

    def round_trips(self) -> Mapping[int, float]:
        return {}


class RemoteKeeping:
    def __init__(self, records: Channel, id_: int) -> None:
        self._records = records
        self._id = id_

    def know(self, data: bytes) -> None:
        self._records.send(Know(self._id, data))

    def told(self, answering: Answering, descriptor: int | None = None) -> None:
        self._records.send(Told(self._id, answering), *([] if descriptor is None else [descriptor]))

    def settled(self) -> None:
        self._records.send(Settled(self._id))

    def ended(self) -> None:
        self._records.send(Ended(self._id))


class Remote:
    """What is said to neighbours, and of packets, goes by the line, what is said of connections by ``records``, what is
    waited for by ``questions``, which block."""

    def __init__(self, line: Line, records: Channel, questions: socket.socket) -> None:
        self.topology: Topology
        self.delegations: Mapping[str, Delegation] = {}
        self.node = ""
        self.topology_file: Path | None = None
        self.up: set[int] = set()
        """Numbers of neighbours."""
        self.draining = False
        self._line = line
        self._records = records
        self._questions = questions
        self._changed = trio.Event()
        self._reloaded = trio.Event()
        self._links = RemoteLinks(self)

    def configure(self, node: str, topology_file: str, descriptor: int) -> None:
        """Closes the descriptor, which the keeper has written the topology to."""
        with os.fdopen(descriptor, "rb") as file:
            file.seek(0)
            self.topology, self.delegations = pickle.load(file)
        self.node = node
        self.topology_file = Path(topology_file) if topology_file else None
        self._reloaded.set()
        self._reloaded = trio.Event()
        self.change()

    def change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def keep(self, opened: socket.socket, client: str, vip: str, data: bytes) -> Callable[[], Keeping]:
        """As ``content.taken.Keep``."""
        id_ = OURS | secrets.randbits(61)
        base = progress(opened)
        message = encode(Keep(id_, client, vip, base.read, base.written, data))

        def begin() -> Keeping:
            self._records.send_encoded(message, opened.fileno())
            return RemoteKeeping(self._records, id_)

        return begin

    def handle(self) -> NodeHandle:
        return NodeHandle(
            situation=lambda: Situation(self.topology, self.node, self._links, self.delegations),
            replan=_not_here,
            send_control=self._send_control,
            tell=self._tell,
            send_to_peer=_not_here,
            changed=lambda: self._changed,
            reloaded=lambda: self._reloaded,
            set_syn_keys=_not_here,
            set_owner=self._set_owner,
            hear=_not_here,
            held=_not_here,
            draining=lambda: self.draining,
            ready=_not_here,
            traffic=_not_here,
            serves=self._line,
            topology_file=self.topology_file,
        )

    def _tell(self, name: str, message: bytes) -> None:
        node = self.topology.nodes.get(name)
        if node is not None:
            self._line.tell(node.number, message)

    def _send_control(self, name: str, message: bytes) -> bool:
        self._tell(name, message)
        return self._links.neighbour_up(name)

    def _set_owner(self, client: SocketAddress, vip: SocketAddress, owner: str, wait: bool = True) -> bool:
        if not wait:
            self._line.own(client, vip, owner)
            return True
        self._questions.send(encode(Own(str(client), str(vip), owner)))
        answer = self._questions.recv(4096)
        if not answer:
            raise SystemExit("the keeper has gone")
        done = decode(answer)
        assert isinstance(done, Done)
        return done.ok


def _not_here(*_words: object) -> Any:
    raise AssertionError("not for a content proxy's worker")
