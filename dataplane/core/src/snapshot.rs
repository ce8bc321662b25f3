//! A node's counters and states as JSON, copied out: nobody outside holds a live object. Shapes: `braid.status.build`.

use crate::event::{Detail, Outbox};
use crate::lane::{Arrival, Lane, Received};
use crate::mtu::State;
use crate::node::Node;
use crate::path::{Health, Path};
use crate::role::fast::FlowRecord;
use crate::session::Peer;
use braid_fastpath::{FastPath, SessionInfo};
use braid_nat::{Nat, Reason};
use braid_packet::Time;
use serde_json::{json, Map, Value};

impl<O: Outbox> Node<O> {
    pub(crate) fn snapshot(&self, detail: Detail, now: Time) -> Value {
        match detail {
            Detail::Whole => self.counters(true, now),
            Detail::Short => self.counters(false, now),
            Detail::Arrivals => self.arrivals(now),
        }
    }

    fn arrivals(&self, now: Time) -> Value {
        let paths = self.net.paths.iter().filter(|path| path.in_use || path.spare).map(|p| {
            let lane = self.net.sessions.peer((p.peer, false)).and_then(|peer| peer.lanes.first());
            json!({
                "peer": p.peer,
                "id": p.id,
                "route": p.nodes,
                "in_use": p.in_use,
                "active": self.net.paths.used(p.peer) >> p.id & 1 == 1,
                "arrives": self.arrives(p),
                "rtt_us": lane.and_then(|lane| lane.outbound.round_trip(usize::from(p.id), &lane.inbound, now)),
            })
        });
        json!({ "paths": paths.collect::<Value>() })
    }

    /// Whether the peer hears this path; None while it is silent itself.
    fn arrives(&self, path: &Path) -> Option<bool> {
        let peer = self.net.sessions.peer((path.peer, false)).filter(|peer| peer.up)?;
        Some(peer.reported()? >> path.id & 1 == 1)
    }

    fn counters(&self, whole: bool, now: Time) -> Value {
        let mut drops: Map<String, Value> =
            self.net.drops.all().iter().map(|(reason, &count)| ((*reason).to_owned(), count.into())).collect();
        let mut snapshot = Map::new();
        let (held, owned, passed_on) = self.owners.counts();
        if !self.owners.is_empty() || passed_on > 0 {
            snapshot.insert("owners".to_owned(), json!({"held": held, "owned": owned, "passed_on": passed_on}));
        }
        if let Some(gateway) = &self.gateway {
            drops.extend(refused(&gateway.nat));
            drops.extend(refused_fast(&gateway.fast));
            snapshot.insert("fast_path".to_owned(), fast_path(&gateway.fast));
            snapshot.insert("nat".to_owned(), nat(&gateway.nat));
        }
        if let Some(edge) = &self.edge {
            snapshot.insert("fast_path".to_owned(), json!({"cookies_sent": edge.cookies.sent()}));
        }
        snapshot.insert("drops".to_owned(), drops.into());
        snapshot.insert("neighbours".to_owned(), self.neighbours(now));
        snapshot.insert("sessions".to_owned(), self.sessions(whole, now));
        snapshot.insert("paths".to_owned(), self.paths(now));
        snapshot.insert("sets".to_owned(), self.sets());
        snapshot.insert("pairs".to_owned(), self.pairs());
        let counts = [("mtu", self.net.mtu as u64), ("fragmented", self.fragmented), ("passed_on", self.passed_on)];
        snapshot.extend(counts.map(|(name, count)| (name.to_owned(), count.into())));
        snapshot.insert("probing".to_owned(), json!({"datagrams": self.probes.0, "bytes": self.probes.1}));
        snapshot.insert("received".to_owned(), self.received());
        if let Some(relay) = &self.relay {
            snapshot.insert("relay".to_owned(), json!({"forwarded": relay.forwarded, "streams": relay.streams()}));
        }
        snapshot.into()
    }

    fn neighbours(&self, now: Time) -> Value {
        let state = |number| self.net.sessions.peer((number, true));
        self.net
            .links
            .iter()
            .map(|n| {
                let known = state(n.number).map(|peer| measured(peer, 0, now)).unwrap_or_default();
                with(
                    known,
                    json!({
                        "node": n.number,
                        "address": n.active.to_string(),
                        "up": state(n.number).is_some_and(|peer| peer.up),
                        "rtt_us": n.rtt.map(|rtt| rtt / 1000),
                        "heard_ms_ago": n.heard.map(|heard| now.since(heard) / Time::MILLISECOND),
                        "tx_datagrams": n.tx_datagrams,
                        "rx_datagrams": n.rx_datagrams,
                    }),
                )
            })
            .collect()
    }

    fn sessions(&self, whole: bool, now: Time) -> Value {
        let mut sessions: Vec<_> = self
            .net
            .sessions
            .peers()
            .filter(|((_, adjacent), _)| whole || !adjacent)
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
                    "window": if adjacent { Value::Null } else { window(&session.received) },
                    "recovery": {
                        "passed": counters.passed,
                        "discarded": counters.discarded,
                        "out_of_order": counters.out_of_order,
                        "rogue": counters.rogue,
                        "lost": totals.lost,
                        "tagless": counters.tagless,
                        "resets": peer.sessions_made.saturating_sub(1),
                        "latent_errors": peer.lanes.iter().map(|lane| lane.latent.errors).max().unwrap_or(0),
                    },
                })
            })
            .collect()
    }

    fn paths(&self, now: Time) -> Value {
        self.net
            .paths
            .iter()
            .map(|p| {
                let state = self.net.sessions.peer((p.peer, false));
                let probed = state.filter(|_| p.in_use || p.spare);
                let mut known = probed.map(|state| measured(state, usize::from(p.id), now)).unwrap_or_default();
                if let Some(since) = p.search.since().filter(|_| probed.is_some()) {
                    let (probes, bytes) = p.search.cost();
                    known.insert("mtu".to_owned(), p.search.mtu().into());
                    known.insert("mtu_state".to_owned(), found(p.search.state()).into());
                    known.insert("mtu_ms_ago".to_owned(), (now.since(since) / Time::MILLISECOND).into());
                    known.insert("mtu_probes".to_owned(), probes.into());
                    known.insert("mtu_probe_bytes".to_owned(), bytes.into());
                }
                with(
                    known,
                    json!({
                        "peer": p.peer,
                        "id": p.id,
                        "route": p.nodes,
                        "in_use": p.in_use,
                        "spare": p.spare,
                        "active": (p.in_use || p.spare) && self.net.paths.used(p.peer) >> p.id & 1 == 1,
                        "health": health(p.health),
                        "arrives": self.arrives(p),
                        "copies_sent": p.copies_sent,
                        "bytes_sent": p.bytes_sent,
                        "unsent": p.unsent,
                    }),
                )
            })
            .collect()
    }

    fn sets(&self) -> Value {
        let sets = self.net.paths.sets().map(|(peer, number, mtu, active)| {
            json!({"peer": peer, "set": number, "mtu": mtu, "active": active.collect::<Vec<_>>()})
        });
        let mut sets: Vec<Value> = sets.collect();
        sets.sort_by_key(|set| (set["peer"].as_u64(), set["set"].as_u64()));
        sets.into()
    }

    /// What two of our paths to a peer lost together.
    fn pairs(&self) -> Value {
        let mut peers: Vec<_> = self.net.sessions.peers().filter(|((_, adjacent), _)| !adjacent).collect();
        peers.sort_by_key(|(key, _)| **key);
        let pairs = peers.into_iter().flat_map(|(&(number, _), peer)| {
            peer.lanes.iter().flat_map(|lane| lane.outbound.pairs()).map(move |(a, b, loss)| {
                json!({"peer": number, "a": a, "b": b, "probes": loss.probes, "both_lost": loss.both_lost})
            })
        });
        pairs.collect()
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
                json!({"peer": peer, "id": id, "via": a.via, "first": a.first, "eliminated": a.eliminated,
                    "reordered": a.reordered})
            })
            .collect()
    }
}

/// The recovery windows of a session's lanes: the largest, all of them in memory, the least room that was left.
fn window(received: &Received) -> Value {
    let size = |lane: &Lane| lane.recovery.window();
    let margin = |lane: &Lane| 1.0 - lane.window.furthest() as f64 / size(lane) as f64;
    json!({
        "packets": received.iter().map(size).max(),
        "bytes": received.iter().map(|lane| lane.recovery.bits() / 8).sum::<usize>(),
        "margin": received.iter().map(margin).fold(1.0, f64::min).max(0.0),
        "capped": received.iter().any(|lane| lane.window.capped),
    })
}

/// What is known of the way to a peer on one path, and back; empty before the first report. Counts are those of all lanes,
/// delays those of the first.
fn measured(peer: &Peer, path: usize, now: Time) -> Map<String, Value> {
    let Some((lane, delay)) = peer.lanes.first().and_then(|lane| Some((lane, lane.outbound.delay(path)?))) else {
        return Map::new();
    };
    let one_way = lane.outbound.one_way(path, &lane.inbound, now);
    let loss: Vec<_> = peer.lanes.iter().map(|lane| lane.outbound.loss(path)).collect();
    let recent = peer.lanes.iter().map(|lane| lane.outbound.recent(path));
    let (sent, lost) = recent.fold((0.0, 0.0), |(sent, lost), (more, of_them)| (sent + more, lost + of_them));
    let fields = json!({
        "rtt_us": lane.outbound.round_trip(path, &lane.inbound, now),
        "one_way_us": one_way.map(|(delay, _)| delay),
        "one_way_error_us": one_way.map(|(_, error)| error),
        "jitter_us": delay.jitter(),
        "loss": (sent > 0.0).then(|| (lost / sent).clamp(0.0, 1.0)),
        "reported": loss.iter().map(|lane| lane.copies).sum::<u64>(),
        "lost": loss.iter().map(|lane| lane.copies_lost).sum::<u64>(),
        "probes": loss.iter().map(|lane| lane.probes).sum::<u64>(),
        "probes_lost": loss.iter().map(|lane| lane.probes_lost).sum::<u64>(),
        "loss_bursts": loss.iter().map(|lane| lane.bursts).sum::<u64>(),
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// The fields of both objects; those of `over` where both have one.
fn with(mut over: Map<String, Value>, object: Value) -> Value {
    if let Value::Object(mut fields) = object {
        fields.append(&mut over);
        return fields.into();
    }
    object
}

fn health(health: Health) -> &'static str {
    match health {
        Health::Passing => "passing",
        Health::Returning(_) => "returning",
        Health::Silent => "silent",
    }
}

fn found(state: State) -> &'static str {
    match state {
        State::Base => "base",
        State::Searching => "searching",
        State::Complete => "complete",
        State::Error => "error",
    }
}

fn nat(nat: &Nat) -> Value {
    let counters = nat.counters();
    let by_app: Value = nat.flows_by_app().into_iter().map(|(app, flows)| (app.to_string(), flows)).collect();
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

fn fast_path(fast: &FastPath) -> Value {
    let counters = fast.counters();
    json!({
        "sessions": fast.len(),
        "cookies_sent": counters.cookies,
        "cookies_valid": counters.valid,
        "established": counters.established,
        "held": counters.held,
        "service_requests": counters.service_requests,
        "taken": counters.taken,
        "spliced": counters.spliced,
        "parked": counters.parked,
        "again": counters.again,
        "held_now": fast.held_now(),
        "waiting": fast.waiting().map(|(app, count)| (app.to_string(), count)).collect::<Value>(),
        "residual_bytes": fast.owed_bytes(),
        "residual_resent": counters.owed_resent,
        "syn_retransmitted": counters.syn_retransmitted,
        "replies_suppressed": counters.replies_suppressed,
    })
}

fn refused_fast(fast: &FastPath) -> impl Iterator<Item = (String, Value)> + '_ {
    let happened = fast.counters().all_refused().filter(|(_, count)| *count > 0);
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
pub fn flow(record: &FlowRecord) -> Value {
    let flow = &record.flow;
    json!({
        "app": flow.app,
        "proto": protocol(flow.protocol),
        "client": flow.client.to_string(),
        "vip": flow.vip.to_string(),
        "snat": named(flow.snat),
        "target": named(flow.target),
        "edge": flow.edge,
        "mode": record.session.map_or("nat", |session| session.mode()),
        "connection": record.connection,
        "state": flow.state,
        "idle_s": flow.idle / Time::SECOND,
        "packets_in": flow.packets_in,
        "packets_out": flow.packets_out,
        "bytes_in": flow.bytes_in,
        "bytes_out": flow.bytes_out,
        "records": record.session.map(|session| records(&session)),
    })
}

/// Empty where there is none.
fn named(address: std::net::SocketAddr) -> String {
    if address.ip().is_unspecified() {
        String::new()
    } else {
        address.to_string()
    }
}

/// Client session record #1 and proxy session record #1.
fn records(session: &SessionInfo) -> Value {
    let (client, proxy) = (&session.client, &session.proxy);
    let open = matches!(session.mode(), "fast" | "spliced");
    json!({
        "client": {
            "rcv_isn": client.rcv_isn,
            "snd_isn": client.snd_isn,
            "mss": client.mss(),
            "scale": client.scale,
            "timestamps": client.timestamps,
            "sack": client.sack,
        },
        "proxy": open.then(|| json!({
            "server_isn": proxy.server_isn,
            "shift": proxy.shift,
            "client_shift": proxy.client_shift,
            "mss": proxy.mss,
            "scale": proxy.scale,
            "timestamps": proxy.timestamps,
            "sack": proxy.sack,
        })),
    })
}
