//! A node's counters and states as JSON, copied out: nobody outside holds a live object. Shapes: `braid.status.build`.

use crate::event::Outbox;
use crate::lane::Arrival;
use crate::node::Node;
use braid_nat::{FlowInfo, Nat, Reason};
use braid_packet::Time;
use serde_json::{json, Map, Value};

impl<O: Outbox> Node<O> {
    pub(crate) fn snapshot(&self, now: Time) -> Value {
        let mut drops: Map<String, Value> =
            self.net.drops.all().iter().map(|(reason, &count)| ((*reason).to_owned(), count.into())).collect();
        let mut snapshot = Map::new();
        if let Some(gateway) = &self.gateway {
            drops.extend(refused(&gateway.nat));
            snapshot.insert("nat".to_owned(), nat(&gateway.nat));
        }
        snapshot.insert("drops".to_owned(), drops.into());
        snapshot.insert("neighbours".to_owned(), self.neighbours(now));
        snapshot.insert("sessions".to_owned(), self.sessions(now));
        snapshot.insert("paths".to_owned(), self.paths());
        snapshot.insert("received".to_owned(), self.received());
        if let Some(relay) = &self.relay {
            snapshot.insert("relay".to_owned(), json!({"forwarded": relay.forwarded, "streams": relay.streams()}));
        }
        snapshot.into()
    }

    fn neighbours(&self, now: Time) -> Value {
        let up = |number| self.net.sessions.peers().any(|(key, peer)| *key == (number, true) && peer.up);
        self.net
            .links
            .iter()
            .map(|n| {
                json!({
                    "node": n.number,
                    "address": n.active.to_string(),
                    "up": up(n.number),
                    "rtt_us": n.rtt.map(|rtt| rtt / 1000),
                    "heard_ms_ago": n.heard.map(|heard| now.since(heard) / Time::MILLISECOND),
                    "tx_datagrams": n.tx_datagrams,
                    "rx_datagrams": n.rx_datagrams,
                })
            })
            .collect()
    }

    fn sessions(&self, now: Time) -> Value {
        let mut sessions: Vec<_> = self
            .net
            .sessions
            .peers()
            .filter_map(|(key, peer)| Some((key, peer, self.net.sessions.get(peer.current?)?)))
            .collect();
        sessions.sort_by_key(|(key, _, _)| **key);
        sessions
            .into_iter()
            .map(|(&(number, adjacent), peer, session)| {
                let totals = self.net.sessions.totals((number, adjacent));
                let counters = totals.received;
                json!({
                    "peer": number,
                    "adjacent": adjacent,
                    "epoch": session.local_epoch,
                    "age_s": now.since(session.installed) / Time::SECOND,
                    "tx_packets": totals.tx_packets,
                    "tx_bytes": totals.tx_bytes,
                    "usable": peer.up,
                    "heard_ms_ago": peer.heard().map(|heard| now.since(heard) / Time::MILLISECOND),
                    "skew_us": session.received.longest_skew() / 1000,
                    "given_up": totals.given_up,
                    "late": totals.late,
                    "recovery": {
                        "passed": counters.passed,
                        "discarded": counters.discarded,
                        "out_of_order": counters.out_of_order,
                        "rogue": counters.rogue,
                        "lost": totals.lost,
                        "tagless": 0,
                        "resets": peer.sessions_made.saturating_sub(1),
                        "latent_errors": 0,
                    },
                })
            })
            .collect()
    }

    fn paths(&self) -> Value {
        self.net
            .paths
            .iter()
            .map(|p| {
                json!({
                    "peer": p.peer,
                    "id": p.id,
                    "route": p.nodes,
                    "in_use": p.in_use,
                    "arrives": self.arrives(p.peer, p.id),
                    "copies_sent": p.copies_sent,
                    "bytes_sent": p.bytes_sent,
                    "unsent": p.unsent,
                })
            })
            .collect()
    }

    /// Does the peer hear this path of ours? Null while it has not said anything.
    fn arrives(&self, peer: u16, id: u8) -> Option<bool> {
        let (_, state) = self.net.sessions.peers().find(|(key, _)| **key == (peer, false))?;
        state.reported().filter(|_| state.up).map(|bits| bits >> id & 1 == 1)
    }

    fn received(&self) -> Value {
        let mut received = Vec::new();
        for (&(number, adjacent), peer) in self.net.sessions.peers().filter(|((_, adjacent), _)| !adjacent) {
            debug_assert!(!adjacent);
            for id in 0..16 {
                let lanes = peer.lanes.iter().filter_map(|lane| lane.arrivals.get(id).copied().flatten());
                if let Some(arrival) = lanes.reduce(Arrival::add) {
                    received.push((number, id, arrival));
                }
            }
        }
        received.sort_by_key(|(number, id, _)| (*number, *id));
        received
            .into_iter()
            .map(|(peer, id, a)| {
                json!({"peer": peer, "id": id, "via": a.via, "first": a.first, "eliminated": a.eliminated})
            })
            .collect()
    }
}

fn nat(nat: &Nat) -> Value {
    let counters = nat.counters();
    let by_app: Map<String, Value> =
        nat.flows_by_app().into_iter().map(|(app, flows)| (app.to_string(), flows.into())).collect();
    json!({
        "flows": nat.len(),
        "created": counters.created,
        "expired": counters.expired,
        "ports_exhausted": counters.refused(Reason::PortsExhausted),
        "table_full": counters.refused(Reason::TableFull),
        "by_app": by_app,
    })
}

/// Refusals that happened, by reason.
fn refused(nat: &Nat) -> impl Iterator<Item = (String, Value)> + '_ {
    let happened = nat.counters().all_refused().filter(|(_, count)| *count > 0);
    happened.map(|(reason, count)| (reason.as_str().to_owned(), count.into()))
}

/// The usual name; the number where there is none.
fn protocol(number: u8) -> Value {
    match number {
        6 => "tcp".into(),
        17 => "udp".into(),
        1 | 58 => "icmp".into(),
        other => other.to_string().into(),
    }
}

/// The shape is that of `/flows`.
pub fn flow(flow: &FlowInfo) -> Value {
    json!({
        "app": flow.app,
        "proto": protocol(flow.protocol),
        "client": flow.client.to_string(),
        "vip": flow.vip.to_string(),
        "snat": flow.snat.to_string(),
        "target": flow.target.to_string(),
        "edge": flow.edge,
        "state": flow.state,
        "idle_s": flow.idle / Time::SECOND,
        "packets_in": flow.packets_in,
        "packets_out": flow.packets_out,
        "bytes_in": flow.bytes_in,
        "bytes_out": flow.bytes_out,
    })
}
