"""What is delegated to a content proxy, as its certificate says it."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid.delegation import NOTHING, Delegation, allows, delegation, is_name, lacking, parse, wanted
from tests.topology.test_transfers import ROW, text
from topology.source import parse as parse_topology

TOPOLOGY = parse_topology(text(ROW), "net.yaml")
(VIP,) = (vip.address for vip in TOPOLOGY.vips)
PREFIXES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).flatmap(
    lambda address: st.integers(0, address.max_prefixlen).map(
        lambda length: ip_network(f"{address}/{length}", strict=False)
    )
)
LABELS = st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join) | LABELS.map("*.{}".format)


@given(st.lists(PREFIXES, max_size=6), st.lists(NAMES, max_size=6))
def test_it_is_the_same_when_it_is_read_again(prefixes: list[object], names: list[str]) -> None:
    given = delegation(prefixes, names)  # type: ignore[arg-type]
    assert parse(given.text) == given
    assert delegation(given.prefixes, given.names) == given
    assert all(given.covers(each.network_address) for each in prefixes)  # type: ignore[attr-defined]


@given(st.text(max_size=60) | st.text("0123456789abcdef.:/ *-", max_size=60))
def test_what_is_no_delegation_is_a_value_error_and_nothing_else(words: str) -> None:
    try:
        found = parse(words)
    except ValueError:
        return
    assert found.text == words


@pytest.mark.parametrize(
    "words",
    [" ", "10.0.0.0/8 ", "10.0.0.1/8", "a  b", "b a", "a a", "A", "a 10.0.0.0/8", "10.0.0.0/9 10.128.0.0/9", "a..b",
     "*", "2001:db8::/32 10.0.0.0/8", "2001:DB8::/32", "x" * 64, ".".join(["x" * 63] * 4) + ".x"],
)  # fmt: skip
def test_there_is_one_form(words: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse(words)


def test_prefixes_and_names() -> None:
    given = parse("10.91.1.160/28 2001:db8:91::/64 *.img.example shop.apps.example")
    assert [given.covers(ip_address(each)) for each in ("10.91.1.175", "10.91.1.176", "2001:db8:91::1", "::1")] == [
        True,
        False,
        True,
        False,
    ]
    hosts = ("shop.apps.example", "a.img.example", "a.b.img.example", "img.example", "other.example", "")
    assert [given.names_host(host) for host in hosts] == [True, True, True, False, False, False]
    assert not NOTHING.covers(VIP)
    assert not is_name("shop.apps.example.")


def test_a_new_certificate_has_the_pools_of_all_edges_and_the_names_of_its_applications() -> None:
    edge = next(node for node in TOPOLOGY.nodes.values() if node.vip_pools)
    assert wanted(TOPOLOGY, "c-1") == Delegation(edge.vip_pools, ("shop.apps.example",))
    assert wanted(TOPOLOGY, edge.name) == NOTHING
    assert lacking(TOPOLOGY, "c-1", wanted(TOPOLOGY, "c-1")) == ()


def test_what_the_routing_table_gives_and_a_certificate_does_not() -> None:
    assert lacking(TOPOLOGY, "c-1", NOTHING) == (str(VIP), "shop.apps.example")
    assert lacking(TOPOLOGY, "c-1", delegation([ip_network(f"{VIP}/32")], [])) == ("shop.apps.example",)
    assert lacking(TOPOLOGY, "e-1", NOTHING) == ()
    assert allows({"c-1": wanted(TOPOLOGY, "c-1")}, "c-1", [VIP])
    assert not allows({"c-1": wanted(TOPOLOGY, "c-1")}, "c-2", [VIP])
