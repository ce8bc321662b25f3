//! An end as Linux is one, as far as windows go: what it acknowledges bears the number of the right edge if it has sent beyond
//! that, and nothing before what it has acknowledged, or beyond its window, is looked at, acknowledgements included. It has
//! neither timestamps nor SACK.

use super::lone::numbered;
use super::parse;
use braid_fastpath::Side;
use braid_packet::record::{TcpRecord, Window};
use braid_packet::Tcp;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

pub const MSS: u32 = 1000;
/// Steps until something is sent again.
const RTO: u32 = 40;

fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

pub fn byte(position: u32) -> u8 {
    (position ^ (position >> 8)) as u8
}

pub struct Linux {
    addresses: (SocketAddr, SocketAddr),
    scales: (u8, u8),
    /// First number of each direction, for what bytes it has.
    first: [u32; 2],
    una: u32,
    next: u32,
    most: u32,
    window: u32,
    write_end: u32,
    rcv_next: u32,
    rcv_wup: u32,
    rcv_wnd: u32,
    /// Bytes that were not read, of so many at most.
    unread: u32,
    room: u32,
    early: BTreeMap<u32, u32>,
    quiet: u32,
    pub wrong: bool,
}

impl Linux {
    /// `record` is that of the gateway's socket for this end, which has `sent` bytes under way, behind those that the other
    /// end is owed.
    pub fn peer_of(record: &TcpRecord, sent: u32, behind: u32, room: u32) -> Linux {
        let (theirs, ours) = record.scales.unwrap();
        let una = record.receive_next;
        Linux {
            addresses: (record.remote, record.local),
            scales: (theirs, ours),
            first: [una.wrapping_sub(behind), record.unacknowledged_from()],
            una,
            next: una.wrapping_add(sent),
            most: una.wrapping_add(sent),
            window: record.window.receive,
            write_end: una.wrapping_add(sent),
            rcv_next: record.unacknowledged_from(),
            rcv_wup: record.unacknowledged_from(),
            rcv_wnd: record.window.send,
            unread: room - record.window.send,
            room,
            early: BTreeMap::new(),
            quiet: 0,
            wrong: false,
        }
    }

    /// Bytes that it has written and got, and that are under way.
    pub fn got(&self) -> u32 {
        self.rcv_next.wrapping_sub(self.first[1])
    }

    pub fn unsent(&self) -> u32 {
        self.write_end.wrapping_sub(self.una)
    }

    pub fn unread(&self) -> u32 {
        self.unread
    }

    pub fn write(&mut self, count: u32) {
        self.write_end = self.write_end.wrapping_add(count);
    }

    /// The application reads. A window that opens by two segments, or half of the room, is told.
    pub fn read(&mut self, count: u32) -> Option<Vec<u8>> {
        self.unread -= count;
        let edge = self.rcv_next.wrapping_add(self.room - self.unread);
        let opened = edge.wrapping_sub(self.rcv_wup.wrapping_add(self.rcv_wnd)) as i32;
        (opened >= (2 * MSS).min(self.room / 2) as i32).then(|| self.acknowledge())
    }

    fn edge(&self) -> u32 {
        self.una.wrapping_add(self.window)
    }

    fn segment(&mut self, sequence: u32, count: u32) -> Vec<u8> {
        // A window never shrinks (tcp_select_window).
        let current = self.rcv_wup.wrapping_add(self.rcv_wnd);
        let wanted = self.rcv_next.wrapping_add(self.room - self.unread);
        let unit = (1 << self.scales.0) - 1;
        let window = if before(wanted, current) { current } else { wanted }.wrapping_sub(self.rcv_next);
        self.rcv_wnd = (window + unit) & !unit;
        self.rcv_wup = self.rcv_next;
        let body: Vec<u8> = (0..count).map(|n| byte(sequence.wrapping_add(n).wrapping_sub(self.first[0]))).collect();
        let window = (self.rcv_wnd >> self.scales.0) as u16;
        numbered(self.addresses.0, self.addresses.1, sequence, self.rcv_next, window, &body)
    }

    /// tcp_acceptable_seq.
    pub fn acknowledge(&mut self) -> Vec<u8> {
        let beyond = self.next.wrapping_sub(self.edge()) as i32;
        let sequence = if beyond < 1 << self.scales.0 { self.next } else { self.edge() };
        self.segment(sequence, 0)
    }

    /// What it had sent before it is looked at, once.
    pub fn under_way(&mut self) -> Vec<Vec<u8>> {
        let (from, count) = (self.una, self.next.wrapping_sub(self.una));
        let cut = |at: u32| (from.wrapping_add(at), MSS.min(count - at));
        (0..count).step_by(MSS as usize).map(cut).map(|(at, length)| self.segment(at, length)).collect()
    }

    /// What it may send, or sends again.
    pub fn poll(&mut self) -> Option<Vec<u8>> {
        self.quiet += 1;
        if self.quiet > RTO && self.una != self.write_end {
            self.quiet = 0;
            if self.una == self.next {
                // A closed window is probed.
                return Some(self.segment(self.una.wrapping_sub(1), 0)).filter(|_| self.window == 0);
            }
            self.next = self.una;
        }
        let left = self.write_end.wrapping_sub(self.next);
        let allowed = (self.edge().wrapping_sub(self.next) as i32).max(0) as u32;
        // The first of what was sent is sent again whatever the window has become.
        let again = self.next == self.una && before(self.una, self.most);
        let count = left.min(MSS).min(if again { MSS.min(self.most.wrapping_sub(self.una)) } else { allowed });
        if count == 0 {
            return None;
        }
        let packet = self.segment(self.next, count);
        self.next = self.next.wrapping_add(count);
        if before(self.most, self.next) {
            self.most = self.next;
        }
        Some(packet)
    }

    pub fn receive(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let (ip, tcp) = parse(packet);
        assert!(!tcp.has(Tcp::RST));
        let end = tcp.sequence.wrapping_add(tcp.payload as u32);
        let edge = self.rcv_wup.wrapping_add(self.rcv_wnd);
        let edge = if before(edge, self.rcv_next) { self.rcv_next } else { edge };
        // tcp_sequence, since Linux 6.17.
        if before(end, self.rcv_wup) || before(edge, tcp.sequence) || (before(edge, end) && self.unread > 0) {
            return (tcp.payload > 0 || before(tcp.sequence, self.rcv_wup)).then(|| self.acknowledge());
        }
        if before(self.una, tcp.acknowledgement) {
            assert!(!before(self.most, tcp.acknowledgement), "acknowledged what was never sent");
            self.una = tcp.acknowledgement;
            self.quiet = 0;
            if before(self.next, self.una) {
                self.next = self.una;
            }
        }
        if !before(tcp.acknowledgement, self.una) {
            self.window = u32::from(tcp.window) << self.scales.1;
        }
        if tcp.payload == 0 {
            return None;
        }
        let body = &packet[ip.header_len + tcp.header_len..ip.total_len];
        for (n, &found) in body.iter().enumerate() {
            let position = tcp.sequence.wrapping_add(n as u32).wrapping_sub(self.first[1]);
            self.wrong |= (position as i32) >= 0 && found != byte(position);
        }
        if before(self.rcv_next, end) {
            self.early.insert(tcp.sequence.wrapping_sub(self.first[1]), end);
        }
        let from = self.rcv_next;
        while let Some((&at, &end)) = self.early.first_key_value() {
            if at > self.got() {
                break;
            }
            self.early.remove(&at);
            if before(self.rcv_next, end) {
                self.rcv_next = end;
            }
        }
        self.unread += self.rcv_next.wrapping_sub(from);
        self.room = self.room.max(self.unread);
        Some(self.acknowledge())
    }
}

/// The record of a gateway's socket: numbers, the peer's window and its own, and what was not acknowledged.
pub fn record(
    side: Side,
    (own, peer): (SocketAddr, SocketAddr),
    (send, receive): (u32, u32),
    (theirs, ours): (u32, u32),
    unacknowledged: u32,
) -> TcpRecord {
    let scales = if side == Side::Client { (7, braid_fastpath::OUR_SCALE) } else { (6, 8) };
    let unit = (1 << scales.1) - 1;
    TcpRecord {
        local: own,
        remote: peer,
        send_next: send.wrapping_add(unacknowledged),
        receive_next: receive,
        mss: MSS as u16,
        scales: Some(scales),
        sack: false,
        timestamp: None,
        window: Window {
            update: receive,
            send: theirs,
            most: theirs.max(1),
            receive: (ours + unit) & !unit,
            edge_from: receive,
        },
        unread: Vec::new(),
        unacknowledged: (0..unacknowledged).map(byte).collect(),
        unsent: Vec::new(),
    }
}

/// A network that delivers in the order in which the test says.
#[derive(Default)]
pub struct Wire(VecDeque<Vec<u8>>);

impl Wire {
    pub fn put(&mut self, packet: Option<Vec<u8>>) {
        self.0.extend(packet);
    }

    /// One of the first `depth`.
    pub fn take(&mut self, pick: usize, depth: usize) -> Option<Vec<u8>> {
        let among = self.0.len().min(depth);
        (among > 0).then(|| self.0.remove(pick % among)).flatten()
    }
}
