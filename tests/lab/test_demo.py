"""Parts of the demo that decide."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lab.cast import Move, cast_of
from lab.demo import busiest_relay, lost_packets, main
from lab.document import demo
from lab.errors import LabError
from lab.moving import Answer, answers_of, command, moved
from tests.lab.small import small
from topology.model import Role
from topology.source import load

DEMO = Path(__file__).resolve().parents[2] / "lab" / "demo.yaml"


def test_the_demo_topology_has_all_that_the_demo_shows() -> None:
    topology = load(DEMO)
    cast = cast_of(topology)
    assert (cast.client, cast.edge, cast.dns) == ("client", "edge-fra-1", "dns-1")
    assert (cast.hostname, cast.web_gateway, cast.flow_target) == ("shop.apps.example", "gw-sto-1", "origin-1")
    assert {cast.vip, cast.flow_vip} <= {str(vip.address) for vip in topology.vips if vip.edge == "edge-fra-1"}
    assert cast.vip != cast.flow_vip
    assert cast.move is not None
    media = str(next(vip.address for vip in topology.vips if (vip.edge, vip.application) == ("edge-fra-1", "media")))
    assert cast.move == Move("client", "media.apps.example", media, "/cached/", "gw-sto-1", "cache-fra-1")


def test_without_transfers_nothing_moves_in_the_demo(tmp_path: Path) -> None:
    file = tmp_path / "plain.yaml"
    file.write_text(yaml.safe_dump(demo("plain")))
    topology = load(file)
    assert topology.name == "plain"
    assert cast_of(topology).move is None
    assert not topology.by_role(Role.CONTENT)


def test_another_topology_is_told_what_it_lacks() -> None:
    with pytest.raises(LabError, match="tcp/80"):
        cast_of(small())


def test_the_relay_that_carries_most_is_chosen() -> None:
    def path(relay: str, copies: int, peer: str = "gw", **more: bool) -> dict[str, object]:
        return {"peer": peer, "route": [relay, peer], "copies_sent": copies, "in_use": True, "up": True, **more}

    paths = [path("a", 5), path("b", 7), path("c", 99, in_use=False), path("d", 99, "other"), path("e", 99, up=False)]
    assert busiest_relay({"paths": paths}, "gw") == "b"
    with pytest.raises(LabError, match="1 of 2"):
        busiest_relay({"paths": paths[1:]}, "gw")


def test_lost_packets_are_those_of_the_end_to_end_session() -> None:
    def session(peer: str, lost: int, *, adjacent: bool) -> dict[str, object]:
        return {"peer": peer, "adjacent": adjacent, "recovery": {"lost": lost}}

    sessions = [session("gw", 3, adjacent=False), session("gw", 50, adjacent=True), session("x", 9, adjacent=False)]
    assert lost_packets({"sessions": sessions}, "gw") == 3


PRINTED = """HTTP/1.1 200 OK
content-length: 9

{"http_code":200,"num_connects":1,"response_code":200,"time_starttransfer":0.004}
HTTP/1.1 200 OK
Cache-Status: cache-fra-1; hit; ttl=3598

{"num_connects":0,"response_code":200,"time_starttransfer":0.007}
HTTP/1.1 404 Not Found

{"num_connects":0,"response_code":404,"time_starttransfer":0.003}
"""


def test_curl_tells_who_answered_and_over_which_connection() -> None:
    first, second, third = answers_of(PRINTED)
    assert first == Answer(200, True, 0.004, "")
    assert second == Answer(200, False, 0.007, "cache-fra-1; hit; ttl=3598")
    assert third == Answer(404, False, 0.003, "")
    words = command(["http://a/", "http://a/b"], [Path("x"), Path("y")], ["--head"])
    assert words[-4:] == ["-o", "x", "http://a/", "-o", "y", "http://a/b"][-4:]
    assert "--head" in words


def test_a_connection_moved_when_the_proxy_alone_answered_the_second_request_on_it() -> None:
    origin, hit = Answer(200, False, 0.1, ""), Answer(200, False, 0.1, "c-1; hit; ttl=1")
    right = [replace(origin, connected=True), hit, origin]
    assert moved(right, "c-1")
    assert not moved(right, "c-2")
    for position, wrong in (
        (0, origin),
        (0, replace(hit, connected=True)),
        (1, replace(hit, connected=True)),
        (1, origin),
        (1, replace(hit, cache="c-1; fwd=miss")),
        (2, hit),
        (2, replace(origin, status=503)),
        (2, replace(origin, connected=True)),
    ):
        changed = list(right)
        changed[position] = wrong
        assert not moved(changed, "c-1"), (position, wrong)


def test_the_lab_is_removed_when_nobody_reads_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind `| head`."""
    removed: list[str] = []

    class Lab:
        topology = load(DEMO)

        def down(self) -> None:
            removed.append("lab")

    def broken(_line: str, **_options: object) -> None:
        raise BrokenPipeError

    def up(_file: Path, *, progress: object) -> Lab:
        monkeypatch.setattr("builtins.print", broken)
        return Lab()

    stdout = os.dup(1)
    try:
        monkeypatch.setattr("lab.demo.up", up)
        monkeypatch.setattr("signal.signal", lambda *_: None)
        assert main(["--once"]) == 1
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
    assert removed == ["lab"]
