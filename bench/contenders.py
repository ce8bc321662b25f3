"""Ways from the client to the origin of one lab: the kernel's own forwarding, Braid with two copies and one, peers."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench import figures, nebula, wireguard
from bench.routes import route
from lab import netns
from lab.running import take_down
from lab.up import up
from topology.model import Role
from topology.vips import vip_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lab.running import RunningLab

LAB = Path(__file__).with_name("lab.yaml")
CLIENT, ORIGIN = "client", "origin-1"
PLAIN = ("edge-fra-1", "mid-ams-1", "gw-mil-1")
"""Nodes that forward for the kernel: the cheaper one of Braid's two paths."""


@dataclass(frozen=True, slots=True)
class Contender:
    key: str
    name: str
    address: str
    """Where the client sends to."""
    origin: str = "10.93.0.10"
    """Where that arrives."""
    copies: int = 1
    processes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Of "edge", "intermediates" and "gateway", where it has such processes."""


@contextmanager
def lab_of_contenders(directory: Path) -> Iterator[tuple[RunningLab, tuple[Contender, ...], tuple[str, ...]]]:
    """The topology of ``LAB`` on plain veth pairs, removed at the end. All contenders work at the same time.

    Also gives, one line each, why others are left out. ``directory`` is for files.
    """
    # A copy, since the lab's credentials are put beside the file.
    file = directory / LAB.name
    file.write_text(LAB.read_text())
    take_down("bench")
    with up(file, direct=True) as lab, ExitStack() as stack:
        forward_plainly(lab)
        contenders = [Contender(figures.KERNEL, "kernel forwarding", "10.93.0.10"), _braid(lab, 2), _braid(lab, 1)]
        missing = []
        if (program := wireguard.program()) is None:
            missing.append("wireguard-go is left out: set WIREGUARD_GO or install it, and wg of wireguard-tools")
        else:
            tunnel = stack.enter_context(wireguard.tunnel(lab, program, PLAIN, ORIGIN))
            name = f"wireguard-go {wireguard.version(program)}"
            contenders.append(_peer(figures.WIREGUARD, name, tunnel.address, tunnel.processes))
        if (programs := nebula.programs()) is None:
            missing.append("nebula is left out: set NEBULA or install it, with nebula-cert")
        else:
            tunnel = stack.enter_context(nebula.tunnel(lab, programs, PLAIN, ORIGIN, directory))
            name = f"nebula {nebula.version(programs.nebula)}"
            contenders.append(_peer(figures.NEBULA, name, tunnel.address, tunnel.processes))
        yield lab, tuple(contenders), tuple(missing)


def _peer(key: str, name: str, address: str, processes: Mapping[str, tuple[int, ...]]) -> Contender:
    return Contender(key, name, address, address, 1, processes)


def _braid(lab: RunningLab, copies: int) -> Contender:
    vip = str(vip_for(lab.topology, PLAIN[0], f"copies-{copies}")[0].address)
    relays = tuple(lab.nodes[node.name] for node in lab.topology.nodes.values() if node.role is Role.INTERMEDIATE)
    processes = {"edge": (lab.nodes[PLAIN[0]],), "intermediates": relays, "gateway": (lab.nodes[PLAIN[2]],)}
    key, name = {
        1: (figures.BRAID_1, "Braid, 1 copy over 1 relay"),
        2: (figures.BRAID_2, "Braid, 2 copies over 2 relays"),
    }[copies]
    return Contender(key, name, vip, copies=copies, processes=processes)


def forward_plainly(lab: RunningLab) -> None:
    """Routes between the client's and the origin's network along ``PLAIN``; the VIPs' more specific routes stay."""
    clients, origins = (next(n for n in lab.topology.lab.networks if host in n.members) for host in (CLIENT, ORIGIN))
    edge, relay, gateway = (lab.topology.nodes[name].underlay[0] for name in PLAIN)
    netns.write_sysctls(lab.namespace(PLAIN[1]), [("ipv4/ip_forward", "1")])
    for member, prefix, via in (
        (PLAIN[0], origins.prefixes[0], relay),
        (PLAIN[1], origins.prefixes[0], gateway),
        (PLAIN[1], clients.prefixes[0], edge),
        (PLAIN[2], clients.prefixes[0], relay),
        (ORIGIN, clients.prefixes[0], origins.members[PLAIN[2]][0]),
    ):
        route(lab, member, str(prefix), via)
