"""Mistakes in the proxies of a topology file, and what is said of each."""

from __future__ import annotations

from tests.topology.mistakes import Case, case

PROXIED = "mode: proxy\n    proxy: "


def proxy(kind: str, settings: str, key: str, says: str, remedy: str) -> Case:
    return case(f"proxy: {kind}", "gateways: [g]", f"{PROXIED}{settings}", f"A.{key}", says, remedy)


def proxy_rule(kind: str, rule: str, key: str, says: str, remedy: str, proxy_kind: str = "http") -> Case:
    settings = f"{{kind: {proxy_kind}, rules: [{{servers: [10.2.0.10], {rule}}}]}}"
    return proxy(kind, settings, f"proxy.rules[0].{key}", says, remedy)


PROXIES = [
    case("proxy missing", "gateways: [g]", "mode: proxy", "A.mode", "no proxy is named", "add `proxy:"),
    case("proxy of another mode", "gateways: [g]", "proxy: {kind: http}", "A.proxy", "the mode is nat", "mode: proxy"),
    proxy("no kind", "{policy: p2c}", "proxy.kind", "missing", "kind: http"),
    proxy("kind", "{kind: htp}", "proxy.kind", "'htp' is no proxy", "module:Class"),
    proxy("unknown key", "{kind: http, polcy: p2c}", "proxy.polcy", "unknown key", "`policy:`"),
    proxy("policy", "{kind: http, policy: random}", "proxy.policy", "not accepted", "round_robin"),
    proxy("hash", "{kind: http, hash: moon}", "proxy.hash", "nothing to go by", "header:NAME"),
    proxy("hash of TCP", "{kind: tcp, hash: path}", "proxy.hash", "reads no requests", "`kind: http`"),
    proxy("sticky", "{kind: http, sticky: yes}", "proxy.sticky", "not accepted", "cookie:NAME"),
    proxy("sticky of TLS", "{kind: tls-sni, sticky: cookie:a}", "proxy.sticky", "reads no requests", "client"),
    proxy("headers of TCP", "{kind: tcp, client_address: forwarded}", "proxy.client_address", "no headers", "proxy-v1"),
    proxy(
        "clients' addresses behind TLS",
        "{kind: http, client_address: transparent, tls: {certificates: [{certificate: a, key: b}]}}",
        "proxy.client_address",
        "start from the gateway",
        "proxy-v2",
    ),
    proxy("small buffer", "{kind: http, buffer: 10}", "proxy.buffer", "out of range", "from 16384 on"),
    proxy("panic", "{kind: http, panic: 1}", "proxy.panic", "out of range", "below 1"),
    case(
        "proxy of UDP",
        "ports: [tcp/80]",
        f"ports: [tcp/80, udp/80]\n    {PROXIED}{{kind: tcp}}",
        "A.ports[1]",
        "not udp",
        "nat",
    ),
    case(
        "proxy of all",
        "ports: [tcp/80]",
        f"ports: [tcp/80, tcp/100-200]\n    {PROXIED}{{kind: tcp}}",
        "A.ports",
        "TCP ports",
        "1 to 64",
    ),
    proxy_rule("rule's key", "hots: []", "hots", "unknown key", "`hosts:`"),
    proxy_rule("rule's host", "hosts: ['a*b']", "hosts[0]", "is no name", "*.shop.example"),
    proxy_rule("rule's regex", "path_regex: '('", "path_regex", "no regular expression", "correct it"),
    proxy_rule("rule's region", "regions: [m]", "regions[0]", "no edge region", "role edge"),
    proxy_rule("rule's query", "path: '/api?v=1'", "path", "ends before ?", "the part before it"),
    proxy_rule("rule's path", "path: api", "path", "no URL path", "begin with /"),
    proxy_rule("HTTP in TCP", "methods: [GET]", "methods", "reads no requests", "`kind: http`", "tcp"),
    proxy_rule("long regex", f"path_regex: {'a' * 201}", "path_regex", "201 characters", "at most 200"),
    proxy_rule("cookies in TCP", "cookies: {a: b}", "cookies", "reads no requests", "`kind: http`", "tcp"),
    proxy_rule("ALPN in HTTP", "alpn: [h2]", "alpn", "reads no ClientHello", "`tls:`"),
    proxy("pool", "{kind: http, pool: 10001}", "proxy.pool", "out of range", "10000"),
    proxy("no certificates", "{kind: http, tls: {}}", "proxy.tls.certificates", "missing", "certificates"),
    proxy(
        "key missing",
        "{kind: http, tls: {certificates: [{certificate: a.pem}]}}",
        "proxy.tls.certificates[0].key",
        "missing",
        "key",
    ),
    proxy(
        "TLS version",
        "{kind: http, tls: {certificates: [{certificate: a, key: b}], minimum: '1.1'}}",
        "proxy.tls.minimum",
        "not accepted",
        "1.2",
    ),
    proxy(
        "TLS of SNI",
        "{kind: tls-sni, tls: {certificates: [{certificate: a, key: b}]}}",
        "proxy.tls",
        "decrypts nothing",
        "`kind: http`",
    ),
    proxy(
        "HTTP/2 of TCP",
        "{kind: tcp, tls: {certificates: [{certificate: a, key: b}], alpn: [h2]}}",
        "proxy.tls.alpn[0]",
        "does not speak HTTP/2",
        "`kind: http`",
    ),
    proxy_rule("TLS in HTTP", "sni: [a.example]", "sni", "reads no ClientHello", "tls-sni"),
    proxy(
        "rule's server",
        "{kind: tcp, rules: [{servers: [10.2.0.11]}]}",
        "proxy.rules[0].servers[0]",
        "no target",
        "10.2.0.10",
    ),
    proxy(
        "rule without servers", "{kind: tcp, rules: [{servers: []}]}", "proxy.rules[0].servers", "empty", "addresses"
    ),
]
