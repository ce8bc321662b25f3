"""A node's part in telling and hearing summaries: between the control side, its sessions and ``Gossip``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.measured import Reports, told
from braid.status.gossip import Gossip, Known
from braid.status.overlay import overlay
from braid.status.summary import Summary, summary_of
from braid.status.wire import SUMMARY, is_summary
from topology.graph import neighbour_counts

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from braid.control import ControlPlane
    from braid.events import Control
    from braid.status.picture import Overlay
    from braid.status.recorder import Recorder
    from braid.status.snapshot import NodeStatus
    from topology.model import Topology


class Exchange:
    """``clock`` gives monotonic seconds, ``wall`` Unix time."""

    def __init__(
        self,
        control: ControlPlane,
        recorder: Recorder,
        rng: Random,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._control = control
        self._recorder = recorder
        self._clock = clock
        self._wall = wall
        self._told = 0
        self._topology: Topology | None = None
        self._links: dict[int, int] = {}
        """Neighbours of each node, by number."""
        self._reported: dict[int, int] = {}
        """Sequence number of the summary of each node that ``reports`` took in last."""
        self.gossip = Gossip(int(control.node.number), rng)
        # They are taken in before each beat, and nothing is done with them earlier.
        control.core.let_wait(bytes([SUMMARY]))

    def receive(self, event: Control) -> bool:
        """True when the message was a summary, good or bad; others are the role's."""
        if not is_summary(event.message):
            return False
        if event.adjacent:
            self.gossip.receive(event.peer, event.message, self._clock())
        return True

    def beat(self, status: NodeStatus) -> None:
        """To be called each second with the newest snapshot."""
        now = self._clock()
        self._follow_topology(status.number)
        changes = sum(status.change_counts.values())
        news = changes != self._told
        if self.gossip.due(now, news):
            self._told = changes
            self.gossip.tell(self._summary(status), now, self._wall(), news=news)
        messages = self.gossip.pass_on(self._neighbours(), now)
        if messages:
            self._send(messages)

    def overlay(self, status: NodeStatus) -> Overlay:
        """Everything that is known now, with ``status`` as this node's own part."""
        now = self._clock()
        known = self.gossip.known(now) | {status.number: Known(self._summary(status), now, 0.0, 0)}
        return overlay(self._control.topology, status.name, known, now, self._wall())

    def reports(self) -> Reports:
        """What other nodes measured, as far as they told it since the last call."""
        new = []
        known = self.gossip.known(self._clock())
        for number, entry in known.items():
            if self._reported.get(number) != entry.sequence:
                new.append(entry.summary)
        self._reported = {number: entry.sequence for number, entry in known.items()}
        return told(self._control.topology, new)

    def counts(self) -> dict[str, int]:
        return {**self.gossip.counts, "known": len(self.gossip.known(self._clock()))}

    def _summary(self, status: NodeStatus) -> Summary:
        return summary_of(status, self._control.topology, self._recorder.changes.last(), self._wall())

    def _follow_topology(self, own: int) -> None:
        topology = self._control.topology
        if topology is self._topology:
            return
        self._topology = topology
        counts = neighbour_counts(topology)
        self._links = {int(node.number): counts[node.name] for node in topology.nodes.values()}
        self.gossip.set_members(self._links.keys() - {own})

    def _neighbours(self) -> dict[int, int]:
        """Those that are up, and how many neighbours they have themselves."""
        up = sorted(relation.peer for relation in self._control.sessions.up() if relation.adjacent)
        return {number: self._links.get(number, 1) for number in up}

    def _send(self, messages: list[tuple[int, bytes]]) -> None:
        try:
            self._control.core.tell(messages)
        except RuntimeError:
            # The watchdog ends a node whose data thread takes no commands.
            return
