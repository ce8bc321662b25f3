"""Checks the shape of a document and says what is wrong in words of the file.

What is sound is kept, so that one run can also report what is wrong between sound entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from topology import schema
from topology.numbers import MAX_NODES
from topology.values import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

    from topology.problem import Key, Report

_WORDS = ("[key]", schema.OFFERS, schema.DRAINS)
"""In places of errors, and not in the file."""
_ENTRIES = ("regions", "nodes", "applications")
_STAND_INS: dict[str, Any] = {"braid": 1, "name": "unnamed", "zone": {"name": "unnamed.invalid"}}


@dataclass(frozen=True, slots=True)
class Draft:
    """A document of right shape. ``broken`` holds keys of the file that had to be left out of it."""

    document: schema.Document
    report: Report
    broken: frozenset[Key]

    def is_broken(self, *key: str) -> bool:
        return key in self.broken or key[:1] in self.broken


def check_shape(data: Any, report: Report) -> Draft | None:
    """Reports every wrong key, type and value; None when too little is left to go on with."""
    if not isinstance(data, dict):
        report.add((), "the file holds no mapping", "start from the output of `braid sample`")
        return None
    if "braid" in data and data["braid"] != 1:
        report.add(("braid",), f"unsupported version {data['braid']!r:.40}", "write `braid: 1`")
        return None
    nodes = data.get("nodes")
    if isinstance(nodes, dict) and len(nodes) > MAX_NODES:
        report.add(("nodes",), f"{len(nodes)} nodes", f"split the Braid: node numbers end at {MAX_NODES}")
        return None
    try:
        return Draft(schema.Document.model_validate(data), report, frozenset())
    except ValidationError as error:
        errors = error.errors(include_url=False)
    for problem in _without_echoes(errors):
        key, message, remedy = _in_words(problem)
        report.add(key, message, remedy)
    return _salvage(data, report, [problem["loc"] for problem in errors])


def _salvage(data: Mapping[str, Any], report: Report, places: list[Key]) -> Draft | None:
    kept = dict(data)
    broken: set[Key] = set()
    for place in places:
        top = str(place[0])
        if top in _ENTRIES and len(place) > 1:
            kept[top] = {name: value for name, value in kept[top].items() if name != place[1]}
            broken.add((top, place[1]))
        elif top in _STAND_INS:
            kept[top] = _STAND_INS[top]
            broken.add((top,))
        else:
            kept.pop(top, None)
            broken.add((top,))
    try:
        return Draft(schema.Document.model_validate(kept), report, frozenset(broken))
    except ValidationError:
        return None


def _without_echoes(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without "too short" for a list whose only items were refused."""
    places = {problem["loc"] for problem in errors}
    return [
        problem
        for problem in errors
        if problem["type"] != "too_short"
        or not any(place != problem["loc"] and place[: len(problem["loc"])] == problem["loc"] for place in places)
    ]


def _in_words(problem: ErrorDetails) -> tuple[Key, str, str]:
    key = tuple(part for part in problem["loc"] if part not in _WORDS)
    context = problem.get("ctx", {})
    last = key[-1] if key else "braid"
    match problem["type"]:
        case "braid":
            return key, context["message"], context["remedy"]
        case "missing":
            return key, "missing", _ADD.get(str(last), f"add `{last}:`")
        case "extra_forbidden":
            known = _known_keys(problem["loc"][:-1])
            close = get_close_matches(str(last), known, 1)
            return key, "unknown key", f"did you mean `{close[0]}:`?" if close else f"known here: {', '.join(known)}"
        case "literal_error":
            return key, f"{_value(problem)} is not accepted", f"write one of {context['expected']}"
        case "tuple_type":
            return key, f"{_value(problem)} is no list", f"write `{last}: [...]`"
        case "dict_type" | "model_type":
            return key, f"{_value(problem)} is no mapping", "write `key: value` lines below it"
        case "too_short":
            return key, "empty", _ADD.get(str(last), "write at least one entry")
        case "too_long":
            return key, f"{context['actual_length']} entries", f"write at most {context['max_length']}"
        case "greater_than_equal" | "greater_than" | "less_than_equal" | "less_than" | "finite_number":
            return key, f"{_value(problem)} is out of range", f"use a number {_limits(context)}"
        case _:
            return key, f"{_value(problem)} is of the wrong type", problem["msg"].replace("Input should be", "write")


_ADD = {
    "braid": "write `braid: 1` first: the version of the format",
    "zone": "add `zone: {name: apps.example}`, the DNS zone of the hostnames",
    "region": "add `region:` with the name of one of `regions:`",
    "underlay": "write one or two addresses of the node, for instance [192.0.2.1]",
    "targets": "write at least one server, for instance [{address: 192.0.2.10}]",
    "kind": "write `kind: http`, `tls-sni`, `tcp` or the entry point of a plug-in",
    "servers": "write at least one of the targets' addresses",
    "ports": "write for instance [tcp/80], or [any]",
    "hostnames": "write at least one name inside the zone",
    "listen": 'write at least one address, for instance ["192.0.2.80:80"]',
    "directory": "write the absolute path where answers are kept, for instance /var/cache/braid",
    "applications": "write the names of the applications to answer for",
    "edges": "write edge regions, or remove the key: then all of them are used",
    "proxies": "write the names of content nodes",
    "gateways": "write gateway regions, or remove the key: then all of them are used",
}


def _limits(context: Mapping[str, Any]) -> str:
    words = {"ge": "from {} on", "gt": "above {}", "le": "up to {}", "lt": "below {}"}
    return next((text.format(context[name]) for name, text in words.items() if name in context), "that is finite")


def _value(problem: ErrorDetails) -> str:
    return shown(problem["input"])


def _known_keys(key: Key) -> list[str]:
    """The keys accepted in the mapping at ``key``."""
    shape: type[schema.Shape] = schema.Document
    steps = [part for part in key if isinstance(part, str) and part != "[key]"]
    match steps:
        case ["zone"]:
            shape = schema.ZoneShape
        case ["regions", _]:
            shape = schema.RegionShape
        case ["nodes", _]:
            shape = schema.NodeShape
        case ["nodes", _, "content"]:
            shape = schema.ContentShape
        case ["links"]:
            shape = schema.LinkShape
        case ["applications", _]:
            shape = schema.ApplicationShape
        case ["applications", _, "targets"]:
            shape = schema.TargetShape
        case ["applications", _, "check"]:
            shape = schema.CheckShape
        case ["applications", _, "proxy"]:
            shape = schema.ProxyShape
        case ["applications", _, "proxy", "tls"]:
            shape = schema.TlsShape
        case ["applications", _, "proxy", "tls", "certificates"]:
            shape = schema.CertificateShape
        case ["applications", _, "proxy", "rules"]:
            shape = schema.RuleShape
        case ["dns"]:
            shape = schema.DnsShape
        case ["health"]:
            shape = schema.HealthShape
        case ["transfers", schema.OFFERS]:
            shape = schema.TransferShape
        case ["transfers", schema.OFFERS, "connection"]:
            shape = schema.ConnectionShape
        case ["transfers", schema.DRAINS]:
            shape = schema.DrainShape
        case ["lab"]:
            shape = schema.LabShape
        case ["lab", "networks", _]:
            shape = schema.LabNetworkShape
        case ["lab", "hosts", _]:
            shape = schema.LabHostShape
    return list(shape.model_fields)
