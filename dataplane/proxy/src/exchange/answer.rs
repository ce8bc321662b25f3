//! The server's side of an exchange: answers read and written for the client.

use super::{Answering, Asking, Exchange, Failure, Step, Verdict};
use crate::body::{Reader, Writer};
use crate::head::{AnswerHead, Bad, Framing, RequestHead};
use crate::onward::{write_answer, AnswerStyle};

impl Exchange {
    /// The server sends nothing more. Some when that is a failure.
    pub fn server_end(&mut self) -> Option<Failure> {
        match self.answering {
            Answering::Opening | Answering::Tunnel => {
                self.closes = true;
                self.steps.push_back(Step::EndClient);
            }
            Answering::Nothing => self.steps.push_back(Step::Drop),
            Answering::Body(Reader::Close, writer) => {
                writer.end(b"\r\n", &mut self.outbox);
                self.finish(false);
            }
            Answering::Head | Answering::Body(..) => return Some(Failure::Closed),
        }
        None
    }

    /// Another server where the request can be sent again: before the first byte of an answer, and where doing it twice
    /// does no harm or it was not done at all. The connection is gone already. `reused`: it had served others before.
    pub fn server_failed(&mut self, failure: Failure, reused: bool) -> Verdict {
        self.early.clear();
        if matches!(self.answering, Answering::Nothing) {
            return Verdict::Over;
        }
        if self.plain {
            return self.plain_failed(failure);
        }
        let untouched = self.status == 0 && matches!(self.answering, Answering::Head);
        if failure == Failure::Silent {
            self.refuse("server_answer_timeout", 504);
            return Verdict::Over;
        }
        let whole = matches!(self.asking, Asking::Whole);
        let again = match failure {
            Failure::Connect => true,
            _ => whole && self.request.as_ref().is_some_and(RequestHead::is_idempotent),
        };
        if untouched && again && self.transmit.rewind() {
            if reused && failure != Failure::Connect {
                return Verdict::Again;
            }
            if whole {
                self.asking = Asking::Deciding;
                self.answering = Answering::Nothing;
            }
            return Verdict::Another;
        }
        let (reason, status) = match (failure, untouched) {
            (Failure::Closed, false) => ("http_bad_answer", 502),
            (Failure::Closed, true) => ("server_closed", 502),
            (Failure::Connect, _) => ("server_connect", 502),
            _ => ("server_reset", 502),
        };
        self.refuse(reason, status);
        Verdict::Over
    }

    /// How many bytes were understood; what is left has to be offered again.
    pub(super) fn read_server(&mut self, data: &[u8]) -> usize {
        let mut at = 0;
        loop {
            let rest = &data[at..];
            match &mut self.answering {
                Answering::Head => {
                    let Some(asked) = &self.request else { return data.len() };
                    match AnswerHead::decode(rest, asked.method() == b"HEAD") {
                        Ok(None) => return at,
                        Err(Bad { reason, status }) => {
                            self.steps.push_back(Step::Drop);
                            self.refuse(reason, status);
                            return data.len();
                        }
                        Ok(Some((head, length))) => {
                            at += length;
                            self.answer(&head);
                        }
                    }
                }
                Answering::Body(reader, writer) => {
                    match reader.read(rest, *writer, &mut self.outbox) {
                        Err(_) => {
                            self.steps.push_back(Step::Drop);
                            self.refuse("http_bad_answer", 502);
                            return data.len();
                        }
                        Ok((taken, content)) => {
                            at += taken;
                            self.bytes += content;
                        }
                    }
                    if !reader.is_done() {
                        return at;
                    }
                    // What a server sends behind its answer was not asked for.
                    let clean = at == data.len();
                    self.finish(clean);
                    return data.len();
                }
                Answering::Opening | Answering::Tunnel => {
                    self.outbox.extend_from_slice(rest);
                    return data.len();
                }
                Answering::Nothing => return data.len(),
            }
        }
    }

    fn answer(&mut self, head: &AnswerHead) {
        let Some(asked) = &self.request else { return };
        self.transmit.commit();
        if head.status == 101 {
            return self.switch(head);
        }
        if head.status < 200 {
            if asked.minor == 1 {
                write_answer(head, AnswerStyle { bodiless: true, ..AnswerStyle::default() }, &mut self.outbox);
            }
            return;
        }
        self.status = head.status;
        if !asked.is_safe() && (200..400).contains(&head.status) {
            let elsewhere = [b"location".as_slice(), b"content-location"].map(|name| head.fields.all(name));
            self.steps.push_back(Step::Changed(elsewhere.into_iter().flatten().map(<[u8]>::to_vec).collect()));
        }
        // Before the server had the whole request: what is still under way of it has no reader.
        let hasty = !matches!(self.asking, Asking::Whole);
        let bodiless = asked.method() == b"HEAD" || matches!(head.status, 204 | 304);
        let chunked = asked.minor == 1 && !bodiless && !matches!(head.framing, Framing::Length(_));
        let unframed = !chunked && !bodiless && !matches!(head.framing, Framing::Length(_));
        let closes = self.draining || hasty || asked.closes || unframed || self.client_ended;
        let style = AnswerStyle { chunked, closes, upgrades: false, bodiless, cookie: &self.cookie };
        write_answer(head, style, &mut self.outbox);
        self.reusable = head.reusable && !hasty;
        self.closes = closes;
        let writer = if chunked { Writer::Chunked } else { Writer::Plain };
        self.answering = Answering::Body(Reader::new(head.framing), writer);
    }

    fn switch(&mut self, head: &AnswerHead) {
        let upgrades = self.request.as_ref().is_some_and(|asked| asked.upgrades);
        if !upgrades || !matches!(self.asking, Asking::Whole) {
            self.steps.push_back(Step::Drop);
            return self.refuse("http_bad_answer", 502);
        }
        let style = AnswerStyle { upgrades: true, bodiless: true, ..AnswerStyle::default() };
        write_answer(head, style, &mut self.outbox);
        self.status = 101;
        self.asking = Asking::Tunnel;
        self.answering = Answering::Tunnel;
        self.steps.extend([Step::Served(101, 0), Step::Tunnel]);
        self.read_client();
        if self.client_ended {
            self.steps.push_back(Step::EndServer);
        }
    }

    /// An answer is through: on to the next request, which may be here already.
    pub(super) fn finish(&mut self, clean: bool) {
        self.answering = Answering::Nothing;
        self.steps.push_back(Step::Served(self.status, self.bytes));
        self.steps.push_back(if clean && self.reusable { Step::Release } else { Step::Drop });
        if self.closes || self.draining || self.client_ended {
            return self.close();
        }
        self.asking = Asking::Idle;
        self.request = None;
        self.status = 0;
        self.read_client();
    }
}
