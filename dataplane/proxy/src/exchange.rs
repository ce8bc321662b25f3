//! HTTP/1.1 on one client connection, or bytes as they are (`plain`): requests out of bytes, each to a server of the policy's choice, answers in their
//! order. Pure: bytes and verdicts come in; steps, and bytes in two buffers, go out.
//!
//! Request and answer are read and written anew. The next request is not looked at before the answer is through, so at
//! any time one request is under way, with one server.

mod answer;
mod plain;

use crate::body::{Reader, Writer};
use crate::head::{Bad, Framing, RequestHead};
use crate::onward::{write_refusal, write_request, Forwarded};
use crate::transmit::Transmit;
use std::borrow::Cow;
use std::collections::VecDeque;

/// Bytes of pipelined requests taken from the client while an answer is under way, and of a server's unparsed ones.
const READ_AHEAD: usize = 65_536;

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A server is to be chosen for the request: `select`, or `refuse`.
    Select,
    /// A server has done as an unsafe request wanted, and the client is to hear of it: what was stored of its target is
    /// worthless now. Values of `Location` and `Content-Location`.
    Changed(Vec<Vec<u8>>),
    /// A request and its answer are through: status, bytes of the body.
    Served(u16, u64),
    /// The server connection may serve other requests.
    Release,
    /// The server connection is of no more use.
    Drop,
    /// Both sides speak another protocol now: the server connection is this client's alone.
    Tunnel,
    /// No more for the server (FIN) behind what waits for it.
    EndServer,
    /// No more for the client (FIN) behind what waits for it; it may go on sending.
    EndClient,
    /// Counted by reason; `Close` or `Reset` follows. Of a request that was told by `Select`: the status that its client has,
    /// 0 for none, and bytes of the answer's body.
    Refused(Cow<'static, str>, Option<(u16, u64)>),
    /// The client connection ends when all is sent.
    Close,
    Reset,
}

/// What became of a server connection that broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It never was there.
    Connect,
    Reset,
    Closed,
    /// Everything was sent, and no answer came in time.
    Silent,
}

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A kept connection was found closed: once more, to the same server, on a new one.
    Again,
    /// Another server may have the request: `select`, or `refuse`.
    Another,
    /// The steps say what.
    Over,
}

#[derive(Debug)]
enum Asking {
    Idle,
    /// A request's head is here; it has no server.
    Deciding,
    Body(Reader),
    /// All of the request is in the client transmit buffer.
    Whole,
    /// Bytes as they are, for which there is no server yet.
    Plain,
    Tunnel,
    Ended,
}

#[derive(Debug)]
enum Answering {
    Nothing,
    Head,
    Body(Reader, Writer),
    /// Bytes as they are, of which none came yet.
    Opening,
    Tunnel,
}

#[derive(Debug)]
pub struct Exchange {
    pub transmit: Transmit,
    /// Bytes for the client.
    pub outbox: Vec<u8>,
    pub steps: VecDeque<Step>,
    request: Option<RequestHead>,
    asking: Asking,
    answering: Answering,
    inbox: Vec<u8>,
    /// Of the server, not complete enough to be understood.
    early: Vec<u8>,
    client_ended: bool,
    draining: bool,
    /// Of the answer under way: the server connection may be kept, the client's may not.
    reusable: bool,
    closes: bool,
    status: u16,
    bytes: u64,
    cookie: String,
    forwarded: Option<Forwarded>,
    /// Bytes pass as they are from the first on.
    plain: bool,
    /// And the server is chosen by them.
    by_bytes: bool,
}

impl Exchange {
    pub fn new(limit: usize, forwarded: Option<Forwarded>) -> Exchange {
        Exchange {
            transmit: Transmit::new(limit),
            outbox: Vec::new(),
            steps: VecDeque::new(),
            request: None,
            asking: Asking::Idle,
            answering: Answering::Nothing,
            inbox: Vec::new(),
            early: Vec::new(),
            client_ended: false,
            draining: false,
            reusable: false,
            closes: false,
            status: 0,
            bytes: 0,
            cookie: String::new(),
            forwarded,
            plain: false,
            by_bytes: false,
        }
    }

    pub fn request(&self) -> Option<&RequestHead> {
        self.request.as_ref()
    }

    /// Whether more of the client can be taken now: TCP closes its window while not.
    pub fn wants_client(&self) -> bool {
        match self.asking {
            Asking::Idle | Asking::Ended => true,
            Asking::Deciding | Asking::Whole => self.inbox.len() < READ_AHEAD,
            Asking::Body(_) | Asking::Plain | Asking::Tunnel => !self.transmit.is_full(),
        }
    }

    /// A request has begun for which no server is selected.
    pub fn is_pending(&self) -> bool {
        matches!(self.asking, Asking::Deciding | Asking::Plain)
            || (matches!(self.asking, Asking::Idle) && !self.inbox.is_empty())
    }

    /// The server has, or will have without the client's doing, all of a request and has not begun to answer.
    pub fn expects_answer(&self) -> bool {
        matches!((&self.asking, &self.answering), (Asking::Whole, Answering::Head)) && self.status == 0
    }

    /// A server has a request of this client, or is to have it.
    pub fn has_server(&self) -> bool {
        !matches!(self.answering, Answering::Nothing)
    }

    /// Bytes of the answer that the server has yet to send, where nothing else is under way: the body passes as it is, its
    /// length is known, and both connections are kept behind it. So who carries it need not understand it.
    pub fn opaque(&self) -> Option<u64> {
        let quiet = self.inbox.is_empty() && self.early.is_empty() && self.transmit.waiting().is_empty();
        let ends = self.closes || self.draining || self.client_ended || !self.reusable;
        match (&self.asking, &self.answering) {
            (Asking::Whole, Answering::Body(Reader::Length(left), Writer::Plain)) if quiet && !ends => Some(*left),
            _ => None,
        }
    }

    /// Whether the client may say something, and nothing is under way.
    pub fn is_resting(&self) -> bool {
        let quiet = self.inbox.is_empty() && self.early.is_empty() && self.transmit.waiting().is_empty();
        quiet && self.is_between_requests() && !(self.has_server() || self.draining || self.client_ended)
    }

    /// Status of the answer under way, and the bytes of its body that came.
    pub fn answered(&self) -> (u16, u64) {
        (self.status, self.bytes)
    }

    pub fn is_tunnel(&self) -> bool {
        matches!(self.asking, Asking::Tunnel)
    }

    /// Nothing is under way, so the connection may end without loss.
    pub fn is_between_requests(&self) -> bool {
        matches!(self.asking, Asking::Idle) && self.inbox.is_empty()
    }

    /// The head of the request that waits for its server, as it came, where nothing else is under way on the connection: a
    /// request without a body, no answer left to send, nothing pipelined. Another node could serve it from there on.
    pub fn movable(&self) -> Option<&[u8]> {
        let head = self.request.as_ref()?;
        let still = matches!((&self.asking, &self.answering), (Asking::Deciding, Answering::Nothing))
            && self.inbox.is_empty()
            && self.outbox.is_empty()
            && self.transmit.waiting().is_empty()
            && !self.client_ended
            && !self.draining;
        (still && head.minor == 1 && !head.upgrades && head.framing == Framing::Length(0)).then(|| head.bytes())
    }

    /// The connection ends with the request that is under way.
    pub fn drain(&mut self) {
        self.draining = true;
        if self.is_between_requests() {
            self.close();
        }
    }

    pub fn client_data(&mut self, data: &[u8]) {
        if matches!(self.asking, Asking::Ended) {
            return;
        }
        self.inbox.extend_from_slice(data);
        self.read_client();
    }

    pub fn client_end(&mut self) {
        self.client_ended = true;
        match self.asking {
            Asking::Tunnel => self.steps.push_back(Step::EndServer),
            Asking::Plain => self.refuse("tls_truncated", 400),
            Asking::Idle if self.inbox.is_empty() => self.close(),
            Asking::Idle | Asking::Body(_) => self.refuse("http_malformed", 400),
            Asking::Deciding | Asking::Whole | Asking::Ended => {}
        }
    }

    /// The server for the request: its head goes to the client transmit buffer.
    pub fn select(&mut self, cookie: &str) {
        if self.plain {
            return self.open();
        }
        self.cookie.clear();
        self.cookie.push_str(cookie);
        let (Asking::Deciding, Some(head)) = (&self.asking, &self.request) else { return };
        self.answering = Answering::Head;
        if self.transmit.waiting().is_empty() {
            write_request(head, self.forwarded.as_ref(), self.transmit.store());
            self.asking = Asking::Body(Reader::new(head.framing));
            self.read_client();
        } else {
            // It is here from an attempt at another server.
            self.asking = Asking::Whole;
        }
    }

    /// End the client's connection: with an answer where none has begun, else with a reset, since half an answer must not
    /// look whole.
    pub fn refuse(&mut self, reason: impl Into<Cow<'static, str>>, status: u16) {
        if matches!(self.asking, Asking::Ended) {
            return;
        }
        let answers = self.status == 0 && !self.is_tunnel() && !self.plain;
        let answered = if answers { (status, 0) } else { (self.status, self.bytes) };
        self.steps.push_back(Step::Refused(reason.into(), self.request.is_some().then_some(answered)));
        let last = if answers {
            let to_head = self.request.as_ref().is_some_and(|head| head.method() == b"HEAD");
            write_refusal(status, to_head, &mut self.outbox);
            Step::Close
        } else {
            Step::Reset
        };
        self.end(last);
    }

    /// Nothing has happened for too long.
    pub fn idle(&mut self) {
        let quiet = self.is_between_requests() || self.is_tunnel() || self.plain;
        self.steps.push_back(Step::Refused("idle_timeout".into(), None));
        self.end(if quiet { Step::Close } else { Step::Reset });
    }

    pub fn server_data(&mut self, data: &[u8]) {
        match self.answering {
            Answering::Tunnel => self.outbox.extend_from_slice(data),
            Answering::Opening => {
                self.answer_begins();
                self.outbox.extend_from_slice(data);
            }
            Answering::Nothing => self.steps.push_back(Step::Drop),
            Answering::Head | Answering::Body(..) if self.early.is_empty() => {
                let taken = self.read_server(data);
                self.early.extend_from_slice(&data[taken.min(data.len())..]);
            }
            Answering::Head | Answering::Body(..) => {
                let mut early = std::mem::take(&mut self.early);
                early.extend_from_slice(data);
                let taken = self.read_server(&early);
                early.drain(..taken.min(early.len()));
                self.early = early;
            }
        }
        if matches!(self.answering, Answering::Nothing) {
            self.early.clear();
        }
    }

    fn read_client(&mut self) {
        loop {
            match &mut self.asking {
                Asking::Idle => match RequestHead::decode(&self.inbox) {
                    Ok(None) => return,
                    Err(Bad { reason, status }) => {
                        self.request = None;
                        self.status = 0;
                        return self.refuse(reason, status);
                    }
                    Ok(Some((head, length))) => {
                        self.inbox.drain(..length);
                        self.transmit.clear();
                        (self.request, self.status, self.bytes) = (Some(head), 0, 0);
                        self.asking = Asking::Deciding;
                        return self.steps.push_back(Step::Select);
                    }
                },
                Asking::Body(reader) => {
                    let chunked = self.request.as_ref().is_some_and(|head| head.framing == Framing::Chunked);
                    let writer = if chunked { Writer::Chunked } else { Writer::Plain };
                    match reader.read(&self.inbox, writer, self.transmit.store()) {
                        Err(_) => return self.refuse("http_malformed", 400),
                        Ok((taken, _)) => self.inbox.drain(..taken),
                    };
                    if !reader.is_done() {
                        return;
                    }
                    self.asking = Asking::Whole;
                }
                Asking::Plain | Asking::Tunnel => {
                    if matches!(self.asking, Asking::Plain) && self.by_bytes {
                        self.steps.push_back(Step::Select);
                    }
                    self.transmit.store().append(&mut self.inbox);
                    return;
                }
                Asking::Deciding | Asking::Whole | Asking::Ended => return,
            }
        }
    }

    fn close(&mut self) {
        self.end(Step::Close);
    }

    fn end(&mut self, last: Step) {
        self.asking = Asking::Ended;
        self.answering = Answering::Nothing;
        self.inbox = Vec::new();
        self.steps.push_back(last);
    }
}
