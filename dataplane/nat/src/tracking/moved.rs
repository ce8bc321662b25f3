//! What a gateway that takes a flow over is told of its connection.
//!
//! client, server: each end 4 | acknowledged 4 | limit 4 | scale 1 | marks 1; then reset number 4 | SYN's window 2 | state 1

use super::{later, Sender, State, Track};
use crate::side::Side;
use braid_packet::Rest;

impl Sender {
    fn write(&self, out: &mut Vec<u8>) {
        let Sender { end, ack, limit, scale, marks } = *self;
        for number in [end, ack, limit] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&[scale, marks]);
    }

    fn read(rest: &mut Rest<'_>) -> Option<Sender> {
        let [end, ack, limit] = [rest.take()?, rest.take()?, rest.take()?].map(u32::from_be_bytes);
        let [scale, marks] = rest.take()?;
        Some(Sender { end, ack, limit, scale, marks })
    }

    fn merge(&mut self, other: &Sender) {
        let newer = |known: bool, ours: u32, theirs: u32| if known { later(ours, theirs) } else { theirs };
        let Sender { end, ack, limit, scale, marks } = *other;
        if other.has(Sender::SEEN) {
            let seen = self.has(Sender::SEEN);
            (self.end, self.limit) = (newer(seen, self.end, end), newer(seen, self.limit, limit));
            self.scale = scale;
        }
        if other.has(Sender::ACKED) {
            self.ack = newer(self.has(Sender::ACKED), self.ack, ack);
        }
        self.marks |= marks;
    }
}

impl Track {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        self.client.write(out);
        self.server.write(out);
        out.extend_from_slice(&self.reset_sequence.to_be_bytes());
        out.extend_from_slice(&self.syn_window.to_be_bytes());
        out.push(match (self.state, self.reset_by) {
            (State::SynSent, _) => 0,
            (State::SynReceived, _) => 1,
            (State::Established, _) => 2,
            (State::Closed, _) => 3,
            (State::Reset, Side::Client) => 4,
            (State::Reset, Side::Server) => 5,
        });
    }

    /// None for anything that no `write` has made.
    pub(crate) fn read(rest: &mut Rest<'_>) -> Option<Track> {
        let (client, server) = (Sender::read(rest)?, Sender::read(rest)?);
        let reset_sequence = u32::from_be_bytes(rest.take()?);
        let syn_window = u16::from_be_bytes(rest.take()?);
        let (state, reset_by) = match rest.take()? {
            [0] => (State::SynSent, Side::Client),
            [1] => (State::SynReceived, Side::Client),
            [2] => (State::Established, Side::Client),
            [3] => (State::Closed, Side::Client),
            [4] => (State::Reset, Side::Client),
            [5] => (State::Reset, Side::Server),
            _ => return None,
        };
        Some(Track { client, server, reset_sequence, syn_window, reset_by, state })
    }

    /// Takes over what the other gateway has seen of the same connection, whichever of the two is further.
    pub(crate) fn merge(&mut self, other: &Track) {
        self.client.merge(&other.client);
        self.server.merge(&other.server);
        let progress = |state: State| match state {
            State::SynSent => 0,
            State::SynReceived => 1,
            State::Established => 2,
            State::Closed | State::Reset => 3,
        };
        if progress(other.state) > progress(self.state) {
            (self.state, self.reset_by, self.reset_sequence) = (other.state, other.reset_by, other.reset_sequence);
        }
        self.syn_window = self.syn_window.max(other.syn_window);
    }
}
