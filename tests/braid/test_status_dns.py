"""``/dns`` of the status endpoint: what it hands to the node and back."""

from __future__ import annotations

import httpx
import pytest

from braid.status.app import make_app
from tests.braid.fake_node import FakeView


@pytest.mark.parametrize(
    ("asked", "code", "handed"),
    [
        ({}, 200, [None, None]),
        ({"name": "shop.apps.example", "client": "10.91.1.10"}, 200, ["shop.apps.example", "10.91.1.10"]),
        ({"client": "nobody"}, 400, None),
        ({"name": "elsewhere"}, 404, None),
    ],
)
async def test_dns(asked: dict[str, str], code: int, handed: list[str | None] | None) -> None:
    transport = httpx.ASGITransport(make_app(FakeView()), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://edge-fra-1:7480") as client:
        answer = await client.get("/dns", params=asked)
    assert (answer.status_code, answer.json().get("asked")) == (code, handed)
