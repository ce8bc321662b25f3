//! What the relay is told, and what it says.

use crate::onward::Forwarded;
use std::borrow::Cow;
use std::net::SocketAddr;

/// Of one application; times in seconds.
#[derive(Clone, Debug)]
pub struct Settings {
    pub select_timeout: f64,
    pub connect_timeout: f64,
    pub answer_timeout: f64,
    pub idle_timeout: f64,
    pub buffer: usize,
    /// Server connections kept for requests to come, per server, and for how long.
    pub pool: usize,
    pub pool_timeout: f64,
    /// An answer of which more than so many bytes have yet to come may be carried on elsewhere.
    pub splice_above: Option<u64>,
}

/// What a client speaks, as far as it matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speech {
    #[default]
    Http,
    /// Bytes as they are; the server is chosen at once.
    Plain,
    /// Bytes as they are; the server is chosen by the first of them.
    PlainByBytes,
}

/// Who is connected.
#[derive(Clone, Debug, Default)]
pub struct Newcomer {
    pub application: u32,
    pub speech: Speech,
    /// Whether the connection came from the data plane and may go back there.
    pub promoted: bool,
    /// What each server connection begins with. Where there is something, it says who the client is, so no other client's
    /// requests use the connection.
    pub preface: Vec<u8>,
    pub forwarded: Option<Forwarded>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A server is to be chosen: `serve` or `refuse`, and `request` or `first_bytes` says for what. Of bytes more may be
    /// needed: then it comes again.
    Request {
        client: u64,
    },
    /// The request's server failed; `another`: a server is to be chosen again.
    Failed {
        client: u64,
        reason: String,
        another: bool,
    },
    /// As `Step::Changed`.
    Changed {
        client: u64,
        elsewhere: Vec<Vec<u8>>,
    },
    /// Seconds from the request to the first byte of its answer, none when the server was not asked.
    Served {
        client: u64,
        status: u16,
        bytes: u64,
        latency: f64,
    },
    Connected {
        client: u64,
        seconds: f64,
    },
    /// The first byte of a server's, where bytes pass as they are: seconds since it was sent the last.
    Answered {
        client: u64,
        latency: f64,
    },
    /// A kept connection to a server, made by the owner for this client, was found closed, or there is another one still
    /// from where it was to be made: `reconnect`.
    Again {
        client: u64,
    },
    /// What is left may be carried on elsewhere: `depart`, or `go_on`.
    Opaque {
        client: u64,
    },
    /// `answered`: of a request, its status, or 0, and bytes of its body.
    Refused {
        client: u64,
        reason: Cow<'static, str>,
        answered: Option<(u16, u64)>,
    },
    /// `whole`: not cut off by either side.
    Ended {
        client: u64,
        whole: bool,
    },
}

/// What is shown of a client connection.
#[derive(Clone, Debug)]
pub struct Flow {
    pub state: &'static str,
    pub idle: f64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Our end of the connection to the server.
    pub local: Option<SocketAddr>,
}
