//! What an end sends, as packets.

use super::{End, State};
use crate::world::bytes::finish;
use braid_packet::{Gso, Tcp, Time, VnetHdr};

impl End {
    pub(super) fn value(&mut self, now: Time) -> u32 {
        let value = match self.clock {
            Some((base, from)) => base.wrapping_add((now.since(from) / Time::MILLISECOND) as u32),
            None => (now.0 / Time::MILLISECOND) as u32 ^ self.isn.rotate_left(16) & 0xfff0_0000,
        };
        self.told.insert(value);
        self.last_told = value;
        value
    }

    pub(super) fn syn(&mut self, now: Time) -> (VnetHdr, Vec<u8>) {
        let answers = self.state == State::SynReceived;
        let mss = self.setting.mtu - if self.setting.v6 { 60 } else { 40 };
        let mut options = vec![2, 4, (mss >> 8) as u8, mss as u8];
        if let Some(scale) = self.setting.scale.filter(|_| !answers || self.peer_scale.is_some()) {
            options.extend_from_slice(&[1, 3, 3, scale]);
        }
        if if answers { self.sack } else { self.setting.sack } {
            options.extend_from_slice(&[1, 1, 4, 2]);
        }
        if if answers { self.timestamps } else { self.setting.timestamps } {
            let (value, recent) = (self.value(now), self.recent);
            options.extend_from_slice(&[1, 1, 8, 10]);
            options.extend_from_slice(&value.to_be_bytes());
            options.extend_from_slice(&recent.to_be_bytes());
        }
        let flags = Tcp::SYN | if answers { Tcp::ACK } else { 0 };
        let window = self.setting.window.min(65_535) as u16;
        self.own_edge = self.own_edge.max(self.got + u64::from(window));
        (VnetHdr::default(), self.write(flags, 0, window, &options, &[], false))
    }

    pub(super) fn segment(
        &mut self,
        flags: u8,
        position: u64,
        body: &[u8],
        size: usize,
        now: Time,
    ) -> (VnetHdr, Vec<u8>) {
        let mut options = Vec::new();
        if self.timestamps {
            let (value, recent) = (self.value(now), self.recent);
            options.extend_from_slice(&[1, 1, 8, 10]);
            options.extend_from_slice(&value.to_be_bytes());
            options.extend_from_slice(&recent.to_be_bytes());
        }
        if self.sack && body.is_empty() {
            if let Some((&at, piece)) = self.pieces.first_key_value() {
                let end = at + piece.len() as u64;
                let behind = end + u64::from(self.fin_at == Some(end)); // A FIN has a number too.
                options.extend_from_slice(&[1, 1, 5, 10]);
                for edge in [at, behind] {
                    options.extend_from_slice(&self.peer_isn.wrapping_add(edge as u32).to_be_bytes());
                }
            }
        }
        let scale = self.setting.scale.and(self.peer_scale).and(self.setting.scale).unwrap_or(0);
        // An end with a smaller window would not choose this scale: the peer could only probe, byte by byte.
        let window = (self.setting.window >> scale).clamp(1, 65_535);
        self.own_edge = self.own_edge.max(self.got + u64::from(window << scale));
        let bulk = body.len() > size;
        let packet = self.write(flags, position, window as u16, &options, body, bulk);
        let start = if self.setting.v6 { 40 } else { 20 };
        let vnet = VnetHdr {
            needs_csum: true,
            gso: if self.setting.v6 { Gso::TcpV6 } else { Gso::TcpV4 },
            hdr_len: (start + 20 + options.len()) as u16,
            gso_size: size as u16,
            csum_start: start as u16,
            csum_offset: 16,
            ecn: false,
        };
        (if bulk { vnet } else { VnetHdr::default() }, packet)
    }

    fn write(&self, flags: u8, position: u64, window: u16, options: &[u8], body: &[u8], partial: bool) -> Vec<u8> {
        let acknowledgement = if flags & Tcp::ACK != 0 { self.peer_isn.wrapping_add(self.got as u32) } else { 0 };
        let mut out = Vec::new();
        let segment = braid_packet::Segment {
            from: self.own,
            to: self.peer,
            sequence: self.isn.wrapping_add(position as u32),
            acknowledgement,
            flags,
            window,
            options,
        };
        segment.write(&mut out).unwrap();
        out.extend_from_slice(body);
        finish(&mut out, partial);
        out
    }
}
