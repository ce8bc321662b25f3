"""``braid dns``: why a client gets an answer, and edges taken out of the answers."""

from __future__ import annotations

import json
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from dns.ask import NotExplained, ask_why
from dns.drain import drain_file, read_drained, write_drained
from dns.records import asked_name
from topology.model import Role
from topology.problem import TopologyError
from topology.source import load
from topology.values import DNS_PORT, socket_address

if TYPE_CHECKING:
    from topology.model import SocketAddress, Topology

FAILED, BAD_INPUT, NOT_REACHABLE = 1, 2, 3

file_option = click.option(
    "-t",
    "--topology",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="BRAID_TOPOLOGY",
    help="Topology file.",
)


@click.group("dns")
def dns_group() -> None:
    """Why a client gets an answer, and edges that get no new clients."""


@dns_group.command()
@click.argument("hostname")
@click.option("--client", required=True, metavar="ADDRESS", help="The client, or one of those behind a resolver.")
@click.option("--server", metavar="ADDRESS[:PORT]", help="A DNS node's address. [default: those of -t FILE]")
@file_option
@click.option("--timeout", type=click.FloatRange(min=0.1), default=3.0, show_default=True, help="In seconds.")
@click.option("--json", "as_json", is_flag=True, help="The decision as it is.")
def explain(hostname: str, client: str, server: str | None, file: Path | None, timeout: float, as_json: bool) -> None:
    """Print what a running DNS node answers to CLIENT for HOSTNAME, and why. To be run on the DNS node's host."""
    try:
        asked_name(hostname)
    except ValueError as error:
        _fail(BAD_INPUT, f"{error}; write for instance shop.apps.example")
    try:
        address = ip_address(client)
        servers = (socket_address(server, DNS_PORT),) if server else _listeners(_load(file))
    except ValueError as error:
        _fail(BAD_INPUT, f"{error}; write for instance 192.0.2.1")
    problems: list[str] = []
    for candidate in servers:
        try:
            told = ask_why(candidate, hostname, address, timeout)
        except NotExplained as problem:
            problems.append(str(problem))
            continue
        click.echo(json.dumps(told, indent=2) if as_json else as_text(told))
        sys.exit(FAILED if "error" in told else 0)
    _fail(NOT_REACHABLE, "\n".join(problems) or "the topology has no DNS node")


@dns_group.command()
@click.argument("edge")
@file_option
def drain(edge: str, file: Path | None) -> None:
    """Give EDGE no new clients: its VIPs leave the answers, packets to them are forwarded on.

    To be run on the machine of each DNS node; holds until undrained, also over restarts.
    """
    _change(edge, file, add=True)


@dns_group.command()
@click.argument("edge")
@file_option
def undrain(edge: str, file: Path | None) -> None:
    """Give EDGE new clients again."""
    _change(edge, file, add=False)


def as_text(told: dict[str, Any]) -> str:
    """A decision in lines, the best candidate first."""
    head = f"{told['name']} for {told['client']}"
    if "error" in told:
        return f"{told['name']} {told['error']}"
    lines = [f"{head}: application {told['application']}, decided by {told['node']}"]
    equals = sum(each["equal"] for each in told["candidates"])
    if told["place"]:
        lines.append(f"  the client is at {told['place']}")
    for place, each in enumerate(told["candidates"], 1):
        equal = "" if not each["equal"] else ", best" if equals == 1 else f", one of the {equals} best"
        lost = "" if each["equal"] or not each["top"] else ", clearly slower" if not each["fast"] else ", further away"
        words = [f"{each['standing']}, serves {each['serves']}{equal}{lost}, weight {each['weight']}"]
        if each["behind_ms"] is not None:
            words.append(f"{each['behind_ms']:.1f} ms behind it")
        if each["distance_km"] is not None:
            words.append(f"{each['distance_km']} km away")
        if each["spill"]:
            words.append(f"spills {each['spill']:.0%}")
        lines.append(f"  {place}. {each['edge']}: {', '.join(words)}")
    lines += [f"answer: {', '.join(each['vips'])} of {each['edge']}" for each in told["answer"]]
    if not told["answer"]:
        lines.append("answer: no address")
    lines.append(f"reason: {_REASONS[told['reason']]}")
    lines.append(f"right for: every client in its /{told['scope']}; TTL {told['ttl']} s")
    return "\n".join(lines)


_REASONS = {
    "best": "best, the only one of its rank",
    "fastest": "fastest, the only one of its rank that none is clearly sooner than",
    "nearest": "nearest, the only one of its rank and speed near the client",
    "sticky": "sticky, one of several of equal rank by the client's prefix",
    "fail_open": "fail_open, no edge is in working order: every VIP",
    "fail_closed": "fail_closed, no edge is in working order, and `fallback` is none",
}


def _change(edge: str, file: Path | None, *, add: bool) -> None:
    topology = _load(file)
    assert file is not None
    edges = [node.name for node in topology.by_role(Role.EDGE)]
    place = drain_file(file)
    try:
        drained = read_drained(place)
        if edge not in edges and (add or edge not in drained):
            _fail(BAD_INPUT, f"there is no edge {edge!r}; known: {', '.join(edges)}")
        after = drained | {edge} if add else drained - {edge}
        write_drained(place, after)
    except OSError as error:
        _fail(FAILED, f"{place}: {error.strerror}")
    left = [name for name in edges if name not in after]
    click.echo(f"drained: {', '.join(sorted(after)) or 'none'}; with new clients: {', '.join(left) or 'none'}")
    if not left:
        click.echo("every edge is drained: clients get the best of them as before", err=True)


def _listeners(topology: Topology) -> tuple[SocketAddress, ...]:
    return tuple(address for node in topology.by_role(Role.DNS) for address in node.dns_listen)


def _load(file: Path | None) -> Topology:
    if file is None:
        _fail(BAD_INPUT, "name the topology file with -t FILE")
    try:
        return load(file)
    except TopologyError as error:
        _fail(BAD_INPUT, "\n".join(str(problem) for problem in error.problems))


def _fail(code: int, message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)
