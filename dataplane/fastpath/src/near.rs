//! What keeps a server from taking the gateway for its client. A connection that may be spliced begins between its server and
//! this gateway's stack, microseconds apart, and goes on to a client that may be far away. A server that has measured the short
//! way believes in it for too long: BBR sends no more than fits into the shortest round trip of the last 10 s, and HyStart ends
//! slow start when the round trip grows.
//!
//! So nothing is measured in the handshake: the stack's SYN goes out twice, and its acknowledgement echoes no timestamp, as in
//! `stranger.rs`. And the stack's acknowledgements of an answer wait a little, as only the last of them counts: if the
//! connection is spliced meanwhile, the first one that the server gets is its client's.

use crate::options::{NOP, TIMESTAMPS};
use crate::records::{mark, State};
use crate::segment::parse;
use crate::verdict::Side;
use crate::FastPath;
use braid_packet::{checksum, FlowId, Tcp, Time};
use std::collections::{BTreeMap, VecDeque};

/// A packet of the stack's waits at most so long, and at most so large a part of its client's round trip.
const LONGEST: u64 = 10 * Time::MILLISECOND;
const PART: u64 = 4;
/// Clients that are nearer are as near as the gateway.
const NEAR: u64 = Time::MILLISECOND;
const MOST_LATE: usize = 1 << 14;
const CHECKSUM: usize = 16;
const ECHO: std::ops::Range<usize> = 8..12;

/// What becomes of a packet that the stack sends to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    Once,
    Twice,
    /// It is kept for a while, or dropped.
    Nothing,
}

/// How long acknowledgements may wait for a client whose round trip is so long; None: they need not.
fn patience(round_trip: Option<u64>) -> Option<u64> {
    round_trip.filter(|&long| long >= NEAR).map(|long| (long / PART).min(LONGEST))
}

/// The last acknowledgement of the stack to a server, while it waits.
#[derive(Debug)]
enum Last {
    Waits {
        due: Time,
        packet: Vec<u8>,
        partial: bool,
    },
    /// It has waited: those behind it go on at once, until the stack sends something.
    Passes,
}

#[derive(Debug, Default)]
pub(crate) struct Late {
    last: BTreeMap<(u32, u32), Last>,
    due: VecDeque<(Time, FlowId)>,
}

impl Late {
    /// False: it goes on.
    fn keep(&mut self, flow: FlowId, packet: &[u8], partial: bool, due: Time) -> bool {
        let key = (flow.index, flow.serial);
        let full = self.last.len() >= MOST_LATE;
        match self.last.get_mut(&key) {
            Some(Last::Passes) => false,
            Some(Last::Waits { packet: last, partial: was, .. }) => {
                packet.clone_into(last);
                *was = partial;
                true
            }
            None if full => false,
            None => {
                self.last.insert(key, Last::Waits { due, packet: packet.to_vec(), partial });
                self.due.push_back((due, flow));
                true
            }
        }
    }

    pub(crate) fn forget(&mut self, flow: FlowId) {
        self.last.remove(&(flow.index, flow.serial));
    }

    /// Roughly: the first that was kept may not be the first that is due.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.due.front().map(|&(due, _)| due)
    }
}

impl FastPath {
    /// A packet that the stack sends to a server, in its own addresses and numbers. `round_trip` to its client, in nanoseconds,
    /// where it is known.
    pub fn receive_from_stack_to_server(
        &mut self,
        flow: FlowId,
        packet: &mut [u8],
        partial: bool,
        round_trip: impl FnOnce() -> Option<u64>,
        now: Time,
    ) -> Passage {
        let Ok((ip, tcp)) = parse(packet) else { return Passage::Nothing };
        if !self.admit_from_stack(flow, Side::Server, &tcp) {
            return Passage::Nothing;
        }
        let Some(session) = self.table.get_mut(flow) else { return Passage::Nothing };
        if tcp.has(Tcp::SYN) {
            let first = !session.proxy.has(mark::UNTOLD);
            session.proxy.marks |= mark::UNTOLD | if first { mark::TWICE } else { 0 };
            return if first { Passage::Twice } else { Passage::Once };
        }
        if session.proxy.has(mark::UNTOLD) && tcp.has(Tcp::ACK) {
            session.proxy.marks &= !mark::UNTOLD;
            let header = packet.get_mut(ip.header_len..ip.header_len + tcp.header_len);
            header.into_iter().for_each(|header| echo_nothing(header, partial));
            return Passage::Once;
        }
        let plain = tcp.payload == 0 && !tcp.has(Tcp::FIN | Tcp::RST);
        let state = session.proxy.state;
        match (plain, state) {
            (false, _) => self.late.forget(flow),
            // The client's say more now.
            (true, State::Spliced) => return Passage::Nothing,
            (true, State::Normal | State::Held) => {
                let due = patience(round_trip()).map(|patience| now.after(patience));
                if due.is_some_and(|due| self.late.keep(flow, packet, partial, due)) {
                    return Passage::Nothing;
                }
            }
            (true, _) => {}
        }
        Passage::Once
    }

    /// Packets of the stack to servers that have waited, and whether their checksums are partial.
    pub fn take_late(&mut self, now: Time) -> Vec<(FlowId, Vec<u8>, bool)> {
        let mut taken = Vec::new();
        while let Some(&(due, flow)) = self.late.due.front().filter(|(due, _)| *due <= now) {
            self.late.due.pop_front();
            let Some(last) = self.late.last.get_mut(&(flow.index, flow.serial)) else { continue };
            match last {
                Last::Waits { due: kept, packet, partial } if *kept == due => {
                    taken.push((flow, std::mem::take(packet), *partial));
                    *last = Last::Passes;
                }
                _ => {}
            }
        }
        taken
    }

    /// Whether a server's SYN-ACK is the answer to the second SYN, which the stack knows nothing of. It is one only once.
    pub(crate) fn take_second_answer(&mut self, flow: FlowId) -> bool {
        match self.table.get_mut(flow) {
            Some(session) if session.proxy.has(mark::TWICE) && session.proxy.mss != 0 => {
                session.proxy.marks &= !mark::TWICE;
                true
            }
            _ => false,
        }
    }
}

/// Of a header with timestamps where everybody has them.
fn echo_nothing(header: &mut [u8], partial: bool) {
    let (fixed, options) = header.split_at_mut(20);
    if let [NOP, NOP, TIMESTAMPS, 10, ..] = options {
        let Some(echo) = options.get_mut(ECHO) else { return };
        if !partial {
            let field = u16::from_be_bytes([fixed[CHECKSUM], fixed[CHECKSUM + 1]]);
            let updated = checksum::update(field, echo, &[0; 4]);
            fixed[CHECKSUM..CHECKSUM + 2].copy_from_slice(&updated.to_be_bytes());
        }
        echo.fill(0);
    }
}
