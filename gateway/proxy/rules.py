"""Which servers a request may go to: the first rule whose conditions all hold. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.proxy.events import Request
    from topology.proxy import Rule


def matching(rules: Sequence[Rule], request: Request) -> int | None:
    """Its index."""
    return next((index for index, rule in enumerate(rules) if holds(rule, request)), None)


def holds(rule: Rule, request: Request) -> bool:
    client = request.client_data.client.host
    return (
        (not rule.methods or request.method in rule.methods)
        and (not rule.hosts or _is_named(request.host, rule.hosts))
        and (not rule.sni or _is_named(request.sni, rule.sni))
        and (not rule.path or request.path.startswith(rule.path))
        and (not rule.path_regex or _compiled(rule.path_regex).fullmatch(request.path) is not None)
        and all(_has(request, name, value) for name, value in rule.headers)
        and (not rule.clients or any(client.version == each.version and client in each for each in rule.clients))
        and (not rule.regions or request.client_data.region in rule.regions)
    )


def _is_named(name: str, patterns: Sequence[str]) -> bool:
    return any(
        name.endswith(pattern[1:]) and len(name) > len(pattern) - 1 if pattern.startswith("*.") else name == pattern
        for pattern in patterns
    )


def _has(request: Request, name: str, value: str) -> bool:
    found = request.headers.get(name)
    return found is not None and value in ("*", found)


_compiled = lru_cache(maxsize=1024)(re.compile)
