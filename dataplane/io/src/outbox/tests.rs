use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

/// Sends like a kernel with opinions, and remembers every datagram.
#[derive(Debug, Default)]
struct Fake {
    sent: Vec<(SocketAddr, Vec<u8>)>,
    /// Datagrams per accepted message.
    messages: Vec<usize>,
    /// The answer to any message with UDP_SEGMENT; to one destination only, if `gso_path` names it.
    gso_error: Option<i32>,
    gso_path: Option<SocketAddr>,
    /// Larger datagrams are EMSGSIZE; larger segments that too, or EINVAL on old kernels.
    mtu: usize,
    gso_too_big: i32,
    /// Answers to come, before any of the above.
    script: VecDeque<i32>,
    /// Messages accepted per call.
    per_call: usize,
    writable: bool,
    waits: usize,
    calls: usize,
}

impl Transmit for &mut Fake {
    fn send(&mut self, buffer: &[u8], parts: &[Part], messages: &[Outgoing]) -> io::Result<usize> {
        self.calls += 1;
        if let Some(errno) = self.script.pop_front() {
            return Err(io::Error::from_raw_os_error(errno));
        }
        let mut count = 0;
        for message in messages.iter().take(self.per_call) {
            let first = message.parts.0 as usize;
            let mut bytes = Vec::new();
            for &(offset, length) in &parts[first..first + message.parts.1 as usize] {
                bytes.extend_from_slice(&buffer[offset as usize..(offset + length) as usize]);
            }
            let segment = usize::from(message.segment);
            let refused = match segment {
                0 if bytes.len() > self.mtu => Some(libc::EMSGSIZE),
                0 => None,
                _ if segment > self.mtu => Some(self.gso_too_big),
                _ if self.gso_path.is_some_and(|path| path != message.to) => None,
                _ => self.gso_error,
            };
            match refused {
                Some(errno) if count == 0 => return Err(io::Error::from_raw_os_error(errno)),
                Some(_) => return Ok(count),
                None => {}
            }
            assert!(bytes.len() <= MAX_BYTES_V4);
            let datagrams: Vec<_> = bytes.chunks(if segment == 0 { bytes.len() } else { segment }).collect();
            assert!(datagrams.len() <= MAX_SEGMENTS);
            assert!(segment == 0 || datagrams.len() > 1, "UDP_SEGMENT for one datagram");
            self.messages.push(datagrams.len());
            self.sent.extend(datagrams.iter().map(|d| (message.to, d.to_vec())));
            count += 1;
        }
        Ok(count)
    }

    fn wait_writable(&mut self, timeout: Duration) -> bool {
        assert!(timeout <= PATIENCE);
        self.waits += 1;
        if !self.writable {
            std::thread::sleep(timeout);
        }
        self.writable
    }
}

fn fake() -> Fake {
    Fake { mtu: 1500, gso_too_big: libc::EMSGSIZE, per_call: 64, ..Fake::default() }
}

/// Also the destinations that are sent to without UDP_SEGMENT at the end.
fn run(fake: &mut Fake, calls: impl FnOnce(&mut Outbox<&mut Fake>)) -> (Vec<IpAddr>, Arc<Counters>) {
    let counters = Arc::new(Counters::default());
    let mut outbox = Outbox::new(fake, false, true, Arc::clone(&counters));
    calls(&mut outbox);
    outbox.flush();
    let refusing = counters.offloads.refusals().iter().map(|refusal| refusal.address).collect();
    (refusing, counters)
}

fn peer(n: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n], 7400))
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + i / 255) as u8).collect()
}

fn datagrams(fake: &Fake, to: SocketAddr) -> Vec<Vec<u8>> {
    fake.sent.iter().filter(|(peer, _)| *peer == to).map(|(_, bytes)| bytes.clone()).collect()
}

proptest! {
    #[test]
    fn every_datagram_leaves_once_and_in_order_whatever_the_kernel_refuses(
        calls in proptest::collection::vec(
            (0u8..5, 1usize..4000, prop_oneof![Just(100usize), Just(1400), 1usize..1500]), 0..80),
        gso_error in prop_oneof![Just(None), Just(Some(libc::EIO)), Just(Some(libc::EINVAL))],
        script in proptest::collection::vec(
            prop_oneof![Just(libc::EINTR), Just(libc::EAGAIN)], 0..5),
        per_call in 1usize..10,
    ) {
        let mut fake =
            Fake { gso_error, script: script.into(), per_call, writable: true, ..fake() };
        let mut expected: Vec<Vec<Vec<u8>>> = vec![Vec::new(); 5];
        let (_, counters) = run(&mut fake, |outbox| {
            for (i, &(to, length, segment)) in calls.iter().enumerate() {
                let mut batch = bytes(length);
                batch[0] = i as u8;
                expected[usize::from(to)].extend(batch.chunks(segment).map(<[u8]>::to_vec));
                outbox.udp(peer(to), &batch, segment);
            }
        });
        for (to, expected) in (0u8..).zip(&expected) {
            prop_assert_eq!(&datagrams(&fake, peer(to)), expected);
        }
        let total: usize = expected.iter().map(Vec::len).sum();
        prop_assert_eq!(counters.io.udp_tx_datagrams.get(), total as u64);
        prop_assert_eq!(counters.io.udp_tx_batches.get(), fake.messages.len() as u64);
        prop_assert_eq!(counters.io.udp_tx_errors.get(), 0);
    }
}

#[test]
fn singles_to_one_destination_share_a_message() {
    let mut fake = fake();
    run(&mut fake, |outbox| {
        for i in 0..10 {
            outbox.udp(peer(1), &[i; 92], 92);
            outbox.udp(peer(2), &[i; 92], 92);
        }
        outbox.udp(peer(1), &[10; 50], 50);
        outbox.udp(peer(1), &[11; 92], 92);
        outbox.udp(peer(3), &[12; 92], 92);
    });
    assert_eq!(fake.messages, [11, 10, 1, 1]);
}

#[test]
fn a_batch_is_split_at_64_datagrams_and_at_the_largest_payload() {
    let mut fake = fake();
    run(&mut fake, |outbox| outbox.udp(peer(1), &bytes(65 * 100), 100));
    assert_eq!(fake.messages, [64, 1]);
    fake.messages.clear();
    run(&mut fake, |outbox| outbox.udp(peer(1), &bytes(47 * 1452), 1452));
    assert_eq!(fake.messages, [45, 2]);
}

#[test]
fn eio_ends_segmentation_to_that_destination_and_repeats_nothing() {
    let mut fake = Fake { gso_error: Some(libc::EIO), gso_path: Some(peer(1)), ..fake() };
    let batch = bytes(4500);
    let (refusing, counters) = run(&mut fake, |outbox| {
        outbox.udp(peer(2), &[1; 10], 10);
        outbox.udp(peer(1), &batch, 1000);
        outbox.udp(peer(1), &batch, 1000);
        outbox.udp(peer(1), &[2; 10], 10);
        outbox.udp(peer(1), &[3; 10], 10);
        outbox.udp(peer(2), &batch, 1000);
    });
    assert_eq!(refusing, [peer(1).ip()]);
    assert_eq!(counters.fallbacks.get(), 1, "neither the second batch nor joined singles are tried");
    let singles = [[2; 10], [3; 10]].concat();
    assert_eq!(datagrams(&fake, peer(1)).concat(), [batch.clone(), batch, singles].concat());
    assert_eq!(fake.messages, [vec![1; 13], vec![5]].concat(), "the other destination keeps its batches");
}

#[test]
fn what_the_host_refuses_for_its_size_is_told_once_with_the_size() {
    for gso_too_big in [libc::EMSGSIZE, libc::EINVAL] {
        let mut fake = Fake { gso_too_big, ..fake() };
        run(&mut fake, |outbox| {
            outbox.udp(peer(1), &bytes(1500), 1500);
            outbox.flush();
            assert_eq!(outbox.take_too_big(), None);
            outbox.udp(peer(1), &bytes(5000), 1600);
            outbox.udp(peer(2), &bytes(1501), 1501);
            outbox.udp(peer(1), &bytes(1700), 1700);
            outbox.flush();
            assert_eq!(outbox.take_too_big(), Some((peer(2), 1501)), "the smallest");
            assert_eq!(outbox.take_too_big(), None);
        });
    }
}

#[test]
fn a_batch_too_big_for_the_path_leaves_segmentation_on() {
    for gso_too_big in [libc::EMSGSIZE, libc::EINVAL] {
        let mut fake = Fake { gso_too_big, ..fake() };
        let (refusing, counters) = run(&mut fake, |outbox| outbox.udp(peer(1), &bytes(16_500), 1600));
        assert!(refusing.is_empty());
        assert_eq!(counters.drops.udp_send_too_big.get(), 10);
        assert_eq!(counters.io.udp_tx_errors.get(), 10);
        assert_eq!(counters.fallbacks.get(), 0);
        assert_eq!(fake.sent.len(), 1, "the short tail fits");
        assert_eq!(fake.calls, 3, "the batch, one of its full size, the tail");
    }
}

#[test]
fn a_large_probe_does_not_take_others_with_it() {
    let mut fake = fake();
    let (refusing, counters) = run(&mut fake, |outbox| {
        outbox.udp(peer(1), &bytes(1600), 1600);
        outbox.udp(peer(1), &bytes(100), 100);
    });
    assert!(refusing.is_empty());
    assert_eq!(datagrams(&fake, peer(1)), [bytes(100)]);
    assert_eq!(counters.drops.udp_send_too_big.get(), 1);
}

#[test]
fn errors_lose_one_message_only() {
    let mut fake = Fake { per_call: 1, ..fake() };
    fake.script = [libc::ECONNREFUSED, libc::EMSGSIZE].into();
    let (_, counters) = run(&mut fake, |outbox| {
        for to in 1..5 {
            outbox.udp(peer(to), &[to; 10], 10);
        }
    });
    assert_eq!(fake.sent.len(), 2);
    assert_eq!(counters.drops.udp_send_refused.get(), 1);
    assert_eq!(counters.drops.udp_send_too_big.get(), 1);
}

#[test]
fn a_full_buffer_is_waited_for_then_given_up_until_the_next_drain() {
    let counters = Arc::new(Counters::default());
    let mut fake = Fake { script: [libc::EAGAIN; 3].into(), ..fake() };
    let mut outbox = Outbox::new(&mut fake, false, true, Arc::clone(&counters));
    let start = Instant::now();
    outbox.udp(peer(1), &bytes(3000), 1000);
    outbox.udp(peer(1), &bytes(3000), 1000);
    outbox.flush();
    assert!(start.elapsed() < Duration::from_millis(100));
    assert_eq!(counters.drops.udp_send_full.get(), 6);
    outbox.udp(peer(1), &bytes(3000), 1000);
    outbox.flush();
    assert_eq!(counters.drops.udp_send_full.get(), 9, "the third refusal, after a new wait");
    outbox.udp(peer(1), &bytes(3000), 1000);
    assert_eq!(fake.waits, 2);
    assert_eq!(fake.sent.len(), 3);
}

#[test]
fn more_than_fits_is_sent_early() {
    let mut fake = fake();
    run(&mut fake, |outbox| {
        for i in 0..2000usize {
            outbox.udp(peer((i % 3) as u8), &[i as u8; 200], 200);
        }
    });
    assert_eq!(fake.sent.len(), 2000);
}
