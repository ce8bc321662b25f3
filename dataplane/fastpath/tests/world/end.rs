//! A small TCP: sliding window, cumulative and selective acknowledgements, timestamps with PAWS, retransmission by timeout.
//! It asserts all that it may expect of a network that only loses, doubles and reorders.

mod record;
mod write;

use super::bytes::read;
use super::parse;
use super::setting::Setting;
use braid_packet::{tcp_checksum_is_good, Tcp, Time, VnetHdr};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

const RTO: u64 = 60 * Time::MILLISECOND;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Listen,
    SynSent,
    SynReceived,
    Established,
    Reset,
}

pub struct End {
    pub own: SocketAddr,
    pub peer: SocketAddr,
    pub state: State,
    pub received: Vec<u8>,
    pub refuses: bool,
    pub setting: Setting,
    data: Vec<u8>,
    /// Packet that its link brings.
    largest: u16,
    isn: u32,
    una: u64,
    next: u64,
    peer_isn: u32,
    got: u64,
    fin_at: Option<u64>,
    pieces: BTreeMap<u64, Vec<u8>>,
    peer_scale: Option<u8>,
    peer_mss: usize,
    peer_edge: u64,
    own_edge: u64,
    timestamps: bool,
    sack: bool,
    recent: u32,
    told: BTreeSet<u32>,
    sent_at: Time,
    acknowledge: bool,
    /// Behind the last byte ever sent.
    most_sent: u64,
    /// More may be written: it does not end yet.
    pub more: bool,
    /// Its peer changes in mid-connection: echoes may be of moments between two timestamps, windows larger than ours.
    pub handed: bool,
    /// Segments with a timestamp that went back.
    pub went_back: u32,
    last_told: u32,
    clock: Option<(u32, Time)>,
    asked: u32,
    /// It knows from the handshake how far its peer is: its SYN-ACK went once (Karn's algorithm), or its timestamp came back.
    pub measured: bool,
}

fn echo_is_past(last: u32, echo: u32) -> bool {
    (last.wrapping_sub(echo) as i32) >= 0
}

pub fn bytes(seed: u64, count: usize) -> Vec<u8> {
    (0..count as u64).map(|i| (i.wrapping_mul(31).wrapping_add(i >> 8).wrapping_add(seed)) as u8).collect()
}

impl End {
    fn new(own: SocketAddr, peer: SocketAddr, setting: Setting, largest: u16, isn: u32, seed: u64) -> End {
        End {
            own,
            peer,
            state: State::Listen,
            received: Vec::new(),
            refuses: false,
            setting,
            data: bytes(seed, setting.bytes),
            largest,
            isn,
            una: 0,
            next: 0,
            peer_isn: 0,
            got: 0,
            fin_at: None,
            pieces: BTreeMap::new(),
            peer_scale: None,
            peer_mss: 536,
            peer_edge: 0,
            own_edge: 0,
            timestamps: false,
            sack: false,
            recent: 0,
            told: BTreeSet::new(),
            sent_at: Time(0),
            acknowledge: false,
            most_sent: 0,
            more: false,
            handed: false,
            went_back: 0,
            last_told: 0,
            clock: None,
            asked: 0,
            measured: false,
        }
    }

    /// Bytes of the peer are all here, and its end.
    pub fn has_all(&self) -> bool {
        self.fin_at.is_some_and(|at| self.got > at)
    }

    pub fn client(own: SocketAddr, peer: SocketAddr, setting: Setting, isn: u32) -> End {
        End::new(own, peer, setting, setting.mtu, isn, 1)
    }

    /// `largest` packet that comes to it: its own link may be narrower than a client was told before the server was asked.
    pub fn server(own: SocketAddr, peer: SocketAddr, setting: Setting, largest: u16, isn: u32) -> End {
        End::new(own, peer, setting, largest, isn, 2)
    }

    /// One of a stack, beside which whoever cuts super-packets is.
    pub fn in_stack(own: SocketAddr, peer: SocketAddr, setting: Setting, isn: u32) -> End {
        let mut end = End::new(own, peer, setting, u16::MAX, isn, 1);
        end.data.clear();
        (end.more, end.handed) = (true, true);
        end
    }

    pub fn connect(&mut self, _: Time) {
        self.state = State::SynSent;
    }

    /// All sent and acknowledged, with the end, and all received.
    pub fn is_done(&self) -> bool {
        self.state == State::Reset
            || (self.una == self.data.len() as u64 + 2 && self.fin_at.is_some_and(|at| self.got > at))
    }

    fn is_syn(&self) -> bool {
        matches!(self.state, State::SynSent | State::SynReceived)
    }

    /// Stream position 0 is the SYN, 1 the first byte, behind the last byte the FIN.
    pub fn poll(&mut self, now: Time) -> Vec<(VnetHdr, Vec<u8>)> {
        let mut out = Vec::new();
        if matches!(self.state, State::Listen | State::Reset) {
            return out;
        }
        if self.una < self.next && now.since(self.sent_at) >= RTO {
            self.next = self.una;
        }
        if self.is_syn() {
            if self.next == 0 {
                out.push(self.syn(now));
                self.next = 1;
                self.sent_at = now;
            }
            return out;
        }
        let end = self.data.len() as u64 + u64::from(!self.more);
        let room = self.room();
        let size = if self.setting.segment > 0 { room.min(self.setting.segment) } else { room };
        while self.next <= end && (self.next < self.peer_edge || self.next == self.una) {
            if self.una == self.next {
                self.sent_at = now;
            }
            let allowed = self.peer_edge.saturating_sub(self.next).max(1) as usize;
            let most = size * self.setting.burst.max(1);
            let from = self.next as usize - 1;
            let length = (self.data.len() - from).min(most).min(allowed);
            let fin = !self.more && from + length == self.data.len() && (allowed > length || length == 0);
            let body = self.data[from..from + length].to_vec();
            if body.is_empty() && !fin {
                break;
            }
            let flags = Tcp::ACK | if fin { Tcp::FIN } else { 0 };
            let position = self.next;
            out.push(self.segment(flags, position, &body, size, now));
            self.next += length as u64 + u64::from(fin);
            self.most_sent = self.most_sent.max(self.next);
            self.acknowledge = false;
        }
        if self.acknowledge {
            self.acknowledge = false;
            let position = self.next;
            out.push(self.segment(Tcp::ACK, position, &[], size, now));
        }
        out
    }

    /// Payload per segment.
    fn room(&self) -> usize {
        let path = usize::from(self.setting.mtu) - if self.setting.v6 { 60 } else { 40 };
        self.peer_mss.min(path) - if self.timestamps { 12 } else { 0 }
    }

    pub fn receive(&mut self, packet: &[u8], now: Time) {
        let (ip, tcp) = parse(packet);
        assert!(tcp_checksum_is_good(packet, &ip), "checksum");
        assert!(packet.len() <= usize::from(self.largest), "{} bytes", packet.len());
        assert_eq!((ip.source, ip.destination), (self.peer.ip(), self.own.ip()));
        let options = &packet[ip.header_len + 20..ip.header_len + tcp.header_len];
        let (mss, scale, sack, timestamps, blocks) = read(options);
        if tcp.has(Tcp::RST) {
            let expected = self.peer_isn.wrapping_add(self.got as u32);
            if self.state != State::Listen && tcp.sequence == expected {
                self.state = State::Reset;
            }
            return;
        }
        if tcp.has(Tcp::SYN) {
            self.receive_syn(&tcp, mss, scale, sack, timestamps);
            return;
        }
        if matches!(self.state, State::Listen | State::SynSent | State::Reset) {
            return;
        }
        if self.timestamps && timestamps.is_none() {
            // As strict ends do (RFC 7323 3.2); the answer to a SYN on a connection has none.
            assert_eq!(tcp.payload, 0, "data without timestamps");
            return;
        }
        assert!(self.timestamps || timestamps.is_none(), "timestamps that were not negotiated");
        if self.state == State::SynReceived {
            self.measured |= self.asked < 2 || timestamps.is_some_and(|(_, echo)| echo != 0);
        }
        if let Some((value, echo)) = timestamps {
            let known = if self.handed { echo_is_past(self.last_told, echo) } else { self.told.contains(&echo) };
            // Zero: the peer does not know any, or does not say.
            let may_be = known || echo == 0;
            assert!(may_be, "an echo of what was never sent: {echo}, last {}", self.last_told);
            if (value.wrapping_sub(self.recent) as i32) < 0 && self.recent != 0 {
                self.went_back += 1;
                return; // PAWS
            }
            self.recent = value;
        }
        assert!(self.sack || blocks.is_empty());
        let acknowledged =
            self.una + u64::from(tcp.acknowledgement.wrapping_sub(self.isn.wrapping_add(self.una as u32)));
        if acknowledged > self.una + (1 << 31) {
            return; // old
        }
        for (left, right) in blocks {
            let at = |edge: u32| edge.wrapping_sub(self.isn.wrapping_add(self.una as u32)) as i32;
            assert!(
                at(left) < at(right) && self.una as i64 + i64::from(at(right)) <= self.data.len() as i64 + 2,
                "a block of what was never sent"
            );
        }
        assert!(acknowledged <= self.data.len() as u64 + 2, "more acknowledged than there is");
        if acknowledged > self.una {
            self.una = acknowledged;
            self.next = self.next.max(acknowledged);
            self.sent_at = now;
            if self.state == State::SynReceived {
                self.state = State::Established;
            }
        }
        if self.state == State::SynReceived {
            return;
        }
        let shift = self.setting.scale.and(self.peer_scale).unwrap_or(0);
        self.peer_edge = self.peer_edge.max(acknowledged + (u64::from(tcp.window) << shift));
        self.take(&tcp, &packet[ip.header_len + tcp.header_len..ip.total_len]);
    }

    fn receive_syn(
        &mut self,
        tcp: &Tcp,
        mss: Option<u16>,
        scale: Option<u8>,
        sack: bool,
        timestamps: Option<(u32, u32)>,
    ) {
        let answers = tcp.has(Tcp::ACK);
        match self.state {
            State::Listen if !answers && !self.refuses => {
                self.state = State::SynReceived;
                self.asked = 1;
            }
            State::SynReceived if !answers => {
                self.asked += 1;
                self.next = 0;
                return;
            }
            State::SynSent if answers => {
                assert_eq!(tcp.acknowledgement, self.isn.wrapping_add(1));
                self.state = State::Established;
                self.una = 1;
                self.next = 1;
                assert!(scale.is_none() || self.setting.scale.is_some());
                assert!(timestamps.is_none() || self.setting.timestamps);
                self.peer_edge = 1 + u64::from(tcp.window);
                self.acknowledge = true;
            }
            State::Established => {
                self.acknowledge = true;
                return;
            }
            _ => return,
        }
        self.peer_isn = tcp.sequence;
        self.got = 1;
        self.own_edge += 1;
        self.peer_scale = scale.filter(|_| self.setting.scale.is_some());
        self.peer_mss = usize::from(mss.unwrap_or(536));
        self.sack = sack && self.setting.sack;
        self.timestamps = timestamps.is_some() && self.setting.timestamps;
        if let Some((value, echo)) = timestamps {
            self.recent = value;
            assert!(!answers || self.told.contains(&echo));
        }
        if !answers {
            self.peer_edge = 1 + u64::from(tcp.window);
        }
    }

    fn take(&mut self, tcp: &Tcp, body: &[u8]) {
        if body.is_empty() && !tcp.has(Tcp::FIN) {
            return;
        }
        self.acknowledge = true;
        let at =
            self.got as i64 + i64::from(tcp.sequence.wrapping_sub(self.peer_isn.wrapping_add(self.got as u32)) as i32);
        let end = at + body.len() as i64;
        if end > self.own_edge as i64 + 1 {
            let first = 1 + u64::from(braid_fastpath::OUR_WINDOW);
            assert!(self.handed || end as u64 <= first, "beyond the window: {end} of {}", self.own_edge);
            // It was told more than this end has, before this end was asked: what fits is taken (RFC 9293 3.10.7.4).
            let fits = self.own_edge as i64 - at;
            if fits > 0 {
                self.keep(at, &body[..body.len().min(fits as usize)]);
            }
            return;
        }
        if tcp.has(Tcp::FIN) {
            assert!(self.fin_at.is_none_or(|known| known == end as u64), "two ends");
            self.fin_at = Some(end as u64);
        }
        self.keep(at, body);
    }

    fn keep(&mut self, at: i64, body: &[u8]) {
        if at + body.len() as i64 > self.got as i64 {
            let skip = (self.got as i64 - at).max(0) as usize;
            let piece = body[skip..].to_vec();
            let at = (at + skip as i64) as u64;
            if self.pieces.get(&at).is_none_or(|known| known.len() < piece.len()) {
                self.pieces.insert(at, piece);
            }
        }
        while let Some((&at, _)) = self.pieces.first_key_value().filter(|(&at, _)| at <= self.got) {
            let piece = self.pieces.remove(&at).unwrap();
            let skip = ((self.got - at) as usize).min(piece.len());
            self.received.extend_from_slice(&piece[skip..]);
            self.got += (piece.len() - skip) as u64;
        }
        if self.fin_at == Some(self.got) {
            self.got += 1;
        }
    }
}
