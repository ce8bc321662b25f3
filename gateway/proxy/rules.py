"""Which servers a request may go to: the first rule whose conditions all hold. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from braid.http import is_named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.proxy.events import Request
    from topology.proxy import Rule


LONGEST_PATH = 4_096
"""Characters of a path that a regular expression is tried on; it holds for none that is longer."""


def matching(rules: Sequence[Rule], request: Request) -> int | None:
    """Its index."""
    return next((index for index, rule in enumerate(rules) if holds(rule, request)), None)


def holds(rule: Rule, request: Request) -> bool:
    client = request.client_data.client.host
    return (
        (not rule.methods or request.method in rule.methods)
        and (not rule.hosts or is_named(request.host, rule.hosts))
        and (not rule.sni or is_named(request.sni, rule.sni))
        and (not rule.alpn or any(each in rule.alpn for each in request.alpn))
        and (not rule.path or request.path.startswith(rule.path))
        and (not rule.path_regex or _matches(rule.path_regex, request.path))
        and (not rule.headers or _has(rule.headers, request.headers))
        and (not rule.cookies or _has(rule.cookies, request.cookies()))
        and (not rule.query or _has(rule.query, request.parameters()))
        and (not rule.clients or any(client.version == each.version and client in each for each in rule.clients))
        and (not rule.regions or request.client_data.region in rule.regions)
    )


def _has(wanted: Sequence[tuple[str, str]], found: Mapping[str, str]) -> bool:
    return all(name in found and value in ("*", found[name]) for name, value in wanted)


def _matches(pattern: str, path: str) -> bool:
    return len(path) <= LONGEST_PATH and _compiled(pattern).fullmatch(path) is not None


_compiled = lru_cache(maxsize=1024)(re.compile)
