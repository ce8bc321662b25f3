//! Heads as they are written for the other side, and the gateway's own answers.

use crate::head::{trim, AnswerHead, Fields, Framing, RequestHead};
use std::io::Write;
use std::net::IpAddr;

/// RFC 9110 7.6.1; the framing is written by what was understood of it.
const HOP_BY_HOP: [&[u8]; 8] = [
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"upgrade",
    b"proxy-authenticate",
    b"transfer-encoding",
    b"content-length",
];

/// What servers are told of a client in each request (RFC 7239 and the older form).
#[derive(Clone, Debug)]
pub struct Forwarded {
    address: String,
    element: String,
}

impl Forwarded {
    pub fn new(client: IpAddr, tls: bool) -> Forwarded {
        let proto = if tls { "https" } else { "http" };
        let element = match client {
            IpAddr::V4(_) => format!("for={client};proto={proto}"),
            IpAddr::V6(_) => format!("for=\"[{client}]\";proto={proto}"),
        };
        Forwarded { address: client.to_string(), element }
    }
}

fn is_hop_by_hop(name: &[u8]) -> bool {
    HOP_BY_HOP.iter().any(|each| name.eq_ignore_ascii_case(each))
}

/// Whether `Connection` names this field as one that is not meant for the other side.
fn is_named(fields: &Fields, name: &[u8]) -> bool {
    let mut words = fields.all(b"connection").flat_map(|value| value.split(|&byte| byte == b','));
    !name.eq_ignore_ascii_case(b"host") && words.any(|word| trim(word).eq_ignore_ascii_case(name))
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

fn kept(fields: &Fields) -> impl Iterator<Item = (&[u8], &[u8])> {
    let named = fields.all(b"connection").next().is_some();
    fields.iter().filter(move |(name, _)| !(is_hop_by_hop(name) || named && is_named(fields, name)))
}

fn upgrade(fields: &Fields, out: &mut Vec<u8>) {
    fields.all(b"upgrade").for_each(|value| field(out, b"upgrade", value));
    field(out, b"connection", b"upgrade");
}

pub fn write_request(head: &RequestHead, forwarded: Option<&Forwarded>, out: &mut Vec<u8>) {
    for part in [head.method(), b" ", head.path_and_query(), b" HTTP/1.1\r\n"] {
        out.extend_from_slice(part);
    }
    field(out, b"host", head.authority());
    let fields = &head.fields;
    for (name, value) in kept(fields) {
        let told = name.eq_ignore_ascii_case(b"x-forwarded-for") || name.eq_ignore_ascii_case(b"forwarded");
        if !(name.eq_ignore_ascii_case(b"host") || (told && forwarded.is_some())) {
            field(out, name, value);
        }
    }
    if let Some(forwarded) = forwarded {
        let told = [("x-forwarded-for", &forwarded.address), ("forwarded", &forwarded.element)];
        for (name, ours) in told {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            for value in fields.all(name.as_bytes()) {
                out.extend_from_slice(value);
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(ours.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
    match head.framing {
        Framing::Chunked => field(out, b"transfer-encoding", b"chunked"),
        Framing::Length(length) if length > 0 || fields.all(b"content-length").next().is_some() => {
            let _ = write!(out, "content-length: {length}\r\n");
        }
        Framing::Length(_) | Framing::Close => {}
    }
    if head.upgrades {
        upgrade(fields, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// How an answer is written for a client.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnswerStyle<'a> {
    /// Its body will be chunked.
    pub chunked: bool,
    pub closes: bool,
    /// Goes on in another protocol (status 101).
    pub upgrades: bool,
    /// Without a body: what is said about its length is about something else, and passed on (RFC 9110 8.6).
    pub bodiless: bool,
    pub cookie: &'a str,
}

pub fn write_answer(head: &AnswerHead, style: AnswerStyle<'_>, out: &mut Vec<u8>) {
    let _ = write!(out, "HTTP/1.1 {} ", head.status);
    out.extend_from_slice(head.reason());
    out.extend_from_slice(b"\r\n");
    let fields = &head.fields;
    for (name, value) in kept(fields) {
        field(out, name, value);
    }
    if !style.cookie.is_empty() {
        field(out, b"set-cookie", style.cookie.as_bytes());
    }
    if style.chunked {
        field(out, b"transfer-encoding", b"chunked");
    } else if let (Framing::Length(length), false) = (head.framing, style.bodiless) {
        let _ = write!(out, "content-length: {length}\r\n");
    } else if let (Some(value), true, 200..) = (fields.all(b"content-length").next(), style.bodiless, head.status) {
        if head.status != 204 {
            field(out, b"content-length", value);
        }
    }
    if style.upgrades {
        upgrade(fields, out);
    } else if style.closes {
        field(out, b"connection", b"close");
    }
    out.extend_from_slice(b"\r\n");
}

/// A whole answer of the gateway's own, after which the connection ends.
pub fn write_refusal(status: u16, to_head: bool, out: &mut Vec<u8>) {
    let text = match status {
        408 => "Request Timeout",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Bad Request",
    };
    let body = format!("{status} {text}\n");
    let length = body.len();
    let _ = write!(out, "HTTP/1.1 {status} {text}\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n");
    out.extend_from_slice(b"connection: close\r\n\r\n");
    if !to_head {
        out.extend_from_slice(body.as_bytes());
    }
}
