//! A connection comes back from the stack, whose sockets had promised both ends more room than they have for each other.

use crate::world;

use braid_fastpath::{FastPath, Reason, Side, Splice, Verdict};
use braid_packet::{Time, VnetHdr};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::ops::Range;
use world::linux::{record, Linux, Wire, MSS};
use world::lone::{client, ends, in_the_stack, vip, CLIENT_ISN, SERVER_ISN, STACK_ISN, START};
use world::{fast_path, parse, APP, FLOW};

const STEP: u64 = 5 * Time::MILLISECOND;

#[derive(Clone, Debug)]
struct Shape {
    /// Bytes that each end may keep unread, and of them those that are free: what its window is.
    room: [u32; 2],
    free: [u32; 2],
    /// What the stack's socket had promised to each, and how much of that it has used.
    promised: [u32; 2],
    sent: [u32; 2],
    /// Bytes that are owed to each.
    owed: [u32; 2],
    /// That each has to send, behind what was sent.
    more: [u32; 2],
    /// The server answers each byte that it reads with one, and reads none while so many are not acknowledged.
    echo: Option<u32>,
    lost: u32,
    /// Steps in which neither end reads.
    closed: Range<u32>,
    /// Packets that may overtake each other.
    depth: usize,
}

struct Pair {
    fast: FastPath,
    ends: [Linux; 2],
    to: [Wire; 2],
    from: [Wire; 2],
    /// The furthest right edge that each end was told, less its own numbers.
    edges: [u32; 2],
    moved_left: u32,
    /// Packets that went on as they were.
    passed: u32,
    now: Time,
    steps: u32,
    random: u64,
}

const SIDES: [Side; 2] = [Side::Client, Side::Server];

impl Pair {
    fn new(shape: &Shape, seed: u64) -> Pair {
        let mut fast = fast_path(1404);
        let cookie = in_the_stack(&mut fast);
        assert!(fast.hold(FLOW, START));
        let of = |n: usize, addresses, numbers| {
            record(SIDES[n], addresses, numbers, (shape.free[n], shape.promised[n]), shape.owed[n])
        };
        let of_client = of(0, (vip(), client()), (cookie.wrapping_add(1), CLIENT_ISN.wrapping_add(8)));
        // The NAT gives its packets the client's addresses.
        let of_server = of(1, (client(), vip()), (STACK_ISN + 8, SERVER_ISN + 1));
        let peers = [(0, &of_client), (1, &of_server)]
            .map(|(n, record)| Linux::peer_of(record, shape.sent[n], shape.owed[1 - n], shape.room[n]));
        let edges = [&of_client, &of_server].map(|record| record.window.edge_from.wrapping_add(record.window.receive));
        let acknowledged = [of_client.receive_next, of_server.receive_next];
        let splice =
            Splice { client: of_client, server: of_server, to_client: Vec::new(), to_server: Vec::new(), until: None };
        assert_eq!(fast.splice(FLOW, &splice, &ends(FLOW).unwrap(), START), Some(Vec::new()));
        let mut pair = Pair {
            fast,
            ends: peers,
            to: Default::default(),
            from: Default::default(),
            edges,
            moved_left: 0,
            passed: 0,
            now: START,
            steps: 0,
            random: seed | 1,
        };
        for output in pair.fast.take_outputs() {
            let n = usize::from(output.to == Side::Server);
            let known = parse(&output.packet).1.acknowledgement.wrapping_sub(acknowledged[n]) as i32;
            assert!(known >= 0, "acknowledges {} bytes less than the stack had", -known);
            pair.towards(n, output.packet);
        }
        for n in [0, 1] {
            let under_way = pair.ends[n].under_way();
            under_way.into_iter().for_each(|packet| pair.from[n].put(Some(packet)));
            pair.ends[n].write(shape.more[n]);
        }
        pair
    }

    fn chance(&mut self, of: usize) -> usize {
        self.random = self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.random >> 33) as usize % of.max(1)
    }

    fn drain(&mut self) {
        for output in self.fast.take_outputs() {
            self.towards(usize::from(output.to == Side::Server), output.packet);
        }
    }

    fn towards(&mut self, n: usize, packet: Vec<u8>) {
        let (_, tcp) = parse(&packet);
        let scale = if n == 0 { braid_fastpath::OUR_SCALE } else { 8 };
        let edge = tcp.acknowledgement.wrapping_add(u32::from(tcp.window) << scale);
        let left = self.edges[n].wrapping_sub(edge) as i32;
        if left < 0 {
            self.edges[n] = edge;
        }
        self.moved_left = self.moved_left.max(left.max(0) as u32);
        self.to[n].put(Some(packet));
    }

    fn arrive(&mut self, n: usize, mut packet: Vec<u8>) {
        let verdict = match n {
            0 => self.fast.receive_from_client(FLOW, &mut packet, false, self.now),
            _ => self.fast.receive_from_server(FLOW, VnetHdr::default(), &mut packet, APP, self.now),
        };
        self.drain();
        match verdict {
            Verdict::Pass => {
                self.passed += u32::from(n == 1);
                self.towards(1 - n, packet);
            }
            // What was overtaken by a window is old.
            Verdict::Taken | Verdict::Drop(Reason::Window) => {}
            other => panic!("{other:?}"),
        }
    }

    fn step(&mut self, shape: &Shape) {
        self.now = self.now.after(STEP);
        self.steps += 1;
        let reads = !shape.closed.contains(&self.steps);
        assert!(self.fast.handle_timeout(self.now, ends).is_empty(), "given up");
        self.drain();
        for n in [0, 1] {
            for _ in 0..4 {
                let pick = self.chance(shape.depth);
                let lost = self.chance(100) < shape.lost as usize;
                if let Some(packet) = self.from[n].take(pick, shape.depth).filter(|_| !lost) {
                    self.arrive(n, packet);
                }
                let pick = self.chance(shape.depth);
                let lost = self.chance(100) < shape.lost as usize;
                if let Some(packet) = self.to[n].take(pick, shape.depth).filter(|_| !lost) {
                    let answer = self.ends[n].receive(&packet);
                    self.from[n].put(answer);
                }
                let packet = self.ends[n].poll();
                self.from[n].put(packet);
            }
            let most = if reads { self.ends[n].unread() } else { 0 };
            let may = shape.echo.filter(|_| n == 1).map_or(most, |most| most.saturating_sub(self.ends[n].unsent()));
            let count = (self.chance(3 * MSS as usize) as u32).min(most).min(may);
            if n == 1 && shape.echo.is_some() {
                self.ends[n].write(count);
            }
            let update = self.ends[n].read(count);
            self.from[n].put(update);
        }
    }
}

fn run(shape: &Shape, seed: u64) -> Pair {
    let mut pair = Pair::new(shape, seed);
    let to_server = shape.owed[1] + shape.sent[0] + shape.more[0];
    let echoed = if shape.echo.is_some() { to_server - shape.owed[1] } else { 0 };
    let to_client = shape.owed[0] + shape.sent[1] + shape.more[1];
    for _ in 0..20_000 {
        pair.step(shape);
        let done = pair.ends[1].got() >= to_server && pair.ends[0].got() >= to_client + echoed;
        if done {
            break;
        }
    }
    assert!(!pair.ends[0].wrong && !pair.ends[1].wrong, "wrong bytes");
    assert!(pair.ends[1].got() >= to_server, "{} of {to_server} to the server", pair.ends[1].got());
    let wanted = to_client + echoed;
    assert!(pair.ends[0].got() >= wanted, "{} of {wanted} to the client", pair.ends[0].got());
    // What is overtaken is old when it comes.
    let moved_left = if shape.depth == 1 { pair.moved_left } else { 0 };
    assert_eq!(moved_left / (1 << braid_fastpath::OUR_SCALE), 0, "{moved_left} bytes to the left");
    pair
}

/// Both have used what they were promised, and neither has much room itself.
#[test]
fn two_ends_whose_windows_were_larger_before_both_go_on() {
    for seed in 0..20 {
        let shape = Shape {
            room: [20_000, 20_000],
            free: [4_000, 2_000],
            promised: [60_000, 50_000],
            sent: [60_000, 50_000],
            owed: [0, 0],
            more: [200_000, 200_000],
            echo: None,
            lost: 0,
            closed: 0..0,
            depth: 1 + seed as usize % 4,
        };
        run(&shape, seed << 20);
    }
}

/// For 3 s, at once or later, and lost packets among the probes.
#[test]
fn two_ends_that_close_their_windows_for_a_while_go_on() {
    for (from, promised, lost) in [(0, 60_000, 0), (0, 0, 0), (30, 60_000, 5), (60, 0, 5)] {
        let shape = Shape {
            room: [20_000, 30_000],
            free: [4_000, 30_000],
            promised: [promised; 2],
            sent: [promised / 2; 2],
            owed: [10_000, 3_000],
            more: [300_000, 300_000],
            echo: None,
            lost,
            closed: from..from + 600,
            depth: 2,
        };
        let pair = run(&shape, u64::from(from) << 20);
        assert!(pair.steps > 600 && pair.steps < 6_000, "{} steps", pair.steps);
    }
}

/// What has room goes on, also behind a gap: a promise that lasts for a whole answer does not make its losses dearer.
#[test]
fn packets_behind_a_lost_one_go_on_while_more_is_promised() {
    let shape = Shape {
        room: [65_000, 65_000],
        free: [60_000, 60_000],
        promised: [900_000, 900_000],
        sent: [0, 0],
        owed: [0, 0],
        more: [0, 400_000],
        echo: None,
        lost: 3,
        closed: 0..0,
        depth: 1,
    };
    let pair = run(&shape, 7 << 20);
    assert!(pair.passed > 200, "{} of some 300 segments went on by themselves", pair.passed);
}

proptest! {
    // What fails becomes a test with a name here; there is no file of seeds.
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, rng_seed: RngSeed::Fixed(6), ..ProptestConfig::default() })]

    #[test]
    fn right_edges_stay_and_all_bytes_arrive(
        room in [1_000u32..65_000, 1_000u32..65_000],
        free in [0u32..100, 0u32..100],
        promised in [0u32..60_000, 0u32..60_000],
        used in [0u32..=100, 0u32..=100],
        owed in [0u32..60_000, 0u32..60_000],
        more in [0u32..200_000, 0u32..200_000],
        echo in prop::option::of(1_000u32..60_000),
        lost in prop::sample::select(vec![0u32, 0, 2]),
        depth in 1usize..5,
        seed: u64,
    ) {
        let part = |n: usize| room[n] * free[n] / 100;
        let sent = |n: usize| promised[n] * used[n] / 100;
        let shape = Shape {
            room, free: [part(0), part(1)], promised, sent: [sent(0), sent(1)], owed, more, echo, lost, closed: 0..0, depth,
        };
        run(&shape, seed);
    }
}
