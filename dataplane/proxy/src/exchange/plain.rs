//! Bytes as they are: each side's go to the other one, and each side may end before the other. The server is chosen at once,
//! or by what the client sends first. Until a server has sent something another one may take its place.

use super::{Answering, Asking, Exchange, Failure, Step, Verdict};

impl Exchange {
    /// `by_bytes`: `Step::Select` comes with the first bytes, and again with more until there is a verdict. Else the owner has
    /// one already.
    pub fn plain(limit: usize, by_bytes: bool) -> Exchange {
        let mut made = Exchange::new(limit, None);
        (made.asking, made.plain, made.by_bytes) = (Asking::Plain, true, by_bytes);
        made
    }

    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// What the client has sent while there is no server.
    pub fn first_bytes(&self) -> Option<&[u8]> {
        matches!(self.asking, Asking::Plain).then(|| self.transmit.waiting())
    }

    /// Whether the client transmit buffer holds what a server is connected for. One that may speak first needs no bytes.
    pub fn is_present(&self) -> bool {
        !self.transmit.waiting().is_empty() || matches!(self.answering, Answering::Opening)
    }

    /// Whether a server has sent something.
    pub fn is_answered(&self) -> bool {
        matches!(self.answering, Answering::Tunnel)
    }

    /// A server has sent something, which may not be read yet.
    pub fn answer_begins(&mut self) {
        if matches!(self.answering, Answering::Opening) {
            self.transmit.commit();
            self.answering = Answering::Tunnel;
        }
    }

    /// Whether nobody needs to see more of the bytes: no other server could take this one's place, and no side has ended.
    pub fn is_free(&self) -> bool {
        let committed =
            self.is_answered() || (matches!(self.answering, Answering::Opening) && !self.transmit.is_whole());
        self.plain && committed && !(self.closes || self.draining || self.client_ended)
    }

    /// The same of one that has yet to be answered, and will be with the next bytes of its server.
    pub fn is_free_when_answered(&self) -> bool {
        let is_there = self.is_answered() || matches!(self.answering, Answering::Opening);
        self.plain && is_there && !(self.closes || self.draining || self.client_ended)
    }

    /// End the client's connection: with an answer, or with a reset where there is none.
    pub fn refuse_with(&mut self, reason: impl Into<std::borrow::Cow<'static, str>>, answer: &[u8]) {
        if matches!(self.asking, Asking::Ended) {
            return;
        }
        self.steps.push_back(Step::Refused(reason.into(), None));
        self.outbox.extend_from_slice(answer);
        self.end(if answer.is_empty() { Step::Reset } else { Step::Close });
    }

    pub(super) fn open(&mut self) {
        if matches!(self.asking, Asking::Plain | Asking::Tunnel) && matches!(self.answering, Answering::Nothing) {
            (self.asking, self.answering) = (Asking::Tunnel, Answering::Opening);
        }
    }

    pub(super) fn plain_failed(&mut self, failure: Failure) -> Verdict {
        if !self.is_answered() && self.transmit.rewind() {
            self.answering = Answering::Nothing;
            return Verdict::Another;
        }
        let reason = if failure == Failure::Connect { "server_connect" } else { "server_reset" };
        self.refuse_with(reason, &[]);
        Verdict::Over
    }
}
