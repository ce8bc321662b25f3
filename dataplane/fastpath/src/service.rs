//! Service requests: connections of proxied applications, which the fast path accepts and cannot serve. The control side is
//! told when there is something to serve, and what came is held; a TCP stack takes the connection, or it is refused.

use crate::cookie::Ends;
use crate::hold::Held;
use crate::moved::AHEAD;
use crate::opening::pause;
use crate::owed::room;
use crate::records::{clock, mark, ProxySession, Session, State, OUR_SCALE, OUR_WINDOW};
use crate::verdict::{Admitted, Side};
use crate::window::Sender;
use crate::{FastPath, Reason};
use braid_packet::record::Window;
use braid_packet::{FlowId, Segment, Tcp, TcpRecord, Time};
use std::net::SocketAddr;

/// A connection that the control side is to be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    pub flow: FlowId,
    /// Bytes of packets that wait, and since when.
    pub held: usize,
    pub held_at: Option<Time>,
}

impl FastPath {
    /// As `open`, for an application that the control side serves. `at_once`: it is told now, not when the client sends.
    /// Look at `take_requests`.
    pub fn accept(
        &mut self,
        flow: FlowId,
        admitted: Admitted,
        packet: &[u8],
        partial: bool,
        at_once: bool,
        now: Time,
    ) -> bool {
        let Ok((ip, tcp)) = crate::segment::parse(packet) else { return false };
        let mut client = admitted.0;
        let (sent, received) = (client.snd_isn.wrapping_add(1), client.rcv_isn.wrapping_add(1));
        client.sender.acknowledged = sent;
        let mut proxy = ProxySession::new(State::Waiting);
        proxy.sender = Sender { end: sent, limit: sent, window: u32::from(OUR_WINDOW), acknowledged: received };
        self.table.insert(Session { flow, client, proxy });
        if at_once && !self.ask(flow, now) {
            self.table.remove(flow);
            return false;
        }
        self.receive_while_opening(flow, packet, &ip, &tcp, partial, now);
        true
    }

    /// False if too many wait for the control side.
    pub(crate) fn ask(&mut self, flow: FlowId, now: Time) -> bool {
        let Some(session) = self.table.get_mut(flow) else { return false };
        let turn = session.proxy.turn.wrapping_add(1);
        if !self.timers.add(flow, turn, pause(1), now) {
            self.counters.refuse(Reason::OpeningFull);
            return false;
        }
        session.proxy.turn = turn;
        session.proxy.state = State::Asking(1);
        self.counters.service_requests += 1;
        self.request(flow);
        true
    }

    pub(crate) fn request(&mut self, flow: FlowId) {
        let (held, held_at) = self.hold.waiting(flow);
        self.requests.push(Request { flow, held, held_at });
    }

    /// Who is to be told of what, since the last call.
    pub fn take_requests(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.requests)
    }

    /// What the control side is told of a connection: the client's side of it and, if it was spliced, the server's. `server`
    /// and the address that it sees, as the NAT knows them. Neither has anything in its queues.
    pub fn records(
        &self,
        flow: FlowId,
        ends: &Ends,
        server: Option<(SocketAddr, SocketAddr)>,
        now: Time,
    ) -> Option<(TcpRecord, Option<TcpRecord>)> {
        let session = self.table.get(flow)?;
        let server = server.filter(|_| session.proxy.has(mark::SERVED));
        let (mut client, mut server) =
            (client_record(session, ends, now), server.map(|server| server_record(session, server)));
        // Room that the other side was promised is not theirs.
        for (side, record) in [(Side::Client, Some(&mut client)), (Side::Server, server.as_mut())] {
            if let Some((edge, record)) = self.owed.edge(flow, side).zip(record) {
                record.window.send = record.window.send.min(room(edge, record.send_next));
            }
        }
        Some((client, server))
    }

    /// A stack has the connection now. Returns what was held, to be received again; None if there is no such connection to
    /// take.
    pub fn take(&mut self, flow: FlowId) -> Option<Vec<Held>> {
        let session = self.table.get_mut(flow)?;
        match session.proxy.state {
            State::Waiting | State::Asking(_) => {
                to_own_numbers(session);
                self.owed.forget(flow);
                self.counters.taken += 1;
            }
            State::Held | State::Normal => {}
            State::Opening(_) | State::Open | State::Spliced => return None,
        }
        let session = self.table.get_mut(flow)?;
        session.proxy.state = State::Normal;
        session.proxy.turn = session.proxy.turn.wrapping_add(1);
        session.proxy.marks &= !mark::GIVEN;
        session.proxy.held = 0;
        Some(self.hold.take(flow))
    }

    /// Ends a connection: the client gets a reset, and the server one if its numbers are known. Look at `take_outputs`, then
    /// end the flow.
    pub fn dismiss(&mut self, flow: FlowId, ends: &Ends, reason: Reason, now: Time) {
        let Some(&session) = self.table.get(flow) else { return };
        self.counters.refuse(reason);
        self.reset_client(&session, ends);
        if session.proxy.has(mark::SERVED) {
            self.reset_server(flow, ends);
        }
        self.end_opening(flow, ends, now);
    }

    fn reset_client(&mut self, session: &Session, ends: &Ends) {
        let (client, proxy) = (&session.client, &session.proxy);
        let segment = Segment {
            from: ends.vip,
            to: ends.client,
            sequence: proxy.sender.end.wrapping_sub(proxy.shift),
            acknowledgement: proxy.sender.acknowledged.wrapping_sub(proxy.client_shift),
            flags: Tcp::RST | Tcp::ACK,
            window: 0,
            options: &[],
        };
        debug_assert!(client.snd_isn != segment.sequence);
        self.output(session.flow, Side::Client, &segment);
    }

    /// For a server whose connection was spliced and is not to go on.
    pub fn reset_server(&mut self, flow: FlowId, ends: &Ends) {
        let Some(&session) = self.table.get(flow).filter(|session| session.proxy.has(mark::SERVED)) else { return };
        let segment = Segment {
            from: ends.client,
            to: ends.vip,
            sequence: session.client.sender.end,
            acknowledgement: session.proxy.sender.end,
            flags: Tcp::RST | Tcp::ACK,
            window: 0,
            options: &[],
        };
        self.output(flow, Side::Server, &segment);
    }
}

/// From those of the server's side to those that a stack has towards the client.
fn to_own_numbers(session: &mut Session) {
    let (shift, client_shift) = (session.proxy.shift, session.proxy.client_shift);
    let (client, server) = (&mut session.client.sender, &mut session.proxy.sender);
    for (number, shift) in [
        (&mut client.end, client_shift),
        (&mut client.limit, client_shift),
        (&mut client.acknowledged, shift),
        (&mut server.end, shift),
        (&mut server.limit, shift),
        (&mut server.acknowledged, client_shift),
    ] {
        *number = number.wrapping_sub(shift);
    }
    session.proxy.shift = 0;
    session.proxy.client_shift = 0;
    session.proxy.marks &= !(mark::SERVED | mark::AGAIN | mark::OWES | mark::SETTLES);
}

/// By how much a stack's timestamps begin beyond the last one known here: another gateway may have passed on younger ones.
fn ahead(proxy: &ProxySession) -> u32 {
    if proxy.has(mark::SHARED) {
        AHEAD
    } else {
        0
    }
}

/// Client session record #1, as the record that #2 is made from; of a spliced connection what has become of it.
fn client_record(session: &Session, ends: &Ends, now: Time) -> TcpRecord {
    let (client, proxy) = (&session.client, &session.proxy);
    let receive_next = match proxy.has(mark::SERVED) {
        true => client.sender.end.wrapping_sub(proxy.client_shift),
        false => client.rcv_isn.wrapping_add(1),
    };
    let (send, receive, timestamp) = match (proxy.has(mark::SERVED), proxy.timestamps) {
        (false, _) => (client.scaled(client.window), client.sender.limit.wrapping_sub(receive_next), client.ts_echo),
        (true, with_server) => (
            proxy.sender.limit.wrapping_sub(proxy.sender.end),
            client.sender.limit.wrapping_sub(client.sender.end),
            proxy
                .ts_shift
                .wrapping_add(if with_server { proxy.ts_recent } else { clock(now) })
                .wrapping_add(ahead(proxy)),
        ),
    };
    TcpRecord {
        local: ends.vip,
        remote: ends.client,
        send_next: proxy.sender.end.wrapping_sub(proxy.shift),
        receive_next,
        mss: client.mss(),
        scales: client.scale.map(|scale| (scale, OUR_SCALE)),
        sack: client.sack,
        timestamp: client.timestamps.then_some(timestamp),
        window: Window {
            update: receive_next,
            send,
            most: send.max(client.sender.window),
            receive,
            edge_from: receive_next,
        },
        unread: Vec::new(),
        unacknowledged: Vec::new(),
        unsent: Vec::new(),
    }
}

fn server_record(session: &Session, (server, snat): (SocketAddr, SocketAddr)) -> TcpRecord {
    let (client, proxy) = (&session.client, &session.proxy);
    let send = client.sender.limit.wrapping_sub(client.sender.end);
    let receive_next = proxy.sender.end;
    TcpRecord {
        local: snat,
        remote: server,
        send_next: client.sender.end,
        receive_next,
        mss: proxy.mss,
        scales: proxy.scale.map(|scale| (scale, proxy.told)),
        sack: proxy.sack,
        timestamp: proxy
            .timestamps
            .then_some(client.ts_recent.wrapping_add(proxy.client_ts_shift).wrapping_add(ahead(proxy))),
        window: Window {
            update: receive_next,
            send,
            most: send.max(proxy.sender.window),
            receive: proxy.sender.limit.wrapping_sub(receive_next),
            edge_from: receive_next,
        },
        unread: Vec::new(),
        unacknowledged: Vec::new(),
        unsent: Vec::new(),
    }
}
