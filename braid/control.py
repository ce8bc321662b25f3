"""The control side of one node: carries the core's events to the deciders and their decisions back to the core.

Everything here runs in one trio task at a time and never awaits, so a decision is made and applied in one piece.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from braid import core as seam
from braid import log as logs
from braid.app_numbers import AppNumbers
from braid.beat import beat
from braid.calm import Calm
from braid.candidates import targets_by_set
from braid.desired import TARGETS, Desired, PathSet
from braid.events import ConnectionEvent, Control, CoreEvent, Established, Failed, Initiation, Losses
from braid.identity import read_certificate
from braid.measured import Reports
from braid.pathwatch import LOOK_EVERY, MEASURE_EVERY, PathWatch, round_trips, samples
from braid.peers import PeerCertificates, Wanted, own_problem, refusal
from braid.plan import PathPlanner, plan_neighbours, plan_shards, usable_by_number
from braid.redundancy.application import Mode
from braid.redundancy.node import Redundancy
from braid.role import Promotes, RoleRuntime, Situation
from braid.session import Accept, Close, Command, Initiate, Log, Refuse, Relation, Restarted, SessionManager

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from random import Random

    from braid.core import CoreApi
    from braid.delegation import Delegation
    from braid.identity import Credentials
    from braid.redundancy.node import Change
    from braid.session import Standing
    from braid.status.paths import Chosen
    from braid.status.snapshot import Check
    from topology.model import Node, Topology

log = logs.get(__name__)

Answer = TypeVar("Answer")


class ControlPlane:
    """``clock`` gives monotonic seconds, ``today`` an aware datetime; ``fail`` ends the process."""

    def __init__(
        self,
        *,
        topology: Topology,
        name: str,
        credentials: Credentials,
        core: CoreApi,
        role: RoleRuntime,
        rng: Random,
        clock: Callable[[], float],
        today: Callable[[], datetime],
        fail: Callable[[str], None],
    ) -> None:
        self.topology = topology
        self.name = name
        self.core = core
        self.role = role
        self.numbers = AppNumbers()
        self.sessions = SessionManager(rng)
        self.draining = False
        self.own_problem: str | None = None
        """Why peers refuse this node's certificate."""
        self.changed = trio.Event()
        self.reloaded = trio.Event()
        self.receive_summary: Callable[[Control], bool] = lambda _control: False
        """Takes what is a summary for the status page; the rest is the role's."""
        self.reports: Callable[[], Reports] = Reports
        """What others told of their links since the last call."""
        self._credentials = credentials
        self._clock = clock
        self._today = today
        self._fail = fail
        self._certificates = PeerCertificates()
        self._delegations: Mapping[str, Delegation] = {}
        self._wanted = Wanted()
        self._paths = PathPlanner()
        self.redundancy = Redundancy()
        """The paths of applications with a target loss."""
        self._shared: dict[str, tuple[str, ...]] = {}
        self._watch = PathWatch()
        self._calm = Calm()
        self._round_trips: dict[int, float] = {}
        self.traffic: dict[str, int] = {}
        self._desired: Desired | None = None
        self._looked = self._measured = clock()
        self._names: dict[Relation, str] = {}
        self._standings: Mapping[Relation, Standing] = {}
        self._wake = trio.Event()
        self._receive_connection = role.receive_connection if isinstance(role, Promotes) else lambda _event: None
        self.settle = role.settle_connections if isinstance(role, Promotes) else lambda: None
        """To be called when all events that came at once were received."""

    @property
    def node(self) -> Node:
        return self.topology.nodes[self.name]

    def begin(self) -> None:
        """The first configuration. ValueError from the core is a bug of the planner."""
        self.replan()
        self.review_peers()

    def receive(self, event: CoreEvent) -> None:
        if isinstance(event, ConnectionEvent):
            # Clients wait for it, and nothing else depends on it.
            self._receive_connection(event)
            return
        now = self._clock()
        match event:
            case Failed(message):
                self._fail(message)
            case Control():
                if not self.receive_summary(event):
                    self.role.receive_control(event, now)
                return
            case Initiation():
                self._receive_initiation(event, now)
            case Losses():
                self._follow(self.redundancy.receive(event, now))
            case _:
                if isinstance(event, Established):
                    self._certificates.established(Relation(event.peer, event.adjacent), event.initiator)
                before = self.sessions.up()
                self._carry_out(self.sessions.receive(event, now))
                self._follow_links(before, now)
        self._wake.set()

    async def run_timers(self) -> None:
        """Send handshakes, and decide about copies, when it is due. Never returns."""
        while True:
            self._wake = trio.Event()
            self._carry_out(self.sessions.handle_timeout(self._clock()))
            self._follow(self.redundancy.handle_timeout(self._clock()))
            due = min(self.sessions.next_timeout() or inf, self.redundancy.next_timeout())
            with trio.move_on_at(due):
                await self._wake.wait()

    async def watch_paths(self) -> None:
        """Look every half second at which paths arrive, and go round those that do not. Never returns."""
        while True:
            await beat(LOOK_EVERY)
            # The node's memory looks each second; it comes first, so that one snapshot does for both.
            await trio.lowlevel.checkpoint()
            now = self._clock()
            if now - self._looked < LOOK_EVERY / 2 or not self.role.peers(self.topology, self.name):
                continue
            measures = now - self._measured > MEASURE_EVERY - LOOK_EVERY / 2
            look = self.look_at_paths if measures else self.look_at_arrivals
            look()

    def look_at_arrivals(self) -> None:
        now = self._looked = self._clock()
        arrivals = self.ask(lambda: seam.read_arrivals(self.core), None)
        if arrivals is not None and self._judge_arrivals(arrivals, now):
            self._go_round(broken=True)

    def _judge_arrivals(self, snapshot: dict[str, Any], now: float) -> bool:
        self._round_trips, self.traffic = round_trips(snapshot), snapshot.get("io", {})
        return self._watch.observe(samples(snapshot), now)

    def look_at_paths(self) -> dict[str, Any] | None:
        """Returns the core's snapshot by which it judges, calm links as they were; None when there is none."""
        now = self._looked = self._measured = self._clock()
        snapshot = self.ask(lambda: seam.read_snapshot(self.core, whole=False), None)
        if snapshot is None:
            return None
        snapshot["neighbours"] = self._calm.hold(snapshot.get("neighbours", ()), self.topology.health)
        if self.role.peers(self.topology, self.name):
            broken = self._judge_arrivals(snapshot, now)
            dearer = self._paths.look(self.topology, self.name, snapshot, self.reports(), now)
            if broken or dearer:
                self._go_round(broken)
        return snapshot

    def _go_round(self, broken: bool) -> None:
        before = self._routes()
        self.replan()
        if before != self._routes():
            self._log_change(broken)
            self.announce()

    def review_peers(self) -> None:
        """Judge every peer's certificate anew: by date, revocation list and topology. To be called each second."""
        self._review_own_certificate()
        self._review_delegations()
        relations = self._wanted(self.topology, self.name, self.role.peers(self.topology, self.name))
        standings = self._certificates.standings(relations, self._credentials.trust, self.topology, self._today())
        if standings is self._standings:
            return
        now, before, self._standings = self._clock(), self.sessions.up(), standings
        self._names = self._names | relations
        self._carry_out(self.sessions.set_peers(standings, now))
        self._names = relations
        self._follow_links(before, now)
        self._wake.set()

    def set_credentials(self, credentials: Credentials) -> bool:
        """Go over to other credentials; False when the private key is another one, which only a restart can take over.
        The trust in others is then taken over alone."""
        same_key = credentials.static_key == self._credentials.static_key
        self._credentials = credentials if same_key else replace(self._credentials, trust=credentials.trust)
        self.review_peers()
        return same_key

    def set_topology(self, topology: Topology) -> None:
        """Go over to another topology. ValueError: the core refuses it and the old one stays in force."""
        before, self.topology = self.topology, topology
        try:
            self.replan()
        except ValueError:
            self.topology = before
            raise
        self.review_peers()
        self.reloaded.set()
        self.reloaded = trio.Event()
        self.announce()

    def drain(self) -> None:
        """Say that the node is about to leave; it keeps forwarding."""
        self.draining = True
        self.announce()

    def announce(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    def replan(self) -> None:
        """Compute the desired state and give it to the core if it is another one."""
        topology = self.topology
        usable = usable_by_number(topology, lambda number: self.sessions.is_up(number, True), self.name)
        peers = self.role.peers(topology, self.name)
        targets = targets_by_set(topology, self.role.targets_of(topology, self.name), self.numbers)
        fixed = self._paths.plan(topology, self.name, peers, usable, self._watch.avoid, targets)
        self.redundancy.configure(self._paths.selections, self._clock())
        neighbours, shards = plan_neighbours(topology, self.name), plan_shards(topology, self.name, peers)
        shared = Desired(neighbours, fixed + self.redundancy.path_sets(), shards)
        desired = self.role.complete(shared, self.situation(), self.numbers)
        if desired != self._desired:
            seam.configure(self.core, desired)
            self._desired = desired
        if self._paths.overlaps != self._shared:
            self._shared = self._paths.overlaps
            if self._shared:
                log.warning("paths share what one failure can take, for want of disjoint ones", shared=self._shared)
            else:
                log.info("all paths are disjoint")

    def _follow(self, changes: list[Change]) -> None:
        if not changes:
            return
        self.replan()
        for change in changes:
            peer = self.topology.by_number(change.peer)
            tell = log.warning if change.mode is Mode.SURGE else log.info
            tell(
                "copies take other paths",
                application=self.numbers.names[change.set - TARGETS],
                peer=peer.name if peer else f"#{change.peer}",
                mode=change.mode.value,
                copies=len(change.paths),
                cause=change.cause,
            )

    def situation(self) -> Situation:
        return Situation(self.topology, self.name, self, self._delegations)

    def checks(self) -> tuple[Check, ...]:
        return self.role.checks(self.situation())

    def neighbour_up(self, name: str) -> bool:
        node = self.topology.nodes.get(name)
        return node is not None and self.sessions.is_up(node.number, True)

    def peer_up(self, name: str) -> bool:
        return self.usable_paths(name) > 0

    def usable_paths(self, name: str) -> int:
        node = self.topology.nodes.get(name)
        if node is None or not self.sessions.is_up(node.number, False):
            return 0
        return max((self._working(paths) for paths in self._path_sets(node.number)), default=0)

    def round_trips(self) -> dict[int, float]:
        return self._round_trips

    def avoided(self) -> dict[int, frozenset[int]]:
        """Peer -> nodes that paths to it go round, because what went through them did not arrive. By number."""
        peers = {paths.peer for paths in self._path_sets()}
        return {peer: nodes for peer in peers if (nodes := self._watch.avoid(peer))}

    def _review_delegations(self) -> None:
        found = self._certificates.delegations(self.topology, self._credentials)
        if found != self._delegations:
            self._delegations = found
            self.replan()
            self.announce()

    def _review_own_certificate(self) -> None:
        before, self.own_problem = self.own_problem, own_problem(self._credentials, self.topology, self._today())
        if self.own_problem not in (None, before):
            remedy = f"make new credentials and restart: braid pki issue {self.name}"
            log.error("own certificate is refused by peers", reason=self.own_problem, remedy=remedy)

    def ask(self, question: Callable[[], Answer], nothing: Answer) -> Answer:
        """An answer of the data thread. That it gives none in time is the end of the node."""
        try:
            return question()
        except RuntimeError as error:
            self._fail(str(error))
            return nothing

    def _routes(self) -> dict[tuple[int, int], tuple[tuple[int, ...], ...]]:
        return {(each.peer, each.set): tuple(path.route for path in each.paths) for each in self._path_sets()}

    def _log_change(self, broken: bool) -> None:
        names = {int(node.number): node.name for node in self.topology.nodes.values()}
        avoided = {
            names.get(peer, f"#{peer}"): sorted(names.get(number, f"#{number}") for number in nodes)
            for peer, nodes in self.avoided().items()
        }
        if broken and avoided:
            log.warning("paths do not arrive, others are used", avoided=avoided)
        elif broken:
            log.info("paths that did not arrive are tried again")
        else:
            log.info("other paths are used by what was measured")

    def reasons(self) -> dict[tuple[int, int], Chosen]:
        """Why this node chose its sets of paths: by the numbers of peer and set."""
        return self._paths.reasons(self.topology, self.name, self._path_sets())

    def _path_sets(self, peer: int | None = None) -> tuple[PathSet, ...]:
        sets = self._desired.path_sets if self._desired else ()
        return tuple(paths for paths in sets if peer is None or paths.peer == peer)

    def _working(self, paths: PathSet) -> int:
        broken = self._watch.avoid(paths.peer)
        good = [path for path in (*paths.paths, *paths.spares) if broken.isdisjoint(path.route)]
        return min(sum(self.sessions.is_up(path.route[0], True) for path in good or paths.paths), len(paths.paths))

    def _receive_initiation(self, initiation: Initiation, now: float) -> None:
        trust = self._credentials.trust
        reason = refusal(initiation, trust, self.topology, self._today())
        if reason is None:
            certificate = read_certificate(initiation.certificate, trust.ca)
            self._certificates.accepted(Relation(initiation.peer, initiation.adjacent), certificate)
        self._carry_out(self.sessions.receive_initiation(initiation, reason, now))

    def _follow_links(self, before: frozenset[Relation], now: float) -> None:
        after = self.sessions.up()
        if after == before:
            return
        for relation in before ^ after:
            if relation.adjacent:
                self.role.receive_neighbour(relation.peer, relation in after, now)
        self.replan()
        self.announce()

    def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Initiate(relation):
                    self._initiate(relation)
                case Accept(number):
                    try:
                        self.core.accept(number)
                    except KeyError:
                        log.debug("initiation is no longer pending", initiation=number)
                case Refuse(number, reason):
                    self.core.refuse(number, reason)
                case Restarted(relation):
                    self.role.receive_restart(relation.peer, relation.adjacent, self._clock())
                case Close(relation):
                    self.core.close_session(relation.peer, relation.adjacent)
                case Log(level, event, relation, fields):
                    name = self._names.get(relation, f"#{relation.peer}")
                    getattr(log, level)(event, peer=name, adjacent=relation.adjacent, **fields)

    def _initiate(self, relation: Relation) -> None:
        name, own = self._names[relation], self._credentials.certificate
        certificate = self._certificates.initiate(relation, name, self._credentials.trust)
        if certificate is None:
            return
        try:
            self.core.initiate(relation.peer, relation.adjacent, certificate.static_key, own)
        except ValueError as error:
            log.warning("handshake cannot begin", peer=name, adjacent=relation.adjacent, problem=str(error))
