"""Where clients are, from a file in MaxMind DB format that the operator brings.

Needs the package ``maxminddb`` (``pip install 'braid[geo]'``), of which the reader in Python is used: a damaged file
cannot crash that one, and with what is remembered by prefix it is no slower. A database is good when its records have
coordinates (``location: {latitude, longitude}``): those called City have, those called Country have not.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dns.cells import BITS
from dns.policy import STICKY_BITS
from topology.model import Location

if TYPE_CHECKING:
    from topology.model import Topology

LOOKED_AT = 20_000
"""Records among which one must have coordinates."""
REMEMBERED = 65_536
"""Prefixes of clients whose place is kept."""


class GeoError(Exception):
    """There is no such database; the message names file, key and remedy."""


class GeoDatabase:
    """One state of the file. It is read into memory: what happens to the file later does not concern it."""

    def __init__(self, reader: Any) -> None:
        """``reader`` is one of ``maxminddb``."""
        self._reader = reader
        self._only_ipv4 = reader.metadata().ip_version == 4
        self.built = int(reader.metadata().build_epoch)
        """Unix seconds."""
        self._known: dict[tuple[int, int], tuple[Location | None, int]] = {}
        """By IP version and sticky prefix, where that is not divided."""

    def find(self, version: int, number: int) -> tuple[Location | None, int]:
        """Where an address is, None when the database does not say or is damaged there; and the length of the prefix
        around it for which the database says the same."""
        if version == 6 and self._only_ipv4:
            return None, 0
        prefix = version, number >> (BITS[version] - STICKY_BITS[version])
        found = self._known.get(prefix)
        if found is None:
            found = self._look_up(version, number)
            if found[1] <= STICKY_BITS[version]:
                if len(self._known) >= REMEMBERED:
                    self._known.clear()
                self._known[prefix] = found
        return found

    def _look_up(self, version: int, number: int) -> tuple[Location | None, int]:
        address = IPv4Address(number) if version == 4 else IPv6Address(number)
        try:
            record, length = self._reader.get_with_prefix_len(address)
        except Exception:  # noqa: BLE001 the reader raises what it likes in the midst of damaged data
            return None, BITS[version]
        return _location(record), length


def open_database(file: Path) -> GeoDatabase:
    """Blocking: reads the whole file. Raises ``GeoError``."""
    try:
        import maxminddb
    except ImportError:
        raise GeoError(
            f"dns.geo_database: {file} needs the package maxminddb; pip install 'braid[geo]', or remove the key"
        ) from None
    try:
        with file.open("rb") as source:
            reader = maxminddb.open_database(source, maxminddb.MODE_FD)
        located = any(_location(record) for _, record in islice(reader, LOOKED_AT))
    except OSError as error:
        raise GeoError(
            f"dns.geo_database: {file}: {error.strerror or error}; put the database there, or correct the key"
        ) from None
    except Exception:  # noqa: BLE001 as above
        raise GeoError(
            f"dns.geo_database: {file} is no whole MaxMind DB file; bring it again, under another name first"
        ) from None
    if not located:
        raise GeoError(f"dns.geo_database: {file} has no coordinates; bring a database of cities")
    return GeoDatabase(reader)


def database_file(topology: Topology, beside: Path | None) -> Path | None:
    """Relative names start where the topology file is. None without a database."""
    name = topology.dns.geo_database
    if not name:
        return None
    return Path(name) if beside is None else beside.parent / name


class GeoFollower:
    """Opens the database again when the file, or its name, has changed. All of it blocks."""

    def __init__(self) -> None:
        self._seen: object = None
        self.database: GeoDatabase | None = None

    def look(self, file: Path | None) -> bool:
        """True when ``database`` is another one. Raises ``GeoError``, once for each state of the file: then the last
        good one stays."""
        if file is None:
            had, self.database, self._seen = self.database, None, None
            return had is not None
        try:
            status = file.stat()
            now: object = (file, status.st_mtime_ns, status.st_size, status.st_ino)
        except OSError:
            now = (file,)
        if now == self._seen:
            return False
        self._seen = now
        self.database = open_database(file)
        return True


def _location(record: object) -> Location | None:
    place = record.get("location") if isinstance(record, dict) else None
    if not isinstance(place, dict):
        return None
    latitude, longitude = place.get("latitude"), place.get("longitude")
    if not isinstance(latitude, int | float) or not isinstance(longitude, int | float):
        return None
    if abs(latitude) > 90 or abs(longitude) > 180:
        return None
    return Location(float(latitude), float(longitude))
