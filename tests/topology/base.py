"""A small topology that is right; tests change one thing in it."""

from __future__ import annotations

TEXT = """\
braid: 1
name: small
zone: {name: apps.example}
regions:
  e: {role: edge}
  m: {role: intermediate}
  n: {role: intermediate}
  g: {role: gateway}
  d: {role: dns}
nodes:
  e-1: {region: e, underlay: [192.0.2.1], vip_pools: [10.1.0.128/28]}
  m-1: {region: m, underlay: [192.0.2.2]}
  n-1: {region: n, underlay: [192.0.2.3]}
  g-1: {region: g, underlay: [192.0.2.4], snat_pools: [10.2.0.128/30]}
  d-1: {region: d, underlay: [192.0.2.5], dns_listen: ["10.1.0.53:53"]}
links:
  - {between: [e, m], cost: 1}
  - {between: [e, n], cost: 1}
  - {between: [g, m], cost: 1}
  - {between: [g, n], cost: 1}
applications:
  shop:
    hostnames: [shop.apps.example]
    ports: [tcp/80]
    targets: [{address: 10.2.0.10}]
    gateways: [g]
    check: {kind: tcp}
lab:
  underlay: [192.0.2.0/24]
  networks:
    clients:
      prefixes: [10.1.0.0/24]
      members: {e-1: [10.1.0.2], d-1: [10.1.0.53], alice: [10.1.0.10]}
    origins:
      prefixes: [10.2.0.0/24]
      members: {g-1: [10.2.0.2], web: [10.2.0.10]}
  hosts:
    alice: {kind: client}
    web: {kind: origin}
"""


def changed(*changes: tuple[str, str]) -> str:
    """The text with each first part, which must occur, replaced once by its second."""
    text = TEXT
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text
