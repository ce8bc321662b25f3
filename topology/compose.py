"""A Docker Compose file of a topology with a lab: nodes, clients and origins as containers with fixed addresses.

For docker-compose 1.29 and Compose 2, hence no ``version:`` (the Compose specification). Every address is fixed, so
Docker's own address management can never give a VIP to a container.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import yaml

from topology import observability
from topology.model import IPAddress, IPNetwork, LabHost, LabNetwork, Node, Role, Topology
from topology.problem import Problem, TopologyError
from topology.table import takes_transfers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

TOPOLOGY = "/etc/braid/topology.yaml"
PKI = "/pki"
UNDERLAY = "underlay"
KEYS = "pki"
"""The service that makes the credentials, and the volume that holds them."""

_BUILD = {
    "context": ".",
    "args": {
        "BUILD_IMAGE": "${BUILD_IMAGE:-rust:1-slim-bookworm}",
        "BASE_IMAGE": "${BASE_IMAGE:-python:3.11-slim-bookworm}",
    },
}
_ROUTER = {
    "net.ipv4.ip_forward": 1,
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.default.rp_filter": 0,
    "net.ipv6.conf.all.disable_ipv6": 0,
    "net.ipv6.conf.all.forwarding": 1,
    "net.ipv6.conf.all.proxy_ndp": 1,
}
_CAPABILITIES = {
    Role.EDGE: ["NET_ADMIN"],
    Role.INTERMEDIATE: ["NET_ADMIN"],
    Role.GATEWAY: ["NET_ADMIN"],
    Role.DNS: ["NET_ADMIN", "NET_BIND_SERVICE"],
    Role.CONTENT: ["NET_ADMIN", "NET_BIND_SERVICE"],
}


def render(topology: Topology, file: str = "lab/demo.yaml") -> str:
    """The compose file's text; ``file`` is the topology file, relative to the directory of the compose file.

    Raises ``TopologyError`` when the topology's lab does not say on which networks the containers are.
    """
    _check(topology, file)
    nodes, hosts = topology.nodes.values(), topology.lab.hosts
    services = {
        KEYS: _keys(file),
        **{node.name: _node(topology, node, file) for node in nodes},
        **{host.name: _host(topology, host) for host in hosts if host.kind == "origin"},
        **{host.name: _host(topology, host) for host in hosts if host.kind == "client"},
        **_observability(topology, file),
    }
    document = {
        "services": services,
        "networks": {name: _network(prefixes, taken) for name, prefixes, taken in _segments(topology)},
        "volumes": {KEYS: {}, observability.TARGETS: {}},
    }
    header = (
        f"# Made by `braid compose {file}`; change that file and run the command again.\n"
        "# BUILD_IMAGE and BASE_IMAGE in the environment replace the base images of the build.\n"
        "# With --profile observability: Prometheus on 127.0.0.1:9090, Grafana on 127.0.0.1:3000.\n"
    )
    return header + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120, default_flow_style=None)


class _Dumper(yaml.SafeDumper):
    """Writes repeated values out: the file is read by people, and anchors would hide what a service has."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _check(topology: Topology, file: str) -> None:
    def wrong(key: str, message: str, remedy: str) -> Problem:
        return Problem(file, key, message, remedy)

    problems = []
    if not topology.lab.underlay:
        problems.append(wrong("lab.underlay", "missing", "add the prefixes of the nodes' underlay addresses"))
    names = [*topology.nodes, *(host.name for host in topology.lab.hosts)]
    problems += [
        wrong(name, "the compose file has a service of this name", "rename the node or lab host")
        for name in (KEYS, *observability.SERVICES)
        if name in names
    ]
    if any(network.name == UNDERLAY for network in topology.lab.networks):
        problems.append(wrong(f"lab.networks.{UNDERLAY}", "the underlay has this name", "rename the network"))
    if problems:
        raise TopologyError(problems)


def _keys(file: str) -> dict[str, Any]:
    """Makes the credentials if there are none, then stays, so that others can wait until it is healthy.

    It is also the one service that builds the image.
    """
    make = f"braid pki init --if-missing -t {TOPOLOGY} --pki {PKI} && touch /tmp/ready && exec sleep infinity"
    return {
        "build": _BUILD,
        "image": "braid",
        "command": ["sh", "-c", make],
        "network_mode": "none",
        "cap_drop": ["ALL"],
        "stop_signal": "SIGKILL",
        "volumes": [f"{_mounted(file)}:{TOPOLOGY}:ro", f"{KEYS}:{PKI}"],
        "healthcheck": _healthcheck(["test", "-e", "/tmp/ready"], interval=1),
    }


def _observability(topology: Topology, file: str) -> dict[str, Any]:
    return observability.services(
        topology_mount=f"{_mounted(file)}:{TOPOLOGY}:ro",
        topology_file=TOPOLOGY,
        network=UNDERLAY,
        prefixes=topology.lab.underlay,
        taken=frozenset(address for node in topology.nodes.values() for address in node.underlay),
        after=_after([KEYS]),
        healthcheck=_healthcheck(["test", "-e", "/tmp/ready"], interval=1),
    )


def _node(topology: Topology, node: Node, file: str) -> dict[str, Any]:
    service: dict[str, Any] = {
        "image": "braid",
        "hostname": node.name,
        "command": ["braid", "run", node.name, "-t", TOPOLOGY, "--pki", PKI],
        "depends_on": _after([KEYS]),
        "cap_drop": ["ALL"],
        "cap_add": _CAPABILITIES[node.role],
        "volumes": [f"{_mounted(file)}:{TOPOLOGY}:ro", *_files(topology, node, file), f"{KEYS}:{PKI}:ro"],
        "networks": _attachments(topology, node.name, node.underlay),
        "healthcheck": _healthcheck(["braid", "ready", f"http://{node.status}"]),
    }
    if node.role in (Role.EDGE, Role.GATEWAY) or takes_transfers(topology, node.name):
        service["devices"] = ["/dev/net/tun:/dev/net/tun"]
        service["sysctls"] = _ROUTER
    return service


def _files(topology: Topology, node: Node, file: str) -> Iterator[str]:
    """Certificates, keys and authorities that a node reads, beside its topology file as here."""
    beside = PurePosixPath(file).parent
    for name in dict.fromkeys(_names_of_files(topology, node)):
        there = PurePosixPath(TOPOLOGY).parent / name
        yield f"{_mounted(str(beside / name))}:{there}:ro"


def _names_of_files(topology: Topology, node: Node) -> Iterator[str]:
    proxies = (
        application.proxy.tls
        for application in topology.applications.values()
        if node.role is Role.GATEWAY and node.region in application.gateways and application.proxy is not None
    )
    for tls in (*proxies, node.content.tls if node.content is not None else None):
        for pair in tls.certificates if tls is not None else ():
            yield from (pair.certificate, pair.key)
    if node.content is not None and node.content.origin_ca:
        yield node.content.origin_ca


def _host(topology: Topology, host: LabHost) -> dict[str, Any]:
    service: dict[str, Any] = {"image": "braid", "hostname": host.name, "stop_signal": "SIGKILL", "cap_drop": ["ALL"]}
    if host.kind == "origin":
        service["command"] = ["python", "-m", "lab.origin", "--name", host.name]
        service["depends_on"] = _after([KEYS])
        service["cap_add"] = ["NET_BIND_SERVICE"]
        connect = "import socket; socket.create_connection(('127.0.0.1', 80), 1)"
        service["healthcheck"] = _healthcheck(["python", "-c", connect])
    else:
        others = [other.name for other in topology.lab.hosts if other.kind == "origin"]
        service["command"] = ["sleep", "infinity"]
        service["depends_on"] = _after([*topology.nodes, *others])
        service["cap_add"] = ["NET_RAW"]
        service["healthcheck"] = _healthcheck(["true"])
        if resolvers := _resolvers(topology, host.name):
            service["dns"] = resolvers
    service["networks"] = _attachments(topology, host.name, ())
    return service


def _resolvers(topology: Topology, client: str) -> list[str]:
    """DNS nodes' addresses on the client's networks; IPv4 alone if there is any, for it is enough."""
    prefixes = [prefix for network in topology.lab.networks if client in network.members for prefix in network.prefixes]
    listeners = [
        listener.host
        for node in topology.by_role(Role.DNS)
        for listener in node.dns_listen
        if listener.port == 53 and any(_holds(prefix, listener.host) for prefix in prefixes)
    ]
    family = min((address.version for address in listeners), default=4)
    return [str(address) for address in listeners if address.version == family]


def _attachments(topology: Topology, member: str, underlay: tuple[IPAddress, ...]) -> dict[str, dict[str, str]]:
    on_networks = {
        network.name: network.members[member] for network in topology.lab.networks if member in network.members
    }
    if underlay:
        on_networks = {UNDERLAY: underlay, **on_networks}
    return {
        name: {f"ipv{address.version}_address": str(address) for address in addresses}
        for name, addresses in on_networks.items()
    }


def _segments(topology: Topology) -> Iterable[tuple[str, Sequence[IPNetwork], frozenset[IPAddress]]]:
    underlay = frozenset(address for node in topology.nodes.values() for address in node.underlay)
    yield UNDERLAY, topology.lab.underlay, underlay
    for network in topology.lab.networks:
        yield network.name, network.prefixes, _members(network)


def _members(network: LabNetwork) -> frozenset[IPAddress]:
    return frozenset(address for addresses in network.members.values() for address in addresses)


def _network(prefixes: Sequence[IPNetwork], taken: frozenset[IPAddress]) -> dict[str, Any]:
    network: dict[str, Any] = {"driver": "bridge"}
    if any(prefix.version == 6 for prefix in prefixes):
        network["enable_ipv6"] = True
    network["ipam"] = {"config": [_subnet(prefix, taken) for prefix in prefixes]}
    return network


def _subnet(prefix: IPNetwork, taken: frozenset[IPAddress]) -> dict[str, str]:
    """Docker puts its gateway on the first host address; where a machine of the lab has that, on the next free one."""
    subnet = {"subnet": str(prefix)}
    first = prefix.network_address + 1
    if first in taken:
        subnet["gateway"] = str(next(address for address in prefix.hosts() if address not in taken))
    return subnet


def _mounted(file: str) -> str:
    """As compose wants it: a path that does not begin with ``.`` or ``/`` would name a volume."""
    return file if file.startswith(("/", "./", "../")) else f"./{file}"


def _holds(prefix: IPNetwork, address: IPAddress) -> bool:
    return prefix.version == address.version and address in prefix


def _after(services: Iterable[str]) -> dict[str, dict[str, str]]:
    return {service: {"condition": "service_healthy"} for service in services}


def _healthcheck(command: list[str], interval: int = 4) -> dict[str, Any]:
    """Two minutes are enough for a slow machine; a check each second on every container would itself load it."""
    return {"test": ["CMD", *command], "interval": f"{interval}s", "timeout": "5s", "retries": 120 // interval}
