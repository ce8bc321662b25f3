"""What a gateway offers of its requests."""

from __future__ import annotations

import pytest

from gateway.proxy.events import ClientData, Request
from gateway.transfer.offer import has_passed, is_for_origin
from topology.values import socket_address


@pytest.mark.parametrize(
    ("via", "passed"),
    [
        ("1.1 cache-1", True),
        ("1.0 fred, 1.1 CACHE-1 (Braid)", True),
        ("1.1 cache-10", False),
        ("cache-1", False),
        ("", False),
        (" , ,", False),
    ],
)
def test_a_proxys_own_requests_are_not_offered_to_it(via: str, passed: bool) -> None:
    assert has_passed(via, "cache-1") is passed


@pytest.mark.parametrize(
    ("fields", "for_origin"),
    [
        ({}, False),
        ({"cache-control": "no-cache"}, True),
        ({"cache-control": "max-stale, No-Cache"}, True),
        ({"cache-control": "max-age=0"}, True),
        ({"cache-control": "max-age=60"}, False),
        ({"cache-control": "only-if-cached"}, False),
        ({"pragma": "no-cache"}, True),
        ({"pragma": "no-cache", "cache-control": "max-stale"}, False),
        ({"if-match": '"1"'}, True),
        ({"if-unmodified-since": "Sat, 29 Oct 1994 19:43:31 GMT"}, True),
        ({"if-none-match": '"1"', "range": "bytes=0-1", "authorization": "Basic x"}, False),
        ({"cache-control": "\u20ac"}, False),
    ],
)
def test_what_no_stored_answer_may_serve_is_not_offered(fields: dict[str, str], for_origin: bool) -> None:
    client, vip = socket_address("198.51.100.7:40000", 0), socket_address("10.91.1.173:80", 0)
    data = ClientData(client, vip, "edge-fra-1", "edge-fra", "shop")
    assert is_for_origin(Request(data, method="GET", host="shop.apps.example", path="/", headers=fields)) is for_origin
    assert is_for_origin(Request(data, method="HEAD", headers=fields)) is for_origin
