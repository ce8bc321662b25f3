//! Refusals of content proxies, from the data threads to the relay that holds the request.

use braid_core::Event;
use braid_proxy::Waker;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

const VERSION: u8 = 1;
/// Of a message's version, kind, length and id.
const HEAD: usize = 20;
const REFUSE: u8 = 18;
const STEERED: u8 = 26;
/// What a proxy may say to a request.
const ANSWERS: std::ops::RangeInclusive<u8> = 17..=24;
/// Offers that wait for an answer; more than a gateway knows.
const MOST: usize = 10_000;

/// A transfer's id.
pub type Id = [u8; 16];

#[derive(Default)]
struct Inner {
    /// Offers, and the proxy that each was made.
    asked: HashMap<Id, u16>,
    /// Came, and nobody has looked at it: which offer, and why it is refused.
    refused: VecDeque<(Id, u8)>,
    waker: Option<Waker>,
}

/// What proxies refuse, from the data threads to the relay.
#[derive(Default)]
pub struct Refusals(Mutex<Inner>);

impl Refusals {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on somebody who is woken so takes them.
    pub fn listen(&self, waker: Waker) {
        self.lock().waker = Some(waker);
    }

    /// That proxy is asked, by this id.
    pub fn expect(&self, id: Id, proxy: u16) {
        let mut inner = self.lock();
        if inner.waker.is_some() && inner.asked.len() < MOST {
            inner.asked.insert(id, proxy);
        }
    }

    /// An answer of use no longer comes, or it came.
    pub fn forget(&self, id: &Id) {
        self.lock().asked.remove(id);
    }

    /// The oldest that nobody has looked at.
    pub fn take(&self) -> Option<(Id, u8)> {
        self.lock().refused.pop_front()
    }

    /// Whether it was refused and nobody has looked at it.
    pub fn has(&self, id: &Id) -> bool {
        self.lock().refused.iter().any(|(each, _)| each == id)
    }

    /// Whether an event is a refusal that is waited for: it is nobody else's then.
    pub fn takes(&self, event: &Event) -> bool {
        let Event::Control { peer, adjacent: true, message } = event else { return false };
        let Some((kind, id)) = kind_and_id(message).filter(|(kind, _)| ANSWERS.contains(kind)) else { return false };
        let mut inner = self.lock();
        if inner.asked.get(&id) != Some(peer) {
            return false;
        }
        inner.asked.remove(&id);
        match (kind, &message[HEAD..]) {
            (REFUSE, [reason]) => inner.refused.push_back((id, *reason)),
            _ => return false,
        }
        // Without it the relay finds it in its next turn.
        let _ = inner.waker.as_ref().map(Waker::wake);
        true
    }

    /// Whether an event is of use only with a proxy's answer, which is yet to come: the edge has done as it was told.
    pub fn awaits_more(&self, event: &Event) -> bool {
        let Event::Control { adjacent: false, message, .. } = event else { return false };
        let Some((STEERED, id)) = kind_and_id(message) else { return false };
        message.get(HEAD + 4) == Some(&1) && self.lock().asked.contains_key(&id)
    }
}

/// As `braid/transfer.py` has its pictures. None for anything else.
fn kind_and_id(message: &[u8]) -> Option<(u8, Id)> {
    let (head, _) = message.split_first_chunk::<HEAD>()?;
    let whole = head[0] == VERSION && usize::from(u16::from_be_bytes([head[2], head[3]])) == message.len();
    whole.then(|| (head[1], std::array::from_fn(|at| head[4 + at])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_proxy_that_was_asked_refuses_and_once() {
        let refusals = Refusals::default();
        let message = [&[1, 18, 0, 21][..], &[7; 16], &[3]].concat();
        let control = |peer, adjacent, message: &[u8]| Event::Control { peer, adjacent, message: message.to_vec() };
        refusals.expect([7; 16], 51);
        assert!(!refusals.takes(&control(51, true, &message)), "nobody listens");
        let poll = braid_proxy::Relay::new().unwrap();
        refusals.listen(poll.waker().unwrap());
        refusals.expect([7; 16], 51);
        assert!(!refusals.takes(&control(52, true, &message)));
        assert!(!refusals.takes(&control(51, false, &message)));
        assert!(!refusals.takes(&control(51, true, &message[..20])));
        let steered = |id, done| [&[1, 26, 0, 25][..], &[id; 16], &[0, 0, 0, 1, done]].concat();
        let awaits_more = |id, done| refusals.awaits_more(&control(11, false, &steered(id, done)));
        assert_eq!((awaits_more(7, 1), awaits_more(7, 0), awaits_more(8, 1)), (true, false, false));
        assert!(!refusals.takes(&control(51, true, &[&[1, 18, 0, 21][..], &[8; 16], &[3]].concat())));
        assert_eq!(refusals.take(), None);
        assert!(refusals.takes(&control(51, true, &message)));
        assert!(!refusals.takes(&control(51, true, &message)), "a repetition");
        assert_eq!((refusals.has(&[7; 16]), refusals.has(&[8; 16])), (true, false));
        assert_eq!((refusals.take(), refusals.take(), refusals.has(&[7; 16])), (Some(([7; 16], 3)), None, false));
        assert!(!refusals.awaits_more(&control(11, false, &steered(7, 1))));
        refusals.expect([7; 16], 51);
        let accepted = [&[1, 17, 0, 20][..], &[7; 16]].concat();
        assert!(!refusals.takes(&control(51, true, &accepted)), "it is the control side's");
        assert!(!refusals.awaits_more(&control(11, false, &steered(7, 1))));
        refusals.expect([7; 16], 51);
        refusals.forget(&[7; 16]);
        assert!(!refusals.takes(&control(51, true, &message)));
    }
}
