"""Proxied applications: that the proxy can be made, its conditions can be met, and its rules name servers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from topology.build import named
from topology.model import Protocol, Role, ServiceMode, Target
from topology.proxy import HTTP, KINDS, TCP, TLS_SNI, ClientAddress
from topology.tls import HTTP_2

if TYPE_CHECKING:
    from topology.problem import Key
    from topology.schema import ApplicationShape, ProxyShape, RuleShape, TlsShape, TransferShape
    from topology.shape import Draft

MAX_PORTS = 64
"""Listeners of one application: every port is a socket."""
_ENTRY_POINT = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_HASH = re.compile(r"client|path|sni|(header|cookie):[A-Za-z0-9_-]+")
_STICKY = re.compile(r"none|client|cookie:[A-Za-z0-9_-]+")
_PATTERN = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_ONLY_HTTP = ("methods", "hosts", "path", "path_regex", "headers", "cookies", "query")
_ONLY_TLS = ("sni", "alpn")
LONGEST_PATTERN = 200
"""Characters of a path_regex: what it may cost is bounded by its length and by that of the paths that it sees."""


def is_pattern(host: str) -> bool:
    """A hostname, or ``*.`` and one."""
    return _PATTERN.fullmatch(host) is not None


def check(draft: Draft) -> None:
    for name, application in draft.document.applications.items():
        key: Key = ("applications", name)
        if application.mode is not ServiceMode.PROXY:
            if application.proxy is not None:
                draft.report.add(
                    (*key, "proxy"), f"the mode is {application.mode}", "write `mode: proxy`, or remove the key"
                )
        elif application.proxy is None:
            draft.report.add((*key, "mode"), "no proxy is named", "add `proxy: {kind: http}`, `tls-sni` or `tcp`")
        else:
            _ports(draft, key, application)
            _words(draft, (*key, "proxy"), application.proxy)
            _tls(draft, (*key, "proxy"), application.proxy)
            for position, rule in enumerate(application.proxy.rules):
                _rule(draft, (*key, "proxy", "rules", position), rule, application, application.proxy)


def _ports(draft: Draft, key: Key, application: ApplicationShape) -> None:
    count = 0
    for position, ports in enumerate(application.ports):
        count += ports.high - ports.low + 1 if ports.protocol is Protocol.TCP else 0
        if ports.protocol not in (Protocol.TCP, Protocol.ICMP):
            remedy = "name TCP ports, or give the rest to an application of `mode: nat`"
            draft.report.add((*key, "ports", position), f"a proxy takes TCP, not {ports.protocol}", remedy)
            return
    if not 1 <= count <= MAX_PORTS:
        draft.report.add((*key, "ports"), f"{count} TCP ports for a proxy", f"name 1 to {MAX_PORTS}")


def _words(draft: Draft, key: Key, proxy: ProxyShape) -> None:
    plug_in = proxy.kind not in KINDS
    if plug_in and not _ENTRY_POINT.fullmatch(proxy.kind):
        draft.report.add((*key, "kind"), f"{proxy.kind!r} is no proxy", f"write {', '.join(KINDS)} or module:Class")
    if not _HASH.fullmatch(proxy.hash):
        draft.report.add(
            (*key, "hash"), f"{proxy.hash!r} is nothing to go by", "write client, path, sni, header:NAME or cookie:NAME"
        )
    if not _STICKY.fullmatch(proxy.sticky):
        draft.report.add((*key, "sticky"), f"{proxy.sticky!r} is not accepted", "write none, client or cookie:NAME")
    http = plug_in or proxy.kind == HTTP
    if not http and (proxy.sticky.startswith("cookie") or proxy.hash.startswith(("header", "cookie", "path"))):
        word = "sticky" if proxy.sticky.startswith("cookie") else "hash"
        draft.report.add((*key, word), f"a {proxy.kind} proxy reads no requests", "use `kind: http`, or `client`")
    if not http and proxy.client_address is ClientAddress.FORWARDED:
        draft.report.add(
            (*key, "client_address"),
            f"a {proxy.kind} proxy writes no headers",
            "write none, proxy-v1, proxy-v2 or transparent",
        )
    if proxy.client_address is ClientAddress.TRANSPARENT and proxy.tls is not None:
        draft.report.add(
            (*key, "client_address"),
            "behind TLS that ends here connections start from the gateway",
            "write proxy-v2, or remove `tls`",
        )


def _rule(draft: Draft, key: Key, rule: RuleShape, application: ApplicationShape, proxy: ProxyShape) -> None:
    targets = tuple(Target(target.address, target.port, target.weight) for target in application.targets)
    for position, name in enumerate(rule.servers):
        if not named(name, targets):
            known = ", ".join(str(target.address) for target in targets)
            draft.report.add((*key, "servers", position), f"{name!r} is no target", f"name one of: {known}")
    for word in ("hosts", "sni"):
        for position, host in enumerate(getattr(rule, word)):
            if not is_pattern(host):
                draft.report.add((*key, word, position), f"{host!r} is no name", "write shop.example or *.shop.example")
    path(draft, key, rule)
    for position, region in enumerate(rule.regions):
        found = draft.document.regions.get(region)
        if (found is None and not draft.is_broken("regions", region)) or (found and found.role is not Role.EDGE):
            draft.report.add((*key, "regions", position), f"{region} is no edge region", "name a region of role edge")
    if len(rule.path_regex) > LONGEST_PATTERN:
        said = f"{len(rule.path_regex)} characters of a regular expression"
        draft.report.add((*key, "path_regex"), said, f"write at most {LONGEST_PATTERN}, or several rules")
    try:
        re.compile(rule.path_regex)
    except re.error as error:
        draft.report.add((*key, "path_regex"), f"no regular expression: {error}", "correct it (Python's syntax)")
    if proxy.kind in KINDS and proxy.kind != HTTP:
        for word in _ONLY_HTTP:
            if getattr(rule, word):
                draft.report.add((*key, word), f"a {proxy.kind} proxy reads no requests", "use `kind: http`")
    if proxy.kind in KINDS and proxy.kind != TLS_SNI and proxy.tls is None:
        for word in _ONLY_TLS:
            if getattr(rule, word):
                remedy = "use `kind: tls-sni`, or let TLS end here with `tls:`"
                draft.report.add((*key, word), f"a {proxy.kind} proxy reads no ClientHello", remedy)


def _tls(draft: Draft, key: Key, proxy: ProxyShape) -> None:
    if proxy.tls is None:
        return
    if proxy.kind == TLS_SNI:
        draft.report.add((*key, "tls"), "a tls-sni proxy decrypts nothing", "use `kind: http` or `tcp`")
    protocols(draft, (*key, "tls"), proxy.tls)
    if proxy.kind == TCP and HTTP_2 in (proxy.tls.alpn or ()):
        place = (*key, "tls", "alpn", (proxy.tls.alpn or ()).index(HTTP_2))
        draft.report.add(place, "a tcp proxy does not speak HTTP/2", "use `kind: http`, or remove it")


def path(draft: Draft, key: Key, row: RuleShape | TransferShape) -> None:
    """Of requests, which end before ``?``."""
    if (end := next((mark for mark in "?#" if mark in (row.path or "")), None)) is not None:
        message = f"no request has {row.path!r} as the beginning of its path, which ends before {end}"
        draft.report.add((*key, "path"), message, "write the part before it")


def protocols(draft: Draft, key: Key, tls: TlsShape | TransferShape) -> None:
    for position, protocol in enumerate(tls.alpn or ()):
        if not protocol.isascii() or not 1 <= len(protocol) <= 255:
            draft.report.add((*key, "alpn", position), f"{protocol!r} is no protocol", "write h2 or http/1.1")
