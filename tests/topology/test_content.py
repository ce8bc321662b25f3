"""Content proxies in the topology file: what follows from it, and what is refused."""

from __future__ import annotations

import pytest

from content.sites import Sites
from tests.topology.base import changed
from topology.graph import neighbours
from topology.model import Role, SocketAddress, Topology
from topology.source import TopologyError, parse

CONTENT = '{listen: ["10.1.0.80"], directory: /var/cache/braid, applications: [shop]}'


def text(content: str = CONTENT, *changes: tuple[str, str]) -> str:
    return changed(
        ("  d: {role: dns}\n", "  d: {role: dns}\n  c: {role: content}\n"),
        ("links:", f"  c-1: {{region: c, underlay: [192.0.2.6], content: {content}}}\nlinks:"),
        *changes,
    )


def topology(content: str = CONTENT, *changes: tuple[str, str]) -> Topology:
    return parse(text(content, *changes), "test")


def test_a_content_proxy_is_a_neighbour_of_the_edges_alone() -> None:
    found = topology()
    assert found.nodes["c-1"].role is Role.CONTENT
    assert [node.name for node in neighbours(found, "c-1")] == ["e-1"]
    assert [node.name for node in neighbours(found, "e-1")] == ["m-1", "n-1", "d-1", "c-1"]


def test_defaults() -> None:
    settings = topology().nodes["c-1"].content
    assert settings is not None
    assert (settings.listen[0].port, settings.edges, settings.size) == (80, ("e",), 1_000_000_000)


def test_a_host_and_port_lead_to_the_vips() -> None:
    found = topology()
    (vip,) = found.vips
    sites = Sites(found, "c-1")
    for port in (None, 80):
        site = sites.find("shop.apps.example", port)
        assert site is not None
        assert (site.port, site.addresses) == (80, (SocketAddress(vip.address, 80),))
    assert sites.find("shop.apps.example", 81) is None
    assert sites.find("other.apps.example", None) is None
    other = topology(CONTENT, ("[tcp/80]", "[tcp/8080-8081, icmp]"), ("kind: tcp", "kind: tcp, port: 8080"))
    site = Sites(other, "c-1").find("shop.apps.example", None)
    assert site is not None
    assert site.port == 8080


@pytest.mark.parametrize(
    ("content", "key", "says"),
    [
        (CONTENT.replace("[shop]", "[shops]"), "content.applications[0]", "unknown application shops"),
        (CONTENT.replace("[shop]", "[shop, shop]"), "content.applications[1]", "written twice"),
        (CONTENT.replace("[shop]", "[shop], edges: [m]"), "content.edges[0]", "m is no edge region"),
        (CONTENT.replace("[shop]", "[shop], size_mb: 10, largest_mb: 6"), "content.largest_mb", "at most half"),
        (CONTENT.replace("/var", "var"), "content.directory", "no absolute directory"),
        (CONTENT.replace('"10.1.0.80"', '"10.1.0.80", "10.1.0.80:80"'), "content.listen[1]", "written twice"),
        (CONTENT.replace("[shop]", "[shop], sizes: 1"), "content.sizes", "unknown key"),
        (CONTENT.replace("10.1.0.80", "10.1.0.130"), "content.listen[0]", "lies in the VIP pool 10.1.0.128/28 of e-1"),
        (CONTENT.replace("10.1.0.80", "10.1.0.53:53"), "content.listen[0]", "listened on by d-1, too"),
        (CONTENT.replace("10.1.0.80", "192.0.2.6:7480"), "content.listen[0]", "listened on by c-1, too"),
        (
            CONTENT.replace("[shop]", "[shop], tls: {certificates: [{certificate: a, key: b}], alpn: [h2, h3]}"),
            "content.tls.alpn[1]",
            "does not speak 'h3'; write h2 or http/1.1",
        ),
        (CONTENT.replace('listen: ["10.1.0.80"], ', ""), "content.listen", "missing"),
    ],
)
def test_what_is_refused(content: str, key: str, says: str) -> None:
    with pytest.raises(TopologyError) as caught:
        topology(content)
    (problem,) = caught.value.problems
    assert problem.key == f"nodes.c-1.{key}"
    assert says in str(problem)


def test_the_key_and_the_role_belong_together() -> None:
    for wrong, key in (
        (text().replace("c: {role: content}", "c: {role: dns}"), "nodes.c-1.content"),
        (text().replace(f", content: {CONTENT}", ""), "nodes.c-1"),
        (text(CONTENT, ("[tcp/80]", "[udp/80]"), ("check: {kind: tcp}", "check: {kind: none}")), "nodes.c-1.content"),
    ):
        with pytest.raises(TopologyError) as caught:
            parse(wrong, "test")
        assert any(problem.key.startswith(key) for problem in caught.value.problems)
