"""The server selection of one application: rules, health, stickiness, then the policy. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.proxy.events import ServerData
from gateway.proxy.outlier import Outliers
from gateway.proxy.policy.hashing import hash64, name_of
from gateway.proxy.policy.make import make_policy
from gateway.proxy.rules import matching
from topology.model import SocketAddress
from topology.proxy import ServerPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from random import Random

    from gateway.proxy.events import Request
    from topology.model import Application, Target
    from topology.proxy import ProxySettings

DECAY = 10.0
"""Seconds in which a server's measured latency loses two thirds of its weight."""


_BY_KEY = frozenset((ServerPolicy.RING_HASH, ServerPolicy.MAGLEV))


@dataclass(slots=True)
class _Use:
    active: int = 0
    latency: float = 0.0
    at: float = 0.0


class Selection:
    def __init__(self, application: Application, settings: ProxySettings, rng: Random) -> None:
        self._rng = rng
        self._use: dict[Target, _Use] = {}
        self._outliers = Outliers()
        self._families: dict[tuple[int | None, int], Sequence[Target]] = {}
        self.application, self.settings = application, settings
        self._policy = make_policy(settings.policy, rng)

    def configure(self, application: Application, settings: ProxySettings) -> None:
        """Go over to another configuration; what is known of servers that stay is kept."""
        if settings.policy is not self.settings.policy:
            self._policy = make_policy(settings.policy, self._rng)
        self.application, self.settings = application, settings
        self._families.clear()
        servers = frozenset(application.targets)
        self._outliers.keep(servers)
        self._use = {server: use for server, use in self._use.items() if server in servers or use.active}

    def choose(
        self,
        request: Request,
        tried: Collection[Target],
        among: Sequence[Target] | None,
        healthy: Callable[[Target], bool],
        now: float,
    ) -> ServerData | None:
        """None when there is no server that was not tried."""
        words = []
        if among is None:
            rule = matching(self.settings.rules, request)
            allowed: Sequence[Target] = self._allowed(rule, request.client_data.vip.host.version)
            if rule is not None:
                words.append(f"rule {rule + 1}")
        else:
            allowed = _of_family(among, request.client_data.vip.host.version)
            words.append("the proxy's own choice")
        good = [each for each in allowed if healthy(each) and not self._outliers.ejected(each, now)]
        if len(good) < self.settings.panic * len(allowed):
            good = list(allowed)
            words.append("panic: too few servers are good, all are used")
        candidates = [each for each in good if each not in tried] or [each for each in allowed if each not in tried]
        if not candidates:
            return None
        if tried:
            words.append(f"after {len(tried)} failed")
        chosen, cookie, how = self._pick(candidates, request)
        port = chosen.port or request.client_data.vip.port
        return ServerData(chosen, SocketAddress(chosen.address, port), ", ".join([*words, how]), cookie)

    def _allowed(self, rule: int | None, version: int) -> Sequence[Target]:
        """A rule's servers, or all targets, for clients of one address family."""
        found = self._families.get((rule, version))
        if found is None:
            servers = self.application.targets if rule is None else self.settings.rules[rule].servers
            found = self._families[rule, version] = _of_family(servers, version)
        return found

    def _pick(self, candidates: Sequence[Target], request: Request) -> tuple[Target, str, str]:
        policy, sticky = self.settings.policy.value, self.settings.sticky
        if sticky == "client":
            key = str(request.client_data.client.host)
            return max(candidates, key=lambda each: _score(each, key)), "", "sticky by address"
        name = sticky.removeprefix("cookie:")
        if sticky != "none":
            value = request.cookies().get(name)
            for each in candidates:
                if value == token(each):
                    return each, "", "sticky by cookie"
        hashed = hash64(_key(self.settings.hash, request)) if self.settings.policy in _BY_KEY else 0
        chosen = self._policy.pick(candidates, self, hashed)
        return chosen, "" if sticky == "none" else f"{name}={token(chosen)}; Path=/; HttpOnly; SameSite=Lax", policy

    def active(self, server: Target) -> int:
        use = self._use.get(server)
        return use.active if use else 0

    def latency(self, server: Target) -> float:
        use = self._use.get(server)
        return use.latency if use else 0.0

    def begin(self, server: Target) -> None:
        self._used(server).active += 1

    def end(self, server: Target) -> None:
        self._use[server].active -= 1

    def _used(self, server: Target) -> _Use:
        use = self._use.get(server)
        if use is None:
            use = self._use[server] = _Use()
        return use

    def receive(self, server: Target, latency: float | None, now: float) -> bool:
        """One result: seconds to the first byte, or None for a failure. True when it ejects the server."""
        settings = self.settings
        if latency is not None:
            use = self._used(server)
            weight = math.exp(-(now - use.at) / DECAY) if use.at else 0.0
            # Peak EWMA: bad news counts at once.
            use.latency = max(latency, weight * use.latency + (1 - weight) * latency)
            use.at = now
        return self._outliers.receive(server, latency is not None, settings.eject_after, settings.eject_time, now)

    def ejected(self, server: Target, now: float) -> bool:
        return self._outliers.ejected(server, now)


def token(server: Target) -> str:
    """What a cookie says of a server: not its address."""
    return f"{hash64(name_of(server), b'cookie'):016x}"


def _score(server: Target, key: str) -> float:
    """Weighted rendezvous hashing: the highest has the key."""
    share = (hash64(f"{name_of(server)} {key}") + 1) / 2**64
    return -server.weight / math.log(share) if share < 1 else math.inf


def _of_family(servers: Sequence[Target], version: int) -> Sequence[Target]:
    """Those of the client's IP version; all when there are none."""
    return [each for each in servers if each.address.version == version] or servers


def _key(by: str, request: Request) -> str:
    kind, _, name = by.partition(":")
    match kind:
        case "path":
            return request.path
        case "sni":
            return request.sni
        case "header":
            return request.headers.get(name.lower(), "")
        case "cookie":
            return request.cookies().get(name, "")
        case _:
            return str(request.client_data.client.host)
