"""Rows of the routing table that move nothing: what ``braid check`` warns of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.topology.test_transfers import TLS_ROW, text, tls_text
from topology import effective, idle
from topology.drains import DrainRow
from topology.source import parse

WEB = "{application: shop, proxies: [c-1], "


def warned(*rows: str) -> list[str]:
    return list(idle.warnings(parse(text("\n  - ".join(rows)), "net.yaml")))


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (WEB + "hosts: [shop.apps.example]}", []),
        (WEB + 'hosts: ["*.apps.example"]}', []),
        (
            WEB + "hosts: [shop.apps.example, shop.example]}",
            ["transfers[0].hosts[1]: its proxies answer for no hostname shop.example: nothing moves by it"],
        ),
        (WEB + 'hosts: ["*.shop.apps.example"]}', ["transfers[0].hosts[0]: its proxies answer for no hostname"]),
        (WEB + "path: /video/}", []),
        (WEB + 'path: "/video/*"}', ["transfers[0].path: holds for paths that begin with it, and * stands for itself"]),
        (WEB + "least_kb: 100000}", []),
        (
            WEB + "least_kb: 100001}",
            ["transfers[0].least_kb: 100001 kB, and its proxies keep at most largest_mb, 100 MB"],
        ),
    ],
)
def test_a_row_by_itself(row: str, says: list[str]) -> None:
    found = warned(row)
    assert len(found) == len(says)
    for text_, start in zip(found, says, strict=True):
        assert text_.startswith(start)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("path: /a/", "path: /a/b/"),
        ("policy: hash", "clients: [10.1.0.0/24]"),
        ("clients: [10.0.0.0/8]", "clients: [10.1.0.0/24, 10.2.0.0/24]"),
        ("edges: [e]", "edges: [e]"),
        ("ports: [tcp/80-90]", "ports: [tcp/80]"),
        ("methods: [GET, HEAD]", "methods: [HEAD]"),
        ("hosts: [shop.apps.example]", "hosts: [shop.apps.example], until: 2099-01-01T00:00:00Z"),
    ],
)
def test_a_row_that_another_one_before_it_covers(first: str, second: str) -> None:
    rows = [f"{WEB}{words}}}" for words in (first, second)]
    assert warned(*rows) == ["transfers[1]: never reached, transfers[0] holds for all that it names"]
    if first != second:
        assert warned(*reversed(rows)) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("clients: [10.1.0.0/24]", "path: /a"),
        ("clients: [10.1.0.0/24]", "clients: [10.1.0.0/24, 10.3.0.0/24]"),
        ("clients: [10.1.0.0/24]", 'clients: ["2001:db8::/64"]'),
        ("methods: [GET]", "path: /a"),
        ("hosts: [shop.apps.example]", "path: /a"),
        ("until: 2099-01-01T00:00:00Z", "path: /a"),
        ("connection: {least_requests: 2}", "path: /a"),
        ("path: /a", "path: /"),
    ],
)
def test_a_row_that_may_be_reached(first: str, second: str) -> None:
    assert warned(*(f"{WEB}{words}}}" for words in (first, second))) == []


def test_of_tls_it_goes_by_names_and_protocols() -> None:
    def found(*rows: str) -> list[str]:
        return list(idle.warnings(parse(tls_text("\n  - ".join(rows)), "net.yaml")))

    assert found(TLS_ROW) == []
    assert found(TLS_ROW, TLS_ROW.replace("]}", "], alpn: [h2]}")) == [
        "transfers[1]: never reached, transfers[0] holds for all that it names"
    ]
    assert found(TLS_ROW.replace("]}", "], alpn: [h2]}"), TLS_ROW) == []
    assert found(TLS_ROW.replace("shop.apps", "shop")) == [
        "transfers[0].sni[0]: its proxies answer for no hostname shop.example: nothing moves by it"
    ]


def test_rows_that_drain_a_gateway_are_counted_as_in_the_file() -> None:
    found = parse(text("\n  - ".join([f"{WEB}path: /a}}", f"{WEB}path: /a/b, hosts: [a.example]}}"])), "net.yaml")
    drained = replace(found, drains=(DrainRow("g-1", "g-2", position=1),))
    assert [line.partition(":")[0] for line in idle.warnings(drained)] == ["transfers[2]", "transfers[2].hosts[0]"]


def test_check_prints_them() -> None:
    topology = parse(text(f"{WEB}hosts: [a.example]}}"), "net.yaml")
    assert any("transfers[0].hosts[0]" in line for line in effective.warnings(topology))
