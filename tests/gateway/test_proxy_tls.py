"""TLS that ends in the gateway: certificates, protocols, and what bad files and bad clients do."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

import pytest
import trio

from braid.tls.certificates import Certificates
from tests.gateway import proxy_bench
from tests.gateway.certificates import write_certificate
from tests.gateway.proxy_bench import LOOPBACK, TLS, exchange, http_servers, listen, proxied, read_all
from topology.model import Target
from topology.proxy import HTTP, TCP, ClientAddress, ProxySettings, Rule
from topology.tls import Tls, TlsVersion

if TYPE_CHECKING:
    from pathlib import Path

    from tests.gateway.proxy_bench import Proxied

GET = b"GET /tls HTTP/1.1\r\nHost: shop.apps.example\r\n\r\n"
ALPN = ("h2", "http/1.1")


def certificates(tls: Tls, directory: Path) -> Certificates:
    read = Certificates()
    read.look({TLS: tls}, directory)
    return read


async def connect(shop: Proxied, name: str = "one.example", *alpn: str) -> trio.SSLStream[trio.SocketStream]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    stream = trio.SSLStream(await shop.connect(), context, server_hostname=name, https_compatible=True)
    with trio.fail_after(10):
        await stream.do_handshake()
    return stream


def shown_names(stream: trio.SSLStream[trio.SocketStream]) -> bytes:
    found = stream.getpeercert(binary_form=True)
    assert isinstance(found, bytes)
    return found


@pytest.mark.parametrize("relay", [True, False], ids=["rust", "h11"])
async def test_requests_and_rules_behind_tls(
    nursery: trio.Nursery, tmp_path: Path, relay: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy_bench, "RELAY", relay)
    servers = await http_servers(nursery, "a", "b")
    tls = Tls((write_certificate(tmp_path, "one", "one.example"),), alpn=ALPN)
    rules = (Rule((servers[1].target,), sni=("two.example",), alpn=("http/1.1",)), Rule((servers[0].target,)))
    settings = ProxySettings(HTTP, rules=rules, tls=tls, client_address=ClientAddress.FORWARDED)
    targets = [each.target for each in servers]
    async with proxied(settings, *targets, certificates=certificates(tls, tmp_path)) as shop:
        client = await connect(shop, "one.example", "http/1.1")
        assert client.selected_alpn_protocol() == "http/1.1"
        for _ in range(2):
            assert (await exchange(client, GET))[2] == b"a /tls 0"  # type: ignore[arg-type]
        other = await connect(shop, "two.example", "http/1.1")
        assert (await exchange(other, GET))[2] == b"b /tls 0"  # type: ignore[arg-type]
        none = await connect(shop, "two.example")
        assert (await exchange(none, GET))[2] == b"a /tls 0"  # type: ignore[arg-type]
        proto = "https" if relay else "http"
        assert dict(servers[0].seen[0].headers)[b"forwarded"].endswith(f"proto={proto}".encode())


async def test_certificates_are_chosen_by_name_and_read_again(tmp_path: Path) -> None:
    one = write_certificate(tmp_path, "one", "one.example")
    two = write_certificate(tmp_path, "two", "two.example", "*.three.example")
    tls = Tls((one, two))
    read = certificates(tls, tmp_path)
    files = {name: ssl.PEM_cert_to_DER_cert((tmp_path / f"{name}.pem").read_text()).hex() for name in ("one", "two")}

    async def echo(stream: trio.SocketStream) -> None:
        while data := await stream.receive_some(65536):
            await stream.send_all(data)

    async with trio.open_nursery() as nursery:
        port = await listen(nursery, echo)
        async with proxied(ProxySettings(TCP, tls=tls), Target(LOOPBACK, port, 1), certificates=read) as shop:
            for name, file in (
                ("one.example", "one"),
                ("TWO.example", "two"),
                ("a.three.example", "two"),
                ("a.b.three.example", "one"),
                ("unknown.example", "one"),
            ):
                client = await connect(shop, name)
                assert shown_names(client).hex() == files[file], name
                await client.send_all(b"\x00 bytes")
                assert await client.receive_some(100) == b"\x00 bytes"
            write_certificate(tmp_path, "one", "one.example")
            os.utime(tmp_path / "one.pem", ns=(1, 1))
            read.look({TLS: tls}, tmp_path)
            assert shown_names(await connect(shop)).hex() != files["one"]
            good = shown_names(await connect(shop))
            (tmp_path / "one.pem").write_text("no certificate")
            read.look({TLS: tls}, tmp_path)
            assert read.problems == {
                "applications.shop.proxy.tls.certificates[0]": "one.pem: no certificate in PEM; give the chain, the "
                "server's own first"
            }
            assert shown_names(await connect(shop)) == good
        nursery.cancel_scope.cancel()


def test_bad_files_are_named_with_a_remedy(tmp_path: Path) -> None:
    good = write_certificate(tmp_path, "good", "one.example")
    other = write_certificate(tmp_path, "other", "one.example")
    for pair, says in (
        ((good.certificate, "no.key"), "no.key: no such file or directory; put the file there for this node"),
        (
            (good.certificate, other.key),
            "good.pem and other.key: key values mismatch; give a PEM chain and its key",
        ),
        ((good.key, good.key), "good.key: no certificate in PEM; give the chain, the server's own first"),
    ):
        tls = Tls((type(good)(*pair),))
        read = certificates(tls, tmp_path)
        assert read.context("shop") is None
        assert [problem.replace(f"{tmp_path}/", "") for problem in read.problems.values()] == [says]


async def test_half_an_answer_is_not_closed_in_order(nursery: trio.Nursery, tmp_path: Path) -> None:
    async def cut(stream: trio.SocketStream) -> None:
        await stream.receive_some(65536)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    tls = Tls((write_certificate(tmp_path, "one", "one.example"),), alpn=ALPN)
    port = await listen(nursery, cut)
    settings = ProxySettings(HTTP, tls=tls)
    async with proxied(settings, Target(LOOPBACK, port, 1), certificates=certificates(tls, tmp_path)) as shop:
        client = await connect(shop)
        await client.send_all(GET)
        with pytest.raises(trio.BrokenResourceError):
            await read_all(client)  # type: ignore[arg-type]


async def test_old_tls_and_clear_text_are_refused_and_counted(nursery: trio.Nursery, tmp_path: Path) -> None:
    (server,) = await http_servers(nursery, "a")
    tls = Tls((write_certificate(tmp_path, "one", "one.example"),), minimum=TlsVersion.TLS_1_3)
    settings = ProxySettings(HTTP, tls=tls)
    async with proxied(settings, server.target, certificates=certificates(tls, tmp_path)) as shop:
        clear = await shop.connect()
        await clear.send_all(GET)
        with pytest.raises(trio.BrokenResourceError):
            await read_all(clear)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        old = trio.SSLStream(await shop.connect(), context, server_hostname="one.example")
        with pytest.raises(trio.BrokenResourceError):
            await old.do_handshake()
        with trio.fail_after(5):
            while shop.refused != {"tls_handshake": 2}:  # noqa: ASYNC110
                await trio.sleep(0.01)


async def test_an_end_in_order_is_said_in_tls(nursery: trio.Nursery, tmp_path: Path) -> None:
    (server,) = await http_servers(nursery, "a")
    tls = Tls((write_certificate(tmp_path, "one", "one.example"),))
    context = ssl.create_default_context(cafile=str(tmp_path / "one.pem"))
    settings = ProxySettings(HTTP, tls=tls)
    async with proxied(settings, server.target, certificates=certificates(tls, tmp_path)) as shop:
        strict = trio.SSLStream(await shop.connect(), context, server_hostname="one.example")
        await strict.send_all(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        received = b""
        with trio.fail_after(10):
            while data := await strict.receive_some(65536):
                received += data
        assert received.endswith(b"a /tls 0")
