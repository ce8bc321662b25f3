"""TLS at the content proxy: clients' ends here, origins' certificates are checked, files are read again."""

from __future__ import annotations

import os
import shutil
import ssl
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from content.keys import Keys
from content.sites import Sites
from tests.content.test_service import until
from tests.content.web import HOST, Answered, Client, Origin, Proxied, Reply, free_port, proxied
from tests.gateway.certificates import write_certificate
from tests.topology.test_content import topology
from topology.model import SocketAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

BODY = bytes(range(256)) * 1024
CACHED = Reply(headers={"cache-control": "max-age=1000"}, body=BODY)
PORT_80, HEALTH = "[tcp/80]", ("kind: tcp", "kind: none")


async def secured(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, directory: Path, *names: str, origin: Origin | None = None,
    changes: tuple[tuple[str, str], ...] = (), **settings: object
) -> tuple[Proxied, int]:  # fmt: skip
    """A content proxy with a certificate for these names, and its port for TLS."""
    write_certificate(directory, "own", *(names or (HOST,)))
    port = free_port()
    files = f"{{certificate: {directory}/own.pem, key: {directory}/own.key}}"
    tls = f'{{listen: ["127.0.0.1:{port}"], certificates: [{files}]}}'
    made = await proxied(
        nursery, monkeypatch, directory / "store", origin=origin, changes=changes, tls=tls, **settings
    )  # fmt: skip
    return made, port


def trusting(file: Path, *alpn: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(file))
    context.set_alpn_protocols(list(alpn or ("http/1.1",)))
    return context


@asynccontextmanager
async def connect(port: int, file: Path) -> AsyncIterator[Client]:
    plain = await trio.open_tcp_stream("127.0.0.1", port)
    async with plain:
        stream = trio.SSLStream(plain, trusting(file), server_hostname=HOST)
        with trio.fail_after(10):
            await stream.do_handshake()
        yield Client(stream)


async def ask(port: int, file: Path, path: str = "/a") -> Answered:
    async with connect(port, file) as client:
        return await client.ask(path)


async def test_tls_ends_here_and_the_answer_is_of_another_url(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proxy, port = await secured(nursery, monkeypatch, tmp_path)
    proxy.origin.reply = lambda _asked: CACHED
    async with connect(port, tmp_path / "own.pem") as client:
        assert isinstance(client.stream, trio.SSLStream)
        assert client.stream.selected_alpn_protocol() == "http/1.1"
        first = await client.ask()
        assert (first.status, first.body, first.cache) == (200, BODY, "fwd=miss; stored")
        await until(lambda: proxy.events.get("stored") == 1)
        second = await client.ask()
        assert (second.body, second.cache) == (BODY, "hit; ttl=1000")
    (asked,) = proxy.origin.asked
    assert asked.headers["forwarded"] == "for=127.0.0.1;proto=https"
    assert asked.headers["host"] == HOST
    assert (await proxy.get()).cache == "fwd=miss; stored"
    assert proxy.service.cache is not None
    await until(lambda: proxy.events.get("stored") == 2)
    assert [each.key for each in proxy.service.cache.store.index.under("https:")] == [f"https://{HOST}/a"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
async def test_http_2(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    proxy, port = await secured(nursery, monkeypatch, tmp_path, changes=((PORT_80, "[tcp/1-65535]"), HEALTH))
    proxy.origin.reply = lambda _asked: CACHED
    url = f"https://{HOST}:{port}/a"
    words = ["curl", "-sS", "--fail", "--http2", "--cacert", str(tmp_path / "own.pem"), "--resolve",
             f"{HOST}:{port}:127.0.0.1", "-w", "%{stderr}%{http_version} %{num_connects} ", "-o", "-", url,
             "-o", "-", url]  # fmt: skip
    # What is asked by TLS at a port that the application has is asked of the origin by TLS: here in clear text.
    monkeypatch.setattr("content.sites._speaks_http", lambda _application: True)
    done = await trio.run_process(words, capture_stdout=True, capture_stderr=True)
    assert (done.stdout, done.stderr) == (BODY + BODY, b"2 1 2 0 ")


async def test_an_origin_is_asked_by_tls_and_has_to_prove_its_name(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    write_certificate(tmp_path, "origin", HOST)
    context.load_cert_chain(tmp_path / "origin.pem", tmp_path / "origin.key")
    context.set_alpn_protocols(["h2", "http/1.1"])
    origin = Origin(context)
    origin.reply = lambda _asked: CACHED
    changes = ((PORT_80, "[tcp/443]"),)
    secure = partial(secured, nursery, monkeypatch, changes=changes, origin=origin)
    good, port = await secure(tmp_path, origin_ca=tmp_path / "origin.pem")
    answer = await ask(port, tmp_path / "own.pem")
    assert (answer.status, answer.body, answer.cache) == (200, BODY, "fwd=miss; stored")
    await until(lambda: good.events.get("stored") == 1)
    assert (await ask(port, tmp_path / "own.pem", "/b")).body == BODY
    assert origin.connections == 1
    for directory, settings in (("unknown", {}), ("other", {"origin_ca": tmp_path / "other.pem"})):
        write_certificate(tmp_path, "other", "other.example")
        (tmp_path / directory).mkdir()
        bad, port = await secure(tmp_path / directory, **settings)
        refused = await ask(port, tmp_path / directory / "own.pem")
        assert (refused.status, bad.events["origin_tls"]) == (502, 1)
    context.load_cert_chain(tmp_path / "other.pem", tmp_path / "other.key")
    (tmp_path / "wrong").mkdir()
    _, port = await secure(tmp_path / "wrong", origin_ca=tmp_path / "other.pem")
    assert (await ask(port, tmp_path / "wrong" / "own.pem")).status == 502


async def test_a_handshake_that_fails_is_counted_and_bad_files_change_nothing(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proxy, port = await secured(nursery, monkeypatch, tmp_path, "*.apps.example")
    keys = proxy.service.keys
    assert keys is not None
    assert (keys.covers(HOST), keys.covers("apps.example"), keys.covers("other.example")) == (True, False, False)
    async with await trio.open_tcp_stream("127.0.0.1", port) as stranger:
        await stranger.send_all(b"GET / HTTP/1.1\r\n\r\n")
    await until(lambda: proxy.events.get("tls_handshake") == 1)
    old = (tmp_path / "own.pem").read_bytes()
    (tmp_path / "own.pem").write_text("no certificate")
    await until(lambda: keys.problems)
    assert keys.problems == {
        "nodes.c-1.content.tls.certificates[0]": f"{tmp_path}/own.pem: no certificate in PEM; give the chain, the "
        "server's own first"
    }
    (tmp_path / "old.pem").write_bytes(old)
    assert (await ask(port, tmp_path / "old.pem")).status == 200
    write_certificate(tmp_path, "own", HOST)
    await until(lambda: not keys.problems)
    assert (await ask(port, tmp_path / "own.pem")).status == 200


def test_authorities_of_origins(tmp_path: Path) -> None:
    found = topology("{listen: ['10.1.0.80'], directory: /c, applications: [shop], origin_ca: ca.pem}")
    settings = found.nodes["c-1"].content
    assert settings is not None
    keys = Keys("c-1")
    keys.look(settings, tmp_path)
    place = "nodes.c-1.content.origin_ca"
    remedy = "put the authorities' certificates there for this node"
    assert keys.problems == {place: f"ca.pem: no such file or directory; {remedy}"}
    assert keys.origin is None
    write_certificate(tmp_path, "ca", "ca.example")
    keys.look(settings, tmp_path)
    good = keys.origin
    assert (good is not None, keys.problems) == (True, {})
    (tmp_path / "ca.pem").write_text("nothing")
    os.utime(tmp_path / "ca.pem", ns=(1, 1))
    keys.look(settings, tmp_path)
    assert (keys.origin, keys.problems) == (good, {place: f"ca.pem: no certificate in PEM; {remedy}"})


CONTENT = '{listen: ["10.1.0.80"], directory: /var/cache/braid, applications: [shop]}'
CLEAR = "    gateways: [g]\n    mode: proxy\n    proxy: {kind: http}"


@pytest.mark.parametrize(
    ("ports", "gateway", "written", "expected"),
    [
        ("[tcp/80, tcp/443]", "", None, (443, 443, True)),
        ("[tcp/80]", "", None, (443, 80, False)),
        ("[tcp/80]", "", 443, (443, 80, False)),
        ("[tcp/80]", "", 8443, None),
        ("[tcp/443, tcp/8443]", "", 8443, (8443, 8443, True)),
        ("[tcp/8443]", "tls-sni", None, (8443, 8443, True)),
        ("[tcp/443]", "tls-sni", 443, (443, 443, True)),
        ("[tcp/443]", "http", None, (443, 443, False)),
        ("[tcp/8080]", "http", 8080, (8080, 8080, False)),
    ],
)
def test_where_the_origin_of_what_came_by_tls_is_asked(
    ports: str, gateway: str, written: int | None, expected: tuple[int, int, bool] | None
) -> None:
    mode = f"    gateways: [g]\n    mode: proxy\n    proxy: {{kind: {gateway}}}"
    changes = ((PORT_80, ports), HEALTH, *((("    gateways: [g]", mode),) if gateway else ()))
    found = topology(CONTENT, *changes)
    site = Sites(found, "c-1").find(HOST, written, https=True)
    if expected is None:
        assert site is None
        return
    port, number, tls = expected
    assert site is not None
    assert (site.https, site.port, site.tls) == (True, port, tls)
    assert site.addresses == (SocketAddress(found.vips[0].address, number),)
    plain = Sites(found, "c-1").find(HOST, None)
    assert (plain is None) is (gateway == "tls-sni")
