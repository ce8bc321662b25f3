from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from braid import linux
from braid.addresses import Capture, Interface, additions, parse_interfaces, plan_capture, removals, settings_for
from braid.linux import LinuxError, Setting, apply_settings, ip_batch
from braid.tun import hop_addresses

if TYPE_CHECKING:
    from pathlib import Path

LAN = Interface("lan0", (ip_network("10.91.1.0/24"), ip_network("fd91:1::/64")))
UNDERLAY = Interface("up.0", (ip_network("10.90.0.0/24"),))
ON_LINK = ip_network("10.91.1.130/32")
ON_LINK_SIX = ip_network("fd91:1::1:7/128")
ROUTED = ip_network("192.0.2.7/32")


def test_addresses_inside_a_neighbouring_network_are_answered_for_there() -> None:
    capture = plan_capture((ON_LINK, ON_LINK_SIX, ROUTED), (LAN, UNDERLAY))
    assert capture.routes == (ON_LINK, ON_LINK_SIX, ROUTED)
    assert capture.proxies == (
        (ip_address("10.91.1.130"), "lan0"),
        (ip_address("fd91:1::1:7"), "lan0"),
    )
    assert capture.warnings == ()


def test_every_address_of_a_small_pool_is_answered_for_and_a_large_one_is_refused() -> None:
    pool = plan_capture((ip_network("10.91.1.128/30"),), (LAN,))
    assert [str(address) for address, _ in pool.proxies] == [f"10.91.1.{last}" for last in range(128, 132)]
    large = plan_capture((ip_network("fd91:1::1:0/112"),), (LAN,))
    assert large.proxies == ()
    assert "route it to this node" in large.warnings[0]


def test_the_tun_itself_and_host_addresses_put_nothing_on_link() -> None:
    tun = Interface("braid0", (ip_network("10.91.1.130/31"),))
    own = Interface("lo0", (ON_LINK,))
    assert plan_capture((ON_LINK,), (tun, own)).proxies == ()


def test_only_differences_are_commanded() -> None:
    before = plan_capture((ON_LINK, ROUTED), (LAN,))
    after = plan_capture((ON_LINK, ON_LINK_SIX), (LAN,))
    assert additions(before, after, 4) == []
    assert additions(before, after, 6) == [
        ("route", "replace", "fd91:1::1:7/128", "dev", "braid0"),
        ("neighbour", "replace", "proxy", "fd91:1::1:7", "dev", "lan0"),
    ]
    assert removals(before, after) == [("route", "delete", "192.0.2.7/32", "dev", "braid0")]
    assert removals(after, Capture())[0] == ("neighbour", "delete", "proxy", "10.91.1.130", "dev", "lan0")


def test_settings_are_those_the_families_in_use_need() -> None:
    names = {setting.name for setting in settings_for(plan_capture((ON_LINK,), (LAN,)))}
    assert names == {"net.ipv4.ip_forward", "net.ipv4.neigh.lan0.proxy_delay"}
    names = {setting.name for setting in settings_for(plan_capture((ON_LINK_SIX,), (LAN,)))}
    assert names == {
        "net.ipv6.conf.all.forwarding",
        "net.ipv6.conf.lan0.proxy_ndp",
        "net.ipv6.neigh.lan0.proxy_delay",
    }


def test_interfaces_are_read_without_loopback_and_link_local() -> None:
    listed = [
        {"ifname": "lo", "flags": ["LOOPBACK"], "addr_info": [{"local": "127.0.0.1", "prefixlen": 8, "scope": "host"}]},
        {
            "ifname": "lan0",
            "flags": ["UP"],
            "addr_info": [
                {"local": "10.91.1.2", "prefixlen": 24, "scope": "global"},
                {"local": "fd91:1::2", "prefixlen": 64, "scope": "global"},
                {"local": "fe80::1", "prefixlen": 64, "scope": "link"},
            ],
        },
        {},
    ]
    assert parse_interfaces(listed) == (LAN,)


def test_a_setting_is_written_only_when_it_is_wrong(tmp_path: Path) -> None:
    folder = tmp_path / "net" / "ipv4"
    folder.mkdir(parents=True)
    right, wrong = folder / "right", folder / "wrong"
    right.write_text("1\n")
    right.chmod(0o444)
    wrong.write_text("0\n")
    settings = [Setting(("net", "ipv4", name), "1", "why") for name in ("right", "wrong", "missing")]
    warnings = apply_settings(settings, tmp_path)
    assert wrong.read_text() == "1"
    assert len(warnings) == 1
    assert warnings[0].startswith("net.ipv4.missing: no such file or directory; why; set net.ipv4.missing=1")


async def test_a_missing_ip_command_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(linux._PATH, "PATH", "/nonexistent")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(LinuxError, match="install iproute2"):
        await linux.ip("link", "show")


async def test_a_refused_command_says_what_failed() -> None:
    with pytest.raises(LinuxError, match=r"ip link set no-such-device up: .*no-such-device"):
        await linux.ip("link", "set", "no-such-device", "up")


@pytest.mark.parametrize("word", ["", "a b", "a\nlink delete x", 'a"', "#"])
async def test_nothing_but_plain_words_gets_into_a_batch(word: str) -> None:
    with pytest.raises(ValueError, match="not a plain word"):
        await ip_batch([("link", "show", word)])


def test_hop_addresses_differ_by_node() -> None:
    assert [str(address) for address in hop_addresses(11)] == ["100.64.0.11", "fd00:b1d::b"]
    assert [str(address) for address in hop_addresses(65535)] == ["100.64.255.255", "fd00:b1d::ffff"]
