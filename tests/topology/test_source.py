from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from braid.transfer import IF_GONE
from tests.topology.base import TEXT, changed
from topology.check import TopologyError
from topology.graph import default_links, neighbour_counts, neighbours
from topology.model import CheckKind, Link, PortRange, Protocol, Role, ServiceMode, SocketAddress, Topology
from topology.numbers import MAX_NODES, free_number, node_number
from topology.source import load, parse
from topology.text import read
from topology.values import socket_address

ROOT = Path(__file__).parents[2]


def is_topology_or_error(text: str | bytes) -> None:
    try:
        outcome: Topology | TopologyError = parse(text, "t.yaml")
    except TopologyError as error:
        outcome = error
    if isinstance(outcome, TopologyError):
        assert outcome.problems
        assert str(outcome) == "\n".join(str(problem) for problem in outcome.problems)


@given(st.text() | st.binary())
@example("\ud800")
@example("&a [*a]")
@example("a: [")
@example("? {}\n: 1")
@example("9" * 5000)
@example("braid: .inf")
@example("braid: 1e999")
@example("{" * 5000)
@example("%YAML 3.0\n---\na: 1")
@example("- - - a\n  b: \n c")
@example(b"\xff\xfe\x00")
def test_anything_gives_a_topology_or_a_topology_error(text: str | bytes) -> None:
    is_topology_or_error(text)


PIECES = st.sampled_from(
    [
        *TEXT.splitlines(),
        "  x: 1",
        "- 1",
        "nodes:",
        "regions: []",
        "links: 3",
        "lab: {networks: {a: }}",
        "\t",
        "a: &b *b",
    ]
)


@settings(max_examples=200)
@given(st.lists(PIECES, max_size=45))
def test_shuffled_lines_give_a_topology_or_a_topology_error(lines: list[str]) -> None:
    is_topology_or_error("\n".join(lines))


JUNK = st.sampled_from(["", "0", "-1", "x", "[]", "{}", "[[]]", "null", "1.5", '"::"', "{a: b}", "10.0.0.0/8", "'*'"])


@settings(max_examples=300)
@given(st.data())
def test_values_replaced_by_junk_give_a_topology_or_a_topology_error(data: st.DataObject) -> None:
    places = [at for at, letter in enumerate(TEXT) if letter == ":" and TEXT[at + 1] in " \n"]
    at = data.draw(st.sampled_from(places))
    end = min(found for end in ",}]\n" if (found := TEXT.find(end, at)) >= 0)
    is_topology_or_error(f"{TEXT[: at + 1]} {data.draw(JUNK)}{TEXT[end:]}")


def test_defaults_are_filled_in() -> None:
    text = changed(("    gateways: [g]\n", ""), ("    check: {kind: tcp}\n", ""))
    topology = parse(text, "t.yaml")
    node, shop = topology.nodes["m-1"], topology.applications["shop"]
    assert (node.port, node.shards, node.mtu, node.role) == (7400, 1, 1500, Role.INTERMEDIATE)
    assert node.status == SocketAddress(ip_address("192.0.2.2"), 7480)
    assert node.number == node_number("m-1")
    assert (shop.gateways, shop.copies, shop.mode, shop.check.kind) == (("g",), 2, ServiceMode.NAT, CheckKind.NONE)
    assert (topology.zone.ttl, topology.zone.contact) == (30, "hostmaster.apps.example")


def test_values_are_taken_over() -> None:
    topology = parse(
        changed(
            ("m-1: {", 'm-1: {number: 9, port: 7000, shards: 2, mtu: 9000, status: "127.0.0.1:80", '),
            ("tcp/80]", "tcp/80, udp/5000-5010, tcp, icmp, any]"),
            ("10.2.0.10}]", "10.2.0.10, port: 8080, weight: 3}]"),
            ("kind: tcp", "kind: http, path: /up, interval: 5, timeout: 0.5, rise: 1, fall: 3"),
            ("shop.apps.example", "Shop.Apps.Example."),
        ),
        "t.yaml",
    )
    node, shop = topology.nodes["m-1"], topology.applications["shop"]
    assert (node.number, node.port, node.shards, node.mtu, str(node.status)) == (9, 7000, 2, 9000, "127.0.0.1:80")
    assert topology.by_number(9) is node
    assert shop.hostnames == ("shop.apps.example",)
    assert shop.ports == (
        PortRange(Protocol.TCP, 80, 80),
        PortRange(Protocol.UDP, 5000, 5010),
        PortRange(Protocol.TCP),
        PortRange(Protocol.ICMP),
        PortRange(Protocol.ANY),
    )
    assert [(target.port, target.weight) for target in shop.targets] == [(8080, 3)]
    check = shop.check
    assert (check.kind, check.port, check.path, check.interval) == (CheckKind.HTTP, 8080, "/up", 5)
    assert (check.timeout, check.rise, check.fall) == (0.5, 1, 3)


def test_words_that_other_yaml_readers_turn_into_booleans_are_names() -> None:
    topology = parse(changed(("  n: {role", "  no: {role"), ("region: n", "region: no")).replace(", n]", ", no]"), "t")
    assert "no" in topology.regions


def test_without_links_every_end_reaches_every_intermediate() -> None:
    head, rest = TEXT.split("links:\n")
    topology = parse(f"{head}applications:{rest.split('applications:')[1]}", "t.yaml")
    assert topology.links == default_links(topology.regions.values())
    assert set(topology.links) == {Link("e", "m", 1), Link("e", "n", 1), Link("g", "m", 1), Link("g", "n", 1)}
    assert topology.links == parse(TEXT, "t.yaml").links[:2] + topology.links[2:]


def test_neighbours() -> None:
    topology = load(ROOT / "lab" / "demo.yaml")
    middle = ["mid-ams-1", "mid-lon-1", "mid-par-1"]
    assert [node.name for node in neighbours(topology, "edge-fra-1")] == [*middle, "dns-1", "cache-fra-1"]
    assert [node.name for node in neighbours(topology, "gw-sto-1")] == [*middle, "cache-fra-1"]
    assert [node.name for node in neighbours(topology, "dns-1")] == ["edge-fra-1", "edge-nyc-1"]
    ends = ["edge-fra-1", "edge-nyc-1", "gw-sto-1", "gw-mil-1"]
    assert [node.name for node in neighbours(topology, "mid-ams-1")] == ends
    for name in topology.nodes:
        assert all(
            name in {back.name for back in neighbours(topology, node.name)} for node in neighbours(topology, name)
        )


@pytest.mark.parametrize("file", ["lab/demo.yaml", "topology/examples/chained-intermediates.yaml"])
def test_neighbours_are_counted_in_one_pass(file: str) -> None:
    topology = load(ROOT / file)
    assert neighbour_counts(topology) == {name: len(neighbours(topology, name)) for name in topology.nodes}


def test_chained_intermediates_are_neighbours() -> None:
    topology = load(ROOT / "topology" / "examples" / "chained-intermediates.yaml")
    assert [node.name for node in neighbours(topology, "eu-a-1")] == ["edge-eu-1", "us-a-1", "us-b-1"]
    assert Link("eu-a", "us-a", 70.0) in topology.links


def test_numbers_are_the_same_in_every_version() -> None:
    """Nodes that run different versions must agree on them."""
    assert [node_number(name) for name in ("edge-fra-1", "mid-ams-1", "gw-sto-1")] == [29162, 4845, 942]
    assert free_number("gw-sto-1", {942, 943}) == 944


def test_the_number_that_messages_use_as_a_word_is_no_nodes() -> None:
    last = "mid-417844"
    assert (node_number(last), free_number(last, {65534})) == (65534, 1)
    assert IF_GONE > MAX_NODES


@given(st.text())
def test_numbers_fit_the_route_field(name: str) -> None:
    assert 1 <= node_number(name.encode(errors="replace").decode()) <= 65534


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("192.0.2.1", "192.0.2.1:53"),
        ("192.0.2.1:5353", "192.0.2.1:5353"),
        ("2001:db8::1", "[2001:db8::1]:53"),
        ("[2001:db8::1]", "[2001:db8::1]:53"),
        ("[2001:db8::1]:5353", "[2001:db8::1]:5353"),
    ],
)
def test_socket_addresses(text: str, shown: str) -> None:
    assert str(socket_address(text, 53)) == shown


@pytest.mark.parametrize("text", ["", "[192.0.2.1]:53", "192.0.2.1:", "192.0.2.1:70000", "host:53", "[::1]53", "[::1"])
def test_what_is_no_socket_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no address with port|does not appear to be"):
        socket_address(text, 53)


def test_scalars_follow_the_yaml_1_2_core_schema() -> None:
    document, _ = read("{a: 1, b: 1.5, c: true, d: null, e: yes, f: 12:30, g: 0x10, h: '1', i: 1_000, j: ~}", "t.yaml")
    assert document == {
        "a": 1, "b": 1.5, "c": True, "d": None, "e": "yes", "f": "12:30", "g": "0x10", "h": "1", "i": "1_000", "j": None
    }  # fmt: skip


def test_lines_of_keys_and_items() -> None:
    _, report = read("a:\n  - 1\n  - b: 2\n", "t.yaml")
    assert report.line_of(("a",)) == 1
    assert report.line_of(("a", 1)) == 3
    assert report.line_of(("a", 1, "b")) == 3
    assert report.line_of(("a", 0, "nothing", "here")) == 2
