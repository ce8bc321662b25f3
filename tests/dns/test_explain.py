"""``braid dns``: what it explains is what is answered, and draining reaches a running node."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from functools import partial
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
import trio
from click.testing import CliRunner

from dns.ask import NotExplained, ask_why
from dns.cli import as_text, dns_group
from dns.client import Client
from dns.counters import Counters
from dns.drain import DrainFollower, drain_file, read_drained
from dns.explain import explain
from dns.geo import open_database
from dns.health import HealthTable
from dns.node import serve
from dns.policy import Standing
from dns.records import wire_name
from dns.status import explanation, steering_document
from dns.view import make_view
from tests.dns.mmdb import database
from tests.dns.test_policy import steering_config
from tests.dns.zone import CONFIG, FRA, FULL, addresses, free_port, query, report, respond
from topology.model import ClientSubnetUse, DnsSettings, Location, SocketAddress

if TYPE_CHECKING:
    from pathlib import Path

SHOP = "shop.apps.example"
LOOPBACK = ip_address("127.0.0.1")
SETTINGS = DnsSettings(client_subnet=ClientSubnetUse.ALL, responses_per_second=0)


def test_the_explanation_is_the_answer() -> None:
    rng = random.Random(11)
    config = replace(steering_config(rng), settings=SETTINGS)
    standings = {pair: rng.choice(list(Standing)) for pair in config.vips}
    view = make_view(config, standings)
    for _ in range(1000):
        number = rng.getrandbits(32)
        told = explain(view, wire_name(SHOP), Client(4, number, False))
        answer = respond(query(SHOP), str(ip_address(number)), "udp", view, Counters())
        assert answer is not None
        assert addresses(answer) == [vip for each in told["answer"] for vip in each["vips"]]
        assert len(told["candidates"]) == 8


def test_what_is_told() -> None:
    standings = dict.fromkeys(CONFIG.vips, Standing.UP) | {(0, "shop"): Standing.DOWN}
    told = explain(make_view(CONFIG, standings), wire_name(SHOP), Client(4, int(ip_address("10.91.1.10")), True))
    assert (told["reason"], told["ttl"], told["scope"], told["application"]) == ("best", 10, 24, "shop")
    assert [(each["edge"], each["standing"], each["serves"]) for each in told["candidates"]] == [
        ("edge-any-1", "up", "everybody"),
        ("edge-nyc-1", "up", "others"),
        ("edge-fra-1", "down", "10.91.1.0/24"),
    ]
    text = as_text(told)
    assert "answer: 10.91.3.130, fd91:3::1:1 of edge-any-1" in text
    assert "3. edge-fra-1: down" in text
    for name, error in (("a.ent.apps.example", "no hostname"), ("no.apps.example", "exist"), ("x.org", "outside")):
        told = explain(make_view(FULL, standings), wire_name(name), Client(4, 1, False))
        assert error in as_text(told)


def test_what_told_equals_apart_is_explained(tmp_path: Path) -> None:
    file = tmp_path / "cities.mmdb"
    file.write_bytes(database({ip_network("192.0.2.0/24"): Location(48.86, 2.35)}))
    places = (Location(50.11, 8.68), Location(40.71, -74.01), Location(51.5, -0.13))
    edges = tuple(replace(edge, serves=(), location=at) for edge, at in zip(CONFIG.edges, places, strict=True))
    config = replace(CONFIG, edges=edges)
    delays = {(0, "shop"): 30.0, (1, "shop"): 20.0, (2, "shop"): 31.0}
    view = make_view(config, dict.fromkeys(CONFIG.vips, Standing.UP), delays, {1: 0.25}, open_database(file))
    told = explanation(view, SHOP, "192.0.2.9")
    assert (told["place"], told["reason"], told["counted"]) == ("48.86,2.35", "nearest", ["behind", "distance"])
    text = as_text(told)
    assert "the client is at 48.86,2.35" in text
    assert "1. edge-any-1: up, serves everybody, best, weight 1, 31.0 ms behind it, 343 km away" in text
    assert "2. edge-fra-1: up, serves everybody, further away, weight 1, 30.0 ms behind it, 478 km away" in text
    assert re.search(r"edge-nyc-1: \w+, serves everybody.*20.0 ms behind it, 5837 km away, spills 25%", text)
    assert f"right for: every client in its /24; TTL {config.ttl_degraded} s" in text
    elsewhere = explanation(view, SHOP, "198.51.100.1")
    assert (elsewhere["place"], elsewhere["counted"]) == (None, ["behind"])


async def test_only_this_host_is_told_and_only_over_tcp() -> None:
    place = SocketAddress(LOOPBACK, free_port())
    config = replace(FULL, listen=(place,), settings=SETTINGS)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, config, HealthTable()))
        told = await trio.to_thread.run_sync(ask_why, place, SHOP, ip_address("10.91.2.10"), 10.0)
        assert told["answer"] == [{"edge": "edge-nyc-1", "vips": ["10.91.2.130", "fd91:2::1:1"]}]
        told = await trio.to_thread.run_sync(ask_why, place, SHOP, ip_address("fd91:1::10"), 10.0)
        assert told["answer"][0]["edge"] == "edge-fra-1"
        nursery.cancel_scope.cancel()
    view = make_view(FULL, dict.fromkeys(FULL.vips, Standing.UP))
    data = query(f"{SHOP}.explain.braid", "TXT")[:-1] + b"\x03"
    for transport in ("udp", "tcp"):
        answer = respond(data, "127.0.0.1", transport, view, Counters())
        assert answer is not None
        assert answer[3] & 15 == 5, "without the word of the socket, loopback proves nothing"


def test_asking_where_nobody_answers() -> None:
    with pytest.raises(NotExplained, match=r"127\.0\.0\.1"):
        ask_why(SocketAddress(LOOPBACK, free_port()), SHOP, LOOPBACK, 1.0)


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(dns_group, list(arguments))
    return done.exit_code, done.output


@pytest.fixture
def file(tmp_path: Path) -> Path:
    from topology.sample import SAMPLE

    place = tmp_path / "net.yaml"
    place.write_text(SAMPLE)
    return place


def test_drain_and_undrain(file: Path) -> None:
    code, text = run("drain", "edge-west-1", "-t", str(file))
    assert (code, "drained: edge-west-1" in text, "every edge is drained" in text) == (0, True, True)
    assert read_drained(drain_file(file)) == {"edge-west-1"}
    assert run("undrain", "edge-west-1", "-t", str(file))[0] == 0
    assert read_drained(drain_file(file)) == frozenset()
    for wrong in ("dns-1", "edge-x"):
        code, text = run("drain", wrong, "-t", str(file))
        assert (code, "known: edge-west-1" in text) == (2, True)
    drain_file(file).write_text("gone-1\n")
    assert run("undrain", "gone-1", "-t", str(file))[0] == 0, "an edge that has left the topology"
    assert run("drain", "edge-west-1")[0] == 2
    assert run("drain", "edge-west-1", "-t", str(file.with_name("other.yaml")))[0] == 2


def test_explain_from_the_command_line(file: Path) -> None:
    code, text = run("explain", SHOP, "--client", "nobody", "-t", str(file))
    assert (code, "write for instance" in text) == (2, True)
    for name in ("a..b", "x" * 64, "shop.apps.example.example." * 12):
        code, text = run("explain", name, "--client", "192.0.2.1", "-t", str(file))
        assert (code, "is no domain name" in text) == (2, True)
    code, text = run("explain", f"{'x' * 60}." * 4 + "a", "--client", "192.0.2.1", "--server", "127.0.0.1:1")
    assert (code, "127.0.0.1:1" in text) == (3, True), "too long for the question, not for a name"
    code, text = run("explain", SHOP, "--client", "192.0.2.1", "--server", f"127.0.0.1:{free_port()}")
    assert (code, "refused" in text) == (3, True)


async def test_a_drained_edge_leaves_the_answers_within_a_second(file: Path) -> None:
    place = SocketAddress(LOOPBACK, free_port())
    config = replace(CONFIG, listen=(place,), settings=SETTINGS)
    command = ["explain", SHOP, "--client", "10.91.1.10", "--server", str(place), "--json"]
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, config, HealthTable(), drained=DrainFollower(drain_file(file)).names))

        async def edge_is(name: str) -> None:
            with trio.fail_after(30):
                while True:
                    done = await trio.to_thread.run_sync(CliRunner().invoke, dns_group, command)
                    # What the service logs meanwhile is in the same output.
                    told, _ = json.JSONDecoder().raw_decode(done.output, done.output.index("{"))
                    if told["answer"][0]["edge"] == name:
                        return
                    await trio.sleep(0.05)

        await edge_is("edge-fra-1")
        drain_file(file).write_text("edge-fra-1\n")
        await edge_is("edge-any-1")
        drain_file(file).unlink()
        await edge_is("edge-fra-1")
        nursery.cancel_scope.cancel()


def test_the_document_of_the_status_endpoint() -> None:
    health = HealthTable()
    health.receive_report(FRA, report(1, usable=1), 10.0)
    view = make_view(replace(CONFIG, copies={"shop": 2}), dict.fromkeys(CONFIG.vips, Standing.UP))
    told = steering_document(view, health, frozenset({"edge-nyc-1"}), None, 10.5)
    assert (told["name"], told["zone"], told["stale_s"]) == ("dns-1", "apps.example", None)
    assert [edge["drained"] for edge in told["edges"]] == [False, True, False]
    assert [edge["heard_ms_ago"] for edge in told["edges"]] == [500, None, None]
    shop = told["applications"][0]
    assert (shop["application"], shop["hostnames"], shop["wanted_paths"]) == ("shop", [SHOP], 2)
    assert [(edge["edge"], edge["usable_paths"]) for edge in shop["edges"]] == [
        ("edge-fra-1", 1),
        ("edge-nyc-1", None),
        ("edge-any-1", None),
    ]
    json.dumps(told)
    assert explanation(view, "SHOP.apps.example.", "10.91.1.10")["answer"][0]["edge"] == "edge-fra-1"
    for name, client in ((SHOP, "nobody"), ("x" * 64, "10.91.1.10"), ("a..b", "10.91.1.10")):
        with pytest.raises(ValueError, match=r"nobody|no domain name"):
            explanation(view, name, client)
