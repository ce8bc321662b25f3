"""What a proxied application is at work: its selection of servers, its counters, and how proxies for it are made."""

from __future__ import annotations

import importlib
from collections import Counter, deque
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import trio

from braid import log as logs
from gateway.proxy.application import ApplicationProxy
from gateway.proxy.http import HttpProxy
from gateway.proxy.selection import Selection
from gateway.proxy.tcp import TcpProxy
from gateway.proxy.tls import TlsProxy
from topology.model import SocketAddress
from topology.proxy import HTTP, TCP, TLS_SNI

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from random import Random

    from braid.desired import Accept
    from gateway.proxy.events import ClientData, Request, ServerData
    from gateway.targets import TargetKey
    from topology import model
    from topology.model import Target
    from topology.proxy import ProxySettings

log = logs.get(__name__)

BUILT_IN: dict[str, type[ApplicationProxy]] = {TCP: TcpProxy, TLS_SNI: TlsProxy, HTTP: HttpProxy}
Speech = Literal["http", "tcp", "tls-sni"]
SPEECH: dict[type[ApplicationProxy], Speech] = {TcpProxy: "tcp", TlsProxy: "tls-sni", HttpProxy: "http"}
LATENCIES = 1000
"""As many are remembered."""
ONCE = 60.0
"""Seconds in which one kind of error of a plug-in is logged once."""


class PlugInError(Exception):
    """The entry point of a plug-in leads nowhere; the message says why."""


def proxy_class(kind: str) -> type[ApplicationProxy]:
    """PlugInError for an entry point that cannot be had."""
    if kind in BUILT_IN:
        return BUILT_IN[kind]
    module, _, name = kind.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), name)
    except Exception as error:
        raise PlugInError(f"{kind}: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, ApplicationProxy)):
        raise PlugInError(f"{kind}: no subclass of gateway.proxy.application.ApplicationProxy")
    return found


@dataclass(slots=True)
class ServerCounters:
    connections: int = 0
    connect_seconds: float = 0.0
    requests: int = 0
    failures: int = 0
    ejections: int = 0


@dataclass(slots=True)
class Counters:
    connections: int = 0
    requests: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Ends that were not the peers' wish, by reason."""
    servers: dict[str, ServerCounters] = field(default_factory=dict)
    """By address and port."""
    promoted: int = 0
    """Connections that the stack took from the fast path."""
    spliced: int = 0
    """Connections that went back."""
    stayed: Counter[str] = field(default_factory=Counter)
    """Connections that might have gone back and did not, by reason."""
    promotions: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES))
    """Seconds from a client's packet at the fast path until it could be read here, the last ones."""


@dataclass(frozen=True, slots=True)
class Spliced:
    """A connection that goes on in the data plane."""

    data: ClientData
    server: ServerData


class ProxiedApplication:
    """Lives as long as the application is proxied, whatever a reload changes."""

    def __init__(
        self, application: model.Application, settings: ProxySettings, healthy: Callable[[TargetKey], bool], rng: Random
    ) -> None:
        self.counters = Counters()
        self.open = 0
        """Client connections in the stack."""
        self.spliced: dict[int, Spliced] = {}
        """Client connections in the data plane, by the core's number."""
        self.accept: Accept = "listener"
        """How its connections come to the stack."""
        self._healthy = healthy
        self._class = proxy_class(settings.kind)
        self._selection = Selection(application, settings, rng)
        self._complained: dict[str, float] = {}

    @property
    def name(self) -> str:
        return self._selection.application.name

    @property
    def settings(self) -> ProxySettings:
        return self._selection.settings

    def configure(self, application: model.Application, settings: ProxySettings) -> None:
        """For connections to come; those that are there keep their proxy, and choose servers by the new policy.
        PlugInError: the old configuration stays."""
        self._class = proxy_class(settings.kind)
        self._selection.configure(application, settings)

    @property
    def moves(self) -> bool:
        """Whether its new connections go to another gateway in a drain: not where listeners accept them."""
        return self.accept != "listener"

    @property
    def full(self) -> bool:
        return self.open + len(self.spliced) >= self.settings.connections

    @property
    def relayed(self) -> bool:
        """Whether connections need no proxy of their own: Rust carries them, and only asks for servers."""
        return self._class in SPEECH

    @property
    def speech(self) -> Speech:
        """What clients speak, for those that are relayed."""
        return SPEECH[self._class]

    def make_proxy(self) -> ApplicationProxy:
        """Raises what the plug-in's own constructor raises."""
        return self._class(self.settings, self._selection.application.targets, self.choose)

    def choose(self, request: Request, tried: Collection[Target], among: Sequence[Target] | None) -> ServerData | None:
        return self._selection.choose(request, tried, among, self.healthy, trio.current_time())

    def healthy(self, target: Target) -> bool:
        return self._healthy((self.name, target.address))

    @property
    def targets(self) -> Sequence[Target]:
        return self._selection.application.targets

    def active(self, target: Target) -> int:
        return self._selection.active(target)

    def ejected(self, target: Target, now: float) -> bool:
        return self._selection.ejected(target, now)

    def begin(self, target: Target) -> None:
        self._selection.begin(target)

    def end(self, target: Target) -> None:
        self._selection.end(target)

    def connected(self, target: Target, seconds: float) -> None:
        counters = self._of(target)
        counters.connections += 1
        counters.connect_seconds += seconds

    def receive(self, target: Target, latency: float | None) -> None:
        """Seconds to the first byte of an answer, or None for a failure."""
        if latency is None:
            self._of(target).failures += 1
        if self._selection.receive(target, latency, trio.current_time()):
            self._of(target).ejections += 1
            log.warning("server ejected for failing requests", application=self.name, target=name_of(target))

    def served(self, target: Target | None) -> None:
        """A request and its answer are through."""
        self.counters.requests += 1
        if target is not None:
            self._of(target).requests += 1

    def count(self, reason: str) -> None:
        self.counters.refused[reason] += 1

    def went(self, number: int, data: ClientData, server: ServerData) -> None:
        """A connection went from the stack to the data plane. Its server has it still."""
        self.counters.spliced += 1
        self.spliced[number] = Spliced(data, server)
        self.begin(server.target)

    def ended(self, number: int) -> bool:
        """Whether a connection that ended in the data plane was one of this application."""
        gone = self.spliced.pop(number, None)
        if gone is not None:
            self.end(gone.server.target)
        return gone is not None

    def stayed(self, reason: str) -> None:
        self.counters.stayed[reason] += 1

    def complain(self, error: Exception) -> None:
        """A proxy raised. Each kind is logged once a minute, with its traceback."""
        kind, now = type(error).__name__, trio.current_time()
        if now - self._complained.get(kind, -ONCE) >= ONCE:
            self._complained[kind] = now
            log.error("proxy failed", application=self.name, kind=self.settings.kind, exc_info=error)

    def _of(self, target: Target) -> ServerCounters:
        name = name_of(target)
        found = self.counters.servers.get(name)
        if found is None:
            found = self.counters.servers[name] = ServerCounters()
        return found


@lru_cache(maxsize=4096)
def name_of(target: Target) -> str:
    return str(target.address) if target.port is None else str(SocketAddress(target.address, target.port))
