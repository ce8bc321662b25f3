"""Labs for these tests: the demo's topology under another name, and what puts a lab in order again after a test."""

from __future__ import annotations

import time
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from content.advertise import EVERY
from lab import document as documents
from lab import link
from lab.impairment import Impairment
from lab.running import RunningLab, take_down
from lab.up import up
from topology.model import Role
from topology.vips import vip_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from topology.model import IPAddress

READY_WITHIN = 60.0
"""Seconds, twice as long as a user would wait: a dozen processes begin at once, and two labs beside each other."""


def demo(name: str) -> dict[str, Any]:
    """That of ``lab.document``, with two more applications that have a single gateway region.

    ``solo`` sends two copies, ``single`` one.
    """
    document = documents.demo(name)
    document["applications"]["solo"] = {
        "hostnames": ["solo.apps.example"],
        "ports": ["any"],
        "targets": [{"address": "10.93.0.11"}, {"address": "fd93::11"}],
        "gateways": ["gw-sto"],
        "copies": 2,
    }
    document["applications"]["single"] = {
        **deepcopy(document["applications"]["solo"]),
        "hostnames": ["single.apps.example"],
        "copies": 1,
    }
    return document


def one_family(document: dict[str, Any], version: int) -> None:
    """Leaves the underlay addresses of one IP version."""

    def keep(addresses: list[str]) -> list[str]:
        return [text for text in addresses if (":" in text) == (version == 6)]

    for node in document["nodes"].values():
        node["underlay"] = keep(node["underlay"])
    document["lab"]["underlay"] = keep(document["lab"]["underlay"])


def write(document: dict[str, Any], directory: Path) -> Path:
    file = directory / f"{document['name']}.yaml"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    return file


def name_for(request: pytest.FixtureRequest) -> str:
    """Of a lab that several files have: two of them may be run at the same time."""
    return str(request.module.__name__).rpartition("test_")[2].replace("_", "")


@contextmanager
def running(document: dict[str, Any], directory: Path) -> Iterator[RunningLab]:
    """The lab of a document, up and with all its copies; removed at the end, also one that an earlier run left."""
    take_down(document["name"])
    with up(write(document, directory), ready_timeout=READY_WITHIN) as lab:
        wait_protected(lab)
        yield lab


def put_far(lab: RunningLab, edge: str, delay_ms: float) -> None:
    """An edge so far from all relays, one way, whichever of them its paths go through."""
    for name, node in lab.topology.nodes.items():
        if lab.topology.regions[node.region].role is Role.INTERMEDIATE:
            lab.impair(edge, name, Impairment(delay_ms=delay_ms))


def mend(lab: RunningLab) -> None:
    """All links perfect, all members running, all copies sent."""
    known = link.all_counters(lab.plan)
    for each in lab.plan.links:
        if known.get(each.name, {}).get("attached"):
            lab.impair(each.a.member, each.b.member, None)
    members = [name for name, member in lab.plan.members.items() if member.kind != "client"]
    for name in members:
        if not lab.alive(name):
            lab.start(name)
    for name in members:
        lab.wait_ready(name)
    wait_protected(lab)


def wait_protected(lab: RunningLab, timeout: float = 15.0) -> float:
    """Seconds until every edge sends all copies to the gateway each application prefers, and gateways theirs back."""
    began = time.monotonic()
    while True:
        lacking = list(_lacking(lab))
        if not lacking:
            return time.monotonic() - began
        if time.monotonic() - began > timeout:
            pytest.fail(f"not protected after {timeout:g} s: {'; '.join(lacking)}")
        time.sleep(0.1)


def _lacking(lab: RunningLab) -> Iterator[str]:
    nodes = lab.topology.nodes
    edges = [name for name, node in nodes.items() if node.role.value == "edge"]
    for edge in edges:
        for application in lab.status(edge)["applications"]:
            wanted = lab.topology.applications[application["name"]].gateways[0]
            chosen = nodes.get(application["gateway"])
            if chosen is None or chosen.region != wanted:
                yield f"{edge}: {application['name']} goes to {application['gateway']}, not {wanted}"
            elif application["copies_usable"] < application["copies_wanted"]:
                yield f"{edge}: {application['name']} {application['protection']}"
    for gateway in (name for name, node in nodes.items() if node.role.value == "gateway"):
        paths = lab.status(gateway)["paths"]
        for edge in edges:
            usable = sum(path["peer"] == edge and path["in_use"] and path["up"] for path in paths)
            if usable < 2:
                yield f"{gateway}: {usable} paths to {edge}"


def until(holds: Callable[[], object], patience: float = 20.0) -> None:
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def store(lab: RunningLab, proxy: str, *urls: str, client: str = "client") -> None:
    """Has a content proxy fetch all of it, each for the first time, and returns when gateways know: before they have
    heard of it nothing is offered."""
    words = ["curl", "-sS", "--fail", "--retry", "20", "--retry-all-errors", "--retry-delay", "1"]
    before = lab.status(proxy)["content"]["answers"]
    settings = lab.topology.nodes[proxy].content
    assert settings is not None
    for url in urls:
        lab.exec(client, [*words, "--connect-to", f"::{settings.listen[0]}", "-o", "/dev/null", url], timeout=60)
    until(lambda: lab.status(proxy)["content"]["answers"] == before + len(urls))
    time.sleep(3 * EVERY)


def vip(lab: RunningLab, application: str, version: int = 4, edge: str = "edge-fra-1") -> str:
    """The address under which the clients of an edge reach an application."""
    found: tuple[IPAddress, ...] = tuple(
        each.address for each in vip_for(lab.topology, edge, application) if each.address.version == version
    )
    return str(found[0])


def relays(lab: RunningLab, edge: str, gateway: str) -> tuple[str, ...]:
    """The intermediates that were chosen for packets from an edge to a gateway, in the order of path ids: those of
    applications with two copies, and those of single copies, which may be others."""
    paths = [path for path in lab.status(edge)["paths"] if path["peer"] == gateway and path["in_use"]]
    return tuple(path["route"][0] for path in sorted(paths, key=lambda path: int(path["id"])))


def pair(lab: RunningLab, edge: str, gateway: str, timeout: float = 15.0) -> tuple[str, str]:
    """The intermediates that both carry packets of applications with two copies, in the order of path ids."""
    deadline = time.monotonic() + timeout
    while True:
        status = lab.status(edge)
        active = [each["active"] for each in status["path_sets"] if (each["peer"], each["number"]) == (gateway, 2)]
        routes = {path["id"]: path["route"] for path in status["paths"] if path["peer"] == gateway and path["in_use"]}
        # What only stands in for a path that is silent at the moment is not in use.
        match tuple(routes[number][0] for each in active for number in sorted(each) if number in routes):
            case (one, other):
                return one, other
            case found if time.monotonic() > deadline:
                pytest.fail(f"{edge} sends through {found} to {gateway} after {timeout:g} s")
        time.sleep(0.1)
