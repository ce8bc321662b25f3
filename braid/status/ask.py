"""Asking many nodes at once."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from braid.status.client import DEFAULT_URL, Endpoint, Unreachable, endpoint_of, get_document

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from topology.model import Topology

AT_ONCE = 32


@dataclass(slots=True)
class Answers:
    """By node, in the order asked: its document, or why there is none."""

    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    unreachable: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {"nodes": self.documents, "unreachable": self.unreachable}


def ask(endpoints: Sequence[Endpoint], path: str, timeout: float = 3.0) -> Answers:
    """GET ``path`` from all of them concurrently; nothing is raised for a node that does not answer."""
    return trio.run(_ask, endpoints, partial(get_document, path=path, timeout=timeout))


async def _ask(endpoints: Sequence[Endpoint], fetch: Callable[[Endpoint], dict[str, Any]]) -> Answers:
    """Starts one thread per endpoint, at most ``AT_ONCE`` at a time; ends when all have answered or failed."""
    limiter = trio.CapacityLimiter(AT_ONCE)
    found: dict[str, dict[str, Any] | str] = {}

    async def one(endpoint: Endpoint) -> None:
        try:
            found[endpoint.name] = await trio.to_thread.run_sync(fetch, endpoint, limiter=limiter)
        except Unreachable as error:
            found[endpoint.name] = str(error)

    async with trio.open_nursery() as nursery:
        for endpoint in endpoints:
            nursery.start_soon(one, endpoint)
    answers = Answers()
    for endpoint in endpoints:
        result = found[endpoint.name]
        if isinstance(result, str):
            answers.unreachable[endpoint.name] = result
        else:
            answers.documents[str(result.get("name", endpoint.name))] = result
    return answers


class UnknownNode(Exception):
    """A name that cannot be turned into an address; the message says what to do."""


def choose_endpoints(names: Sequence[str], *, topology: Topology | None, lab: str | None) -> tuple[Endpoint, ...]:
    """Whom to ask: URLs as they are, node names by the topology or the lab, all nodes without any name.

    Raises ``UnknownNode`` and ``client.BadUrl``.
    """
    if lab is not None:
        known = _endpoints_in_lab(lab)
    else:
        known = (
            {}
            if topology is None
            else {
                node.name: Endpoint(node.name, str(node.status.host), node.status.port)
                for node in topology.nodes.values()
            }
        )
    if not names:
        return tuple(known.values()) or (endpoint_of(DEFAULT_URL),)
    return tuple(known[name] if name in known else _by_url(name, known) for name in names)


def _by_url(name: str, known: dict[str, Endpoint]) -> Endpoint:
    if "://" in name or ":" in name or "." in name:
        return endpoint_of(name)
    if known:
        raise UnknownNode(f"there is no node {name!r}; known: {', '.join(known)}")
    raise UnknownNode(f"cannot tell where node {name!r} is; add -t FILE or --lab NAME, or give its URL")


def _endpoints_in_lab(name: str) -> dict[str, Endpoint]:
    from lab import netns
    from lab.errors import LabError
    from lab.up import attach

    try:
        running = attach(name)
    except LabError as error:
        raise UnknownNode(str(error)) from error

    def connect_in(namespace: str) -> Callable[[str, int, float], socket.socket]:
        def connect(host: str, port: int, timeout: float) -> socket.socket:
            try:
                made = netns.socket_in(namespace, socket.AF_INET6 if ":" in host else socket.AF_INET)
            except LabError as error:
                raise Unreachable(str(error)) from error
            made.settimeout(timeout)
            try:
                made.connect((host, port))
            except OSError:
                made.close()
                raise
            return made

        return connect

    return {
        node.name: Endpoint(
            node.name, str(node.status.host), node.status.port, connect_in(running.namespace(node.name))
        )
        for node in running.topology.nodes.values()
    }
