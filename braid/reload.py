"""Follows the files a node was started from: the topology and its credentials. A bad file never stops the node."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, NoReturn

import trio

from braid import log as logs
from braid.addresses import Capture, apply_capture, plan_capture, read_interfaces, release_capture
from braid.beat import beat
from braid.credentials import CredentialError, load_credentials, node_directory
from braid.drained import contradictions, orders_file, read_orders
from braid.linux import LinuxError
from braid.plan import inner_mtu
from topology.check import TopologyError
from topology.source import load
from topology.table import with_removed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from braid.control import ControlPlane
    from braid.drained import Order
    from braid.view import Loaded
    from topology.model import Topology

log = logs.get(__name__)

POLL = 1.0
"""Seconds between looks at the files; revocation has to work within two."""

Signature = tuple[tuple[int, int, int] | None, ...]
"""Modification time, size and inode of each file; None for one that is missing."""


def signature(files: Sequence[Path]) -> Signature:
    found: list[tuple[int, int, int] | None] = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            found.append(None)
        else:
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(found)


def revision_of(file: Path) -> str:
    """The first 12 hex digits of the file's SHA-256."""
    return sha256(file.read_bytes()).hexdigest()[:12]


def restart_needed(before: Topology, after: Topology, name: str) -> list[str]:
    """What changed that a running node cannot take over. Pure."""
    old, new = before.nodes[name], after.nodes[name]
    changes = {
        "underlay": (old.underlay, new.underlay),
        "port": (old.port, new.port),
        "shards": (old.shards, new.shards),
        "status": (old.status, new.status),
        "dns_listen": (old.dns_listen, new.dns_listen),
        "powerdns": (old.powerdns, new.powerdns),
        "content.listen": (old.content and old.content.listen, new.content and new.content.listen),
        "content.directory": (old.content and old.content.directory, new.content and new.content.directory),
        "MTU of the overlay": (inner_mtu(before), inner_mtu(after)),
    }
    return [what for what, (left, right) in changes.items() if left != right]


def reason_to_refuse(before: Topology, after: Topology, name: str) -> str | None:
    """Why a valid file is not for this node. Pure."""
    if name not in after.nodes:
        return f"node {name!r} is not in it any more; stop this node, or name it again"
    if after.nodes[name].role is not before.nodes[name].role:
        return f"node {name!r} has another role in it; restart the node to change its role"
    if after.name != before.name:
        return f"it is the topology of {after.name!r}, not of {before.name!r}"
    return None


@dataclass(slots=True)
class Reloader:
    """``capture`` is what the kernel has been told so far; the node's end removes it."""

    topology_file: Path
    pki: Path
    control: ControlPlane
    loaded: Loaded
    wall: Callable[[], float]
    capture: Capture = field(default_factory=Capture)
    _one_at_a_time: trio.Lock = field(default_factory=trio.Lock)

    async def capture_addresses(self, *, again: bool = False) -> None:
        """Route the role's addresses to the TUN as the topology in force says; with ``again`` also what has been told
        to the kernel before. LinuxError on failure."""
        control = self.control
        prefixes = control.role.captured(control.topology, control.name)
        if not prefixes and self.capture == Capture():
            return
        after = plan_capture(prefixes, await read_interfaces())
        before, self.capture = self.capture, after
        await release_capture(before, after)
        for warning in await apply_capture(Capture() if again else before, after):
            log.warning("network is not as it should be", problem=warning)

    async def recapture(self) -> None:
        """As ``capture_addresses``, for a role whose addresses changed; what cannot be done is logged."""
        async with self._one_at_a_time:
            await self._capture_or_say(again=False)

    async def follow(self) -> NoReturn:
        """Look at the files each second, take over what changed, and judge all peers anew. Never returns."""
        topology_seen = signature([self.topology_file])
        credentials_seen = signature(self._credential_files())
        while True:
            await beat(POLL)
            topology_now, credentials_now = signature([self.topology_file]), signature(self._credential_files())
            if topology_now != topology_seen:
                topology_seen = topology_now
                await self.reload_topology()
            if credentials_now != credentials_seen:
                credentials_seen = credentials_now
                self.reload_credentials()
            self.control.review_peers()

    async def reload(self) -> None:
        """Take over both, changed or not, and look at the host's interfaces anew."""
        self.reload_credentials()
        await self.reload_topology(again=True)

    async def reload_topology(self, *, again: bool = False) -> None:
        async with self._one_at_a_time:
            await self._reload_topology(again)

    async def _reload_topology(self, again: bool) -> None:
        control = self.control
        try:
            revision = revision_of(self.topology_file)
            topology = await trio.to_thread.run_sync(load, self.topology_file)
        except (TopologyError, OSError) as error:
            self._refused(str(error))
            return
        reason = reason_to_refuse(control.topology, topology, control.name)
        if reason is not None:
            self._refused(f"{self.topology_file}: {reason}")
            return
        problems = contradictions(self.topology_file, topology, self._ordered(), self.wall())
        if problems:
            self._refused("\n".join(problems))
            return
        topology = with_removed(control.topology, topology, self.wall())
        if topology == control.topology:
            self.loaded.revision, self.loaded.error = revision, None
            log.info("topology is the same", revision=revision)
            await self._capture_or_say(again)
            return
        for what in restart_needed(control.topology, topology, control.name):
            log.warning("change needs a restart of the node", what=what)
        try:
            control.set_topology(topology)
        except ValueError as error:
            self._refused(f"{self.topology_file}: the data plane refuses it: {error}")
            return
        self.loaded.revision, self.loaded.at, self.loaded.error = revision, self.wall(), None
        log.info("topology reloaded", revision=revision)
        await self._capture_or_say(again)

    def _ordered(self) -> dict[str, Order]:
        try:
            return read_orders(orders_file(self.topology_file))
        except OSError as error:
            log.error("drains cannot be read", problem=str(error))
            return {}

    async def _capture_or_say(self, again: bool) -> None:
        try:
            await self.capture_addresses(again=again)
        except LinuxError as error:
            log.error("addresses cannot be set up", problem=str(error))

    def reload_credentials(self) -> None:
        try:
            credentials = load_credentials(self.pki, self.control.name)
        except CredentialError as error:
            log.error("credentials refused, the last good ones stay in force", problem=str(error))
            return
        if not self.control.set_credentials(credentials):
            log.warning("change needs a restart of the node", what="private key")
            return
        log.info("credentials reloaded")

    def _refused(self, problem: str) -> None:
        self.loaded.error = problem
        log.error("topology refused, the last good one stays in force", problem=problem)

    def _credential_files(self) -> list[Path]:
        folder = node_directory(self.pki, self.control.name)
        shared = [self.pki / name for name in ("ca.crt", "crl.pem", "peers.pem")]
        return [*shared, folder / "node.crt", folder / "node.key"]
