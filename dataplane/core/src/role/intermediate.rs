//! The relay: forwards what a neighbour signed, once per path, and knows nothing of applications.
//!
//! The window per (ingress, receiver, epoch, path, lane) is what keeps a recorded datagram from being forwarded again. It moves
//! only after the hop tag proved the neighbour, so a stranger can neither fill the table nor move a window.

use crate::sequence::{Recovery, Seen};
use crate::wire::{Header, Kind};
use braid_packet::Time;
use hashbrown::HashMap;

const MOST_STREAMS: usize = 8192;
const WINDOW: usize = 65_536;
/// Of what has numbers of its own and is rare: handshakes, and what is numbered aside.
const WINDOW_RARE: usize = 128;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Stream {
    ingress: u16,
    /// None for all that has the numbers of data.
    apart: Option<Kind>,
    receiver: u32,
    epoch: u8,
    path: u8,
    lane: u8,
}

#[derive(Default)]
pub struct Relay {
    streams: HashMap<Stream, (Recovery, Time)>,
    pub forwarded: u64,
}

impl Relay {
    /// True once for each datagram of a stream.
    pub fn admit(&mut self, ingress: u16, header: &Header, now: Time) -> bool {
        let apart = (header.kind.is_handshake() || header.kind == Kind::Size).then_some(header.kind);
        let Header { receiver, epoch, path, .. } = *header;
        let stream = Stream { ingress, apart, receiver, epoch, path, lane: header.lane() };
        if !self.streams.contains_key(&stream) {
            self.make_room();
            let bits = if apart.is_some() { WINDOW_RARE } else { WINDOW };
            self.streams.insert(stream, (Recovery::new(bits), now));
        }
        let Some((window, used)) = self.streams.get_mut(&stream) else { return false };
        *used = now;
        let position = header.position();
        if window.seen(position) != Seen::New {
            return false;
        }
        window.commit(position);
        self.forwarded += 1;
        true
    }

    fn make_room(&mut self) {
        if self.streams.len() < MOST_STREAMS {
            return;
        }
        let mut ages: Vec<Time> = self.streams.values().map(|(_, used)| *used).collect();
        ages.sort_unstable();
        let limit = ages[MOST_STREAMS / 4];
        self.streams.retain(|_, (_, used)| *used > limit);
    }

    pub fn streams(&self) -> usize {
        self.streams.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Route;

    fn header(receiver: u32, sequence: u64) -> Header {
        Header {
            kind: Kind::Data,
            path: 1,
            hop_epoch: 0,
            tagged: true,
            epoch: 1,
            ttl: 8,
            receiver,
            sequence,
            route: Route::new(&[9]).unwrap(),
            hop_tag: 0,
        }
    }

    #[test]
    fn forwards_each_once_and_keeps_paths_and_neighbours_apart() {
        let mut relay = Relay::default();
        assert!(relay.admit(1, &header(5, 1), Time(0)));
        assert!(!relay.admit(1, &header(5, 1), Time(0)));
        assert!(relay.admit(2, &header(5, 1), Time(0)));
        assert!(relay.admit(1, &Header { path: 2, ..header(5, 1) }, Time(0)));
        assert!(relay.admit(1, &header(5, 2 << 56 | 1), Time(0)), "of another lane");
        assert!(relay.admit(1, &header(5, 100_000), Time(0)));
        assert!(!relay.admit(1, &header(5, 2), Time(0)));
    }

    #[test]
    fn the_table_is_bounded_and_the_recently_used_stay() {
        let mut relay = Relay::default();
        for receiver in 0..3 * MOST_STREAMS as u32 {
            relay.admit(1, &header(receiver, 1), Time(u64::from(receiver)));
        }
        assert!(relay.streams() <= MOST_STREAMS);
        assert!(!relay.admit(1, &header(3 * MOST_STREAMS as u32 - 1, 1), Time(1 << 40)));
    }
}
