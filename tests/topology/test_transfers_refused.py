"""Rows of the routing table of transfers that are refused, and what is said of them."""

from __future__ import annotations

import pytest

from tests.topology.test_transfers import CERTIFICATE, ROW, TLS_ROW, rows, text, tls_text
from topology.source import TopologyError, parse


@pytest.mark.parametrize(
    ("row", "key", "says"),
    [
        ("{application: shops, proxies: [c-1]}", "application", "unknown application shops"),
        ("{application: shop, proxies: [e-1]}", "proxies[0]", "e-1 is no content proxy"),
        ("{application: shop, proxies: [c-1, c-1]}", "proxies[1]", "written twice"),
        ("{application: shop, proxies: []}", "proxies", "empty"),
        ("{application: shop, proxies: [c-1], edges: [g]}", "edges[0]", "g is no edge region"),
        ("{application: shop, proxies: [c-1], ports: [tcp/81]}", "ports[0]", "tcp/81 is no port of TCP of shop"),
        ("{application: shop, proxies: [c-1], ports: [udp/80]}", "ports[0]", "udp/80 is no port of TCP of shop"),
        ("{application: shop, proxies: [c-1], methods: [POST]}", "methods[0]", "no cache answers 'POST'"),
        ('{application: shop, proxies: [c-1], hosts: ["a*"]}', "hosts[0]", "is no name"),
        ("{application: shop, proxies: [c-1], until: 2027-01-31}", "until", "is no moment"),
        ("{application: shop, proxies: [c-1], mode: all}", "mode", "serve-or-origin or serve"),
        ("{application: shop, proxies: [c-1], mode: serve, least_kb: 1}", "least_kb", "write `mode: serve-or-origin`"),
        (
            "{application: shop, proxies: [c-1], policy: nearest}",
            "policy",
            "first or hash or least_connections or random",
        ),
        ("{application: shop, proxies: [c-1], policy: hash, hash: sni}", "hash", "write path or client"),
        ("{application: shop, proxies: [c-1], hash: client}", "hash", "or write `policy: hash`"),
        ("{application: shop, proxies: [c-1], connection: {}}", "connection", "write one, for instance"),
        ("{application: shop, proxies: [c-1], connection: {least_requests: 0}}", "connection.least_requests", "range"),
        (
            "{application: shop, proxies: [c-1], connection: {least_sent_kb: 4000001}}",
            "connection.least_sent_kb",
            "range",
        ),
        (
            "{application: shop, proxies: [c-1], connection: {least_request: 1}}",
            "connection.least_request",
            "did you mean `least_requests:`?",
        ),
        (
            "{application: shop, proxies: [c-1], connection: {least_sent_kb: 2, most_sent_kb: 1}}",
            "connection.most_sent_kb",
            "write at least 2",
        ),
        ("{application: shop, proxies: [c-1], sni: [a.example]}", "sni", "sees no ClientHello of shop"),
        ("{application: shop, proxies: [c-1], alpn: [h2]}", "alpn", "sees no ClientHello of shop"),
        ("{application: shop, proxies: [c-1], host: [a]}", "host", "unknown key"),
        ('{application: shop, proxies: [c-1], path: "/a?b=1"}', "path", "ends before ?; write the part before it"),
        ('{application: shop, proxies: [c-1], path: "/a#b"}', "path", "ends before #"),
    ],
)
def test_what_is_refused(row: str, key: str, says: str) -> None:
    with pytest.raises(TopologyError) as caught:
        rows(row)
    (problem,) = caught.value.problems
    assert problem.key == f"transfers[0].{key}"
    assert says in str(problem)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("    mode: proxy\n    proxy: {kind: http}", ""), "reads no requests of shop"),
        (("{kind: http}", "{kind: tcp}"), "reads no requests of shop"),
        (("{kind: http}", "{kind: http, tls: {certificates: [{certificate: a, key: b}]}}"), "keys are not handed on"),
    ],
)
def test_the_gateway_has_to_read_requests_in_clear_text(change: tuple[str, str], says: str) -> None:
    with pytest.raises(TopologyError) as caught:
        parse(text(ROW, change), "net.yaml")
    assert [problem.key for problem in caught.value.problems] == ["transfers[0].application"]
    assert says in str(caught.value.problems[0])


@pytest.mark.parametrize("how", ["transparent", "proxy-v1", "proxy-v2"])
def test_servers_that_know_clients_by_their_connections_are_not_asked_by_proxies_for_all(how: str) -> None:
    change = "{kind: http}", f"{{kind: http, client_address: {how}}}"
    with pytest.raises(TopologyError) as caught:
        parse(text("{application: shop, proxies: [c-1], mode: serve}", change), "net.yaml")
    (problem,) = caught.value.problems
    assert (problem.key, "know clients by their connections" in str(problem)) == ("transfers[0].mode", True)
    assert parse(text(ROW, change), "net.yaml").transfers


def test_a_proxy_answers_only_for_applications_that_are_its_own() -> None:
    other = "\n  other:\n    hostnames: [o.apps.example]\n    ports: [tcp/80]\n    targets: [{address: 10.2.0.10}]\n"
    other += "    mode: proxy\n    proxy: {kind: http}\n"
    with pytest.raises(TopologyError) as caught:
        parse(text("{application: other, proxies: [c-1]}", ("\napplications:", f"\napplications:{other}")), "net.yaml")
    (problem,) = caught.value.problems
    assert (problem.key, "may not answer for other" in str(problem)) == ("transfers[0].proxies[0]", True)


@pytest.mark.parametrize(
    ("row", "key", "says"),
    [
        ("path: /a", "path", "sees a ClientHello alone of shop; remove it, or use alpn, sni"),
        ("hosts: [a.example]", "hosts", "sees a ClientHello alone"),
        ("methods: [GET]", "methods", "sees a ClientHello alone"),
        ("least_kb: 1", "least_kb", "sees a ClientHello alone"),
        ("mode: serve", "mode", "sees a ClientHello alone"),
        ("connection: {least_requests: 1}", "connection.least_requests", "use least_window_kb"),
        ('sni: ["a*"]', "sni[0]", "is no name"),
        ('alpn: [""]', "alpn[0]", "is no protocol"),
    ],
)
def test_what_is_refused_of_tls(row: str, key: str, says: str) -> None:
    with pytest.raises(TopologyError) as caught:
        parse(tls_text(f"{{application: shop, proxies: [c-1], {row}}}"), "net.yaml")
    (problem,) = caught.value.problems
    assert problem.key == f"transfers[0].{key}"
    assert says in str(problem)


def test_a_proxy_needs_a_certificate_for_tls() -> None:
    with pytest.raises(TopologyError) as caught:
        parse(tls_text(TLS_ROW, (f", {CERTIFICATE}", "")), "net.yaml")
    (problem,) = caught.value.problems
    assert (problem.key, "add nodes.c-1.content.tls" in str(problem)) == ("transfers[0].proxies[0]", True)
