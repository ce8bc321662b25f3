"""Passive outlier ejection: a server that fails real requests in a row gets no new ones for a while. Pure.

The while is ``eject_time`` times the number of ejections so far, up to ten times; a success takes one back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from topology.model import Target

LONGEST = 10


@dataclass(slots=True)
class _Record:
    failures: int = 0
    ejections: int = 0
    until: float = 0.0


class Outliers:
    def __init__(self) -> None:
        self._records: dict[Target, _Record] = {}

    def receive(self, server: Target, passed: bool, after: int, time: float, now: float) -> bool:
        """Take in one result. True when it ejects the server for ``time`` seconds: ``after`` failures in a row."""
        record = self._records.get(server)
        if record is None:
            record = self._records[server] = _Record()
        if passed:
            if record.failures == 0 and now >= record.until:
                record.ejections = max(0, record.ejections - 1)
            record.failures = 0
            return False
        record.failures += 1
        if after == 0 or record.failures < after or now < record.until:
            return False
        record.ejections = min(LONGEST, record.ejections + 1)
        record.failures, record.until = 0, now + time * record.ejections
        return True

    def ejected(self, server: Target, now: float) -> bool:
        record = self._records.get(server)
        return record is not None and now < record.until

    def keep(self, servers: frozenset[Target]) -> None:
        self._records = {server: record for server, record in self._records.items() if server in servers}
