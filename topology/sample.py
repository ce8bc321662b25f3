"""The commented topology file that ``braid sample`` prints. A test keeps it valid."""

from __future__ import annotations

SAMPLE = """\
# A topology of Braid. Check it with `braid check FILE`; every key is described in docs/topology.md.
# It has no aliases, anchors or tags, and a key that is not known is an error.

braid: 1                      # version of this format
name: example                 # lower case letters, digits and -; stands in the certificates

zone:                         # the DNS zone that Braid's DNS nodes answer for
  name: apps.example
  ttl: 30                     # seconds that a client may keep an answer
  contact: hostmaster.apps.example
  records:                    # what else the zone holds, as lines of a zone file
    - '@ CAA 0 issue "ca.example"'
    - shop HTTPS 1 . alpn=h2,h3
    - '*.dev 300 CNAME shop'

dns:                          # how the DNS nodes answer; all of it may be left out
  version: Braid              # CH TXT version.bind; "" refuses
  identity: true              # id.server and NSID give the node's name
  client_subnet: public       # steer by the client prefixes that resolvers pass on: public ones, all, off
  reverse: true               # PTR records of the VIPs
  responses_per_second: 200   # UDP, per client prefix, without a valid cookie; 0 is no limit
  # geo_database: cities.mmdb # where clients are (MaxMind DB format, with coordinates); needs braid[geo]
  slip: 2                     # every second limited answer says "ask over TCP", the others are not sent
  # cookie_secrets: ["..."]   # 32 hexadecimal digits, the same at every node that shares an address

health:                       # when links and paths count as bad, and when others are taken; all of it may be left out
  loss_bad: 0.02              # bad from 2 % of loss on, good again below 0.5 %
  loss_good: 0.005
  delay_bad: 0.25             # bad when a quarter and 5 ms slower than normal, good again within 15 % or 3 ms of it
  delay_bad_ms: 5
  delay_good: 0.15
  delay_good_ms: 3
  hold: 30                    # seconds that good news must hold; bad news counts at once
  longest_hold: 300           # to which the hold doubles for what flaps
  gain: 0.1                   # other paths are taken when they cost less by a tenth and by 3 ms
  gain_ms: 3

# A region is a set of nodes of one role in one place: what may fail together. Two paths of a packet do not share an
# intermediate region, a provider or a shared_risk group (a cable, a building) as long as there are others.
regions:
  edge-west:  {role: edge, place: Dublin, location: [53.35, -6.26]}      # latitude, longitude: for geo_database
  mid-north:  {role: intermediate, place: Oslo, provider: nordnet}
  mid-south:  {role: intermediate, place: Milan, provider: southnet, shared_risk: [alps-cable]}
  mid-east:   {role: intermediate, place: Warsaw, provider: southnet, price: 2}   # price: added to its links' costs
  # All gateways of a region need the same cookie_secret (32 hexadecimal digits) to know each other's SYN cookies.
  gw-central: {role: gateway, place: Frankfurt}   # cookie_secret: "..."
  dns:        {role: dns, place: Dublin}
  cache-west: {role: content, place: Dublin}

nodes:
  edge-west-1:
    region: edge-west
    underlay: [198.51.100.11, "2001:db8:0:1::11"]   # where other nodes reach it: one address per family
    port: 7400                # UDP
    shards: 1                 # data-plane threads: 1, 2, 4, 8 or 16; shard n uses UDP port `port` + n
    mtu: 1500                 # of the underlay
    status: "198.51.100.11:7480"                    # pages, metrics and probes; it has no login: keep it inside
    # Every application gets one address of each family out of these pools, at this edge node.
    vip_pools: [203.0.113.128/26, "2001:db8:0:aa::/112"]
    # DNS sends clients of these prefixes here; without this key it sends everybody.
    serves: [203.0.113.0/24, "2001:db8:0:a::/64"]
    capacity: 1000            # Mbit/s of clients' packets in one direction; beyond 90 % DNS sends clients elsewhere
    # weight: 2                # twice the clients of an edge of weight 1 that serves them as well
  mid-north-1: {region: mid-north, underlay: [198.51.100.21, "2001:db8:0:1::21"]}
  mid-south-1: {region: mid-south, underlay: [198.51.100.22, "2001:db8:0:1::22"]}
  mid-east-1:
    region: mid-east
    underlay: [198.51.100.23, "2001:db8:0:1::23"]
    # number: 4711            # only where `braid check` reports that two names share a number
  gw-central-1:
    region: gw-central
    underlay: [198.51.100.31, "2001:db8:0:1::31"]
    # The addresses that target servers see; their network must route them to this node.
    snat_pools: [192.0.2.128/29, "2001:db8:0:c::/125"]
  dns-1:
    region: dns
    underlay: [198.51.100.41, "2001:db8:0:1::41"]
    dns_listen: ["203.0.113.53:53", "[2001:db8:0:a::53]:53"]
    # powerdns: "127.0.0.1:8053"   # name servers of your own (PowerDNS) ask here for the same decisions; no login
  cache-west-1:
    region: cache-west
    underlay: [198.51.100.51, "2001:db8:0:1::51"]
    content:                  # an HTTP cache, which fetches what it lacks through the overlay as any client does
      listen: ["203.0.113.80:80"]
      directory: /var/cache/braid
      applications: [shop]    # whose hostnames it may answer for
      edges: [edge-west]      # whose VIPs it uses, in order of preference; without this key those of all edges
      size_mb: 1000           # of disk, for all answers
      largest_mb: 100         # larger ones are passed on and not kept
      connections: 1000       # of clients at one time
      # tls:                  # TLS of clients ends here; files beside this one, read again when they change
      #   listen: ["203.0.113.80:443"]
      #   certificates: [{certificate: shop.pem, key: shop.key}]
      # origin_ca: ca.pem     # that origins' certificates are checked with; without this key those of the system

# Which regions' nodes are neighbours, and what crossing costs (milliseconds by convention). Without this key every edge
# and gateway region reaches every intermediate region at cost 1. Intermediate regions may be chained, up to four.
links:
  - {between: [edge-west, mid-north], cost: 14}
  - {between: [edge-west, mid-south], cost: 17}
  - {between: [mid-north, gw-central], cost: 11}
  - {between: [mid-south, mid-east], cost: 9}
  - {between: [mid-south, gw-central], cost: 8}
  - {between: [mid-east, gw-central], cost: 10}

applications:
  shop:
    hostnames: [shop.apps.example, www.apps.example]
    ports: [tcp/80, tcp/443, udp/443, icmp]         # also: tcp, udp, tcp/8000-8099, any
    targets:
      - {address: 192.0.2.10, weight: 2}            # twice as many flows as weight 1
      - {address: 192.0.2.11}
      - {address: "2001:db8:0:d::10"}
    gateways: [gw-central]                          # in order of preference; without this key all of them
    copies: 2                                       # disjoint paths that each packet takes, always
    mode: nat                                       # or fast-path (SYN cookies), or proxy, see `web`
    # cookie_at: edge                               # with fast-path: SYNs are answered there, see docs/topology.md
    fallback: all                                   # DNS while no edge can carry it: all VIPs, or none
    check: {kind: http, port: 80, path: /health, interval: 2, timeout: 1, rise: 2, fall: 2}
  backup:
    hostnames: [backup.apps.example]
    ports: [any]
    targets: [{address: 192.0.2.20}]
    # Instead of `copies`: the cheapest paths whose joint loss is below a target, and more of them in trouble.
    target_loss: 1e-4           # share of packets of which every copy is lost: at most this, with 95 % confidence
    min_copies: 2               # also when nothing is wrong
    max_copies: 5               # in trouble, up to 8
    budget: 1.05                # mean copies of a day, as a multiple of min_copies
    # deadline: 65              # milliseconds one way: a path that is slower is not used
    # diverse: true             # you vouch that paths declared disjoint are: targets are proved sooner
  web:
    hostnames: [web.apps.example]
    ports: [tcp/8080]
    targets: [{address: 192.0.2.30, port: 80}, {address: 192.0.2.31, port: 80}, {address: 192.0.2.32, port: 80}]
    mode: proxy                 # clients' TCP connections end in the gateway; each request may go to another server
    proxy:
      kind: http                # or tls-sni, tcp, or the entry point of a plug-in: module:Class
      policy: p2c               # or round_robin, weighted, least_connections, ring_hash, maglev
      sticky: none              # or client (its address), cookie:NAME
      rules:                    # the first that holds says which servers; without one: all
        - {path: /api/, methods: [GET], servers: [192.0.2.30]}
        - {hosts: ["*.beta.apps.example"], regions: [edge-west], servers: [192.0.2.31, 192.0.2.32]}
      pool: 256                 # idle connections kept to each server, for requests of all clients; for pool_timeout
      # splice_above: 1000000   # longer answers go on in the data plane; each client has server connections of its own
      # tls:                    # TLS of clients ends in the gateway; files beside this one, read again when they change
      #   certificates: [{certificate: web.pem, key: web.key}]      # the first also for names that none is for
      #   minimum: "1.2"        # or "1.3"
      #   alpn: [h2, http/1.1]
      client_address: forwarded # X-Forwarded-For and Forwarded; or proxy-v1, proxy-v2, transparent, none
      retries: 1                # on other servers, before the first byte of an answer
      connect_timeout: 2        # seconds; likewise select_timeout, answer_timeout, idle_timeout
      eject_after: 5            # failures in a row

# transfers:                    # requests on connections that content proxies are offered; the first row that holds
#   - application: web          # of `kind: http` without `tls`, or `tls-sni`; each proxy needs it in its applications
#     proxies: [cache-west-1]
#     policy: first             # that can be reached; or least_connections, random, or hash, with hash: path or client
#     mode: serve-or-origin     # what the proxies store; or serve: all of it
#     clients: [203.0.113.0/24]
#     path: /video/
#     least_kb: 100             # of the whole body
#     connection: {least_requests: 2}   # or least_ and most_sent_kb, _received_kb, least_window_kb
#     # `kind: tls-sni` has no path, hosts, methods, mode and least_kb, but: sni: [cdn.apps.example], alpn: [h2]
#   - {gateway: gw-central-1, to: gw-central-2} # drained to another one of its region while this row is there
"""
