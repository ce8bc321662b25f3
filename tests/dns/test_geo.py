"""Geo databases: read, followed, refused; and that they steer."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from ipaddress import ip_address, ip_network
from random import Random
from typing import TYPE_CHECKING

import pytest

from dns.geo import GeoError, GeoFollower, database_file, open_database
from dns.policy import Standing
from dns.view import Reason, View, make_view
from tests.dns.mmdb import database
from tests.dns.zone import CONFIG
from topology.model import Location
from topology.source import parse

if TYPE_CHECKING:
    from pathlib import Path

    from dns.view import Decision

FRANKFURT, NEW_YORK, PARIS = Location(50.11, 8.68), Location(40.71, -74.01), Location(48.86, 2.35)
PLACES = {
    ip_network("192.0.2.0/25"): PARIS,
    ip_network("192.0.2.128/25"): NEW_YORK,
    ip_network("198.51.100.0/24"): None,
    ip_network("2001:db8:1::/48"): NEW_YORK,
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "cities.mmdb"
    made.write_bytes(database(PLACES))
    return made


def number(text: str) -> tuple[int, int]:
    address = ip_address(text)
    return address.version, int(address)


@pytest.mark.parametrize(
    ("client", "place", "length"),
    [
        ("192.0.2.1", PARIS, 25),
        ("192.0.2.200", NEW_YORK, 25),
        ("198.51.100.1", None, 24),
        ("10.0.0.1", None, 1),
        ("2001:db8:1::9", NEW_YORK, 48),
        ("2001:db8:2::9", None, 47),
    ],
)
def test_places_and_how_far_they_reach(file: Path, client: str, place: Location | None, length: int) -> None:
    assert open_database(file).find(*number(client)) == (place, length)


def test_what_happens_to_the_file_later_does_not_concern_what_was_read(file: Path) -> None:
    found = open_database(file)
    with file.open("r+b") as opened:
        opened.truncate(0)
    assert found.find(*number("192.0.2.1"))[0] == PARIS


def test_the_file_is_followed_and_a_bad_one_is_told_of_once(file: Path) -> None:
    follower = GeoFollower()
    assert follower.look(file)
    assert not follower.look(file)
    fresh = file.with_name("new")
    fresh.write_bytes(database({ip_network("192.0.2.0/24"): FRANKFURT}, built=1_900_000_000))
    os.replace(fresh, file)
    assert follower.look(file)
    assert follower.database is not None
    assert (follower.database.built, follower.database.find(*number("192.0.2.1"))[0]) == (1_900_000_000, FRANKFURT)
    file.write_bytes(b"nonsense")
    with pytest.raises(GeoError, match="is no whole MaxMind DB file"):
        follower.look(file)
    assert not follower.look(file)
    file.unlink()
    with pytest.raises(GeoError, match="No such file"):
        follower.look(file)
    assert not follower.look(file)
    assert follower.database.find(*number("192.0.2.1"))[0] == FRANKFURT
    assert follower.look(None)
    assert follower.database is None
    assert not follower.look(None)


def test_a_database_of_countries_and_a_missing_package_are_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_bytes(database({ip_network("192.0.2.0/24"): None}))
    with pytest.raises(GeoError, match="has no coordinates; bring a database of cities"):
        open_database(file)
    monkeypatch.setitem(sys.modules, "maxminddb", None)
    with pytest.raises(GeoError, match=r"dns\.geo_database: .*cities\.mmdb needs the package maxminddb; pip install"):
        open_database(file)


def test_damaged_files_are_refused_or_say_nothing(tmp_path: Path) -> None:
    """Operators copy files; nothing in one may raise while a query waits."""
    rng, place = Random(5), tmp_path / "damaged.mmdb"
    whole = database({ip_network(f"{n}.0.0.0/8"): FRANKFURT for n in range(200)} | {ip_network("2001:db8::/32"): PARIS})
    refused = 0
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        place.write_bytes(data)
        try:
            found = open_database(place)
        except GeoError:
            refused += 1
            continue
        for _ in range(20):
            assert 0 <= found.find(4, rng.getrandbits(32))[1] <= 32
            assert 0 <= found.find(6, rng.getrandbits(128))[1] <= 128
    assert 0 < refused < 200


def test_what_is_remembered_is_what_the_file_says(file: Path) -> None:
    found = open_database(file)
    for client in ("192.0.2.1", "192.0.2.200", "192.0.2.1", "2001:db8:1::1", "2001:db8:1:2::9"):
        assert found.find(*number(client)) == open_database(file).find(*number(client))


def test_the_name_is_relative_to_the_topology_file(tmp_path: Path) -> None:
    from topology.sample import SAMPLE

    plain = parse(SAMPLE, "t.yaml")
    assert database_file(plain, tmp_path / "t.yaml") is None
    with_geo = parse(SAMPLE.replace("# geo_database:", "geo_database:"), "t.yaml")
    assert database_file(with_geo, tmp_path / "t.yaml") == tmp_path / "cities.mmdb"


EDGES = tuple(
    replace(edge, serves=serves, location=place)
    for edge, serves, place in zip(
        CONFIG.edges, ((), (), (ip_network("203.0.113.0/24"),)), (FRANKFURT, NEW_YORK, PARIS), strict=True
    )
)


def view(file: Path, **standings: Standing) -> View:
    known = dict.fromkeys(CONFIG.vips, Standing.UP) | {
        ({"fra": 0, "nyc": 1, "par": 2}[name], "shop"): standing for name, standing in standings.items()
    }
    return make_view(replace(CONFIG, edges=EDGES), known, geo=open_database(file))


def decided(seen: View, client: str) -> Decision:
    return seen.decide(*number(client), "shop")


def test_the_nearest_edge_of_those_without_a_prefix_for_the_client(file: Path) -> None:
    seen = view(file)
    assert decided(seen, "192.0.2.1")[:3] == ((0,), 25, Reason.FASTEST)
    assert decided(seen, "192.0.2.200")[:3] == ((1,), 25, Reason.FASTEST)
    assert decided(seen, "2001:db8:1::1")[:3] == ((1,), 48, Reason.FASTEST)
    explicit = decided(seen, "203.0.113.9")
    assert explicit[:3] == ((2,), 24, Reason.BEST), "where only one is right, where the client is does not matter"
    unknown = decided(seen, "198.51.100.1")
    assert (unknown.reason, unknown.scope) == (Reason.STICKY, 24)
    assert decided(view(file, fra=Standing.DOWN), "192.0.2.1")[:3] == ((1,), 5, Reason.BEST)


def test_an_edge_whose_place_is_not_known_switches_distances_off(file: Path) -> None:
    edges = (EDGES[0], replace(EDGES[1], location=None), EDGES[2])
    seen = make_view(replace(CONFIG, edges=edges), dict.fromkeys(CONFIG.vips, Standing.UP), geo=open_database(file))
    assert {decided(seen, f"192.0.2.{host}").reason for host in (1, 200)} == {Reason.STICKY}
