"""Which connections that begin with TLS a content proxy takes: by name, certificate, row and protocols."""

from __future__ import annotations

import ssl
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from braid.delegation import delegation
from braid.role import Situation
from braid.tcp.record import TcpRecord, Window
from braid.tls.hello import PULL
from braid.transfer import Reason, TransferRequest, numbers_of
from content.delegated import begins_with_tls, refusal_of_hello
from content.keys import Keys
from content.sites import Sites
from tests.gateway.certificates import write_certificate
from tests.gateway.hellos import client_hello
from tests.topology.test_transfers import TLS_ROW, tls_text
from topology.model import SocketAddress
from topology.source import parse
from topology.tls import Tls, TlsVersion

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "shop.apps.example"
TOPOLOGY = parse(tls_text(), "net.yaml")
CLIENT, VIP = SocketAddress(ip_address("10.1.0.10"), 40000), SocketAddress(ip_address("10.1.0.130"), 443)


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[..., Reason | None]:
    def judge(
        hello: bytes, *, row: str = TLS_ROW, content: str = f"tls://{NAME}:443", names: tuple[str, ...] = (NAME,),
        alpn: tuple[str, ...] = ("h2", "http/1.1"), node: str = "c-1", minimum: TlsVersion = TlsVersion.TLS_1_2,
        hosts: tuple[str, ...] = (NAME,),
    ) -> Reason | None:  # fmt: skip
        topology = parse(tls_text(row), "net.yaml")
        settings = topology.nodes["c-1"].content
        assert settings is not None
        keys = Keys("c-1")
        keys.look(replace(settings, tls=Tls((write_certificate(tmp_path, "own", *names),), minimum, alpn)), tmp_path)
        record = TcpRecord(VIP, CLIENT, 1, 1 + len(hello), 1448, None, False, None, Window(1, 1, 1, 1, 1), hello)
        request = TransferRequest(bytes(16), 100, numbers_of(record), (0, 0), content.encode(), b"")
        situation = Situation(topology, node, None, {node: delegation([], hosts)})  # type: ignore[arg-type]
        find = Sites(topology, "c-1").find
        return refusal_of_hello(request, record, "shop", "e", situation, find, keys, 0.0)

    return judge


def test_applications_whose_tls_passes_the_gateway() -> None:
    assert begins_with_tls(TOPOLOGY, "shop")


def test_a_name_that_was_handed_over(refusal: Callable[..., Reason | None]) -> None:
    assert refusal(client_hello(NAME)) is None
    assert refusal(client_hello(NAME), names=("*.apps.example",)) is None
    assert refusal(client_hello(NAME), alpn=()) is None
    assert refusal(client_hello(NAME, "http/1.1"), alpn=("h2",)) is None


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"names": ("other.example",)}, Reason.NOT_DELEGATED),
        ({"hosts": ("other.example",)}, Reason.NOT_DELEGATED),
        ({"hosts": ()}, Reason.NOT_DELEGATED),
        ({"row": TLS_ROW.replace("shop.apps", "other.apps")}, Reason.NOT_DELEGATED),
        ({"row": TLS_ROW.replace("}", ", alpn: [h3]}")}, Reason.NOT_DELEGATED),
        ({"row": TLS_ROW.replace("}", ", clients: [192.0.2.0/24]}")}, Reason.NOT_DELEGATED),
        ({"node": "c-2"}, Reason.NOT_DELEGATED),
        ({"content": "tls://other.apps.example:443"}, Reason.CONTENT),
        ({"content": f"tls://{NAME}:8443"}, Reason.CONTENT),
    ],
)
def test_what_is_refused(
    refusal: Callable[..., Reason | None], settings: dict[str, object], reason: Reason
) -> None:  # fmt: skip
    assert refusal(client_hello(NAME), **settings) is reason


def test_a_name_that_no_application_of_this_node_has(refusal: Callable[..., Reason | None]) -> None:
    name, row = "www.apps.example", "{application: shop, proxies: [c-1]}"
    assert refusal(client_hello(name), row=row, content=f"tls://{name}:443", names=(name,)) is Reason.NOT_DELEGATED


@pytest.mark.parametrize(
    "hello",
    [
        client_hello(NAME, "h3"),
        client_hello(NAME, "http/1.1", PULL),
        client_hello(NAME)[:-1],
        b"GET / HTTP/1.1\r\n\r\n",
        b"",
    ],
    ids=["protocol", "from-a-proxy", "not-whole", "no-tls", "nothing"],
)
def test_a_hello_that_cannot_be_served(refusal: Callable[..., Reason | None], hello: bytes) -> None:
    assert refusal(hello) is Reason.CONTENT


def test_a_client_that_is_too_old_for_this_node(refusal: Callable[..., Reason | None]) -> None:
    old = client_hello(NAME, newest=ssl.TLSVersion.TLSv1_2)
    assert refusal(old) is None
    assert refusal(old, minimum=TlsVersion.TLS_1_3) is Reason.CONTENT
    assert refusal(client_hello(NAME), minimum=TlsVersion.TLS_1_3) is None
