//! What each node of the small Braid is told.

use crate::{EDGE, GATEWAY, PROXY, RELAYS, VIP};
use std::collections::BTreeMap;
use std::net::SocketAddr;

const PORT: u16 = 7400;

/// How many shards each node has; one, if it is not named.
pub type Shards = BTreeMap<u16, u8>;

/// Of the node's first shard.
pub fn address(number: u16) -> SocketAddr {
    address_of(number, 0)
}

/// Of one of its shards.
pub fn address_of(number: u16, shard: usize) -> SocketAddr {
    SocketAddr::from(([10, 90, 0, number as u8], PORT + shard as u16))
}

/// Whose address it is, and of which shard.
pub(crate) fn owner_of(address: SocketAddr) -> (u16, usize) {
    match address {
        SocketAddr::V4(v4) => (u16::from(v4.ip().octets()[3]), usize::from(v4.port() - PORT)),
        SocketAddr::V6(_) => (0, 0),
    }
}

pub(crate) fn desired(number: u16, shards: &Shards) -> String {
    let paths = match number {
        _ if RELAYS.contains(&number) => String::new(),
        PROXY => direct(EDGE),
        _ => through_relays(if number == EDGE { GATEWAY } else { EDGE }),
    };
    let role = match number {
        EDGE => edge(),
        GATEWAY => format!(
            r#", "gateway": {{"applications": [{{"app": 0, "vips": [{{"address": "{VIP}", "edge": {EDGE}}}],
                "ports": [["any", 0, 65535]], "set": 2,
                "targets": [{{"address": "10.93.0.10", "port": null, "weight": 1, "healthy": true}}]}}], "snat": ["10.93.0.128/30"]}}"#
        ),
        PROXY => proxied(1),
        _ => String::new(),
    };
    let neighbours = match number {
        PROXY => &[EDGE][..],
        _ if RELAYS.contains(&number) => &[EDGE, GATEWAY],
        _ => &RELAYS,
    };
    whole(neighbours, &paths, shards, &role)
}

/// The same of an edge with a content proxy as its neighbour, and of a gateway whose application is proxied.
pub(crate) fn desired_with_proxy(number: u16, shards: &Shards) -> String {
    match number {
        EDGE => {
            let paths = format!("{}, {}", through_relays(GATEWAY), direct(PROXY));
            whole(&[RELAYS[0], RELAYS[1], PROXY], &paths, shards, &edge())
        }
        _ => whole(&RELAYS, &through_relays(EDGE), shards, &proxied(2)),
    }
}

fn edge() -> String {
    format!(
        r#", "edge": {{"applications": [{{"app": 0, "vips": ["{VIP}"], "ports": [["any", 0, 65535]], "set": 2, "gateways": [{GATEWAY}], "owners": [{PROXY}]}}]}}"#
    )
}

fn proxied(set: u8) -> String {
    format!(
        r#", "gateway": {{"applications": [], "snat": [], "proxied": [{{"vips": [{{"address": "{VIP}", "edge": {EDGE}}}],
            "ports": [["any", 0, 65535]], "set": {set}}}]}}"#
    )
}

fn through_relays(peer: u16) -> String {
    format!(
        r#"{{"peer": {peer}, "set": 2, "paths": [{{"id": 0, "route": [21, {peer}]}}, {{"id": 1, "route": [22, {peer}]}}]}}"#
    )
}

fn direct(peer: u16) -> String {
    format!(r#"{{"peer": {peer}, "set": 1, "paths": [{{"id": 0, "route": [{peer}]}}]}}"#)
}

fn whole(neighbours: &[u16], paths: &str, shards: &Shards, role: &str) -> String {
    let neighbours: Vec<String> =
        neighbours.iter().map(|n| format!(r#"{{"node": {n}, "addresses": ["{}"]}}"#, address(*n))).collect();
    let shards: Vec<String> = shards.iter().map(|(node, count)| format!(r#""{node}": {count}"#)).collect();
    format!(
        r#"{{"neighbours": [{}], "path_sets": [{paths}], "shards": {{{}}}{role}}}"#,
        neighbours.join(", "),
        shards.join(", ")
    )
}
