"""What is made from a topology: the compose file, the tables of ``braid check``, the sample and the examples."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.topology.base import TEXT, changed
from topology import effective, observability
from topology.check import TopologyError
from topology.compose import render
from topology.model import Role, SocketAddress
from topology.sample import SAMPLE
from topology.source import load, parse
from topology.targets import targets

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "topology" / "examples").glob("*.yaml"))


def demo_compose() -> Any:
    return yaml.safe_load(render(load(ROOT / "lab" / "demo.yaml")))


def test_the_compose_file_in_the_repository_is_made_from_the_demo() -> None:
    """If this fails: braid compose lab/demo.yaml > docker-compose.yml"""
    assert (ROOT / "docker-compose.yml").read_text() == render(load(ROOT / "lab" / "demo.yaml"))


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is not installed")
def test_docker_compose_accepts_the_file(tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yml").write_text(render(load(ROOT / "lab" / "demo.yaml")))
    command = ["docker-compose", "-f", str(tmp_path / "docker-compose.yml"), "config"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    read = yaml.safe_load(ran.stdout)
    assert read["services"]["client"]["depends_on"]["dns-1"] == {"condition": "service_healthy"}
    assert read["services"]["pki"]["build"]["args"]["BASE_IMAGE"] == "python:3.11-slim-bookworm"


def test_every_machine_of_the_demo_is_a_service_with_its_addresses() -> None:
    topology, document = load(ROOT / "lab" / "demo.yaml"), demo_compose()
    services = document["services"]
    extra = {"pki", *observability.SERVICES}
    assert set(services) == {*extra, *topology.nodes, *(host.name for host in topology.lab.hosts)}
    for node in topology.nodes.values():
        attached = services[node.name]["networks"]["underlay"]
        assert [attached["ipv4_address"], attached["ipv6_address"]] == [str(address) for address in node.underlay]
    for network in topology.lab.networks:
        for member, addresses in network.members.items():
            assert list(services[member]["networks"][network.name].values()) == [str(address) for address in addresses]
        assert [{"subnet": str(prefix)} for prefix in network.prefixes] == document["networks"][network.name]["ipam"][
            "config"
        ]


def test_containers_have_no_more_rights_than_they_need() -> None:
    topology, services = load(ROOT / "lab" / "demo.yaml"), demo_compose()["services"]
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"]
        assert "privileged" not in service
        assert set(service.get("cap_add", ())) <= {"NET_ADMIN", "NET_RAW", "NET_BIND_SERVICE"}
        carries = name in topology.nodes and topology.nodes[name].role in ("edge", "gateway", "content")
        assert ("devices" in service) is carries
        assert ("sysctls" in service) is carries
        assert ("build" in service) is (name == "pki")


def test_observability_is_a_profile_of_its_own_with_addresses_that_nobody_has() -> None:
    topology, services = load(ROOT / "lab" / "demo.yaml"), demo_compose()["services"]
    in_profile = {name for name, service in services.items() if service.get("profiles") == ["observability"]}
    assert in_profile == set(observability.SERVICES)
    taken = {str(address) for node in topology.nodes.values() for address in node.underlay}
    for name in ("prometheus", "grafana"):
        addresses = set(services[name]["networks"]["underlay"].values())
        assert len(addresses) == 2
        assert not addresses & taken
        taken |= addresses
        assert all(port.startswith("127.0.0.1:") for port in services[name]["ports"])
        for volume in services[name]["volumes"]:
            source = volume.split(":")[0]
            assert not source.startswith("./") or (ROOT / source).exists(), source


def test_prometheus_is_told_every_status_endpoint() -> None:
    topology = load(ROOT / "lab" / "demo.yaml")
    found = {entry["labels"]["node"]: entry["targets"] for entry in targets(topology)}
    assert found == {node.name: [str(node.status)] for node in topology.nodes.values()}
    anywhere = replace(topology.nodes["edge-fra-1"], status=SocketAddress(ip_address("0.0.0.0"), 7481))
    (entry,) = targets(replace(topology, nodes={"edge-fra-1": anywhere}))
    assert entry["targets"] == ["10.90.0.11:7481"]
    assert entry["labels"] == {"node": "edge-fra-1", "role": "edge", "region": "edge-fra"}


def test_start_order_and_resolver() -> None:
    services = demo_compose()["services"]
    assert set(services["edge-fra-1"]["depends_on"]) == {"pki"}
    assert {"dns-1", "gw-mil-1", "origin-2"} <= set(services["client-2"]["depends_on"])
    assert services["client"]["dns"] == ["10.91.1.53"]
    assert services["client-2"]["dns"] == ["10.91.2.53"]
    assert services["edge-fra-1"]["healthcheck"]["test"] == ["CMD", "braid", "ready", "http://10.90.0.11:7480"]


def test_a_machine_on_the_first_address_moves_the_gateway_of_docker() -> None:
    document = yaml.safe_load(render(parse(TEXT, "t.yaml"), "t.yaml"))
    assert document["networks"]["underlay"]["ipam"]["config"] == [{"subnet": "192.0.2.0/24", "gateway": "192.0.2.6"}]
    assert "enable_ipv6" not in document["networks"]["underlay"]
    assert document["services"]["e-1"]["volumes"][0] == "./t.yaml:/etc/braid/topology.yaml:ro"
    assert render(parse(TEXT, "t.yaml"), "t.yaml").startswith("# Made by `braid compose t.yaml`")


def test_compose_needs_a_lab_and_names_of_its_own() -> None:
    with pytest.raises(TopologyError, match=r"lab\.underlay: missing"):
        render(load(EXAMPLES[0]))
    clash = changed(("  m-1:", "  pki:"), ("clients:", "underlay:"))
    with pytest.raises(TopologyError, match="service of this name") as caught:
        render(parse(clash, "t.yaml"))
    assert len(caught.value.problems) == 2


def test_sample_is_valid_and_complete() -> None:
    topology = parse(SAMPLE, "sample")
    assert list(effective.warnings(topology)) == []
    assert {node.role for node in topology.nodes.values()} == set(Role)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_examples_are_valid(file: Path) -> None:
    topology = load(file)
    assert topology.vips
    assert [text for text in effective.warnings(topology) if "role dns" not in text] == []


def test_there_are_examples() -> None:
    assert {"minimal", "two-gateways"} <= {file.stem for file in EXAMPLES}


def test_effective_text_of_the_demo() -> None:
    text = effective.as_text(load(ROOT / "lab" / "demo.yaml"))
    assert "  edge-fra-1  shop         10.91.1.173     shop.apps.example\n" in text
    assert "  edge-fra  gw-sto   1     25    mid-par\n" in text
    assert "  gw-mil-1  fd93::2:0/126   4" in text
    assert "warning" not in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_effective_json_of_the_demo() -> None:
    document = json.loads(effective.as_json(load(ROOT / "lab" / "demo.yaml")))
    assert set(document) == {
        "name",
        "zone",
        "nodes",
        "edges",
        "vips",
        "proxies",
        "content",
        "transfers",
        "drains",
        "disjoint_paths",
        "redundancy",
        "snat_pools",
        "warnings",
    }
    assert document["edges"][0] == {
        "edge": "edge-fra-1", "weight": 1, "capacity": "-", "location": "50.11,8.68",
        "serves": "10.91.1.0/24 fd91:1::/64",
    }  # fmt: skip
    assert document["disjoint_paths"][0] == {
        "edge": "edge-fra", "gateway": "gw-sto", "path": 0, "cost": 17, "intermediates": "mid-ams",
        "why": "cheapest disjoint pair; runner-up via mid-lon +2 ms",
    }  # fmt: skip


def test_the_redundancy_of_each_application_is_shown_with_the_paths_there_are() -> None:
    text = changed(
        ("    gateways: [g]", "    target_loss: 1e-5\n    max_copies: 4\n    deadline: 65\n    gateways: [g]")
    )
    topology = parse(text, "net.yaml")
    rows = next(table.rows for table in effective.tables(topology) if table.title == "redundancy")
    policy = "loss at most 1e-05, 2 to 4 copies, at most 2.1 in the mean of a day, within 65 ms"
    assert rows == (("shop", policy, "2 of 4"),)
    assert any("1e-05 cannot be proved with less than 500 packets" in line for line in effective.warnings(topology))
    assert next(table.rows for table in effective.tables(parse(TEXT, "net.yaml")) if table.title == "redundancy") == (
        ("shop", "2 copies", "2 of 2"),
    )


def test_warnings() -> None:
    text = changed(
        ("m-1: {", 'm-1: {status: "0.0.0.0:80", '),
        ("  d: {role: dns}\n", "  f: {role: edge}\n"),
        ("region: d, ", "region: f, vip_pools: [10.9.0.0/28], "),
        (', dns_listen: ["10.1.0.53:53"]', ""),
        ("cost: 1}\napp", "cost: 1}\n  - {between: [f, m]}\napp"),
        (
            "lab:\n",
            "  one: {hostnames: [one.apps.example], ports: [any], targets: [{address: 10.2.0.9}], copies: 1}\nlab:\n",
        ),
    )
    topology = parse(text, "t.yaml")
    assert list(effective.warnings(topology)) == [
        "no node has the role dns: nothing answers for the hostnames",
        "nodes.m-1.status: open on every address of the machine, and it has no login",
        "applications.shop.copies: 2 are asked for, f to g has 1 disjoint path",
        "applications.one.copies: 1 copy, so every loss and failure of a path is felt",
    ]
    assert effective.as_text(topology).count("\n\nwarning: ") == 4
