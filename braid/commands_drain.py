"""``braid drain`` and ``braid undrain``: what the operator orders, and how far it is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from braid.drained import Order, contradiction, contradictions, orders_file, read_orders, row_of, write_order
from braid.status.ask import UnknownNode, ask, choose_endpoints
from topology.drains import clashes
from topology.graph import siblings
from topology.model import Role
from topology.source import load

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from topology.model import Topology

DONE, FAILED, NOT_REACHABLE = 0, 1, 3
LAST_WORDS = 2.0
"""Seconds until a client that has not answered the end of its connection is not waited for: it was told all."""
LOOK = 0.1
"""Seconds between looks at the node."""


class BadOrder(Exception):
    """Bad input; the message says what to write."""


def check(file: Path, topology: Topology) -> None:
    """That what was ordered on this machine does not contradict the topology file. BadOrder, one line for each."""
    found = contradictions(file, topology, read_orders(orders_file(file)), time.time())
    if found:
        raise BadOrder("\n".join(found))


def drain(gateway: str, to: str | None, routed: bool, deadline: float, file: Path | None, lab: str | None) -> int:
    """Exit code. Prints each step; a drain that cannot begin is taken back."""
    file, topology = _topology(file, lab)
    others = _gateways(topology, gateway)
    place = orders_file(file)
    ordered = read_orders(place)
    before, row = ordered.get(gateway), row_of(topology, gateway, time.time())
    if before is not None and before.back:
        raise BadOrder(f"{gateway} is coming home from {before.to}: wait until `braid undrain {gateway}` has ended")
    if before is not None and to not in (None, before.to):
        raise BadOrder(f"{gateway} is drained to {before.to}: `braid undrain {gateway}` first")
    known = before or row
    chosen = to or (known.to if known is not None else next(iter(others), None))
    if chosen is None:
        region = topology.nodes[gateway].region
        raise BadOrder(f"{gateway} is the only gateway of {region}: connections can go to one of the same region alone")
    if chosen not in others:
        raise BadOrder(f"{chosen!r} is no other gateway of the region of {gateway}; choose of {', '.join(others)}")
    order = Order(chosen, routed=routed)
    if row is not None and row.to == chosen and (row.routed or not routed):
        click.echo(f"{gateway} is drained by {file}: {row.by}")
    else:
        _check(file, topology, gateway, order, ordered)
        write_order(place, gateway, order)

    ending, since = 0, time.monotonic()

    def step(said: dict[str, Any]) -> int | None:
        nonlocal ending, since
        if said["problem"]:
            if row is None:
                write_order(place, gateway, None)
            click.echo(f"{gateway} cannot be drained: {said['problem']}", err=True)
            return FAILED
        now, before = time.monotonic(), ending
        ending = said["stay_why"].get("ending", 0)
        since = since if ending == before else now
        return DONE if may_stop(said, now - since) else None

    return _follow(gateway, topology, lab, deadline, step)


def may_stop(said: dict[str, Any], silent: float) -> bool:
    """Whether nothing breaks off when the gateway stops. ``silent``: seconds since the number of connections that were
    told their end, and have not answered, has last changed."""
    why = said["stay_why"]
    ending = why.get("ending", 0)
    # Those that only listeners know are not in `stay`, which the data plane counts.
    left = said["opening"] or said["stay"] > ending or why.get("listener", 0)
    return said["state"] == "away" and not left and (not ending or silent >= LAST_WORDS)


def undrain(gateway: str, deadline: float, file: Path | None, lab: str | None) -> int:
    """Exit code."""
    file, topology = _topology(file, lab)
    _gateways(topology, gateway)
    place = orders_file(file)
    order, row = read_orders(place).get(gateway), row_of(topology, gateway, time.time())
    if row is not None:
        raise BadOrder(f"{file}: {row.by}: drains {gateway}; remove the row, and it comes home")
    if order is None:
        click.echo(f"{gateway} is not drained")
        return DONE
    write_order(place, gateway, Order(order.to, back=True, routed=order.routed))

    def step(said: dict[str, Any]) -> int | None:
        return DONE if said["state"] == "home" and gateway not in read_orders(place) else None

    return _follow(gateway, topology, lab, deadline, step)


def words(said: dict[str, Any]) -> str:
    """One line of how far a drain is."""
    left = [f"{said[what]} {text}" for what, text in (("opening", "being opened"), ("stay", "stay")) if said[what]]
    if said["stay_why"]:
        left.append("in a stack: " + ", ".join(f"{count} {why}" for why, count in said["stay_why"].items()))
    to = f" to {said['to']}" if said["to"] else ""
    parts = [f"{said['state']}{to}: {said['flows']} flows told", *left]
    if said["refused"]:
        parts.append(f"{said['refused']} refused")
    return ", ".join(parts)


def _follow(
    gateway: str,
    topology: Topology,
    lab: str | None,
    deadline: float,
    step: Callable[[dict[str, Any]], int | None],
) -> int:
    try:
        endpoints = choose_endpoints([gateway], topology=topology, lab=lab)
    except UnknownNode as error:
        raise BadOrder(str(error)) from error
    until, shown, reached = time.monotonic() + deadline, "", False
    while time.monotonic() < until:
        answers = ask(endpoints, "/status")
        said = next((document["drain"] for document in answers.documents.values() if document.get("drain")), None)
        if said is not None:
            reached = True
            line = words(said)
            if line != shown:
                click.echo(f"{gateway} {line}")
                shown = line
            code = step(said)
            if code is not None:
                return code
        time.sleep(LOOK)
    if not reached:
        click.echo(f"{gateway} does not answer: the order is written, and it follows when it runs", err=True)
        return NOT_REACHABLE
    click.echo(f"not done within {deadline:g} s ({shown}); it goes on: see `braid status {gateway}`", err=True)
    return FAILED


def _check(file: Path, topology: Topology, gateway: str, order: Order, ordered: Mapping[str, Order]) -> None:
    """That an order contradicts neither the routing table nor others."""
    found = contradiction(topology, gateway, order, time.time())
    if found is not None:
        row, why = found
        raise BadOrder(f"{file}: {row.place}: {why}; change the row, or choose another gateway")
    before = [(name, other.to) for name, other in ordered.items() if name != gateway and name in topology.nodes]
    for clash in clashes([*before, (gateway, order.to)]):
        if clash.index == len(before):
            raise BadOrder(f"{clash.message}; {clash.remedy}")


def _topology(file: Path | None, lab: str | None) -> tuple[Path, Topology]:
    if lab is not None:
        from lab.errors import LabError
        from lab.up import attach

        try:
            running = attach(lab)
        except LabError as error:
            raise BadOrder(str(error)) from error
        return running.file, running.topology
    if file is None:
        raise BadOrder("name the topology file with -t FILE, or the lab with --lab NAME")
    return file, load(file)


def _gateways(topology: Topology, gateway: str) -> tuple[str, ...]:
    """Where its connections can go."""
    known = [node.name for node in topology.by_role(Role.GATEWAY)]
    if gateway not in known:
        raise BadOrder(f"there is no gateway {gateway!r}; known: {', '.join(known)}")
    return siblings(topology, gateway)
