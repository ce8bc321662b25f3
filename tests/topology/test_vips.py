from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.topology.base import changed
from topology.model import Role, Topology, Vip
from topology.source import parse
from topology.vips import PoolTooSmall, assign_vips, pool_size, usable_range, vip_for


def with_applications(names: list[str], pools: str = "10.1.0.128/28", target: str = "10.2.0.10") -> Topology:
    lines = [
        f"  {name}: {{hostnames: [{name}.apps.example], ports: [any], targets: [{{address: '{target}'}}]}}"
        for name in names
    ]
    return parse(changed(("lab:\n", "\n".join([*lines, "lab:\n"])), ("10.1.0.128/28", pools)), "t.yaml")


names = st.lists(st.from_regex(r"[a-z][a-z0-9]{0,7}", fullmatch=True).filter(lambda name: name != "shop"), unique=True)


@given(names.filter(lambda found: len(found) <= 12), st.data())
def test_an_application_added_at_the_end_moves_no_other(found: list[str], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(found)))
    before, after = with_applications(found[:count]).vips, with_applications(found).vips
    assert set(before) <= set(after)
    assert len({vip.address for vip in after}) == len(after) == len(found) + 1
    assert all(vip.address in ip_network("10.1.0.128/28") for vip in after)


def test_assignment_is_the_same_in_every_version() -> None:
    """Clients remember addresses: a change here is a change for them."""
    assert with_applications([]).vips == (Vip("e-1", "shop", ip_address("10.1.0.131")),)


@pytest.mark.parametrize(
    ("pool", "first", "last"),
    [
        ("10.0.0.0/24", "10.0.0.1", "10.0.0.254"),
        ("10.0.0.0/30", "10.0.0.1", "10.0.0.2"),
        ("10.0.0.0/31", "10.0.0.0", "10.0.0.1"),
        ("10.0.0.7/32", "10.0.0.7", "10.0.0.7"),
        ("fd00::/112", "fd00::1", "fd00::ffff"),
        ("fd00::/127", "fd00::", "fd00::1"),
        ("fd00::7/128", "fd00::7", "fd00::7"),
    ],
)
def test_usable_addresses(pool: str, first: str, last: str) -> None:
    network = ip_network(pool)
    offsets = usable_range(network)
    assert str(network.network_address + offsets.start) == first
    assert str(network.network_address + (offsets.stop - 1)) == last


def test_size_of_pools_wider_than_a_machine_word() -> None:
    pools = (IPv4Network("10.0.0.0/30"), IPv6Network("fd00::/48"), IPv4Network("10.0.1.0/31"))
    assert pool_size(pools, 4) == 4
    assert pool_size(pools, 6) == 2**80 - 1


def test_several_pools_are_one_and_can_be_used_up() -> None:
    topology = with_applications(["a", "b", "c"], "10.1.0.128/31, 10.1.0.140/32, 10.1.0.150/32")
    assert {str(vip.address) for vip in topology.vips} == {"10.1.0.128", "10.1.0.129", "10.1.0.140", "10.1.0.150"}
    with pytest.raises(PoolTooSmall) as caught:
        assign_vips(
            with_applications([], "10.1.0.128/32").by_role(Role.EDGE),
            with_applications(["a"]).applications.values(),
        )
    assert (caught.value.edge, caught.value.family, caught.value.needed, caught.value.size) == ("e-1", 4, 2, 1)


def test_one_vip_per_family_that_edge_and_targets_share() -> None:
    text = changed(
        ("10.1.0.128/28", '10.1.0.128/28, "2001:db8::/112"'),
        ("10.2.0.128/30", '10.2.0.128/30, "2001:db8:1::/126"'),
        ("10.2.0.10}]", '10.2.0.10}, {address: "2001:db8:2::1"}]'),
        (
            "lab:\n",
            '  six: {hostnames: [six.apps.example], ports: [any], targets: [{address: "2001:db8:2::1"}]}\nlab:\n',
        ),
    )
    topology = parse(text, "t.yaml")
    assert [vip.address.version for vip in vip_for(topology, "e-1", "shop")] == [4, 6]
    assert [vip.address.version for vip in vip_for(topology, "e-1", "six")] == [6]
    assert vip_for(topology, "g-1", "shop") == ()
