//! A second fast path takes the connection over while packets are on their way: the client turns to it at one time, the server at
//! another, and the first one is no more then.

use super::proxied::Proxied;
use super::{fast_path, FLOW, MS};
use braid_fastpath::{FastPath, Movable, Side};
use braid_packet::{Rest, Time};

/// When what happens, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    pub begins: u64,
    /// From then on until the client's and the server's packets come to the other gateway.
    pub turn: (u64, u64),
    /// Between two times that it is told what has become of the connection.
    pub round: u64,
}

pub struct Moving {
    plan: Drain,
    /// The one that does not have the turn: `Proxied::fast` is the other.
    spare: FastPath,
    /// Whether `Proxied::fast` is the gateway that the connection goes to.
    swapped: bool,
    began: Option<Time>,
    told: Time,
    pub over: bool,
}

impl Proxied {
    pub fn with_drain(mut self, plan: Drain) -> Proxied {
        let spare = fast_path(self.mtu);
        self.moving = Some(Moving { plan, spare, swapped: false, began: None, told: self.now, over: false });
        self
    }

    pub fn has_moved(&self) -> bool {
        self.moving.as_ref().is_some_and(|moving| moving.over)
    }

    /// The gateway that a packet of this side comes to has the turn.
    pub(super) fn turn_to(&mut self, side: Side) {
        let now = self.now;
        let Some(moving) = &mut self.moving else { return };
        let after = if side == Side::Client { moving.plan.turn.0 } else { moving.plan.turn.1 };
        let there = moving.began.is_some_and(|began| now.since(began) >= after * MS);
        if moving.swapped != there {
            moving.swapped = there;
            std::mem::swap(&mut self.fast, &mut moving.spare);
        }
    }

    pub(super) fn both(&mut self, mut what: impl FnMut(&mut Proxied)) {
        what(self);
        if let Some(moving) = &mut self.moving {
            std::mem::swap(&mut self.fast, &mut moving.spare);
            what(self);
        }
        if let Some(moving) = &mut self.moving {
            std::mem::swap(&mut self.fast, &mut moving.spare);
        }
    }

    pub(super) fn move_on(&mut self) {
        let (now, ends) = (self.now, self.ends());
        let Some(moving) = &mut self.moving else { return };
        let (first, second) = match moving.swapped {
            true => (&mut moving.spare, &mut self.fast),
            false => (&mut self.fast, &mut moving.spare),
        };
        let began = match moving.began {
            Some(began) => began,
            None if now.since(Time(1000 * Time::SECOND)) >= moving.plan.begins * MS
                && first.movable(FLOW) == Movable::Now =>
            {
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
        if now == began || now.since(moving.told) >= moving.plan.round * MS {
            let mut told = Vec::new();
            assert!(first.write_session(FLOW, now, &mut told));
            let mut rest = Rest(&told);
            assert!(second.take_session(FLOW, &ends, &mut rest, true, now).is_some() && rest.is_empty());
            moving.told = now;
        }
        if now.since(began) > (last + 2 * moving.plan.round) * MS {
            *first = fast_path(self.mtu);
            second.set_loose(false);
            moving.over = true;
        }
    }
}
