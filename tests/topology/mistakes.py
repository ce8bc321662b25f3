"""The mistakes that a topology file may hold: what is changed in the right one, and what must be said of it.

In keys ``A.`` stands for ``applications.shop.`` and ``M.`` for ``lab.networks.``.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.topology.base import TEXT, changed


@dataclass(frozen=True)
class Case:
    kind: str
    changes: tuple[tuple[str, str], ...]
    short_key: str
    says: str
    remedy: str

    @property
    def key(self) -> str:
        return self.short_key.replace("A.", "applications.shop.").replace("M.", "lab.networks.")


def second_application(hostname: str) -> str:
    application = f"{{hostnames: [{hostname}], ports: [any], targets: [{{address: 10.2.0.10}}]}}"
    return f"  second: {application}\nlab:\n"


AT_EDGE = "gateways: [g]\n    mode: fast-path\n    cookie_at: edge"
EDGE_SECRET = "{role: edge, cookie_secret: '" + 32 * "0" + "'}"


def case(kind: str, old: str, new: str, key: str, says: str, remedy: str) -> Case:
    return Case(kind, ((old, new),), key, says, remedy)


SHAPE = [
    case("unknown key", "    ports:", "    portz: 1\n    ports:", "A.portz", "unknown key", "`ports:`"),
    case("unknown top key", "name: small", "name: small\nfoo: 1", "foo", "unknown key", "known here: braid"),
    case("wrong type", "m-1: {region: m,", 'm-1: {region: m, port: "x",', "nodes.m-1.port", "wrong type", "integer"),
    case("not a list", "gateways: [g]", "gateways: g", "A.gateways", "no list", "[...]"),
    case("not a mapping", "zone: {name: apps.example}", "zone: apps", "zone", "'apps' is no mapping", "key: value"),
    case("missing key", "m-1: {region: m, ", "m-1: {", "nodes.m-1.region", "missing", "add `region:`"),
    case("no targets", "[{address: 10.2.0.10}]", "[]", "A.targets", "empty", "at least one server"),
    case("zone missing", "zone: {name: apps.example}\n", "", "zone", "missing", "DNS zone"),
    case("unsupported version", "braid: 1", "braid: 2", "braid", "unsupported version 2", "`braid: 1`"),
    case("version missing", "braid: 1\n", "", "braid", "missing", "`braid: 1`"),
    case("health key", "name: small", "name: small\nhealth: {los_bad: 0}", "health.los_bad", "unknown", "loss_bad"),
    case("loss", "name: small", "name: small\nhealth: {loss_bad: 2}", "health.loss_bad", "out of range", "below 1"),
    case("bad name", "  m-1:", "  M_1:", "nodes.M_1", "'M_1' is no name", "a-z, 0-9 and -"),
    case("long name", "name: small", f"name: {'x' * 64}", "name", "is no name", "1 to 63"),
    case("bad hostname", "shop.apps", "sh_op.apps", "A.hostnames[0]", "no domain name", "labels"),
    case("bad address", "192.0.2.2]", "192.0.2.256]", "nodes.m-1.underlay[0]", "no IP address", "192.0.2.1"),
    case("scope id", "192.0.2.2]", '"fe80::1%eth0"]', "nodes.m-1.underlay[0]", "scope id", "beyond one link"),
    case("bad prefix", "10.1.0.128/28", "10.1.0.128", "nodes.e-1.vip_pools[0]", "no prefix", "/24"),
    case("host bits", "10.1.0.128/28", "10.1.0.129/28", "nodes.e-1.vip_pools[0]", "bits set", "write 10.1.0.128/28"),
    case("bad listener", "10.1.0.53:53", "10.1.0.53:0", "nodes.d-1.dns_listen[0]", "no address with port", "53"),
    case("port range", "tcp/80]", "tcp/90-80]", "A.ports[0]", "no port range", "lower one first"),
    case("port 0", "tcp/80]", "tcp/0]", "A.ports[0]", "no port range", "1 to 65535"),
    case("protocol", "tcp/80]", "sctp/80]", "A.ports[0]", "no protocol", "any"),
    case("role", "{role: dns}", "{role: relay}", "regions.d.role", "'relay' is not accepted", "edge or intermediate"),
    case("lab host kind", "kind: client", "kind: server", "lab.hosts.alice.kind", "not accepted", "'client'"),
    case("weight", "10.2.0.10}]", "10.2.0.10, weight: 0}]", "A.targets[0].weight", "out of range", "from 1 on"),
    case("no copies", "gateways: [g]", "copies: 0", "A.copies", "out of range", "from 1 to 4"),
    case("many copies", "gateways: [g]", "copies: 5", "A.copies", "out of range", "from 1 to 4"),
    case("copies and target", "gateways: [g]", "copies: 2\n    target_loss: 1e-4", "A.target_loss", "excludes", "one"),
    case("budget alone", "gateways: [g]", "budget: 1.1", "A.target_loss", "missing", "target_loss: 1e-4"),
    case("hard target", "gateways: [g]", "target_loss: 1e-7", "A.target_loss", "out of range", "from 1e-06 to 0.1"),
    case("key of a target", "gateways: [g]", "copies: 2\n    deadline: 9", "A.deadline", "unknown key", "copies"),
    case("spread", "gateways: [g]", "target_loss: 1e-4\n    spread: 50", "A.spread", "out of range", "from 0 to 40"),
    case(
        "few at most", "gateways: [g]", "target_loss: 1e-4\n    max_copies: 1", "A.max_copies", "out of", "from 2 to 8"
    ),
    case("diverse", "gateways: [g]", "target_loss: 1e-4\n    diverse: 1", "A.diverse", "not accepted", "true or false"),
    case("negative cost", "[e, m], cost: 1", "[e, m], cost: -1", "links[0].cost", "out of range", "from 0"),
    case("infinite cost", "[e, m], cost: 1", "[e, m], cost: 1e999", "links[0].cost", "out of range", "finite"),
    case("MTU", "m-1: {", "m-1: {mtu: 1375, ", "nodes.m-1.mtu", "1375 is out of range", "from 1376 on"),
    case("place", "{role: dns}", '{role: dns, place: "a\\tb"}', "regions.d.place", "printable", "255"),
    case(
        "check path",
        "kind: tcp}",
        "kind: http, path: x}",
        "A.check.path",
        "no URL path",
        "begin with /",
    ),
]

MEANING = [
    case(
        "thresholds of health",
        "name: small",
        "name: small\nhealth: {loss_bad: 0.01, loss_good: 0.02}",
        "health.loss_good",
        "0.02 is more than loss_bad, 0.01",
        "at most 0.01",
    ),
    case(
        "holds", "name: small", "name: small\nhealth: {hold: 60, longest_hold: 30}", "health.hold", "60 is more", "30"
    ),
    case("unknown region", "region: m,", "region: q,", "nodes.m-1.region", "unknown region q", "use one of e, m"),
    case(
        "region without nodes", "  d: {role: dns}", "  x: {role: dns}\n  d: {role: dns}", "regions.x", "no node", "add"
    ),
    case(
        "pools at a gateway", "g-1: {", "g-1: {vip_pools: [10.9.0.0/28], ", "nodes.g-1.vip_pools", "only", "remove it"
    ),
    case("SNAT at an edge", "e-1: {", "e-1: {snat_pools: [10.9.0.0/28], ", "nodes.e-1.snat_pools", "only", "remove it"),
    case("weight of a gateway", "g-1: {", "g-1: {weight: 2, ", "nodes.g-1.weight", "only", "remove it"),
    case("number 65535", "m-1: {", "m-1: {number: 65535, ", "nodes.m-1.number", "out of range", "up to 65534"),
    case("weight below 1", "e-1: {", "e-1: {weight: 0, ", "nodes.e-1.weight", "out of range", "from 1 on"),
    case("fallback", "    gateways:", "    fallback: some\n    gateways:", "A.fallback", "not accepted", "all or none"),
    case("DNS at an intermediate", "m-1: {", "m-1: {dns_listen: [], ", "nodes.m-1.dns_listen", "only", "remove it"),
    case("edge without VIPs", ", vip_pools: [10.1.0.128/28]", "", "nodes.e-1", "no vip_pools", "give it a prefix"),
    case("gateway without SNAT", ", snat_pools: [10.2.0.128/30]", "", "nodes.g-1", "no snat_pools", "give it a prefix"),
    case("DNS without addresses", ', dns_listen: ["10.1.0.53:53"]', "", "nodes.d-1", "no dns_listen", "53"),
    case(
        "two of a family", "192.0.2.2]", "192.0.2.2, 192.0.2.22]", "nodes.m-1.underlay", "two addresses", "one address"
    ),
    case("shards past the last port", "m-1: {", "m-1: {port: 65535, shards: 2, ", "nodes.m-1.shards", "65535", "fewer"),
    case("three shards", "m-1: {", "m-1: {shards: 3, ", "nodes.m-1.shards", "power of two", "1, 2, 4, 8 or 16"),
    case("link to nowhere", "[g, n]", "[g, q]", "links[3].between", "unknown region q", "use one of"),
    case(
        "link to itself", "cost: 1}\napp", "cost: 1}\n  - {between: [m, m]}\napp", "links[4].between", "itself", "two"
    ),
    case(
        "edge to gateway",
        "cost: 1}\napp",
        "cost: 1}\n  - {between: [e, g]}\napp",
        "links[4].between",
        "edge and",
        "link",
    ),
    case("DNS link", "cost: 1}\napp", "cost: 1}\n  - {between: [d, e]}\napp", "links[4].between", "dns and", "without"),
    case(
        "double link", "cost: 1}\napp", "cost: 1}\n  - {between: [m, e]}\napp", "links[4].between", "links[0]", "keep"
    ),
    case("outside the zone", "shop.apps.example", "shop.example", "A.hostnames[0]", "outside", "ends in"),
    case("unknown gateway", "gateways: [g]", "gateways: [q]", "A.gateways[0]", "unknown", "regions: g"),
    case("gateway's role", "gateways: [g]", "gateways: [m]", "A.gateways[0]", "intermediate", "use gateway"),
    case("gateway twice", "gateways: [g]", "gateways: [g, g]", "A.gateways[1]", "twice", "keep"),
    case("target twice", "10.2.0.10}]", "10.2.0.10}, {address: 10.2.0.10}]", "A.targets[1]", "twice", "sum"),
    case("check without port", "tcp/80]", "any]", "A.check", "no port", "add `port:`"),
    case("long timeout", "kind: tcp", "kind: tcp, timeout: 9", "A.check.timeout", "longer", "shorter"),
    case("no common family", "10.2.0.10}]", '"2001:db8::1"}]', "A.targets", "nothing in common", "add"),
    case(
        "overlapping pools",
        "[10.2.0.128/30]",
        "[10.1.0.128/30]",
        "nodes.g-1.snat_pools[0]",
        "overlaps",
        "no other pool",
    ),
    case("pool in the underlay", "10.1.0.128/28", "192.0.2.64/28", "nodes.e-1.vip_pools[0]", "lab.underlay", "outside"),
    case("status in a pool", "m-1: {", 'm-1: {status: "10.1.0.130:80", ', "nodes.m-1.status", "VIP pool", "shrink"),
    case(
        "duplicate underlay", "192.0.2.3]", "192.0.2.2], status: 192.0.2.3", "nodes.n-1.underlay[0]", "7400", "`port:`"
    ),
    case("same listener", "n-1: {", 'n-1: {status: "192.0.2.2:7480", ', "nodes.n-1.status", "m-1, too", "another port"),
    case("secret of an edge", "{role: edge}", EDGE_SECRET, "regions.e.cookie_secret", "role gateway", "remove"),
    case("unknown mode", "gateways: [g]", "mode: fast", "A.mode", "not accepted", "nat or fast-path"),
    case("cookies of another mode", "gateways: [g]", "cookie_at: edge", "A.cookie_at", "mode is nat", "fast-path"),
    case(
        "cookies without secret", "gateways: [g]", AT_EDGE, "A.cookie_at", "regions.g has no cookie_secret", "openssl"
    ),
    Case(
        "fast path without TCP",
        (("tcp/80]", "udp/80]\n    mode: fast-path"), ("    check: {kind: tcp}\n", "")),
        "A.mode",
        "for TCP",
        "mode: nat",
    ),
    case("price of an end", "{role: edge}", "{role: edge, price: 1}", "regions.e.price", "role intermediate", "remove"),
    case("not enough regions", "gateways: [g]", "copies: 3", "A.copies", "e to g, has 2", "`copies: 2`"),
    case(
        "outside its prefix",
        "alice: [10.1.0.10]",
        "alice: [10.3.0.10]",
        "M.clients.members.alice[0]",
        "outside",
        "use an",
    ),
    case("underlay outside", "192.0.2.2]", "192.0.3.2]", "nodes.m-1.underlay[0]", "lab.underlay", "use an address of"),
    case("broadcast", "alice: [10.1.0.10]", "alice: [10.1.0.255]", "M.clients.members.alice[0]", "no host", "between"),
    case(
        "member unknown",
        "web: [10.2.0.10]}",
        "web: [10.2.0.10], x: [10.2.0.9]}",
        "M.origins.members.x",
        "neither",
        "add",
    ),
    case(
        "lab address twice",
        "alice: [10.1.0.10]",
        "alice: [10.1.0.2]",
        "M.clients.members.alice[0]",
        "e-1, too",
        "another",
    ),
    case("host on no network", ", alice: [10.1.0.10]", "", "lab.hosts.alice", "on no network", "members:"),
    case(
        "host named as a node",
        "    web: {",
        "    m-1: {kind: client}\n    web: {",
        "lab.hosts.m-1",
        "a node has",
        "rename",
    ),
    case(
        "lab networks overlap",
        "prefixes: [10.1.0.0/24]",
        "prefixes: [10.0.0.0/8]",
        "M.origins.prefixes[0]",
        "over",
        "own",
    ),
    case("member without address", "web: [10.2.0.10]", "web: []", "M.origins.members.web", "empty", "at least one"),
    Case(
        "duplicate hostname",
        (("lab:\n", second_application("SHOP.apps.example.")),),
        "applications.second.hostnames[0]",
        "hostname of shop, too",
        "keep one",
    ),
    Case(
        "pool in a pool",
        (("10.1.0.128/28", "10.1.0.128/28, 10.1.0.136/30"),),
        "nodes.e-1.vip_pools[1]",
        "overlaps VIP pool 10.1.0.128/28 of e-1",
        "no other pool",
    ),
    Case(
        "VIP pool too small",
        (
            ("10.1.0.128/28", "10.1.0.128/32"),
            ("lab:\n", second_application("b.apps.example")),
        ),
        "nodes.e-1.vip_pools",
        "2 applications need an IPv4 VIP, the pools hold 1",
        "shorter prefix",
    ),
    Case(
        "no family in common with a neighbour",
        (("192.0.2.5]", '"2001:db8::2"]'), ("underlay: [192.0.2.0/24]", 'underlay: [192.0.2.0/24, "2001:db8::/64"]')),
        "nodes.d-1.underlay",
        "no address family in common with its neighbour e-1",
        "both",
    ),
    Case(
        "duplicate number",
        (("m-1: {", "m-1: {number: 7, "), ("n-1: {", "n-1: {number: 7, ")),
        "nodes.n-1.number",
        "number 7 is that of m-1",
        "set `number: ",
    ),
    Case(
        "multicast underlay",
        (("192.0.2.2]", "224.0.0.1]"), ("underlay: [192.0.2.0/24]", "underlay: []")),
        "nodes.m-1.underlay[0]",
        "cannot be reached",
        "own address",
    ),
    Case(
        "IPv6 VIP without IPv6 SNAT",
        (
            ("10.1.0.128/28]", '10.1.0.128/28, "2001:db8::/112"]'),
            ("10.2.0.10}]", '10.2.0.10}, {address: "2001:db9::1"}]'),
        ),
        "A.gateways",
        "no gateway has an IPv6 SNAT pool",
        "add one",
    ),
    Case(
        "role missing",
        (
            ("{role: gateway}", "{role: intermediate}"),
            (", snat_pools: [10.2.0.128/30]", ""),
            ("    gateways: [g]\n", ""),
        ),
        "regions",
        "no region has the role gateway",
        "add one",
    ),
]

TARGETS = [
    ("10.1.0.130", "VIP pool 10.1.0.128/28 of e-1"),
    ("10.2.0.129", "SNAT pool 10.2.0.128/30 of g-1"),
    ("192.0.2.2", "underlay address of m-1"),
    ("127.0.0.1", "loopback"),
    ("0.0.0.0", "unspecified"),
    ("169.254.169.254", "link-local"),
    ("224.0.0.1", "multicast"),
    ("255.255.255.255", "broadcast"),
    ("::1", "loopback"),
    ("::", "unspecified"),
    ("fe80::1", "link-local"),
    ("ff02::1", "multicast"),
    ("::ffff:10.2.0.10", "IPv4-mapped"),
    ("::10.2.0.10", "IPv4-compatible"),
    ("64:ff9b::7f00:1", "loopback address inside an IPv6 address"),
    ("2002:a9fe:a9fe::1", "link-local address inside an IPv6 address"),
    ("2001:0:a00:1::80ff:fffe", "loopback address inside an IPv6 address"),
]

TEXTS = [
    ("alias", changed(("region: m,", "region: *r,")), 12, "nodes.m-1.region", "alias *r", "write the value out"),
    ("anchor", changed(("region: m,", "region: &r m,")), 12, "nodes.m-1.region", "anchor &r", "remove it"),
    ("tag", changed(("region: m,", "region: !!str m,")), 12, "nodes.m-1.region", "tag ", "remove it"),
    ("merge key", changed(("m-1: {", "m-1: {<<: {}, ")), 12, "nodes.m-1", "merge key", "write the keys out"),
    ("complex key", changed(("m-1: {", "m-1: {[a]: 1, ")), 12, "nodes.m-1", "no plain word", "name: value"),
    (
        "duplicate key",
        changed(("  g: {", "  m: {role: intermediate}\n  g: {")),
        8,
        "regions.m",
        "first in line 6",
        "keep one",
    ),
    ("syntax", changed(("  g: {role: gateway}", "  g: {role: gateway")), 9, "", "no YAML", "syntax"),
    ("two documents", TEXT + "---\na: 1\n", 40, "", "more than one document", "---"),
    ("empty", "# nothing\n", 1, "", "empty", "braid sample"),
    ("no mapping", "- 1\n", 1, "", "no mapping", "braid sample"),
    ("depth", "a: " + "[" * 40 + "]" * 40, 1, "", "deeper than 32", "so deep"),
    ("control characters", "a: \x00", 1, "", "no YAML", "UTF-8"),
    ("surrogate", "a: \ud800", 1, "", "surrogate", "UTF-8"),
    (
        "too many nodes",
        "braid: 1\nnodes:\n" + "".join(f" n{n}:\n" for n in range(65536)),
        2,
        "nodes",
        "65536 nodes",
        "split",
    ),
]
