"""The same decisions through an operator's PowerDNS: what its remote backend is told, and what Debian's pdns-server
makes of it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio
from dnslib import DNSRecord

from bench.dns.mutate import query, question
from bench.dns.powerdns import CACHES, SETTINGS, SURROUNDINGS
from dns import powerdns_http
from dns.counters import Counters
from dns.policy import Standing
from dns.powerdns import call
from dns.powerdns_http import serve_powerdns
from dns.view import make_view
from tests.dns.digging import DIG, Row, check, dig
from tests.dns.served import everything, exchange, served
from tests.dns.zone import free_port, responder
from topology.model import ClientSubnetUse, SocketAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from dns.node import DnsService

SERVER = shutil.which("pdns_server", path="/usr/sbin:/usr/local/sbin:/usr/bin")
Z = "apps.example"
BACKEND = responder(make_view(everything(), dict.fromkeys(everything().vips, Standing.UP)), Counters())


def looked_up(name: str, qtype: str = "ANY", **parameters: str) -> list[dict[str, Any]]:
    return list(call(BACKEND, "lookup", {"qname": name, "qtype": qtype, **parameters}))


def contents(name: str, qtype: str = "ANY", **parameters: str) -> set[tuple[str, str]]:
    return {(row["qtype"], row["content"]) for row in looked_up(name, qtype, **parameters)}


def test_a_hostname_gives_the_vip_for_the_client_and_how_far_it_is_right() -> None:
    near = {"remote": "192.0.2.1", "real-remote": "1.2.3.0/24"}
    rows = {row["qtype"]: row for row in looked_up("sHop.apps.example.", **near)}
    assert (rows["A"]["content"], rows["A"]["scopeMask"], rows["A"]["ttl"]) == ("10.91.2.130", 24, 30)
    assert (rows["AAAA"]["content"], rows["AAAA"]["qname"]) == ("fd91:2::1:1", "shop.apps.example.")
    assert (rows["HTTPS"]["content"], rows["HTTPS"]["scopeMask"]) == ("1 . alpn=h2,h3", 0)
    assert contents("shop.apps.example.", "A", remote="10.91.1.9") == {("A", "10.91.1.130")}
    private = {"remote": "192.0.2.1", "real-remote": "10.91.1.0/24"}
    assert contents("shop.apps.example", "A", **private) == {("A", "10.91.3.130")}, "private prefixes do not count"
    assert contents("shop.apps.example.", "A", remote="192.0.2.1", **{"real-remote": "192.0.2.1/32"}) == {
        ("A", "10.91.3.130")
    }


def test_names_are_told_as_they_are() -> None:
    assert {kind for kind, _ in contents("apps.example.")} == {"SOA", "NS", "CAA"}
    assert contents("static.apps.example.") == {("CNAME", "a.ent.apps.example.")}
    assert contents("*.wild.apps.example.") == {("A", "192.0.2.2")}
    assert contents("x.wild.apps.example.") == set(), "PowerDNS asks for the wildcard itself"
    assert contents("ent.apps.example.") == {("", "")}
    assert contents("ent.apps.example.", "A") == set()
    assert contents("130.2.91.10.in-addr.arpa.") == {("PTR", "shop.apps.example.")}
    assert len(contents("big.apps.example.", "TXT")) == 10
    for name in (
        "nosuch.apps.example.",
        "www.example.org.",
        "",
        "." * 300,
        "a" * 2000,
        "\\999.apps.example.",
        f"{'a' * 60}." * 5,
    ):
        assert contents(name) == set()


def test_what_depends_on_the_client_is_never_kept() -> None:
    """PowerDNS keeps what has no scope, for everybody."""
    for asked in ({"remote": "192.0.2.1"}, {"remote": "192.0.2.1", "real-remote": "10.91.1.0/24"}, {}):
        rows = looked_up("shop.apps.example.", **asked)
        assert {row["qtype"]: row["scopeMask"] > 0 for row in rows} == {"A": True, "AAAA": True, "HTTPS": False}


def test_a_hostname_without_a_vip_exists() -> None:
    config = replace(everything(), fail_closed=frozenset({"deep"}))
    nobody = responder(make_view(config, dict.fromkeys(config.vips, Standing.DOWN)))
    (row,) = call(nobody, "lookup", {"qname": "a.deep.apps.example.", "qtype": "ANY", "remote": "192.0.2.1"})
    assert (row["qtype"], row["content"], row["scopeMask"]) == ("", "", 1)


def test_domains() -> None:
    domains = call(BACKEND, "getAllDomains", {"includeDisabled": "true"})
    assert domains[0]["zone"] == "apps.example."
    assert len({domain["id"] for domain in domains}) == len(domains) > 3
    info = call(BACKEND, "getDomainInfo", {"name": "apps.example."})
    assert info == domains[0]
    assert str(info["serial"]) in next(iter(contents("apps.example.", "SOA")))[1]
    assert call(BACKEND, "getDomainInfo", {"name": "example.org."}) is False


@pytest.mark.parametrize("method", ["list", "setNotified", "feedRecord", "getDomainKeys", "nonsense"])
def test_nothing_is_transferred_changed_or_signed(method: str) -> None:
    assert call(BACKEND, method, {"zonename": "apps.example.", "domain_id": 1}) is False


@asynccontextmanager
async def feed() -> AsyncIterator[int]:
    """The port of a feed for ``BACKEND``'s decisions."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = int(listener.getsockname()[1])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_powerdns, listener, BACKEND)
        yield port
        nursery.cancel_scope.cancel()


async def test_both_forms_of_requests() -> None:
    async with feed() as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        headers = {"X-RemoteBackend-remote": "192.0.2.1", "X-RemoteBackend-real-remote": "1.2.3.0/24"}
        first = await client.get("/lookup/shop.apps.example./A", headers=headers)
        parameters = {"qname": "shop.apps.example.", "qtype": "A", "remote": "192.0.2.1", "real-remote": "1.2.3.0/24"}
        second = await client.post("/", json={"method": "lookup", "parameters": parameters})
        assert first.json() == second.json()
        assert first.json()["result"][0]["content"] == "10.91.2.130"
        assert (await client.get("/lookup/%2A.wild.apps.example./A")).json()["result"][0]["content"] == "192.0.2.2"
        assert (await client.get("/getDomainMetadata/apps.example./PRESIGNED")).json() == {"result": []}
        assert (await client.get("/nothing/at/all")).json() == {"result": False}
        assert (await client.get("/")).json() == {"result": False}
        for body in (b"", b"[]", b"{", b'{"method": 1}', b'{"method": "lookup", "parameters": []}', b"[" * 60_000):
            assert (await client.post("/", content=body)).status_code == 400
        assert (await client.put("/", content=b"{}")).status_code == 405
        assert (await client.post("/", content=bytes(70_000))).status_code == 413
        assert (await client.get("/getAllDomains")).json()["result"], "on another connection"


ASKED = b"GET /getDomainMetadata/apps.example./X HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_one_connection_for_all_and_a_broken_request_ends_it() -> None:
    async with feed() as port:
        for wrong in (b"\x16\x03\x01 nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"A" * 70_000):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                with trio.fail_after(30):
                    await stream.send_all(ASKED * 3)
                    received = b""
                    while received.count(b'{"result":[]}') < 3:
                        received += await stream.receive_some(65536)
                    received = b""
                    try:
                        await stream.send_all(wrong)
                        while chunk := await stream.receive_some(65536):
                            received += chunk
                    except trio.BrokenResourceError:
                        assert len(wrong) > 65536, "closed while we still wrote"
                    else:
                        assert received.startswith(b"HTTP/1.1 4")


async def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(powerdns_http, "MAX_CONNECTIONS", 2)
    async with feed() as port:
        streams = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(3)]
        with trio.fail_after(30):
            assert await streams[2].receive_some(1) == b"", "one too many"
            await streams[0].send_all(ASKED)
            assert await streams[0].receive_some(1) == b"H"
        for stream in streams:
            await stream.aclose()


async def test_an_idle_connection_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(powerdns_http, "IDLE_LIMIT", 0.2)
    async with feed() as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        began = trio.current_time()
        with trio.fail_after(30):
            assert await stream.receive_some(1) == b""
        assert trio.current_time() - began > 0.15


@contextmanager
def powerdns(
    folder: Path, caches: str, drained: Callable[[], frozenset[str]] = frozenset
) -> Iterator[tuple[int, int, DnsService]]:
    """PowerDNS in front of our service: its port, ours, and our service."""
    backend, port = free_port(), free_port()
    config = replace(everything(), powerdns=SocketAddress(ip_address("127.0.0.1"), backend))
    text = (SETTINGS + CACHES[caches] + SURROUNDINGS).format(backend=backend, port=port, folder=folder)
    (folder / "pdns.conf").write_text(text)
    with served(config, ("127.0.0.1",), drained) as (own, service):
        command = [str(SERVER), f"--config-dir={folder}", "--daemon=no", "--guardian=no", "--setuid=", "--setgid="]
        with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                end = time.monotonic() + 60
                while exchange_quietly(port) is None:
                    assert process.poll() is None, (folder / "log").read_text()
                    assert time.monotonic() < end, (folder / "log").read_text()
                    time.sleep(0.05)
                yield port, own, service
            finally:
                process.terminate()
                process.wait(20)


def exchange_quietly(port: int) -> bytes | None:
    try:
        return exchange("127.0.0.1", port, query(question(Z, 6)), "udp", 0.5)
    except OSError:
        return None


N = "+norec +nocookie"
SOA = ("SOA",)
ROWS = [
    Row("soa", f"{N} SOA {Z}", answer=SOA),
    Row("ns", f"{N} NS {Z}", answer=("ns1", "ns2"), has=("10.91.1.53", "fd91:1::53")),
    Row("steered by prefix", f"{N} A shop.{Z} +subnet=1.2.3.0/24", answer=("10.91.2.130",), opt="1.2.3.0/24/24"),
    Row("steered by sender", f"{N} A shop.{Z}", answer=("10.91.3.130",), lacks=("CLIENT-SUBNET",)),
    Row("IPv6 steered", f"{N} AAAA shop.{Z} +subnet=1.2.3.0/24", answer=("fd91:2::1:1",), opt="1.2.3.0/24/24"),
    Row("static with prefix", f"{N} CAA {Z} +subnet=1.2.3.0/24", answer=("ca.example",), opt="1.2.3.0/24/0"),
    Row("nxdomain", f"{N} A nosuch.{Z}", "NXDOMAIN", authority=("\t30\tIN\tSOA",)),
    Row("nodata", f"{N} MX shop.{Z}", authority=("\t30\tIN\tSOA",)),
    Row("empty non-terminal", f"{N} A ent.{Z}", authority=SOA),
    Row("wildcard", f"{N} A a.b.wild.{Z}", answer=(f"a.b.wild.{Z}.",)),
    Row("alias", f"{N} A static.{Z}", answer=("CNAME\ta.ent", "192.0.2.1")),
    Row("pointer", f"{N} -x 10.91.2.130", answer=("shop.apps.example.",)),
    Row("letters", f"{N} A sHoP.aPPs.eXAmpLE", answer=("10.91.3.130",)),
    Row("ttl", f"{N} A shop.{Z}", answer=("\t30\tIN\tA",)),
]


@pytest.mark.skipif(SERVER is None, reason="pdns-server is not installed: make test installs it")
@pytest.mark.skipif(DIG is None, reason="dig is not installed: make setup")
@pytest.mark.parametrize("caches", CACHES)
def test_a_real_powerdns(tmp_path: Path, caches: str) -> None:
    drained: set[str] = set()
    with powerdns(tmp_path, caches, lambda: frozenset(drained)) as (port, own, service):
        for row in ROWS:
            for transport in ("", "+tcp "):
                check(row, dig("127.0.0.1", port, transport + row.arguments))
        # Both give one client the same address, wherever it asks.
        asked = query(question("shop.apps.example"), bytes.fromhex("0008000700011800010203"))
        theirs, ours = (exchange("127.0.0.1", number, asked, "udp") for number in (port, own))
        assert theirs is not None
        assert ours is not None
        assert [str(r.rdata) for r in DNSRecord.parse(theirs).rr] == [str(r.rdata) for r in DNSRecord.parse(ours).rr]
        assert service.counters.powerdns["lookup"] > len(ROWS)
        assert service.counters.powerdns["getAllDomains"] >= 1
        # Whatever PowerDNS keeps of other names, the answers for an application are asked for each time.
        steered = Row("drained", f"{N} A shop.{Z}", answer=("10.91.2.130",), opt="1.2.3.0/24/24")
        subnet = f"{steered.arguments} +subnet=1.2.3.0/24"
        check(replace(steered, arguments=subnet), dig("127.0.0.1", port, subnet))
        drained.add("edge-nyc-1")
        began = time.monotonic()
        while dig("127.0.0.1", port, subnet).answer[0].split()[-1] == "10.91.2.130":
            assert time.monotonic() - began < 10, "far less than PowerDNS keeps anything"
        assert dig("127.0.0.1", port, subnet).answer[0].split()[-1] == "10.91.3.130"


def test_the_documented_settings_are_those_that_are_tested() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/powerdns.md").read_text(encoding="utf-8")
    told = page.partition("`/etc/powerdns/pdns.conf`")[2].split("```")[1].split()
    assert told == (SETTINGS + CACHES["as documented"]).format(backend=8053).split()


def test_private_prefixes_where_the_operator_says_so() -> None:
    config = everything()
    config = replace(config, settings=replace(config.settings, client_subnet=ClientSubnetUse.ALL))
    backend = responder(make_view(config, dict.fromkeys(config.vips, Standing.UP)))
    asked = {"qname": "shop.apps.example.", "qtype": "A", "remote": "192.0.2.1", "real-remote": "10.91.1.0/24"}
    (row,) = call(backend, "lookup", asked)
    assert (row["content"], row["scopeMask"]) == ("10.91.1.130", 24)
