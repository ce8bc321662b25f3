"""What became different between two views, in the words of counters, log and ``/dns``. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from dns.policy import Standing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dns.view import View

REMEMBERED = 50
"""Changes that a node keeps for ``/dns``."""
_STANDINGS = {standing.name.lower(): standing for standing in Standing}


@dataclass(frozen=True, slots=True)
class Change:
    """One edge of one application: what it was and what it is."""

    at: float
    """Unix seconds."""
    application: str
    edge: str
    reason: str
    """As in ``Counters.switches``."""
    before: str
    after: str

    @property
    def worse(self) -> Standing | None:
        """The standing that the edge has come down to."""
        before, after = _STANDINGS.get(self.before), _STANDINGS.get(self.after)
        return after if before is not None and after is not None and after > before else None

    def document(self) -> dict[str, Any]:
        return asdict(self)


def changes(before: View, after: View, at: float) -> Iterator[Change]:
    """Both views have the same configuration. What is known for the first time is no change."""
    names = after.edge_names
    for (edge, application), standing in after.standings.items():
        was = before.standings.get((edge, application), standing)
        if was is not standing:
            word = standing.name.lower()
            yield Change(at, application, names[edge], word, was.name.lower(), word)
        spilled, spills = before.spill.get(edge, 0.0), after.spill.get(edge, 0.0)
        if spilled != spills:
            yield Change(at, application, names[edge], "spill", f"{spilled:.0%}", f"{spills:.0%}")
        old, new = before.delays.get((edge, application)), after.delays.get((edge, application))
        if old is not None and new is not None and old != new:
            yield Change(at, application, names[edge], "delay", f"{old:.1f} ms", f"{new:.1f} ms")
