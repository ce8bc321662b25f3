use crate::side::Side;
use braid_packet::Tcp;

mod moved;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    SynSent,
    SynReceived,
    Established,
    /// FIN from both.
    Closed,
    /// A plausible RST.
    Reset,
}

impl State {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            State::SynSent => "syn_sent",
            State::SynReceived => "syn_received",
            State::Established => "established",
            State::Closed => "closed",
            State::Reset => "reset",
        }
    }
}

/// One direction of a connection. Sequence numbers compare modulo 2^32. Packed, as every flow has two.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed(2))]
struct Sender {
    /// Behind the last byte it sent.
    end: u32,
    /// The highest acknowledgement it sent.
    ack: u32,
    /// Behind the last byte its peer allowed it to send.
    limit: u32,
    /// Window scale of its SYN; `NO_SCALE` without.
    scale: u8,
    marks: u8,
}

const NO_SCALE: u8 = u8::MAX;

impl Sender {
    /// Its SYN was seen: `end` and `limit` hold.
    const SEEN: u8 = 1;
    /// `ack` holds.
    const ACKED: u8 = 2;
    const FIN: u8 = 4;

    fn has(&self, mark: u8) -> bool {
        self.marks & mark != 0
    }

    fn scale(&self) -> Option<u8> {
        (self.scale != NO_SCALE).then_some(self.scale)
    }
}

/// TCP connection state as a middlebox sees it (RFC 5382, RFC 5961): what may end a flow, and what only says so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Track {
    client: Sender,
    server: Sender,
    reset_sequence: u32,
    /// What the client's SYN allows the server, before it has a sequence to count from.
    syn_window: u16,
    reset_by: Side,
    state: State,
}

fn at_most(a: u32, b: u32) -> bool {
    (b.wrapping_sub(a) as i32) >= 0
}

fn later(a: u32, b: u32) -> u32 {
    if at_most(a, b) {
        b
    } else {
        a
    }
}

impl Default for Track {
    fn default() -> Track {
        let silent = Sender { end: 0, ack: 0, limit: 0, scale: NO_SCALE, marks: 0 };
        Track {
            client: silent,
            server: silent,
            reset_sequence: 0,
            syn_window: 0,
            reset_by: Side::Client,
            state: State::SynSent,
        }
    }
}

impl Track {
    pub(crate) fn state(&self) -> State {
        self.state
    }

    pub(crate) fn is_established(&self) -> bool {
        self.state == State::Established
    }

    /// A new SYN may take over the same addresses and ports.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Closed | State::Reset)
    }

    fn sides(&self, from: Side) -> (&Sender, &Sender) {
        match from {
            Side::Client => (&self.client, &self.server),
            Side::Server => (&self.server, &self.client),
        }
    }

    fn sides_mut(&mut self, from: Side) -> (&mut Sender, &mut Sender) {
        match from {
            Side::Client => (&mut self.client, &mut self.server),
            Side::Server => (&mut self.server, &mut self.client),
        }
    }

    /// Takes note of one (super-)segment. `options` are those of the TCP header. `loose`: another gateway may have seen what
    /// came before.
    pub(crate) fn observe(&mut self, from: Side, tcp: &Tcp, options: &[u8], loose: bool) {
        if tcp.has(Tcp::RST) {
            if !self.is_over() && self.is_plausible_reset(from, tcp) {
                self.state = State::Reset;
                self.reset_by = from;
                self.reset_sequence = tcp.sequence;
            }
        } else if tcp.has(Tcp::SYN) {
            self.observe_syn(from, tcp, options);
        } else {
            self.observe_segment(from, tcp, loose);
        }
    }

    fn observe_syn(&mut self, from: Side, tcp: &Tcp, options: &[u8]) {
        let answers = tcp.has(Tcp::ACK);
        let expected = match (self.state, from) {
            (State::SynSent, Side::Client) => !answers,
            (State::SynSent | State::SynReceived, Side::Server) => {
                let oldest = self.client.end.wrapping_sub(0xffff);
                let ack = tcp.acknowledgement;
                answers && at_most(oldest, ack) && at_most(ack, self.client.end)
            }
            _ => false, // a SYN on a connection is a matter for its ends (RFC 5961 4)
        };
        if !expected {
            return;
        }
        let (sender, peer) = self.sides_mut(from);
        sender.end = tcp.sequence.wrapping_add(1).wrapping_add(tcp.payload as u32);
        sender.limit = sender.end;
        sender.scale = window_scale(options).unwrap_or(NO_SCALE);
        sender.marks |= Sender::SEEN;
        if answers {
            sender.ack = tcp.acknowledgement;
            sender.marks |= Sender::ACKED;
            peer.limit = later(peer.limit, tcp.acknowledgement.wrapping_add(u32::from(tcp.window)));
            self.server.limit = self.server.end.wrapping_add(u32::from(self.syn_window));
            self.state = State::SynReceived;
        } else {
            self.syn_window = tcp.window;
        }
    }

    fn observe_segment(&mut self, from: Side, tcp: &Tcp, loose: bool) {
        let fin = tcp.has(Tcp::FIN);
        let end = tcp.sequence.wrapping_add(tcp.payload as u32).wrapping_add(u32::from(fin));
        let (sender, peer) = self.sides_mut(from);
        let fits = loose || at_most(end, later(sender.limit, sender.end).wrapping_add(u32::from(fin)));
        if !sender.has(Sender::SEEN) || !fits {
            return;
        }
        sender.end = later(sender.end, end);
        if fin {
            sender.marks |= Sender::FIN;
        }
        if loose && tcp.has(Tcp::ACK) && peer.has(Sender::SEEN) {
            peer.end = later(peer.end, tcp.acknowledgement);
        }
        if tcp.has(Tcp::ACK) && peer.has(Sender::SEEN) && at_most(tcp.acknowledgement, peer.end) {
            let acked = sender.has(Sender::ACKED);
            sender.ack = if acked { later(sender.ack, tcp.acknowledgement) } else { tcp.acknowledgement };
            sender.marks |= Sender::ACKED;
            let scale = peer.scale().and(sender.scale()).unwrap_or(0);
            let allowed = tcp.acknowledgement.wrapping_add(u32::from(tcp.window) << scale);
            peer.limit = later(peer.limit, allowed);
        }
        let acked = sender.has(Sender::ACKED);
        match self.state {
            State::SynReceived if from == Side::Client && acked => self.state = State::Established,
            // Whoever resets a connection sends no new data on it: that RST was forged or refused.
            State::Reset if from == self.reset_by && !at_most(end, self.reset_sequence) => {
                self.state = State::Established;
            }
            _ => {}
        }
        if self.client.has(Sender::FIN) && self.server.has(Sender::FIN) && self.state == State::Established {
            self.state = State::Closed;
        }
    }

    /// In the window that the other side has left open, as far as seen.
    fn is_plausible_reset(&self, from: Side, tcp: &Tcp) -> bool {
        let (sender, peer) = self.sides(from);
        if sender.has(Sender::SEEN) && peer.has(Sender::ACKED) {
            let last = later(sender.limit, sender.end);
            return at_most(peer.ack, tcp.sequence) && at_most(tcp.sequence, last);
        }
        (sender.has(Sender::SEEN) && tcp.sequence == sender.end)
            || (tcp.has(Tcp::ACK) && peer.has(Sender::SEEN) && tcp.acknowledgement == peer.end)
    }

    /// Whether an ICMP error quotes a segment of `sender` that may still be under way (RFC 5927 4.1).
    pub(crate) fn is_in_flight(&self, from: Side, sequence: u32) -> bool {
        let (sender, peer) = self.sides(from);
        let first = if peer.has(Sender::ACKED) { peer.ack } else { sender.end.wrapping_sub(0xffff) };
        sender.has(Sender::SEEN) && at_most(first, sequence) && at_most(sequence, sender.end)
    }
}

/// Value of the window scale option (RFC 7323), at most 14.
fn window_scale(mut options: &[u8]) -> Option<u8> {
    loop {
        match *options {
            [] | [0, ..] => return None,
            [1, ref rest @ ..] => options = rest,
            [3, 3, scale, ..] => return Some(scale.min(14)),
            [_, length, ..] if length >= 2 => options = options.get(usize::from(length)..)?,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests;
