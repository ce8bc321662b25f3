//! An end that is built from a record in mid-connection, and frozen to one.

use super::{End, State};
use crate::world::setting::Setting;
use braid_packet::record::{TcpRecord, Window};
use braid_packet::Time;

impl End {
    /// A socket that is made from a record whose queues are empty, or whose bytes are `unread`.
    pub fn built(record: &TcpRecord, setting: Setting, now: Time) -> End {
        let isn = record.send_next.wrapping_sub(1);
        let mut end = End::in_stack(record.local, record.remote, setting, isn);
        end.state = State::Established;
        (end.una, end.next, end.most_sent, end.got) = (1, 1, 1, 1);
        end.peer_isn = record.receive_next.wrapping_sub(1);
        end.setting.scale = record.scales.map(|(_, own)| own);
        end.peer_scale = record.scales.map(|(peer, _)| peer);
        end.peer_mss = usize::from(record.mss);
        end.peer_edge = 1 + u64::from(record.window.send);
        end.own_edge = 1 + u64::from(record.window.receive);
        end.timestamps = record.timestamp.is_some();
        end.clock = record.timestamp.map(|value| (value, now));
        end.last_told = record.timestamp.unwrap_or(0);
        end.sack = record.sack;
        end
    }

    /// What the socket is frozen to, of which `read` bytes were taken.
    pub fn freeze(&mut self, read: usize, now: Time) -> TcpRecord {
        let number = |position: u64| self.isn.wrapping_add(position as u32);
        let sent = (self.most_sent.max(self.una) as usize).saturating_sub(1);
        let (una, len) = (self.una as usize - 1, self.data.len());
        let window = Window {
            update: self.peer_isn.wrapping_add(self.got as u32),
            send: (self.peer_edge - self.una) as u32,
            most: self.setting.window.max((self.peer_edge - self.una) as u32),
            receive: (self.own_edge - self.got) as u32,
            edge_from: self.peer_isn.wrapping_add(self.got as u32),
        };
        TcpRecord {
            local: self.own,
            remote: self.peer,
            send_next: number(len as u64 + 1),
            receive_next: self.peer_isn.wrapping_add(self.got as u32),
            mss: self.peer_mss as u16,
            scales: self.setting.scale.and(self.peer_scale).map(|peer| (peer, self.setting.scale.unwrap())),
            sack: self.sack,
            timestamp: self.timestamps.then(|| self.value(now)),
            window,
            unread: self.received[read..].to_vec(),
            unacknowledged: self.data[una..sent.min(len)].to_vec(),
            unsent: self.data[sent.min(len)..].to_vec(),
        }
    }

    /// Such a socket cannot be frozen.
    pub fn has_sent_end(&self) -> bool {
        self.most_sent.max(self.una) > self.data.len() as u64 + 1
    }

    /// How many of this end's bytes a socket has not had.
    pub fn bytes_behind(&self, socket: &End) -> usize {
        let next = self.isn.wrapping_add(1 + self.data.len() as u32);
        next.wrapping_sub(socket.peer_isn.wrapping_add(socket.got as u32)) as usize
    }

    /// What it writes later.
    pub fn keep_back(&mut self, from: usize) -> Vec<u8> {
        self.more = true;
        self.data.split_off(from)
    }

    pub fn write_more(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
    }
}
