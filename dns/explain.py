"""Why a client gets an answer: the decision of the running node, step by step.

Asked for by the node's own host alone, over TCP: a TXT question of class CH for ``HOSTNAME.explain.braid.``, with the
client in a Client Subnet option of full length. The answer is JSON, cut into character strings. Pure.
"""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

from dns.distance import counted
from dns.records import TO_QUESTION, pack_chaos, wire_name
from dns.zone import Reply

if TYPE_CHECKING:
    from dns.client import Client
    from dns.policy import Ranking
    from dns.view import View

SUFFIX = wire_name("explain.braid")
_STRING = 255


def asks_to_explain(name: bytes) -> bool:
    return name.endswith(SUFFIX)


def explain_reply(view: View, name: bytes, client: Client) -> Reply:
    """``name`` is that of the question, in lower case."""
    text = json.dumps(explain(view, name[: -len(SUFFIX)] + b"\x00", client), separators=(",", ":"))
    return Reply(TO_QUESTION + pack_chaos(*(text[n : n + _STRING] for n in range(0, len(text), _STRING))), 1)


def explain(view: View, hostname: bytes, client: Client) -> dict[str, Any]:
    """``hostname`` in wire form. Decides with ``View.decide``, as the answer does."""
    config = view.config
    address = (IPv4Address if client.version == 4 else IPv6Address)(client.number)
    told: dict[str, Any] = {"name": _text(hostname), "client": str(address), "node": config.node}
    found = view.zones.find(hostname)
    application = None if found is None or found[1] is None else found[1].application
    if application is None:
        missing = "is outside every zone" if found is None else "does not exist" if found[1] is None else ""
        return told | {"error": missing or "is no hostname of an application: its answer is the same for every client"}
    decision = view.decide(client.version, client.number, application)
    place = None if view.geo is None else view.geo.find(client.version, client.number)[0]
    ranking = decision.ranking
    troubled = application in view.troubled
    return told | {
        "application": application,
        "reason": decision.reason.value,
        "scope": decision.scope,
        "place": None if place is None else str(place),
        "counted": _counted(ranking),
        "ttl": config.ttl_degraded if troubled else config.zone.ttl,
        "answer": [
            {"edge": config.edges[edge].name, "vips": [str(vip) for vip in config.vips[edge, application]]}
            for edge in decision.edges
        ],
        "candidates": [
            {
                "edge": config.edges[each.edge].name,
                "standing": each.standing.name.lower(),
                "serves": _serves(view, each.edge, client) if each.group is not None else "others",
                "top": each.edge in ranking.top,
                "fast": each.edge in ranking.fast,
                "equal": each.edge in ranking.best,
                "behind_ms": each.way.behind_ms,
                "distance_km": None if each.way.distance_km is None else round(each.way.distance_km),
                "spill": view.spill.get(each.edge, 0.0),
                "weight": config.edges[each.edge].weight,
            }
            for each in ranking.candidates
        ],
    }


def _counted(ranking: Ranking) -> list[str]:
    """Which delays told the edges at the top apart."""
    ways = [each.way for each in ranking.candidates if each.edge in ranking.top]
    if len(ways) < 2:
        return []
    return [name for name, counts in zip(("behind", "distance"), counted(ways), strict=True) if counts]


def _serves(view: View, edge: int, client: Client) -> str:
    """The longest prefix of the edge that has the client."""
    address = (IPv4Address if client.version == 4 else IPv6Address)(client.number)
    matching = [prefix for prefix in view.config.edges[edge].serves if address in prefix]
    return str(max(matching, key=lambda prefix: prefix.prefixlen)) if matching else "everybody"


def _text(name: bytes) -> str:
    labels: list[str] = []
    while name[0]:
        labels.append(name[1 : 1 + name[0]].decode("ascii", "backslashreplace"))
        name = name[1 + name[0] :]
    return ".".join(labels)
