"""Prometheus and Grafana beside a Braid in containers: the compose profile ``observability``.

``targets`` writes down once whom to scrape, so the files in deploy/ need no change for another topology.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from topology.model import IPAddress, IPNetwork

PROFILE = "observability"
TARGETS, PROMETHEUS, GRAFANA = "targets", "prometheus", "grafana"
SERVICES = (TARGETS, PROMETHEUS, GRAFANA)
_IMAGES = {
    PROMETHEUS: "${PROMETHEUS_IMAGE:-prom/prometheus:v2.55.1}",
    GRAFANA: "${GRAFANA_IMAGE:-grafana/grafana:11.3.0}",
}


def services(
    topology_mount: str, topology_file: str, network: str, prefixes: Sequence[IPNetwork], taken: frozenset[IPAddress],
    after: dict[str, Any], healthcheck: dict[str, Any],
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """``network`` is the one on which the nodes' status endpoints are; ``after`` what the image has to wait for,
    ``healthcheck`` the check of a service that is done once /tmp/ready is there."""
    places = {name: _attached(prefixes, taken, index) for index, name in enumerate((PROMETHEUS, GRAFANA))}
    write = f"python -m topology.targets {topology_file} >/targets/braid.json"
    return {
        TARGETS: {
            "image": "braid",
            "profiles": [PROFILE],
            "command": ["sh", "-c", f"{write} && touch /tmp/ready && exec sleep infinity"],
            "depends_on": after,
            "network_mode": "none",
            "cap_drop": ["ALL"],
            "stop_signal": "SIGKILL",
            "volumes": [topology_mount, f"{TARGETS}:/targets"],
            "healthcheck": healthcheck,
        },
        PROMETHEUS: {
            "image": _IMAGES[PROMETHEUS],
            "profiles": [PROFILE],
            "command": [
                "--config.file=/etc/prometheus/prometheus.yml",
                "--storage.tsdb.path=/prometheus",
                "--storage.tsdb.retention.time=2d",
            ],
            "depends_on": {TARGETS: {"condition": "service_healthy"}},
            "cap_drop": ["ALL"],
            "volumes": [
                "./deploy/prometheus/prometheus.yml:/etc/prometheus/prometheus.yml:ro",
                "./deploy/prometheus/rules.yml:/etc/prometheus/rules.yml:ro",
                f"{TARGETS}:/etc/prometheus/targets:ro",
            ],
            "networks": {network: places[PROMETHEUS]},
            "ports": ["127.0.0.1:9090:9090"],
        },
        GRAFANA: {
            "image": _IMAGES[GRAFANA],
            "profiles": [PROFILE],
            "depends_on": {PROMETHEUS: {"condition": "service_started"}},
            "cap_drop": ["ALL"],
            "environment": {
                "GF_AUTH_ANONYMOUS_ENABLED": "true",
                "GF_ANALYTICS_REPORTING_ENABLED": "false",
                "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
            },
            "volumes": [
                "./deploy/grafana/provisioning:/etc/grafana/provisioning:ro",
                "./deploy/grafana/braid.json:/var/lib/grafana/dashboards/braid.json:ro",
            ],
            "networks": {network: places[GRAFANA]},
            "ports": ["127.0.0.1:3000:3000"],
        },
    }


def _attached(prefixes: Iterable[IPNetwork], taken: frozenset[IPAddress], index: int) -> dict[str, str]:
    """Fixed addresses from the end of each prefix, where Docker takes none by itself."""
    return {f"ipv{prefix.version}_address": str(_free(prefix, taken, index)) for prefix in prefixes}


def _free(prefix: IPNetwork, taken: frozenset[IPAddress], index: int) -> IPAddress:
    last = int(prefix.broadcast_address) - 1
    first = int(prefix.network_address)
    made = type(prefix.network_address)
    free = (made(number) for number in range(last, first, -1) if made(number) not in taken)
    for _ in range(index):
        next(free)
    return next(free)
