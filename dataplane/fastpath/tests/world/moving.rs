//! A second gateway takes the connection over while packets are on their way: the client turns to it at one time, the server at
//! another, and the first one is no more then. What the first one does not have it passes on to the second.

use super::proxied::Proxied;
use super::{fast_path, FLOW, MS};
use braid_fastpath::{Ends, FastPath, Further, Held, Movable, Side, ToldSession};
use braid_packet::{Rest, Time};
use std::collections::VecDeque;

/// When what happens, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    pub begins: u64,
    /// From then on until the client's and the server's packets come to the other gateway.
    pub turn: (u64, u64),
    /// Between two times that it is told what has become of the connection.
    pub round: u64,
    /// That what it is told takes, but for the first time and when the connection is given to it.
    pub transit: u64,
}

pub struct Moving {
    plan: Drain,
    /// The gateway that does not have the turn: `Proxied::fast` is the other one.
    spare: FastPath,
    /// Whether `Proxied::fast` is the second one.
    swapped: bool,
    /// Whether it has the stack of the model.
    there: bool,
    began: Option<Time>,
    told: Time,
    /// What the other gateway is told, and when it hears of it.
    under_way: VecDeque<(Time, Vec<u8>)>,
    /// The first one has the connection no more.
    pub given: bool,
    pub over: bool,
    /// It was given away when the control side was asked; when something came from beyond.
    pub asked: bool,
    pub beyond: bool,
}

impl Proxied {
    pub fn with_drain(mut self, plan: Drain) -> Proxied {
        let spare = fast_path(self.mtu);
        let told = self.now;
        let moving = Moving {
            plan,
            spare,
            swapped: false,
            there: false,
            began: None,
            told,
            under_way: VecDeque::new(),
            given: false,
            over: false,
            asked: false,
            beyond: false,
        };
        self.moving = Some(moving);
        self
    }

    pub fn has_moved(&self) -> bool {
        self.moving.as_ref().is_some_and(|moving| moving.over)
    }

    fn turn(&mut self, there: bool) {
        let Some(moving) = &mut self.moving else { return };
        if moving.swapped != there {
            moving.swapped = there;
            std::mem::swap(&mut self.fast, &mut moving.spare);
        }
    }

    /// The gateway has the turn that a packet comes to, or that it is passed on to.
    pub(super) fn turn_to(&mut self, side: Side, packet: &[u8]) {
        let now = self.now;
        let Some(moving) = &self.moving else { return };
        let after = if side == Side::Client { moving.plan.turn.0 } else { moving.plan.turn.1 };
        let there = moving.given || moving.began.is_some_and(|began| now.since(began) >= after * MS);
        self.turn(there);
        if !there && self.fast.is_beyond(FLOW, side, packet) {
            assert!(self.fast.leave(FLOW).is_empty());
            let moving = self.moving.as_mut().unwrap();
            (moving.given, moving.beyond) = (true, true);
            self.turn(true);
        }
    }

    /// That has the stack.
    pub(super) fn turn_to_stack(&mut self) {
        self.turn(self.moving.as_ref().is_some_and(|moving| moving.there));
    }

    pub(super) fn is_stack_here(&self) -> bool {
        self.moving.as_ref().is_none_or(|moving| moving.there == moving.swapped)
    }

    /// The control side was asked. Packets for the other gateway, if that is to do it.
    pub(super) fn asked_here(&mut self) -> Option<Vec<Held>> {
        let (now, ends) = (self.now, self.ends());
        let moving = self.moving.as_mut()?;
        if moving.swapped || moving.began.is_none() {
            moving.there = moving.swapped;
            return None;
        }
        take(&mut moving.spare, &tell(&mut self.fast, now), &ends, now);
        (moving.given, moving.asked) = (true, true);
        Some(self.fast.leave(FLOW))
    }

    pub(super) fn both(&mut self, mut what: impl FnMut(&mut Proxied)) {
        what(self);
        if self.moving.is_some() {
            let swapped = self.moving.as_ref().is_some_and(|moving| moving.swapped);
            self.turn(!swapped);
            what(self);
            self.turn(swapped);
        }
    }

    pub(super) fn move_on(&mut self) {
        let (now, ends) = (self.now, self.ends());
        let Some(moving) = &mut self.moving else { return };
        let (first, second) = match moving.swapped {
            true => (&mut moving.spare, &mut self.fast),
            false => (&mut self.fast, &mut moving.spare),
        };
        let due = moving.under_way.iter().take_while(|(due, _)| *due <= now).count();
        for (_, piece) in moving.under_way.drain(..due) {
            take(second, &piece, &ends, now);
        }
        let may = matches!(first.movable(FLOW), Movable::Now | Movable::Asks);
        let began = match moving.began {
            Some(began) => began,
            None if now.since(Time(1000 * Time::SECOND)) >= moving.plan.begins * MS && may => {
                first.set_loose(true);
                second.set_loose(true);
                moving.began = Some(now);
                now
            }
            None => return,
        };
        let last = moving.plan.turn.0.max(moving.plan.turn.1);
        if moving.over {
            return;
        }
        if may && (now == began || now.since(moving.told) >= moving.plan.round * MS) {
            let transit = if now == began { 0 } else { moving.plan.transit * MS };
            moving.told = now;
            let piece = tell(first, now);
            match transit {
                0 => take(second, &piece, &ends, now),
                _ => moving.under_way.push_back((now.after(transit), piece)),
            }
        }
        if now.since(began) > (last + 2 * moving.plan.round) * MS && (may || moving.given) {
            *first = fast_path(self.mtu);
            second.set_loose(false);
            (moving.over, moving.given) = (true, true);
        }
    }
}

fn tell(first: &mut FastPath, now: Time) -> Vec<u8> {
    let mut told = Vec::new();
    assert!(first.write_session(FLOW, now, &mut told));
    told
}

/// The first one has always seen the last packet.
fn take(second: &mut FastPath, piece: &[u8], ends: &Ends, now: Time) {
    let mut rest = Rest(piece);
    let told = ToldSession::read(&mut rest).unwrap();
    assert!(rest.is_empty());
    if second.further(FLOW, &told) != Some(Further::Here) {
        second.take_session(FLOW, ends, told, true, now);
    }
}
