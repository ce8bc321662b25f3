//! The head of an HTTP/1.1 message, by httparse; what two parsers could read in two ways is refused (RFC 9112 11.2).

pub const MAX_HEAD: usize = 65_536;
const MAX_FIELDS: usize = 128;
/// RFC 9112 sets no limit; more digits than these are no length of anything.
const MAX_LENGTH_DIGITS: usize = 18;

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length(u64),
    Chunked,
    /// With the connection.
    Close,
}

/// Why a message goes no further, and the status that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bad {
    pub reason: &'static str,
    pub status: u16,
}

const MALFORMED: Bad = Bad { reason: "http_malformed", status: 400 };
const TOO_LARGE: Bad = Bad { reason: "http_malformed", status: 431 };
const UNKNOWN_CODING: Bad = Bad { reason: "http_malformed", status: 501 };
const BAD_ANSWER: Bad = Bad { reason: "http_bad_answer", status: 502 };

#[derive(Clone, Copy, Debug, Default)]
struct Span(u32, u32);

impl Span {
    fn of(part: &[u8], whole: &[u8]) -> Span {
        let start = part.as_ptr() as usize - whole.as_ptr() as usize;
        Span(start as u32, (start + part.len()) as u32)
    }

    fn get(self, whole: &[u8]) -> &[u8] {
        &whole[self.0 as usize..self.1 as usize]
    }
}

/// Header fields in their order, with the bytes that they are parts of.
#[derive(Debug, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    spans: Vec<(Span, Span)>,
}

impl Fields {
    fn copy(bytes: &[u8], fields: &[httparse::Header<'_>]) -> Fields {
        let spans = fields.iter().map(|each| (Span::of(each.name.as_bytes(), bytes), Span::of(each.value, bytes)));
        Fields { spans: spans.collect(), bytes: bytes.to_vec() }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.spans.iter().map(|(name, value)| (name.get(&self.bytes), value.get(&self.bytes)))
    }

    pub fn all<'a>(&'a self, wanted: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
    }

    /// Whether a list of words has this one.
    fn lists(&self, name: &[u8], word: &[u8]) -> bool {
        self.all(name).any(|value| value.split(|&byte| byte == b',').any(|each| trim(each).eq_ignore_ascii_case(word)))
    }
}

#[derive(Debug)]
pub struct RequestHead {
    pub(crate) fields: Fields,
    pub minor: u8,
    pub framing: Framing,
    /// The client wants no further request on this connection.
    pub closes: bool,
    /// Asks for another protocol, that may be passed on (RFC 9110 7.8): not HTTP/2 without TLS, behind which requests
    /// would pass unseen.
    pub upgrades: bool,
    method: Span,
    target: Span,
    /// Where the path begins: an absolute target names the authority before it.
    path: Span,
    authority: Span,
}

impl RequestHead {
    /// As it came.
    pub fn bytes(&self) -> &[u8] {
        &self.fields.bytes
    }

    /// The head that `data` begins with and its length; None while it is incomplete.
    pub fn decode(data: &[u8]) -> Result<Option<(RequestHead, usize)>, Bad> {
        let mut space = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut parsed = httparse::Request::new(&mut space);
        let length = match parsed.parse(data) {
            Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => length,
            Ok(httparse::Status::Partial) if data.len() <= MAX_HEAD => return Ok(None),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(TOO_LARGE),
            Err(_) => return Err(MALFORMED),
        };
        let bytes = &data[..length];
        let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(MALFORMED);
        };
        let fields = Fields::copy(bytes, parsed.headers);
        let mut head = RequestHead {
            minor,
            framing: Framing::Length(0),
            closes: minor == 0 || fields.lists(b"connection", b"close"),
            upgrades: false,
            method: Span::of(method.as_bytes(), bytes),
            target: Span::of(target.as_bytes(), bytes),
            path: Span::default(),
            authority: Span::default(),
            fields,
        };
        head.find_authority()?;
        head.find_framing()?;
        let asks = head.fields.all(b"upgrade").next().is_some();
        head.upgrades = minor == 1 && asks && !head.fields.all(b"upgrade").any(asks_for_http2);
        Ok(Some((head, length)))
    }

    /// Has no body, and says so by saying nothing, or that its length is nought.
    pub fn is_bare(&self) -> bool {
        self.framing == Framing::Length(0)
    }

    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter()
    }

    pub fn method(&self) -> &[u8] {
        self.method.get(&self.fields.bytes)
    }

    pub fn target(&self) -> &[u8] {
        self.target.get(&self.fields.bytes)
    }

    /// The target as a server wants it: a path with its query, or `*`.
    pub fn path_and_query(&self) -> &[u8] {
        match self.path.get(&self.fields.bytes) {
            b"" => b"/",
            path => path,
        }
    }

    /// Host and perhaps port that are asked for.
    pub fn authority(&self) -> &[u8] {
        self.authority.get(&self.fields.bytes)
    }

    /// Asks for no change (RFC 9110 9.2.1).
    pub fn is_safe(&self) -> bool {
        matches!(self.method(), b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE")
    }

    /// May be done twice without harm (RFC 9110 9.2.2).
    pub fn is_idempotent(&self) -> bool {
        matches!(self.method(), b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE")
    }

    fn find_authority(&mut self) -> Result<(), Bad> {
        let whole = &self.fields.bytes;
        let mut hosts = self.fields.all(b"host");
        let host = hosts.next();
        if hosts.next().is_some() || (host.is_none() && self.minor == 1) {
            return Err(MALFORMED);
        }
        let target = self.target();
        if !target.iter().all(|byte| (0x21..0x7f).contains(byte)) {
            return Err(MALFORMED);
        }
        if self.method() == b"CONNECT" {
            return Err(Bad { reason: "http_connect", status: 501 });
        }
        let rest = [b"http://".as_slice(), b"https://"].into_iter().find_map(|scheme| {
            let begins = target.len() >= scheme.len() && target[..scheme.len()].eq_ignore_ascii_case(scheme);
            begins.then(|| &target[scheme.len()..])
        });
        let (authority, path) = match rest {
            Some(rest) => {
                let end = rest.iter().position(|&byte| byte == b'/' || byte == b'?').unwrap_or(rest.len());
                if rest.get(end) == Some(&b'?') || end == 0 {
                    return Err(MALFORMED);
                }
                rest.split_at(end)
            }
            None if target.starts_with(b"/") || target == b"*" => (host.unwrap_or(b""), target),
            None => return Err(MALFORMED),
        };
        if ![authority, host.unwrap_or(b"")].iter().all(|each| each.iter().all(|&byte| is_authority(byte))) {
            return Err(MALFORMED);
        }
        (self.authority, self.path) =
            (if authority.is_empty() { Span::default() } else { Span::of(authority, whole) }, Span::of(path, whole));
        Ok(())
    }

    fn find_framing(&mut self) -> Result<(), Bad> {
        let fields = &self.fields;
        let coded = fields.all(b"transfer-encoding").next().is_some();
        if coded {
            if fields.all(b"content-length").next().is_some() {
                return Err(Bad { reason: "http_length_and_chunked", status: 400 });
            }
            if self.minor == 0 {
                return Err(Bad { reason: "http_chunked_in_1_0", status: 400 });
            }
            if !is_chunked(fields) {
                return Err(UNKNOWN_CODING);
            }
            self.framing = Framing::Chunked;
            return Ok(());
        }
        let mut lengths = fields.all(b"content-length");
        if let Some(first) = lengths.next() {
            if lengths.next().is_some() {
                return Err(Bad { reason: "http_malformed", status: 400 });
            }
            self.framing = Framing::Length(length(first).ok_or(MALFORMED)?);
        }
        Ok(())
    }
}

#[derive(Debug)]
pub struct AnswerHead {
    pub(crate) fields: Fields,
    pub status: u16,
    pub framing: Framing,
    /// The server connection may serve another request behind this answer.
    pub reusable: bool,
    reason: Span,
}

impl AnswerHead {
    /// `to_head`: the request was HEAD, so there is no body whatever the fields say.
    pub fn decode(data: &[u8], to_head: bool) -> Result<Option<(AnswerHead, usize)>, Bad> {
        let mut space = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut parsed = httparse::Response::new(&mut space);
        let length = match parsed.parse(data) {
            Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => length,
            Ok(httparse::Status::Partial) if data.len() <= MAX_HEAD => return Ok(None),
            _ => return Err(BAD_ANSWER),
        };
        let bytes = &data[..length];
        let (Some(status), Some(minor)) = (parsed.code, parsed.version) else { return Err(BAD_ANSWER) };
        let fields = Fields::copy(bytes, parsed.headers);
        let reason = parsed.reason.filter(|text| !text.is_empty());
        let reason = reason.map_or(Span::default(), |text| Span::of(text.as_bytes(), bytes));
        let mut head = AnswerHead { fields, status, framing: Framing::Close, reusable: false, reason };
        let kept = minor == 1 && !head.fields.lists(b"connection", b"close");
        head.find_framing(minor, to_head)?;
        let both = head.framing == Framing::Chunked && head.fields.all(b"content-length").next().is_some();
        head.reusable = kept && head.framing != Framing::Close && !both;
        Ok(Some((head, length)))
    }

    pub fn reason(&self) -> &[u8] {
        self.reason.get(&self.fields.bytes)
    }

    fn find_framing(&mut self, minor: u8, to_head: bool) -> Result<(), Bad> {
        if !(100..1000).contains(&self.status) {
            return Err(BAD_ANSWER);
        }
        let coded = self.fields.all(b"transfer-encoding").next().is_some();
        if coded && (minor == 0 || !is_chunked(&self.fields)) {
            return Err(BAD_ANSWER);
        }
        let mut lengths = self.fields.all(b"content-length");
        let first = lengths.next();
        if lengths.any(|other| Some(other) != first) {
            return Err(BAD_ANSWER);
        }
        let declared = first.map(|text| length(text).ok_or(BAD_ANSWER)).transpose()?;
        self.framing = if to_head || self.status < 200 || matches!(self.status, 204 | 304) {
            Framing::Length(0)
        } else if coded {
            Framing::Chunked
        } else {
            declared.map_or(Framing::Close, Framing::Length)
        };
        Ok(())
    }
}

/// Fields of a trailer section, which is complete; those that would say something else about the message are left out.
pub fn decode_trailers(data: &[u8]) -> Option<Fields> {
    let mut space = [httparse::EMPTY_HEADER; MAX_FIELDS];
    match httparse::parse_headers(data, &mut space) {
        Ok(httparse::Status::Complete((length, fields))) if length == data.len() => {
            let mut kept = Fields::copy(data, fields);
            let bytes = std::mem::take(&mut kept.bytes);
            kept.spans.retain(|(name, _)| !is_forbidden_in_trailers(name.get(&bytes)));
            kept.bytes = bytes;
            Some(kept)
        }
        _ => None,
    }
}

fn is_forbidden_in_trailers(name: &[u8]) -> bool {
    const FORBIDDEN: [&[u8]; 11] = [
        b"content-length",
        b"transfer-encoding",
        b"host",
        b"connection",
        b"upgrade",
        b"te",
        b"trailer",
        b"keep-alive",
        b"set-cookie",
        b"authorization",
        b"content-encoding",
    ];
    FORBIDDEN.iter().any(|each| name.eq_ignore_ascii_case(each))
}

pub(crate) fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

fn is_chunked(fields: &Fields) -> bool {
    let mut codings = fields.all(b"transfer-encoding");
    let only = codings.next().is_some_and(|value| trim(value).eq_ignore_ascii_case(b"chunked"));
    only && codings.next().is_none()
}

fn length(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= MAX_LENGTH_DIGITS && text.iter().all(u8::is_ascii_digit);
    digits.then(|| text.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0')))
}

fn is_authority(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte)
}

fn asks_for_http2(value: &[u8]) -> bool {
    value.windows(3).any(|window| window.eq_ignore_ascii_case(b"h2c"))
}
