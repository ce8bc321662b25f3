//! Packets of clients that have no flow: SYNs are answered by a cookie, and whoever brings one back is believed.

use crate::cookie::{Carried, Checked, Ends};
use crate::opening::pause;
use crate::options::{find_timestamps, Offer, TIMESTAMPS_ROOM};
use crate::recent::Mark;
use crate::records::{clock, mark, ClientSession, ProxySession, Session, State, OUR_SCALE, OUR_WINDOW};
use crate::segment::{options, parse};
use crate::verdict::{Admitted, Output, Side, Stranger};
use crate::window::Sender;
use crate::{FastPath, Reason};
use braid_packet::{tcp_checksum_is_good, tcp_reset, FlowId, Ip, Segment, Tcp, Time};

/// Least segment size of IPv4 and IPv6 for who names none (RFC 9293 3.7.1).
const DEFAULT_MSS: [u16; 2] = [536, 1220];
/// What is missing before a segment has been sent again some times by then.
const PATIENCE: u64 = 5 * Time::SECOND;
/// A segment without anything is an answer to a question, and not sent again by itself.
const PATIENCE_WITH_NOTHING: u64 = 3 * Time::SECOND / 2;

impl FastPath {
    /// A client's TCP packet that belongs to no flow, or a SYN to one that is over. `app` is the application of the VIP.
    pub fn receive_stranger(&mut self, packet: &[u8], partial: bool, app: u16, now: Time) -> Stranger {
        let (ip, tcp) = match parse(packet) {
            Ok(parsed) => parsed,
            Err(reason) => return self.drop(reason),
        };
        if !partial && !tcp_checksum_is_good(packet, &ip) {
            return self.drop(Reason::Checksum);
        }
        let ends = Ends::from_client(&ip, &tcp);
        match (tcp.has(Tcp::SYN), tcp.has(Tcp::ACK)) {
            (true, false) if !tcp.has(Tcp::RST | Tcp::FIN) => self.answer_syn(&ends, packet, &ip, &tcp, app, now),
            (false, true) if !tcp.has(Tcp::RST) => self.check(&ends, packet, &ip, &tcp, app, now),
            _ => self.refuse(Reason::CookieForged, packet, now),
        }
    }

    fn answer_syn(&mut self, ends: &Ends, packet: &[u8], ip: &Ip, tcp: &Tcp, app: u16, now: Time) -> Stranger {
        let Some(offer) = Offer::read(options(packet, ip, tcp)) else {
            return self.drop(Reason::Options);
        };
        let most = self.mtu.saturating_sub(if ip.v6 { 60 } else { 40 });
        let asked = offer.mss.unwrap_or(DEFAULT_MSS[usize::from(ip.v6)]);
        let carried = Carried::new(asked.min(most), offer.scale, offer.sack);
        let Some((cookie, begin)) = self.keys.make(ends, tcp.sequence, carried) else {
            return self.drop(Reason::NoKey);
        };
        let answer = Offer {
            mss: Some(self.told(app, ip.v6)),
            scale: offer.scale.map(|_| OUR_SCALE),
            sack: offer.sack,
            timestamps: offer.timestamps.map(|(value, _)| (begin.wrapping_add(clock(now)), value)),
        };
        let (options, length) = answer.write();
        let written = self.write_answer(&Segment {
            from: ends.vip,
            to: ends.client,
            sequence: cookie,
            acknowledgement: tcp.sequence.wrapping_add(1),
            flags: Tcp::SYN | Tcp::ACK,
            window: OUR_WINDOW,
            options: &options[..length],
        });
        if !written {
            return self.drop(Reason::Options);
        }
        self.counters.cookies += 1;
        Stranger::Reply
    }

    /// Bytes of a segment that clients of an application are told.
    pub(crate) fn told(&self, app: u16, v6: bool) -> u16 {
        let most = self.most_told(v6);
        self.server_mss.get(&app).map_or(most, |&server| server.min(most))
    }

    pub(crate) fn most_told(&self, v6: bool) -> u16 {
        self.mtu.saturating_sub(if v6 { 60 } else { 40 })
    }

    fn check(&mut self, ends: &Ends, packet: &[u8], ip: &Ip, tcp: &Tcp, app: u16, now: Time) -> Stranger {
        if self.keys.is_empty() {
            // Just started: it may be good, and will come again.
            return self.drop(Reason::NoKey);
        }
        let checked = self.keys.check(ends, tcp.sequence, tcp.acknowledgement, u32::from(OUR_WINDOW));
        let carried = match checked {
            Checked::Valid(_) if self.recent.since(Mark::Spent, ends, tcp.acknowledgement).is_some() => {
                return self.refuse(Reason::CookieSpent, packet, now);
            }
            Checked::Valid(carried) => carried,
            Checked::Early => return self.receive_early(ends, packet, tcp, now),
            Checked::Forged => return self.refuse(Reason::CookieForged, packet, now),
        };
        self.counters.valid += 1;
        let timestamps = find_timestamps(options(packet, ip, tcp));
        let (ts_recent, ts_echo) = timestamps.unwrap_or_default();
        let scale = carried.scale.unwrap_or(0);
        let first = tcp.sequence;
        Stranger::Open(Admitted(ClientSession {
            rcv_isn: first.wrapping_sub(1),
            snd_isn: tcp.acknowledgement.wrapping_sub(1),
            ts_recent,
            ts_echo,
            sender: Sender {
                end: first,
                limit: first.wrapping_add(u32::from(OUR_WINDOW)),
                window: u32::from(tcp.window) << scale,
                acknowledged: 0,
            },
            window: tcp.window,
            mss: carried.mss,
            told: self.told(app, ip.v6),
            scale: carried.scale,
            timestamps: timestamps.is_some(),
            sack: carried.sack,
        }))
    }

    /// Makes both records for a client that has a flow now, and asks the server. The packet is the client's first one: what
    /// it carries is held. Look at `take_outputs`. False if too many wait for servers: then turn the client away.
    pub fn open(&mut self, flow: FlowId, admitted: Admitted, packet: &[u8], partial: bool, now: Time) -> bool {
        let Ok((ip, tcp)) = parse(packet) else { return false };
        let session = Session { flow, client: admitted.0, proxy: ProxySession::new(State::Opening(1)) };
        self.table.insert(session);
        if !self.timers.add(flow, 0, pause(1), now) {
            self.counters.refuse(Reason::OpeningFull);
            self.table.remove(flow);
            return false;
        }
        self.ask_server_twice(&Ends::from_client(&ip, &tcp), &session);
        self.receive_while_opening(flow, packet, &ip, &tcp, partial, now);
        true
    }

    /// Tells the edge that answered the SYN of this connection that it is open, and by which numbers: a SYN-ACK with a closed
    /// window, for the client's first packet. Look at `take_outputs`.
    pub fn tell_edge(&mut self, flow: FlowId, packet: &[u8]) {
        let (Ok((ip, tcp)), Some(session)) = (parse(packet), self.table.get(flow)) else { return };
        let ends = Ends::from_client(&ip, &tcp);
        let segment = Segment {
            from: ends.vip,
            to: ends.client,
            sequence: session.client.snd_isn,
            acknowledgement: session.client.rcv_isn.wrapping_add(1),
            flags: Tcp::SYN | Tcp::ACK,
            window: 0,
            options: &[],
        };
        self.output(flow, Side::Client, &segment);
    }

    /// Whether a packet that does not fit into its connection begins another one of the same ends: whoever answered its SYN
    /// knew nothing of ours.
    pub(crate) fn reopens(&self, session: &Session, packet: &[u8], ip: &Ip, tcp: &Tcp, partial: bool) -> bool {
        if !tcp.has(Tcp::ACK)
            || tcp.has(Tcp::SYN | Tcp::RST)
            || tcp.acknowledgement == session.client.snd_isn.wrapping_add(1)
        {
            return false;
        }
        let ends = Ends::from_client(ip, tcp);
        matches!(self.keys.check(&ends, tcp.sequence, tcp.acknowledgement, 0), Checked::Valid(_))
            && self.recent.since(Mark::Spent, &ends, tcp.acknowledgement).is_none()
            && (partial || tcp_checksum_is_good(packet, ip))
    }

    /// The server is asked by the gateway, and talks to a client that may be far away. What its SYN-ACK took to be
    /// acknowledged must not be its first idea of the round trip: BBR keeps the shortest one for 10 s, and would send no
    /// more than fits into it. What was sent twice is not measured (Karn's algorithm, RFC 6298 3), so our SYN is there twice,
    /// and makes the server say its SYN-ACK twice. That our acknowledgement echoes no timestamp belongs to it.
    fn ask_server_twice(&mut self, ends: &Ends, session: &Session) {
        self.ask_server(ends, session);
        self.ask_server(ends, session);
        if let Some(session) = self.table.get_mut(session.flow) {
            session.proxy.marks |= mark::TWICE;
        }
    }

    /// Our SYN: the client's own options as far as the cookie kept them, with room for timestamps in each segment.
    pub(crate) fn ask_server(&mut self, ends: &Ends, session: &Session) {
        let client = &session.client;
        let room = if client.timestamps { TIMESTAMPS_ROOM as u16 } else { 0 };
        let offer = Offer {
            mss: Some(client.mss() - room),
            scale: client.scale,
            sack: client.sack,
            timestamps: client.timestamps.then_some((client.ts_recent, 0)),
        };
        let (options, length) = offer.write();
        let segment = Segment {
            from: ends.client,
            to: ends.vip,
            sequence: client.rcv_isn,
            acknowledgement: 0,
            flags: Tcp::SYN,
            window: u16::try_from(client.scaled(client.window)).unwrap_or(u16::MAX),
            options: &options[..length],
        };
        self.output(session.flow, Side::Server, &segment);
    }

    pub(crate) fn output(&mut self, flow: FlowId, to: Side, segment: &Segment<'_>) {
        let mut packet = Vec::new();
        if segment.write(&mut packet).is_some() {
            self.outputs.push(Output { flow, to, packet, partial: false });
        }
    }

    fn drop(&mut self, reason: Reason) -> Stranger {
        self.counters.refuse(reason);
        Stranger::Drop(reason)
    }

    /// The client sends again what is missing before. If that does not come, another one had the connection: a gateway that
    /// is gone, or this one before it started again.
    fn receive_early(&mut self, ends: &Ends, packet: &[u8], tcp: &Tcp, now: Time) -> Stranger {
        let patience = if tcp.payload > 0 || tcp.has(Tcp::FIN) { PATIENCE } else { PATIENCE_WITH_NOTHING };
        match self.recent.since(Mark::Early, ends, tcp.acknowledgement) {
            Some(since) if now.since(since) >= patience => return self.refuse(Reason::CookieEarly, packet, now),
            Some(_) => {}
            None => self.recent.note(Mark::Early, ends, tcp.acknowledgement, now),
        }
        self.drop(Reason::CookieEarly)
    }

    /// No connection of ours: whoever believes in it is told.
    fn refuse(&mut self, reason: Reason, packet: &[u8], now: Time) -> Stranger {
        self.counters.refuse(reason);
        match tcp_reset(&mut self.answer, packet).is_some() && self.may_reset(now) {
            true => Stranger::Reply,
            false => Stranger::Drop(reason),
        }
    }
}
