"""Plug-ins: the one of the documentation, to the letter, and such as are broken."""

from __future__ import annotations

import re
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from gateway.proxy.http import HttpProxy
from gateway.proxy.pool import PlugInError, proxy_class
from tests.gateway.proxy_bench import exchange, http_servers, listen, proxied, read_all
from topology.model import Target
from topology.proxy import ProxySettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.proxy.events import ClientData, Request, ServerData

DOCS = Path(__file__).parents[2] / "docs" / "proxies.md"


def get(*headers: str) -> bytes:
    return "\r\n".join(("GET / HTTP/1.1", "Host: x", *headers, "", "")).encode()


async def test_the_plug_in_of_the_documentation(
    nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert found is not None
    assert len(found[1].splitlines()) <= 32
    (tmp_path / "token_proxy.py").write_text(found[1])
    monkeypatch.syspath_prepend(str(tmp_path))
    asked = []

    async def directory(stream: trio.SocketStream) -> None:
        asked.append((await stream.receive_some(1000)).split()[1])
        await stream.send_all(b"HTTP/1.0 200 OK\r\n\r\n127.0.0.1\n")

    (server,) = await http_servers(nursery, "a")
    elsewhere = Target(ip_address("127.0.0.2"), server.port, 1)
    async with proxied(ProxySettings("token_proxy:TokenProxy"), elsewhere, server.target) as shop:
        monkeypatch.setattr(sys.modules["token_proxy"], "DIRECTORY", ("127.0.0.1", await listen(nursery, directory)))
        client = await shop.connect()
        for _ in range(3):
            status, _, body = await exchange(client, get("X-Token: alice"))
            assert (status, body) == (200, b"a / 0")
        assert asked == [b"/alice"]
        assert shop.connections[0].verdict is not None
        assert shop.connections[0].verdict.why == "the proxy's own choice, round_robin"
        assert (await exchange(client, get()))[0] == 503
        assert shop.refused == {"no_server": 1}


class Raises(HttpProxy):
    async def select(self, request: Request) -> ServerData | None:
        raise KeyError(request.path)


class Hangs(HttpProxy):
    async def select(self, request: Request) -> ServerData | None:
        await trio.sleep_forever()
        return None


class RaisesAtOnce(HttpProxy):
    async def client_connection(self, client_data: ClientData) -> Sequence[object]:  # type: ignore[override]
        raise ZeroDivisionError


class Nonsense(HttpProxy):
    async def client_packets(self, data: bytes) -> Sequence[object]:  # type: ignore[override]
        self.buffer.store_packets(b"x" * (4 * self.buffer.limit))
        return ()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Raises", "proxy_failed"),
        ("Hangs", "proxy_hung"),
        ("RaisesAtOnce", "proxy_failed"),
        ("Nonsense", "proxy_failed"),
    ],
)
async def test_a_broken_plug_in_resets_its_clients_and_nobody_else(
    nursery: trio.Nursery, name: str, reason: str
) -> None:
    (server,) = await http_servers(nursery, "a")
    settings = ProxySettings(f"{__name__}:{name}", select_timeout=0.2)
    async with proxied(settings, server.target) as shop, proxied(ProxySettings("http"), server.target) as other:
        for _ in range(2):
            client = await shop.connect()
            await client.send_all(get())
            with pytest.raises(trio.BrokenResourceError):
                await read_all(client)
        assert shop.refused == {reason: 2}
        assert (await exchange(await other.connect(), get()))[0] == 200


@pytest.mark.parametrize("kind", ["no_such_module:X", "json:loads", "json:NoSuchName"])
def test_an_entry_point_that_leads_nowhere_is_an_error(kind: str) -> None:
    with pytest.raises(PlugInError, match=kind):
        proxy_class(kind)
