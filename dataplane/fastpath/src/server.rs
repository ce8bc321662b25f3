//! Packets of servers, which the NAT has already given the client's addresses.

use crate::again::{is_servers_own_end, only_known};
use crate::cookie::Ends;
use crate::note::{is_revived, note_end, note_server};
use crate::options::{timestamps_option, Offer};
use crate::records::{clock, mark, Session, State, OUR_WINDOW};
use crate::segment::{options, parse};
use crate::translate::{to_client, to_server, without_end, Terms};
use crate::verdict::{Arrived, Output, Side, Verdict};
use crate::window::{admit, at_most, later, Sender, Span};
use crate::{FastPath, Reason};
use braid_packet::{tcp_checksum_is_good, tcp_reset, FlowId, Ip, Segment, Tcp, Time, VnetHdr};

/// Smaller segments than this nobody means.
pub(crate) const LEAST_MSS: u16 = 536;

impl FastPath {
    /// A server's (super-)packet. On `Pass` and `Grown` it goes on to the client; a `Reply` is for the server.
    /// `app` is the application of the flow.
    pub fn receive_from_server(
        &mut self,
        flow: FlowId,
        vnet: VnetHdr,
        packet: &mut [u8],
        app: u16,
        now: Time,
    ) -> Verdict {
        let (ip, tcp) = match parse(packet) {
            Ok(parsed) => parsed,
            Err(reason) => return self.reject(reason),
        };
        let Some(session) = self.table.get_mut(flow) else { return self.reject(Reason::NoSession) };
        let decides = tcp.has(Tcp::SYN | Tcp::RST) || session.proxy.state != State::Open;
        if decides && !vnet.needs_csum && !tcp_checksum_is_good(packet, &ip) {
            return self.reject(Reason::Checksum);
        }
        if !session.is_open() {
            return self.receive_answer(flow, packet, &ip, &tcp, app, now);
        }
        if tcp.has(Tcp::SYN) {
            let session = *session;
            return self.receive_syn_again(&session, &ip, &tcp, packet);
        }
        let own_end = is_servers_own_end(session, &tcp);
        let kept = own_end && tcp.payload == 0;
        let tcp = if own_end && !kept { without_end(packet, &ip, &tcp, vnet.needs_csum) } else { tcp };
        let span = Span {
            sequence: tcp.sequence,
            length: tcp.payload as u32 + u32::from(tcp.has(Tcp::FIN)),
            acknowledgement: tcp.has(Tcp::ACK).then_some(tcp.acknowledgement),
            window: session.server_scaled(tcp.window),
            reset: tcp.has(Tcp::RST),
        };
        let told = if session.proxy.has(mark::AGAIN) { only_known(&session.proxy.sender, &span, kept) } else { span };
        let mut terms = Terms::for_client(session, &tcp);
        let session = if session.proxy.has(mark::SETTLES) {
            match self.receive_owing_from_server(
                flow,
                Arrived { packet, ip: &ip, tcp: &tcp, partial: vnet.needs_csum },
                &told,
                now,
            ) {
                Ok(changed) => terms = changed,
                Err(verdict) => return verdict,
            }
            let Some(session) = self.table.get_mut(flow) else { return self.reject(Reason::NoSession) };
            session
        } else if let Err(reason) = admit(&mut session.proxy.sender, &mut session.client.sender, &told, self.loose) {
            return self.reject(reason);
        } else {
            session
        };
        if session.proxy.state == State::Spliced {
            note_server(session, packet, &ip, &tcp);
            if own_end {
                session.proxy.marks |= mark::SERVER_END;
            }
            if kept {
                return self.keep_end(flow, &ip, &tcp, now);
            }
        }
        if session.proxy.has(mark::RESET) && is_revived(session, mark::SERVER_END, &tcp) {
            self.changed.push((flow, true));
        }
        if tcp.has(Tcp::FIN | Tcp::RST) {
            note_end(session, mark::SERVER_END, &tcp, at_most(session.proxy.sender.end, tcp.sequence));
            self.ending.push(flow);
        }
        if let Err(reason) = to_client(session, packet, &ip, &tcp, vnet.needs_csum, &terms) {
            return self.reject(reason);
        }
        if !session.client.timestamps || session.proxy.timestamps || tcp.has(Tcp::RST) {
            return Verdict::Pass;
        }
        let (value, echo) = (session.proxy.ts_shift.wrapping_add(clock(now)), session.client.ts_recent);
        let tcp = Tcp { sequence: terms.sequence, ..tcp };
        match self.grown.grow(vnet, packet, &ip, &tcp, value, echo) {
            true => Verdict::Grown,
            false => self.reject(Reason::Options),
        }
    }

    /// Clients of an application are told from now on what its servers take.
    pub(crate) fn learn(&mut self, app: u16, v6: bool, mss: u16) {
        if mss < self.told(app, v6) {
            self.server_mss.insert(app, mss);
        }
    }

    /// The first that a server says.
    fn receive_answer(&mut self, flow: FlowId, packet: &[u8], ip: &Ip, tcp: &Tcp, app: u16, now: Time) -> Verdict {
        let Some(session) = self.table.get_mut(flow) else { return self.reject(Reason::NoSession) };
        let acknowledges = tcp.has(Tcp::ACK) && tcp.acknowledgement == session.client.rcv_isn.wrapping_add(1);
        if tcp.has(Tcp::RST) {
            if !acknowledges {
                return self.reject(Reason::ServerStray);
            }
            self.give_up(flow, &Ends::to_client(ip, tcp), Reason::ServerRefused, now);
            return Verdict::End;
        }
        if !tcp.has(Tcp::SYN) || !acknowledges {
            // Of an earlier connection with these ports: the reset makes room for ours (RFC 9293 3.10.7.3).
            self.counters.refuse(Reason::ServerStray);
            return match tcp.has(Tcp::ACK) && tcp_reset(&mut self.answer, packet).is_some() && self.may_reset(now) {
                true => Verdict::Reply,
                false => Verdict::Drop(Reason::ServerStray),
            };
        }
        let Some(offer) = Offer::read(options(packet, ip, tcp)) else { return self.reject(Reason::Options) };
        establish(session, tcp, &offer, now);
        let (session, held) = (*session, session.proxy.held > 0);
        self.learn(app, ip.v6, session.proxy.mss);
        self.counters.established += 1;
        self.changed.push((flow, true));
        self.acknowledge(&session, &Ends::to_client(ip, tcp));
        if held {
            self.release(flow);
        }
        Verdict::Taken
    }

    /// The answer to our second SYN, or our acknowledgement was lost.
    fn receive_syn_again(&mut self, session: &Session, ip: &Ip, tcp: &Tcp, packet: &[u8]) -> Verdict {
        let same = tcp.has(Tcp::ACK) && tcp.sequence == session.proxy.server_isn && !tcp.has(Tcp::RST);
        if !same || Offer::read(options(packet, ip, tcp)).is_none() {
            return self.reject(Reason::StraySyn);
        }
        if !session.proxy.has(mark::TWICE) {
            self.acknowledge(session, &Ends::to_client(ip, tcp));
        } else if let Some(session) = self.table.get_mut(session.flow) {
            session.proxy.marks &= !mark::TWICE;
        }
        Verdict::Taken
    }

    /// Without an echo of the server's timestamp, from which it would know how near we are.
    fn acknowledge(&mut self, session: &Session, ends: &Ends) {
        let option = timestamps_option(session.client.ts_recent, 0);
        let segment = Segment {
            from: ends.client,
            to: ends.vip,
            sequence: session.client.rcv_isn.wrapping_add(1),
            acknowledgement: session.proxy.server_isn.wrapping_add(1),
            flags: Tcp::ACK,
            window: session.window_for_server(session.client.window),
            options: if session.proxy.timestamps { &option } else { &[] },
        };
        self.output(session.flow, Side::Server, &segment);
    }

    /// What was held goes out, in the order in which it came.
    fn release(&mut self, flow: FlowId) {
        for mut held in self.hold.take(flow) {
            let partial = held.vnet.needs_csum;
            let Ok((ip, tcp)) = parse(&held.packet) else { continue };
            let Some(session) = self.table.get_mut(flow) else { return };
            session.proxy.held = 0;
            let end = tcp.sequence.wrapping_add(tcp.payload as u32 + u32::from(tcp.has(Tcp::FIN)));
            session.client.sender.end = later(session.client.sender.end, end);
            let terms = Terms::for_server(session, &tcp);
            match to_server(session, &mut held.packet, &ip, &tcp, partial, &terms) {
                Ok(()) => self.outputs.push(Output { flow, to: Side::Server, packet: held.packet, partial }),
                Err(reason) => self.counters.refuse(reason),
            }
        }
    }
}

/// Completes proxy session record #1.
fn establish(session: &mut Session, tcp: &Tcp, offer: &Offer, now: Time) {
    let client = &mut session.client;
    let proxy = &mut session.proxy;
    proxy.server_isn = tcp.sequence;
    proxy.shift = tcp.sequence.wrapping_sub(client.snd_isn);
    proxy.mss = offer.mss.unwrap_or(LEAST_MSS).max(LEAST_MSS);
    proxy.scale = client.scale.and(offer.scale).map(|scale| scale.min(crate::cookie::MOST_SCALE));
    proxy.told = proxy.scale.and(client.scale).unwrap_or(0);
    proxy.sack = client.sack && offer.sack;
    proxy.timestamps = client.timestamps && offer.timestamps.is_some();
    proxy.ts_shift = match offer.timestamps.filter(|_| proxy.timestamps) {
        Some((value, _)) => client.ts_echo.wrapping_sub(value),
        None => client.ts_echo.wrapping_sub(clock(now)),
    };
    let first = tcp.sequence.wrapping_add(1);
    let window = u32::from(tcp.window);
    // The client may have sent what we told it, whatever the server takes of it.
    let told = window.max(u32::from(OUR_WINDOW));
    let acknowledged = client.rcv_isn.wrapping_add(1);
    let limit = first.wrapping_add(client.sender.window.max(1));
    proxy.sender = Sender { end: first, limit, window: told, acknowledged };
    client.sender.acknowledged = first;
    let allowed = acknowledged.wrapping_add(window.max(1));
    client.sender.limit = later(client.sender.limit, allowed);
    proxy.state = State::Open;
}
