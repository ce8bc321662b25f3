//! One request of a connection that changes hands for it: spliced after its request was passed on, its answer translated, and the
//! next request asked about and taken.

use crate::fast::{client, fast, segment, tcp, vip, APP, ISN, OPTIONS};
use crate::parts::EDGE;
use crate::Prepared;
use braid_fastpath::{Ends, FastPath, Splice, Stranger, Verdict};
use braid_nat::{Application, Forward, Nat, Policy, Proto, Reverse};
use braid_packet::{FlowId, Segment, Tcp, TcpRecord, Time, VnetHdr};
use std::any::Any;
use std::hint::black_box;
use std::net::SocketAddr;

const REQUEST: &[u8] = &[b'r'; 77];
const ANSWER: &[u8] = &[b'a'; 1000];
const PER_ROUND: usize = 100;

struct Cycle {
    nat: Nat,
    fast: FastPath,
    flow: FlowId,
    now: Time,
    client: TcpRecord,
    server: TcpRecord,
}

fn with_data(from: SocketAddr, to: SocketAddr, numbers: (u32, u32), times: (u32, u32), data: &[u8]) -> Vec<u8> {
    let mut options = [1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0];
    options[4..8].copy_from_slice(&times.0.to_be_bytes());
    options[8..].copy_from_slice(&times.1.to_be_bytes());
    let (sequence, acknowledgement) = numbers;
    let mut out = Vec::new();
    let segment = Segment { from, to, sequence, acknowledgement, flags: Tcp::ACK, window: 500, options: &options };
    segment.write_with(data, &mut out).unwrap();
    out
}

impl Cycle {
    fn new() -> Cycle {
        let mut nat = Nat::new(1, 1 << 16);
        nat.set_policy(Policy {
            applications: vec![Application {
                id: APP,
                vips: vec![(vip().ip(), EDGE)],
                ports: vec![(Proto::Any, 0, 65_535)],
                targets: Vec::new(),
                set: 2,
                fast: true,
                proxied: true,
                transparent: Vec::new(),
            }],
            snat: vec!["10.94.0.0/24".parse().unwrap()],
            ..Policy::default()
        });
        let (mut fast, now) = (fast(), Time(Time::SECOND));
        let syn = segment(client(1), vip(), Tcp::SYN, (ISN, 0), &OPTIONS);
        assert_eq!(fast.receive_stranger(&syn, false, APP, now), Stranger::Reply);
        let answer = fast.answer();
        let told = u32::from_be_bytes(*answer[48..].first_chunk().unwrap());
        let numbers = (ISN + 1, tcp(answer).sequence.wrapping_add(1));
        let first = with_data(client(1), vip(), numbers, (9, told), REQUEST);
        let Stranger::Open(admitted) = fast.receive_stranger(&first, false, APP, now) else { panic!("no cookie") };
        let flow = nat.open_fast(&first, EDGE, now).unwrap();
        assert!(fast.accept(flow, admitted, &first, false, false, now));
        let ends = Ends { client: client(1), vip: vip() };
        let (client, _) = fast.records(flow, &ends, None, now).unwrap();
        let server: SocketAddr = "10.93.0.10:80".parse().unwrap();
        let snat = nat.lease(flow, server, now).unwrap();
        let of_server = TcpRecord {
            local: snat,
            remote: server,
            send_next: 70_000,
            receive_next: 4_000_000,
            timestamp: Some(5000),
            mss: 1460,
            ..client.clone()
        };
        let mut cycle = Cycle { nat, fast, flow, now, client, server: of_server };
        cycle.take();
        let first = with_data(server, snat, (cycle.server.receive_next, 70_000), (777, 5000), &[]);
        assert_eq!(
            cycle.fast.receive_server_for_stack(flow, VnetHdr::default(), &first, Some(APP), now),
            Verdict::Stack
        );
        cycle
    }

    fn take(&mut self) {
        black_box(self.fast.take_requests());
        let held = self.fast.take(self.flow).unwrap();
        self.nat.set_open(self.flow, true, false);
        for mut held in held {
            let verdict = self.fast.receive_from_client(self.flow, &mut held.packet, false, self.now);
            assert_eq!(verdict, Verdict::Stack);
        }
        // The request is read and passed on.
        self.client.receive_next = self.client.receive_next.wrapping_add(REQUEST.len() as u32);
        self.server.send_next = self.server.send_next.wrapping_add(REQUEST.len() as u32);
        self.server.unacknowledged = REQUEST.to_vec();
        for record in [&mut self.client, &mut self.server] {
            record.window.edge_from = record.receive_next;
            (record.window.send, record.window.receive, record.window.most) = (60_000, 60_000, 60_000);
        }
    }

    fn turn(&mut self) {
        self.now = self.now.after(Time::MILLISECOND);
        let (flow, now, ends) = (self.flow, self.now, Ends { client: client(1), vip: vip() });
        assert!(self.fast.hold(flow, now));
        // As they come from the control side.
        let splice = Splice {
            client: TcpRecord::decode(&self.client.encode()).unwrap(),
            server: TcpRecord::decode(&self.server.encode()).unwrap(),
            to_client: Vec::new(),
            to_server: Vec::new(),
            until: Some(ANSWER.len() as u32),
        };
        assert!(self.fast.splice(flow, &splice, &ends, now).is_some());
        self.nat.set_normal(flow, false);
        let sent = (self.server.receive_next, self.server.send_next);
        let times = (777 + (now.0 / Time::MILLISECOND) as u32, self.server.timestamp.unwrap());
        let mut answer = with_data(self.server.remote, self.server.local, sent, times, ANSWER);
        assert!(matches!(self.nat.reverse(&mut answer, false, now), Reverse::Pass { .. }));
        let verdict = self.fast.receive_from_server(flow, VnetHdr::default(), &mut answer, APP, now);
        assert_eq!(verdict, Verdict::Pass);
        let received = self.client.send_next.wrapping_add(ANSWER.len() as u32);
        let times = (9 + (now.0 / Time::MILLISECOND) as u32, self.client.timestamp.unwrap());
        let mut next = with_data(ends.client, ends.vip, (self.client.receive_next, received), times, REQUEST);
        assert_eq!(self.nat.forward(&mut next, false, EDGE, now), Forward::Fast(flow));
        assert_eq!(self.fast.receive_from_client(flow, &mut next, false, now), Verdict::Taken);
        for mut output in self.fast.take_outputs() {
            self.nat.pass(flow, &mut output.packet, false, now);
        }
        self.nat.set_normal(flow, true);
        let server = self.nat.server_and_snat(flow);
        let (of_client, of_server) = self.fast.records(flow, &ends, server, now).unwrap();
        self.client = TcpRecord::decode(&of_client.encode()).unwrap();
        self.server = TcpRecord::decode(&of_server.unwrap().encode()).unwrap();
        self.take();
    }
}

pub(crate) fn splices(rounds: usize) -> Prepared {
    let mut cycle = Cycle::new();
    let run = move || {
        for round in 0..rounds * PER_ROUND {
            cycle.turn();
            if round % 1000 == 0 {
                let now = cycle.now.after(4 * Time::SECOND);
                assert!(cycle.fast.handle_timeout(now, |_| None).is_empty());
            }
        }
        Box::new((cycle.nat, cycle.fast)) as Box<dyn Any>
    };
    Prepared { packets: (rounds * PER_ROUND) as u64, run: Box::new(run) }
}
