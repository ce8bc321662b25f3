"""The running node as its status endpoint shows it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from braid import core as seam
from braid import log as logs
from braid.role import Drains, Proxies, Steers, Stores, Transfers
from braid.status.build import Links, flow_statuses, joined, node_status
from braid.status.changes import Tone
from braid.status.choices import choices
from braid.status.exchange import Exchange
from braid.status.measure import record_overlay
from braid.status.recorder import Recorder
from braid.status.redundancy import redundancy_statuses
from braid.status.snapshot import Check, Facts, NodeStatus
from braid.tun import tun_is_up
from braid.version import version
from braid.watchdog import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from braid.control import ControlPlane
    from braid.status.flow import FlowStatus
    from braid.status.picture import Choice, Overlay

log = logs.get(__name__)

DRAWN = 30
"""Nodes of an overlay up to which the history of all of it is kept, not this node's part alone."""


@dataclass(slots=True)
class Loaded:
    """Which topology is in force, and what became of the newest file. Times are Unix seconds."""

    revision: str
    at: float
    error: str | None = None


class Load:
    """How busy the node is: CPU time over time and shards, smoothed over about ``OVER`` seconds."""

    OVER = 10.0

    def __init__(self, busy: Callable[[], float]) -> None:
        self._busy = busy
        self._last: tuple[float, float] | None = None
        self.share: float | None = None

    def look(self, now: float, shards: int) -> None:
        used = self._busy()
        if self._last is not None and now > self._last[0]:
            seconds = now - self._last[0]
            share = min(1.0, (used - self._last[1]) / seconds / shards)
            weight = min(1.0, seconds / self.OVER)
            self.share = share if self.share is None else self.share + weight * (share - self.share)
        self._last = (now, used)


class View:
    """A ``NodeView``. ``clock`` gives monotonic seconds, ``wall`` Unix seconds, ``busy`` the data
    threads' CPU seconds."""

    def __init__(
        self,
        control: ControlPlane,
        loaded: Loaded,
        rng: Random,
        clock: Callable[[], float],
        wall: Callable[[], float],
        busy: Callable[[], float],
    ) -> None:
        self._control = control
        self._load = Load(busy)
        self._loaded = loaded
        self._wall = wall
        self._started = wall()
        role = control.role
        # Asking a protocol takes long, for a thing of each second.
        self._proxies = role if isinstance(role, Proxies) else None
        self._stores = role if isinstance(role, Stores) else None
        self._drains = role if isinstance(role, Drains) else None
        self._transfers = role if isinstance(role, Transfers) else None
        self._version = version()
        self.recorder = Recorder()
        self._links = Links()
        self._exchange = Exchange(control, self.recorder, rng, clock, wall)
        control.receive_summary = self._exchange.receive
        control.reports = self._exchange.reports

    def snapshot(self) -> NodeStatus:
        status = self.recorder.annotate(self._status(seam.read_snapshot(self._control.core)))
        return replace(status, summaries=self._exchange.counts())

    def record(self, now: float) -> Iterator[None]:
        """Take this second into the node's memory; ``now`` is monotonic. It takes milliseconds: after each piece of it
        others may have the thread. A data thread that does not answer leaves a gap there, and ends the node."""
        seam.take_events(self._control.core, self._control.receive, self._control.settle)
        counters = self._control.look_at_paths()
        if counters is None:
            return
        self._load.look(now, self._control.node.shards)
        self.recorder.set_health(self._control.topology.health)
        status = self._status(counters, self._links)
        yield
        for change in self.recorder.receive_snapshot(status, now, self._wall()):
            tell = log.info if change.tone is Tone.GOOD else log.warning
            tell("protection changed", application=change.subject, state=change.text, cause=change.cause)
        yield
        shown = self.recorder.shown
        self._exchange.beat(shown)
        yield
        if len(self._control.topology.nodes) <= DRAWN:
            record_overlay(self.recorder.history, self._exchange.overlay(shown), now)

    def steering(self, hostname: str | None, client: str | None) -> dict[str, Any] | None:
        role = self._control.role
        return role.steering(hostname, client) if isinstance(role, Steers) else None

    def overlay(self) -> tuple[Overlay, tuple[Choice, ...]]:
        seen = self._exchange.overlay(self.snapshot())
        return seen, choices(seen)

    def _status(self, counters: dict[str, Any], links: Links | None = None) -> NodeStatus:
        control = self._control
        return node_status(
            control.topology,
            control.node,
            counters,
            Facts(
                now=self._wall(),
                started_at=self._started,
                version=self._version,
                revision=self._loaded.revision,
                loaded_at=self._loaded.at,
                checks=self.ready(),
                avoided=control.avoided(),
                redundancy=redundancy_statuses(control.redundancy.standings(), control.topology, control.numbers.names),
                reload_error=self._loaded.error,
                targets=control.role.targets(control.topology, control.name),
                applications=control.numbers.names,
                proxies=self._proxies.proxies() if self._proxies else (),
                dns=control.role.counters(),
                content=self._stores.content() if self._stores else None,
                drain=self._drains.drain() if self._drains else None,
                transfers=self._transfers.transfers() if self._transfers else None,
                load=self._load.share,
                chosen=control.reasons(),
            ),
            links,
        )

    def flows(self, limit: int) -> list[FlowStatus]:
        control, role = self._control, self._proxies
        flows = flow_statuses(control.topology, seam.read_flows(control.core, limit), control.numbers.names)
        if role is not None:
            flows = joined(role.proxied_flows(limit), flows, role.spliced())
        return sorted(flows, key=lambda flow: flow.idle_s)[:limit]

    def ready(self) -> tuple[Check, ...]:
        control = self._control
        draining = Check("staying", not control.draining, "the node is being stopped" if control.draining else "")
        tun: tuple[Check, ...] = ()
        if control.role.has_tun(control.topology, control.name):
            up = tun_is_up()
            tun = (Check("tun", up, "" if up else "the TUN device is down or gone: restart the node"),)
        problem = control.own_problem
        remedy = f"{problem}: make new credentials and restart, braid pki issue {control.name}" if problem else ""
        return (*tun, Check("certificate", problem is None, remedy), *control.checks(), draining)

    def is_ready(self) -> bool:
        return all(check.ok for check in self.ready())

    def alive(self) -> Check:
        age = self._control.core.last_turn() / 1e9
        ok = age <= LIMIT
        return Check("data thread", ok, "" if ok else f"has not turned for {age:.1f} s; the node ends itself")
