//! Two ends with a TCP of their own, a network that loses, doubles and reorders, and the fast path between them.

#![allow(dead_code)] // Each test takes what it needs.

pub mod bytes;
pub mod end;
pub mod linux;
pub mod lone;
pub mod matrix;
pub mod moving;
pub mod proxied;
pub mod setting;

use braid_fastpath::{Ends, FastPath, Output, PeriodKey, Side, Stranger, Verdict};
use braid_offload::Segments;
use braid_packet::{finish_checksum, FlowId, Ip, Time, VnetHdr};
use end::End;
use setting::Setting;
use std::collections::BTreeMap;

pub const FLOW: FlowId = FlowId { index: 3, serial: 7 };
pub const APP: u16 = 1;
const MS: u64 = Time::MILLISECOND;
/// Each leg, one way.
const DELAY: u64 = 2;

/// What the network does, out of 100 packets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub lost: u32,
    pub doubled: u32,
    pub late: u32,
}

pub struct World {
    pub fast: FastPath,
    pub client: End,
    pub server: End,
    pub now: Time,
    /// Whether the connection has a flow.
    pub open: bool,
    mtu: usize,
    faults: Faults,
    random: u64,
    wire: BTreeMap<(Time, u64), (To, VnetHdr, Vec<u8>)>,
    sent: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Client,
    Server,
    FromClient,
    FromServer,
}

pub fn fast_path(mtu: u16) -> FastPath {
    let mut fast = FastPath::new(mtu);
    fast.set_keys(5, &[4, 5, 6].map(|period| PeriodKey { period, key: [period as u8; 16] }));
    fast
}

impl World {
    pub fn new(client: Setting, server: Setting, mtu: u16, faults: Faults, seed: u64) -> World {
        let v6 = client.v6;
        let (a, b) = if v6 { ("[fd00::7]:4000", "[fd00::80]:80") } else { ("192.0.2.7:4000", "203.0.113.1:80") };
        let (a, b) = (a.parse().unwrap(), b.parse().unwrap());
        let mut client = End::client(a, b, client, 0xffff_f000 ^ seed as u32);
        let server = End::server(b, a, server, server.mtu.max(mtu), (seed >> 32) as u32);
        let now = Time(1000 * Time::SECOND);
        client.connect(now);
        World {
            fast: fast_path(mtu),
            client,
            server,
            now,
            open: false,
            mtu: usize::from(mtu),
            faults,
            random: seed | 1,
            wire: BTreeMap::new(),
            sent: 0,
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random = self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.random >> 33) as u32 % 100 < percent
    }

    fn put(&mut self, to: To, vnet: VnetHdr, packet: Vec<u8>) {
        if self.chance(self.faults.lost) {
            return;
        }
        let copies = 1 + usize::from(self.chance(self.faults.doubled));
        for _ in 0..copies {
            let late = if self.chance(self.faults.late) { 7 } else { 0 };
            self.sent += 1;
            self.wire.insert((self.now.after((DELAY + late) * MS), self.sent), (to, vnet, packet.clone()));
        }
    }

    /// Runs until both ends are done, at most so many milliseconds.
    pub fn run(&mut self, most: u64) {
        for _ in 0..most {
            self.step();
            if self.client.is_done() && self.server.is_done() {
                return;
            }
        }
    }

    pub fn step(&mut self) {
        self.now = self.now.after(MS);
        while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (to, vnet, packet) = entry.remove();
            self.arrive(to, vnet, packet);
        }
        let flow = self.open.then_some(Ends { client: self.client.own, vip: self.client.peer });
        let ended = self.fast.handle_timeout(self.now, |_| flow);
        self.drain();
        if !ended.is_empty() {
            self.open = false;
        }
        for (vnet, packet) in self.client.poll(self.now) {
            self.put(To::FromClient, vnet, packet);
        }
        for (vnet, packet) in self.server.poll(self.now) {
            self.put(To::FromServer, vnet, packet);
        }
    }

    fn arrive(&mut self, to: To, vnet: VnetHdr, packet: Vec<u8>) {
        match to {
            To::Client => self.client.receive(&packet, self.now),
            To::Server => self.server.receive(&packet, self.now),
            To::FromClient => self.at_client_side(packet),
            To::FromServer => self.at_server_side(vnet, packet),
        }
    }

    pub fn at_client_side(&mut self, mut packet: Vec<u8>) {
        if !self.open {
            match self.fast.receive_stranger(&packet, false, APP, self.now) {
                Stranger::Reply => self.send_to_client(VnetHdr::default(), self.fast.answer().to_vec()),
                Stranger::Drop(_) => {}
                Stranger::Open(admitted) => {
                    self.open = true;
                    assert!(self.fast.open(FLOW, admitted, &packet, false, self.now));
                    self.drain();
                }
            }
            return;
        }
        match self.fast.receive_from_client(FLOW, &mut packet, false, self.now) {
            Verdict::Pass => self.put(To::Server, VnetHdr::default(), packet),
            Verdict::Reply => self.send_to_client(VnetHdr::default(), self.fast.answer().to_vec()),
            Verdict::End => self.open = false,
            Verdict::Reopened => panic!("there is one connection"),
            _ => {}
        }
        self.drain();
    }

    fn at_server_side(&mut self, vnet: VnetHdr, mut packet: Vec<u8>) {
        if !self.open {
            return;
        }
        let verdict = self.fast.receive_from_server(FLOW, vnet, &mut packet, APP, self.now);
        self.drain();
        match verdict {
            Verdict::Pass => self.send_to_client(vnet, packet),
            Verdict::Grown => {
                let grown = self.fast.take_grown();
                for (vnet, packet) in grown.packets().to_vec() {
                    self.send_to_client(vnet, packet);
                }
            }
            Verdict::Reply => self.put(To::Server, VnetHdr::default(), self.fast.answer().to_vec()),
            Verdict::End => self.open = false,
            Verdict::Taken | Verdict::Stack | Verdict::Drop(_) | Verdict::Reopened => {}
        }
    }

    fn drain(&mut self) {
        for Output { flow, to, packet, .. } in self.fast.take_outputs() {
            assert_eq!(flow, FLOW);
            match to {
                Side::Client => self.send_to_client(VnetHdr::default(), packet),
                Side::Server => self.put(To::Server, VnetHdr::default(), packet),
            }
        }
    }

    /// Cut as the overlay cuts it.
    fn send_to_client(&mut self, vnet: VnetHdr, packet: Vec<u8>) {
        let plan = Segments::plan(vnet, &packet, self.mtu).expect("no segment exceeds the MTU");
        for i in 0..plan.count() {
            let mut segment = vec![0; plan.length(i)];
            assert_eq!(plan.write(&packet, i, &mut segment), segment.len());
            if plan.partial() {
                assert!(finish_checksum(&mut segment));
            }
            self.put(To::Client, VnetHdr::default(), segment);
        }
    }
}

pub fn parse(packet: &[u8]) -> (Ip, braid_packet::Tcp) {
    let ip = Ip::parse(packet).unwrap();
    match ip.transport {
        braid_packet::Transport::Tcp(tcp) => (ip, tcp),
        other => panic!("{other:?}"),
    }
}
