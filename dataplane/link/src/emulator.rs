//! Joins decisions and interfaces: one thread carries all impaired links.

use crate::direction::{Direction, Fate};
use crate::frame::{corrupt, HEADER};
use crate::io::packet::{PacketSocket, Receiver, Sender, BATCH};
use crate::io::poll::{Poll, Wake};
use crate::io::{bridge, monotonic, realtime};
use crate::protocol::{self, Answer, Command, Setting};
use crate::schedule::Schedule;
use std::collections::BTreeMap;
use std::io::Error;
use std::sync::mpsc::{Receiver as Inbox, Sender as Outbox};
use std::sync::Arc;

/// A command and where its answer goes.
pub type Request = (Command, Outbox<Answer>);

const WAKE: u64 = u64::MAX - 1;
/// Memory for frames under way, over all links.
const UNDER_WAY: usize = 256 << 20;
/// Batches read from one socket before others have their turn.
const TURN: usize = 4;

/// Frames stamped from `from` on, and until `until` when set, are the emulator's: the bridge carries the others.
struct Tap {
    sockets: [PacketSocket; 2],
    from: u64,
    until: Option<u64>,
}

/// `directions[0]` is a to b: frames that arrive at end 0 and leave at end 1.
struct Link {
    name: String,
    bridge: String,
    ends: [i32; 2],
    directions: [Direction; 2],
    tap: Option<Tap>,
}

type Way = (usize, usize);

pub struct Emulator {
    links: Vec<Link>,
    by_name: BTreeMap<String, usize>,
    under_way: Schedule<Way>,
    poll: Poll,
    receiver: Receiver,
    sender: Sender,
}

impl Emulator {
    /// Carries frames and obeys `inbox` for ever; `wake` must be raised after each request.
    pub fn run(inbox: &Inbox<Request>, wake: &Arc<Wake>) -> Result<(), Error> {
        let mut emulator = Self {
            links: Vec::new(),
            by_name: BTreeMap::new(),
            under_way: Schedule::new(UNDER_WAY),
            poll: Poll::new()?,
            receiver: Receiver::default(),
            sender: Sender::default(),
        };
        emulator.poll.add(wake.as_ref(), WAKE)?;
        let mut ready = Vec::new();
        loop {
            emulator.poll.wait(emulator.under_way.next_due(), &mut ready)?;
            for token in &ready {
                if *token == WAKE {
                    wake.clear();
                    while let Ok((command, answers)) = inbox.try_recv() {
                        // A client that went away does not want its answer.
                        let _ = answers.send(emulator.obey(command));
                    }
                } else {
                    emulator.receive((*token as usize) / 2, (*token as usize) % 2, TURN);
                }
            }
            emulator.send_due();
        }
    }

    fn obey(&mut self, command: Command) -> Answer {
        match command {
            Command::Counters => Answer::Counters { ok: true, links: self.counters() },
            Command::Set { link, bridge, a, b, a_to_b, b_to_a } => {
                match self.set(&link, &bridge, [&a, &b], [a_to_b, b_to_a]) {
                    Ok(attached) => Answer::Set { ok: true, attached },
                    Err(error) => Answer::refused(error),
                }
            }
        }
    }

    fn set(&mut self, name: &str, bridge: &str, ends: [&str; 2], settings: [Setting; 2]) -> Result<bool, String> {
        for setting in settings.iter().flatten().flatten() {
            setting.check()?;
        }
        let number = self.link(name, bridge, ends).map_err(|e| e.to_string())?;
        let link = &mut self.links[number];
        for (direction, setting) in link.directions.iter_mut().zip(settings) {
            if let Some(setting) = setting {
                direction.set(setting.map(|boxed| *boxed));
            }
        }
        let wanted = link.directions.iter().any(|d| d.setting().is_some());
        match wanted {
            true => self.attach(number),
            false => self.detach(number),
        }
        .map_err(|error| format!("{name}: {error}"))?;
        Ok(wanted)
    }

    fn link(&mut self, name: &str, bridge: &str, ends: [&str; 2]) -> Result<usize, Error> {
        if let Some(number) = self.by_name.get(name) {
            return Ok(*number);
        }
        let ends = [bridge::index(ends[0])?, bridge::index(ends[1])?];
        self.by_name.insert(name.into(), self.links.len());
        self.links.push(Link {
            name: name.into(),
            bridge: bridge.into(),
            ends,
            directions: [Direction::new(format!("{name}>")), Direction::new(format!("{name}<"))],
            tap: None,
        });
        Ok(self.links.len() - 1)
    }

    /// The sockets see frames before the bridge does: they are opened first, and frames stamped before the link left the
    /// bridge are not carried a second time.
    fn attach(&mut self, number: usize) -> Result<(), Error> {
        let link = &mut self.links[number];
        if matches!(&link.tap, Some(tap) if tap.until.is_none()) {
            return Ok(());
        }
        self.finish(number);
        let link = &mut self.links[number];
        let sockets = [PacketSocket::open(link.ends[0])?, PacketSocket::open(link.ends[1])?];
        for (end, socket) in sockets.iter().enumerate() {
            self.poll.add(socket, (number * 2 + end) as u64)?;
        }
        let from = realtime();
        for end in link.ends {
            bridge::leave(&link.bridge, end)?;
        }
        link.tap = Some(Tap { sockets, from, until: None });
        Ok(())
    }

    /// The bridge takes over; what waits in the sockets until then is still carried, and what is under way arrives.
    fn detach(&mut self, number: usize) -> Result<(), Error> {
        let link = &mut self.links[number];
        let Some(tap) = &mut link.tap else {
            return Ok(());
        };
        if tap.until.is_none() {
            for end in link.ends {
                bridge::join(&link.bridge, end)?;
            }
            tap.until = Some(realtime());
            self.finish(number);
        }
        Ok(())
    }

    /// Reads what a link that went back to its bridge still has to carry, and closes it when nothing is under way.
    fn finish(&mut self, number: usize) {
        if !matches!(&self.links[number].tap, Some(tap) if tap.until.is_some()) {
            return;
        }
        for end in 0..2 {
            self.receive(number, end, usize::MAX);
        }
        self.send_due();
        self.close_finished(number);
    }

    fn close_finished(&mut self, number: usize) {
        let link = &mut self.links[number];
        let waiting: u64 = link.directions.iter().map(|d| d.counters.queued).sum();
        if waiting == 0 && matches!(&link.tap, Some(tap) if tap.until.is_some()) {
            count_kernel_drops(link);
            link.tap = None;
        }
    }

    fn receive(&mut self, number: usize, end: usize, turns: usize) {
        let Some(link) = self.links.get_mut(number) else {
            return;
        };
        let Some(tap) = &link.tap else { return };
        let direction = &mut link.directions[end];
        let under_way = &mut self.under_way;
        for _ in 0..turns {
            let now = monotonic();
            let count = self.receiver.receive(&tap.sockets[end], |frame, stamp| {
                let bridged = stamp != 0 && (stamp < tap.from || tap.until.is_some_and(|until| stamp >= until));
                if !bridged {
                    carry(direction, under_way, (number, end), frame, now);
                }
            });
            // A socket that fails (its interface is gone) has nothing to carry.
            if count.unwrap_or(0) < BATCH {
                break;
            }
        }
    }

    fn send_due(&mut self) {
        let now = monotonic();
        let mut batch: Vec<Vec<u8>> = Vec::with_capacity(BATCH);
        let mut way = None;
        let mut finished = Vec::new();
        loop {
            let next = self.under_way.pop(now);
            let next_way = next.as_ref().map(|(way, _)| *way);
            if next_way != way || batch.len() == BATCH {
                if let Some(way) = way {
                    self.transmit(way, &mut batch);
                    finished.push(way.0);
                }
                way = next_way;
            }
            match next {
                Some((_, frame)) => batch.push(frame),
                None => break,
            }
        }
        for number in finished {
            self.close_finished(number);
        }
    }

    fn transmit(&mut self, (number, end): Way, batch: &mut Vec<Vec<u8>>) {
        let link = &mut self.links[number];
        let refused = match &link.tap {
            Some(tap) => self.sender.send(&tap.sockets[1 - end], batch),
            None => batch.len(),
        };
        let counters = &mut link.directions[end].counters;
        counters.queued -= batch.len() as u64;
        counters.delivered += (batch.len() - refused) as u64;
        counters.send_errors += refused as u64;
        for frame in batch.drain(..) {
            self.under_way.give_back(frame);
        }
    }

    fn counters(&mut self) -> BTreeMap<String, protocol::Link> {
        self.links
            .iter_mut()
            .map(|link| {
                count_kernel_drops(link);
                let [a, b] = &link.directions;
                let shown = protocol::Link {
                    attached: matches!(&link.tap, Some(tap) if tap.until.is_none()),
                    a_to_b: a.counters,
                    b_to_a: b.counters,
                    a_to_b_impairment: a.setting().cloned(),
                    b_to_a_impairment: b.setting().cloned(),
                };
                (link.name.clone(), shown)
            })
            .collect()
    }
}

fn count_kernel_drops(link: &mut Link) {
    if let Some(tap) = &link.tap {
        for (socket, direction) in tap.sockets.iter().zip(&mut link.directions) {
            direction.counters.kernel_drops += socket.take_kernel_drops();
        }
    }
}

fn carry(direction: &mut Direction, under_way: &mut Schedule<Way>, way: Way, frame: &[u8], now: u64) {
    let Fate::Carried { due, twice, corrupt: flip } = direction.decide(now, frame.len() - HEADER.min(frame.len()))
    else {
        return;
    };
    for _ in 0..1 + usize::from(twice) {
        let mut copy = under_way.buffer();
        copy.extend_from_slice(frame);
        if let Some(choice) = flip {
            corrupt(&mut copy, choice);
        }
        match under_way.push(due, way, copy) {
            Ok(()) => direction.counters.queued += 1,
            Err(copy) => {
                direction.counters.lost_queue += 1;
                under_way.give_back(copy);
            }
        }
    }
}
