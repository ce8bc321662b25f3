//! What a gateway asks of a content proxy, by `TRANSFER_REQUEST` (`braid/transfer.py`), as far as it decides a refusal.

use crate::directives::{field, members, Fields};
use braid_packet::TcpRecord;
use std::net::IpAddr;

pub(crate) const VERSION: u8 = 1;
pub(crate) const REQUEST: u8 = 16;
/// Where the key of what is asked for begins.
pub(crate) const HEAD: usize = 40;
const MOST_CONTENT: usize = 1024;
/// As many as the parser of the proxies takes.
const MOST_FIELDS: usize = 128;

/// Why a message is no request that can be decided here. The control side says what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRequest {
    Short,
    Version,
    Kind,
    Length,
    Content,
    Record(&'static str),
}

/// What decides, of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    pub id: [u8; 16],
    pub vip: IpAddr,
    pub content: &'a [u8],
    record: &'a [u8],
}

impl Asked<'_> {
    pub fn decode(message: &[u8]) -> Result<Asked<'_>, BadRequest> {
        let (head, rest) = message.split_first_chunk::<HEAD>().ok_or(BadRequest::Short)?;
        let number = |at: usize| usize::from(u16::from_be_bytes([head[at], head[at + 1]]));
        if head[0] != VERSION {
            return Err(BadRequest::Version);
        }
        if head[1] != REQUEST {
            return Err(BadRequest::Kind);
        }
        if number(2) != message.len() {
            return Err(BadRequest::Length);
        }
        let length = number(38);
        if length == 0 || length > MOST_CONTENT {
            return Err(BadRequest::Content);
        }
        let (content, record) = rest.split_at_checked(length).ok_or(BadRequest::Short)?;
        let vip = TcpRecord::local_host(record).map_err(BadRequest::Record)?;
        let id = std::array::from_fn(|at| head[4 + at]);
        Ok(Asked { id, vip, content, record })
    }

    /// What `look` makes of the fields of the request that comes with the connection. None: it is not one that is whole, or says
    /// that some of them only concern the connection.
    pub(crate) fn with_fields<T>(&self, look: impl FnOnce(&Fields<'_>) -> T) -> Option<T> {
        let record = TcpRecord::decode(self.record).ok()?;
        let mut space = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut parsed = httparse::Request::new(&mut space);
        let whole = parsed.parse(&record.unread).ok()? == httparse::Status::Complete(record.unread.len());
        let fields: Vec<(&[u8], &[u8])> =
            parsed.headers.iter().map(|each| (each.name.as_bytes(), each.value)).collect();
        let usual = |word: &[u8]| word.eq_ignore_ascii_case(b"keep-alive") || word.eq_ignore_ascii_case(b"close");
        let plain = field(&fields, b"connection").is_none_or(|value| members(&value).into_iter().all(usual));
        (whole && plain).then(|| look(&fields))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) const VIP: [u8; 4] = [10, 91, 1, 173];
    pub(crate) const KEY: &[u8] = b"http://shop.apps.example/a";

    pub(crate) fn bytes(text: &str, name: &str) -> Vec<u8> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap();
        let digits: Vec<u8> = line.bytes().filter(|byte| *byte != b' ').collect();
        let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
        digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
    }

    pub(crate) fn golden(name: &str) -> Vec<u8> {
        bytes(include_str!("../../../tests/vectors/transfer.txt"), name)
    }

    /// With an id of its own.
    pub(crate) fn request(id: u8, vip: [u8; 4], content: &[u8], head: &[u8]) -> Vec<u8> {
        let record = TcpRecord {
            local: (vip, 80).into(),
            remote: ([192, 0, 2, 7], 4000).into(),
            send_next: 1,
            receive_next: 2,
            mss: 1360,
            scales: None,
            sack: false,
            timestamp: None,
            window: Default::default(),
            unread: head.to_vec(),
            unacknowledged: Vec::new(),
            unsent: Vec::new(),
        };
        let mut message = golden("request")[..HEAD].to_vec();
        message[4..20].fill(id);
        message[38..40].copy_from_slice(&(content.len() as u16).to_be_bytes());
        message.extend_from_slice(content);
        message.extend(record.encode());
        let length = message.len() as u16;
        message[2..4].copy_from_slice(&length.to_be_bytes());
        message
    }

    #[test]
    fn a_request_is_what_python_makes_of_it() {
        let found = golden("request_of_a_connection");
        let asked = Asked::decode(&found).unwrap();
        assert_eq!((asked.vip, asked.content), (IpAddr::from(VIP), KEY));
        assert_eq!(Asked::decode(&golden("request")), Err(BadRequest::Record("record_truncated")));
        assert_eq!(Asked::decode(&golden("accept")), Err(BadRequest::Short));
    }

    #[test]
    fn what_is_no_request_is_not_decided() {
        let good = request(1, VIP, KEY, b"GET");
        let wrong = |at: usize, value: u8| {
            let mut message = good.clone();
            message[at] = value;
            Asked::decode(&message).map(|_| ()).unwrap_err()
        };
        assert_eq!(wrong(0, 2), BadRequest::Version);
        assert_eq!(wrong(1, 17), BadRequest::Kind);
        assert_eq!(wrong(3, good[3] ^ 1), BadRequest::Length);
        assert_eq!(wrong(39, 0), BadRequest::Content);
        assert_eq!(wrong(38, 4), BadRequest::Content);
        assert_eq!(wrong(38, 3), BadRequest::Short);
        assert_eq!(wrong(HEAD + KEY.len(), 2), BadRequest::Record("record_version"));
    }

    #[test]
    fn fields_are_those_of_one_whole_head() {
        let counted = |head: &[u8]| {
            let message = request(1, VIP, KEY, head);
            Asked::decode(&message).unwrap().with_fields(|fields| fields.len())
        };
        assert_eq!(counted(b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n"), Some(2));
        assert_eq!(counted(b"GET / HTTP/1.1\r\nConnection: Keep-Alive, close\r\n\r\n"), Some(1));
        assert_eq!(counted(b"GET / HTTP/1.1\r\nConnection: accept\r\n\r\n"), None, "it is not to be passed on");
        assert_eq!(counted(b"GET / HTTP/1.1\r\nHost: x\r\n"), None);
        assert_eq!(counted(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET"), None);
        assert_eq!(counted(b"GET / HTTP/1.1\r\nHost\r\n\r\n"), None);
        assert_eq!(
            counted(&[b"GET / HTTP/1.1\r\n".to_vec(), b"a:b\r\n".repeat(MOST_FIELDS + 1), b"\r\n".to_vec()].concat()),
            None
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_left(at in 0usize..120, value in any::<u8>(), keep in 0usize..130, tail in proptest::collection::vec(any::<u8>(), 0..9)) {
            let mut message = request(1, VIP, KEY, b"GET / HTTP/1.1\r\n\r\n");
            if let Some(byte) = message.get_mut(at) {
                *byte = value;
            }
            message.truncate(keep);
            message.extend(tail);
            let length = message.len() as u16;
            for length_too in [false, true] {
                if length_too && message.len() > 3 {
                    message[2..4].copy_from_slice(&length.to_be_bytes());
                }
                if let Ok(asked) = Asked::decode(&message) {
                    prop_assert_eq!(&message[4..20], &asked.id);
                    prop_assert_eq!(&message[HEAD..HEAD + asked.content.len()], asked.content);
                    asked.with_fields(|fields| fields.len());
                }
            }
        }
    }
}
