//! The same two ends and network, with a TCP stack in between: it takes the connection from the fast path, copies bytes, and
//! gives it back, as often as its control side wants.

use super::end::{End, State};
use super::moving::Moving;
use super::setting::Setting;
use super::{fast_path, Faults, To, APP, DELAY, FLOW, MS};
use braid_fastpath::{Ends, FastPath, Held, Output, Side, Splice, Stranger, Verdict};
use braid_offload::Segments;
use braid_packet::{finish_checksum, Time, VnetHdr};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What the control side does.
#[derive(Clone, Copy, Debug)]
pub struct Control {
    /// Milliseconds from a service request until the stack has the connection.
    pub take_after: u64,
    /// And until it is given back, once its server is there; how long that takes.
    pub splice_after: u64,
    pub frozen_for: u64,
    /// Bytes that are read at once; the rest waits in the sockets.
    pub reads: usize,
    /// Whether it wants to see nothing of the server.
    pub at_answer: bool,
    /// Whether it wants the connection back when the server has sent everything.
    pub again: bool,
}

/// Soon, and once.
pub const CONTROL: Control =
    Control { take_after: 1, splice_after: 8, frozen_for: 2, reads: 20_000, at_answer: false, again: false };

/// What the stack has of the connection.
struct Stack {
    client: End,
    server: Option<End>,
    read: [usize; 2],
    since: Time,
    held: Option<Time>,
}

pub struct Proxied {
    pub fast: FastPath,
    pub client: End,
    pub server: End,
    pub now: Time,
    pub moving: Option<Moving>,
    pub spliced: u32,
    pub taken: u32,
    /// Why it did not go back.
    pub stayed: BTreeSet<&'static str>,
    control: Control,
    pub(super) mtu: u16,
    faults: Faults,
    random: u64,
    open: bool,
    normal: bool,
    stack: Option<Stack>,
    asked: Option<Time>,
    tun: VecDeque<(Side, VnetHdr, Vec<u8>)>,
    passed: Vec<Held>,
    wire: BTreeMap<(Time, u64), (To, VnetHdr, Vec<u8>)>,
    sent: u64,
}

impl Proxied {
    pub fn new(client: Setting, server: Setting, mtu: u16, faults: Faults, control: Control, seed: u64) -> Proxied {
        let v6 = client.v6;
        let (a, b) = if v6 { ("[fd00::7]:4000", "[fd00::80]:80") } else { ("192.0.2.7:4000", "203.0.113.1:80") };
        let (a, b) = (a.parse().unwrap(), b.parse().unwrap());
        let mut client = End::client(a, b, client, 0xffff_f000 ^ seed as u32);
        let mut server = End::server(b, a, server, server.mtu, (seed >> 32) as u32);
        (client.handed, server.handed) = (true, true);
        let now = Time(1000 * Time::SECOND);
        client.connect(now);
        Proxied {
            fast: fast_path(mtu),
            client,
            server,
            now,
            moving: None,
            spliced: 0,
            taken: 0,
            stayed: BTreeSet::new(),
            control,
            mtu,
            faults,
            random: seed | 1,
            open: false,
            normal: false,
            stack: None,
            asked: None,
            tun: VecDeque::new(),
            passed: Vec::new(),
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

    pub fn run(&mut self, most: u64) {
        for _ in 0..most {
            self.step();
            if self.client.is_done() && self.server.is_done() {
                return;
            }
        }
    }

    pub(super) fn ends(&self) -> Ends {
        Ends { client: self.client.own, vip: self.client.peer }
    }

    pub fn step(&mut self) {
        self.now = self.now.after(MS);
        while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (to, vnet, packet) = entry.remove();
            match to {
                To::Client => self.client.receive(&packet, self.now),
                To::Server => self.server.receive(&packet, self.now),
                To::FromClient => self.at_client_side(packet),
                To::FromServer => self.at_server_side(vnet, packet),
            }
        }
        // What the stack sent is read some time after it sent it.
        for (to, vnet, packet) in std::mem::take(&mut self.tun) {
            self.turn_to_stack();
            if self.fast.receive_from_stack(FLOW, to, &packet) {
                match to {
                    Side::Client => self.send_to_client(vnet, packet),
                    Side::Server => {
                        for segment in cut(vnet, &packet, usize::from(u16::MAX)) {
                            self.put(To::Server, VnetHdr::default(), segment);
                        }
                    }
                }
            }
        }
        let ends = self.open.then(|| self.ends());
        self.move_on();
        self.both(|world| {
            assert!(world.fast.handle_timeout(world.now, |_| ends).is_empty(), "given up");
            world.drain();
        });
        let passed = std::mem::take(&mut self.passed);
        self.receive_held(passed);
        self.decide();
        self.poll();
    }

    fn poll(&mut self) {
        let now = self.now;
        for (vnet, packet) in self.client.poll(now) {
            self.put(To::FromClient, vnet, packet);
        }
        for (vnet, packet) in self.server.poll(now) {
            self.put(To::FromServer, vnet, packet);
        }
        let Some(stack) = &mut self.stack else { return };
        let to_client = stack.client.poll(now).into_iter().map(|(vnet, packet)| (Side::Client, vnet, packet));
        self.tun.extend(to_client);
        if let Some(server) = &mut stack.server {
            self.tun.extend(server.poll(now).into_iter().map(|(vnet, packet)| (Side::Server, vnet, packet)));
        }
    }

    /// The control side's part.
    fn decide(&mut self) {
        self.turn_to_stack();
        let (now, control) = (self.now, self.control);
        if self.asked.is_some_and(|asked| now.since(asked) >= control.take_after * MS) {
            self.asked = None;
            self.take();
        }
        let answered = !self.fast.take_answered().is_empty();
        let Some(stack) = &mut self.stack else { return };
        if answered {
            stack.held = Some(now);
        }
        if let Some(held) = stack.held {
            if now.since(held) >= control.frozen_for * MS {
                self.splice();
            }
            return;
        }
        let Some(server) = &mut stack.server else { return };
        for from in [0, 1] {
            let (source, target) =
                if from == 0 { (&mut stack.client, &mut *server) } else { (&mut *server, &mut stack.client) };
            let until = source.received.len().min(stack.read[from] + control.reads);
            target.write_more(&source.received[stack.read[from]..until]);
            stack.read[from] = until;
            target.more = !(source.has_all() && until == source.received.len());
        }
        let due = now.since(stack.since) >= control.splice_after * MS;
        // Where a next request is to come back nothing is gained behind the end of an answer.
        let is_answered = control.again && self.server.bytes_behind(server) == 0;
        if due && !is_answered && server.state == State::Established && self.fast.hold(FLOW, now) {
            stack.held = Some(now);
        }
    }

    fn take(&mut self) {
        let server = self.taken.checked_sub(1).map(|_| (self.server.own, self.server.peer));
        let (client, server) = self.fast.records(FLOW, &self.ends(), server, self.now).unwrap();
        assert_eq!((client.local, client.remote), (self.client.peer, self.client.own));
        let setting = |of: Setting| Setting { window: 60_000, burst: 8, segment: 0, mtu: self.mtu, ..of };
        let own = setting(self.client.setting);
        let built = End::built(&client, own, self.now);
        let to_server = match server {
            Some(record) => End::built(&record, setting(self.server.setting), self.now),
            None => {
                // As a socket does that was told the client's segment size, with room for timestamps, which it always offers.
                let room = if client.timestamp.is_some() { 12 } else { 0 };
                let headers = if own.v6 { 60 } else { 40 };
                let told =
                    Setting { timestamps: true, sack: true, scale: Some(8), mtu: client.mss - room + headers, ..own };
                let mut end = End::in_stack(self.client.own, self.client.peer, told, 0x1234_5678);
                end.connect(self.now);
                end
            }
        };
        self.taken += 1;
        self.fast.hold_at_answer(FLOW, self.control.at_answer);
        self.stack = Some(Stack { client: built, server: Some(to_server), read: [0; 2], since: self.now, held: None });
        let held = self.fast.take(FLOW).unwrap();
        self.receive_held(held);
    }

    fn splice(&mut self) {
        let Some(mut stack) = self.stack.take() else { return };
        let mut server = stack.server.take().unwrap();
        if stack.client.has_sent_end() || server.has_sent_end() {
            self.stay(stack, server, "half_closed");
            return;
        }
        let until = self.control.again.then(|| self.server.setting.bytes - self.server_sent(&server));
        let splice = Splice {
            client: stack.client.freeze(stack.read[0], self.now),
            server: server.freeze(stack.read[1], self.now),
            to_client: Vec::new(),
            to_server: Vec::new(),
            until: until.map(|bytes| bytes as u32),
        };
        if let Err(why) = splice.check() {
            self.stay(stack, server, why);
            return;
        }
        let held = self.fast.splice(FLOW, &splice, &self.ends(), self.now).unwrap();
        self.normal = false;
        self.spliced += 1;
        self.drain();
        self.receive_held(held);
    }

    /// It goes on where it is.
    fn stay(&mut self, stack: Stack, server: End, why: &'static str) {
        self.stayed.insert(why);
        self.stack = Some(Stack { server: Some(server), held: None, since: self.now, ..stack });
        let held = self.fast.take(FLOW).unwrap();
        self.receive_held(held);
    }

    /// Bytes of the server that its socket has had, in all.
    fn server_sent(&self, socket: &End) -> usize {
        self.server.setting.bytes - self.server.bytes_behind(socket)
    }

    fn receive_held(&mut self, held: Vec<Held>) {
        for Held { from, vnet, packet, .. } in held {
            match from {
                Side::Client => self.at_client_side(packet),
                Side::Server => self.at_server_side(vnet, packet),
            }
        }
    }

    fn at_client_side(&mut self, mut packet: Vec<u8>) {
        self.turn_to(Side::Client, &packet);
        if !self.open {
            match self.fast.receive_stranger(&packet, false, APP, self.now) {
                Stranger::Reply => self.send_to_client(VnetHdr::default(), self.fast.answer().to_vec()),
                Stranger::Drop(_) => {}
                Stranger::Open(admitted) => {
                    (self.open, self.normal) = (true, true);
                    assert!(self.fast.accept(FLOW, admitted, &packet, false, false, self.now));
                }
            }
            self.drain();
            return;
        }
        match self.fast.receive_from_client(FLOW, &mut packet, false, self.now) {
            Verdict::Pass => self.put(To::Server, VnetHdr::default(), packet),
            Verdict::Stack => {
                let stack = self.stack.as_mut().expect("a stack has it");
                stack.client.receive(&packet, self.now);
            }
            Verdict::Reply => self.send_to_client(VnetHdr::default(), self.fast.answer().to_vec()),
            Verdict::Taken | Verdict::Drop(_) => {}
            other => panic!("{other:?}"),
        }
        self.drain();
    }

    fn at_server_side(&mut self, vnet: VnetHdr, mut packet: Vec<u8>) {
        self.turn_to(Side::Server, &packet);
        if self.normal && self.is_stack_here() {
            if self.fast.receive_server_for_stack(FLOW, vnet, &packet, Some(APP), self.now) == Verdict::Stack {
                for segment in cut(vnet, &packet, usize::from(u16::MAX)) {
                    let server = self.stack.as_mut().and_then(|stack| stack.server.as_mut());
                    server.expect("a stack has it").receive(&segment, self.now);
                }
            }
            return;
        }
        let verdict = self.fast.receive_from_server(FLOW, vnet, &mut packet, APP, self.now);
        self.drain();
        match verdict {
            Verdict::Pass => self.send_to_client(vnet, packet),
            Verdict::Grown => {
                for (vnet, packet) in self.fast.take_grown().packets().to_vec() {
                    self.send_to_client(vnet, packet);
                }
            }
            Verdict::Reply => self.put(To::Server, VnetHdr::default(), self.fast.answer().to_vec()),
            Verdict::Taken | Verdict::Drop(_) => {}
            other => panic!("{other:?}"),
        }
    }

    fn drain(&mut self) {
        for Output { to, packet, .. } in self.fast.take_outputs() {
            match to {
                Side::Client => self.send_to_client(VnetHdr::default(), packet),
                Side::Server => self.put(To::Server, VnetHdr::default(), packet),
            }
        }
        for request in self.fast.take_requests() {
            assert_eq!(request.flow, FLOW);
            if let Some(held) = self.asked_here() {
                self.passed.extend(held);
                continue;
            }
            self.normal = true;
            if self.stack.is_none() {
                self.asked.get_or_insert(self.now);
            }
        }
        assert!(self.fast.take_released().is_empty(), "no hold takes so long");
    }

    /// Cut as the overlay cuts it.
    fn send_to_client(&mut self, vnet: VnetHdr, packet: Vec<u8>) {
        for segment in cut(vnet, &packet, usize::from(self.mtu)) {
            self.put(To::Client, VnetHdr::default(), segment);
        }
    }
}

fn cut(vnet: VnetHdr, packet: &[u8], mtu: usize) -> Vec<Vec<u8>> {
    let plan = Segments::plan(vnet, packet, mtu).expect("no segment exceeds the MTU");
    let segment = |i| {
        let mut segment = vec![0; plan.length(i)];
        assert_eq!(plan.write(packet, i, &mut segment), segment.len());
        if plan.partial() {
            assert!(finish_checksum(&mut segment));
        }
        segment
    };
    (0..plan.count()).map(segment).collect()
}
