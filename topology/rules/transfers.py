"""The routing table of transfers: that each row's connections can be moved, and that its proxies may serve them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topology.model import Protocol, Role, ServiceMode
from topology.proxy import HTTP, TLS_SNI, ClientAddress
from topology.rules.proxies import is_pattern, path, protocols
from topology.schema import TransferShape
from topology.transfer import METHODS, ProxyPolicy, TransferMode

if TYPE_CHECKING:
    from topology.problem import Key
    from topology.schema import ConnectionShape
    from topology.shape import Draft


_ONLY_HTTP = {"methods", "hosts", "path", "least_kb", "mode"}
_OF_CONNECTION = (ClientAddress.TRANSPARENT, ClientAddress.PROXY_V1, ClientAddress.PROXY_V2)
_ONLY_TLS = {"sni", "alpn"}


def check(draft: Draft) -> None:
    for position, row in enumerate(draft.document.transfers):
        if not isinstance(row, TransferShape):
            continue
        key: Key = ("transfers", position)
        _application(draft, key, row)
        _proxies(draft, key, row)
        _edges(draft, key, row)
        _ports(draft, key, row)
        for index, method in enumerate(row.methods):
            if method not in METHODS:
                draft.report.add((*key, "methods", index), f"no cache answers {method!r}", "write GET or HEAD")
        for word in ("hosts", "sni"):
            for index, host in enumerate(getattr(row, word)):
                if not is_pattern(host):
                    remedy = "write shop.example or *.shop.example"
                    draft.report.add((*key, word, index), f"{host!r} is no name", remedy)
        path(draft, key, row)
        protocols(draft, key, row)
        if row.connection is not None:
            _connection(draft, (*key, "connection"), row, row.connection)
        if "hash" in row.model_fields_set and row.policy is not ProxyPolicy.HASH:
            draft.report.add(
                (*key, "hash"), f"`policy: {row.policy}` goes by nothing", "remove it, or write `policy: hash`"
            )
        if row.mode is TransferMode.SERVE and row.least_kb:
            message = "how large an answer is nobody knows before the proxy has it"
            draft.report.add((*key, "least_kb"), message, "remove it, or write `mode: serve-or-origin`")


def _application(draft: Draft, key: Key, row: TransferShape) -> None:
    known = draft.document.applications
    found = known.get(row.application)
    place = (*key, "application")
    if found is None:
        if not draft.is_broken("applications", row.application):
            remedy = f"use one of {', '.join(known) or 'none yet'}"
            draft.report.add(place, f"unknown application {row.application}", remedy)
    elif found.mode is not ServiceMode.PROXY or found.proxy is None or found.proxy.kind not in (HTTP, TLS_SNI):
        message = f"the gateway reads no requests of {row.application}"
        draft.report.add(place, message, "give it `mode: proxy` and `proxy: {kind: http}`, or `tls-sni`")
    elif found.proxy.tls is not None:
        message = f"TLS of {row.application} ends in the gateway, and its keys are not handed on"
        draft.report.add(place, message, "name an application without `tls`")
    else:
        if row.mode is TransferMode.SERVE and found.proxy.client_address in _OF_CONNECTION:
            message = f"servers of {row.application} know clients by their connections, not the proxy's"
            draft.report.add((*key, "mode"), message, "write `client_address: forwarded`, or `mode: serve-or-origin`")
        unseen = _ONLY_HTTP if found.proxy.kind == TLS_SNI else _ONLY_TLS
        for word in unseen & row.model_fields_set:
            seen = "a ClientHello alone" if found.proxy.kind == TLS_SNI else "no ClientHello"
            remedy = f"remove it, or use {', '.join(sorted(_ONLY_TLS if found.proxy.kind == TLS_SNI else _ONLY_HTTP))}"
            draft.report.add((*key, word), f"the gateway sees {seen} of {row.application}", remedy)


def _proxies(draft: Draft, key: Key, row: TransferShape) -> None:
    nodes = draft.document.nodes
    known = [name for name, node in nodes.items() if node.content is not None]
    for position, name in enumerate(row.proxies):
        place = (*key, "proxies", position)
        if draft.is_broken("nodes", name):
            continue
        content = nodes[name].content if name in nodes else None
        if content is None:
            remedy = f"use content nodes: {', '.join(known) or 'there is none yet'}"
            draft.report.add(place, f"{name} is no content proxy", remedy)
        elif row.application in draft.document.applications and row.application not in content.applications:
            remedy = f"add it to nodes.{name}.content.applications"
            draft.report.add(place, f"{name} may not answer for {row.application}", remedy)
        elif name in row.proxies[:position]:
            draft.report.add(place, f"{name} is written twice", "keep the first")
        elif content.tls is None and _is_tls(draft, row):
            remedy = f"add nodes.{name}.content.tls with its certificates"
            draft.report.add(place, f"{name} has no certificate for {row.application}", remedy)


def _connection(draft: Draft, key: Key, row: TransferShape, wanted: ConnectionShape) -> None:
    if not wanted.model_fields_set:
        draft.report.add(key, "no condition", "write one, for instance `least_requests: 2`, or remove it")
    if _is_tls(draft, row):
        for word in sorted(wanted.model_fields_set - {"least_window_kb"}):
            message = f"a ClientHello is the first that a connection of {row.application} has sent"
            draft.report.add((*key, word), message, "remove it, or use least_window_kb")
    for word, least, most in (
        ("received", wanted.least_received_kb, wanted.most_received_kb),
        ("sent", wanted.least_sent_kb, wanted.most_sent_kb),
    ):
        if least is not None and most is not None and most < least:
            message = f"no connection has at least {least} kB and at most {most} kB"
            draft.report.add((*key, f"most_{word}_kb"), message, f"write at least {least}")


def _is_tls(draft: Draft, row: TransferShape) -> bool:
    application = draft.document.applications.get(row.application)
    return application is not None and application.proxy is not None and application.proxy.kind == TLS_SNI


def _edges(draft: Draft, key: Key, row: TransferShape) -> None:
    regions = draft.document.regions
    for position, name in enumerate(row.edges):
        found = regions.get(name)
        if (found is None and not draft.is_broken("regions", name)) or (found and found.role is not Role.EDGE):
            known = [region for region, shape in regions.items() if shape.role is Role.EDGE]
            remedy = f"use edge regions: {', '.join(known) or 'there is none yet'}"
            draft.report.add((*key, "edges", position), f"{name} is no edge region", remedy)


def _ports(draft: Draft, key: Key, row: TransferShape) -> None:
    application = draft.document.applications.get(row.application)
    if application is None:
        return
    served = [each for each in application.ports if each.protocol in (Protocol.TCP, Protocol.ANY)]
    for position, ports in enumerate(row.ports):
        if ports.protocol is not Protocol.TCP or not any(
            ports.low <= each.high and each.low <= ports.high for each in served
        ):
            remedy = f"use ports of {', '.join(str(each) for each in application.ports)}"
            draft.report.add((*key, "ports", position), f"{ports} is no port of TCP of {row.application}", remedy)
