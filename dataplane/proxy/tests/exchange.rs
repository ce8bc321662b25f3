//! Requests and answers through `Exchange`, whole and byte by byte; what is refused, and what arbitrary bytes do.

use braid_proxy::{Exchange, Failure, Forwarded, Step, Verdict};
use proptest::prelude::*;

const LIMIT: usize = 262_144;

struct Bench {
    exchange: Exchange,
    server: Vec<u8>,
    client: Vec<u8>,
    steps: Vec<Step>,
}

impl Bench {
    fn new() -> Bench {
        let forwarded = Forwarded::new("198.51.100.7".parse().expect("an address"), false);
        let exchange = Exchange::new(LIMIT, Some(forwarded));
        Bench { exchange, server: Vec::new(), client: Vec::new(), steps: Vec::new() }
    }

    /// Select a server for whatever asks for one, and let both sides have their bytes.
    fn settle(&mut self) {
        while let Some(step) = self.exchange.steps.pop_front() {
            if step == Step::Select {
                self.exchange.select("");
            }
            self.steps.push(step);
        }
        let waiting = self.exchange.transmit.waiting().to_vec();
        self.exchange.transmit.advance(waiting.len());
        self.server.extend(waiting);
        self.client.append(&mut self.exchange.outbox);
    }

    fn client(&mut self, data: &[u8]) -> &mut Bench {
        self.exchange.client_data(data);
        self.settle();
        self
    }

    fn server(&mut self, data: &[u8]) -> &mut Bench {
        self.exchange.server_data(data);
        self.settle();
        self
    }

    fn take(&mut self) -> (String, String, Vec<Step>) {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        let (server, client) = (std::mem::take(&mut self.server), std::mem::take(&mut self.client));
        (text(server), text(client), std::mem::take(&mut self.steps))
    }
}

#[test]
fn a_request_and_its_answer_are_written_anew() {
    let mut bench = Bench::new();
    bench.client(b"GET http://shop.example/a?b HTTP/1.1\r\nHOST: other\r\nConnection: x, keep-alive\r\nX: 1\r\nY:  2 \r\nX-Forwarded-For: 192.0.2.1\r\n\r\n");
    let (server, _, steps) = bench.take();
    let told = "x-forwarded-for: 192.0.2.1, 198.51.100.7\r\nforwarded: for=198.51.100.7;proto=http\r\n\r\n";
    assert_eq!(server, format!("GET /a?b HTTP/1.1\r\nhost: shop.example\r\nY: 2\r\n{told}"));
    assert_eq!(steps, [Step::Select]);
    bench.server(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nKeep-Alive: timeout=5\r\nZ: 3\r\n\r\nbody");
    let (_, client, steps) = bench.take();
    assert_eq!(client, "HTTP/1.1 200 OK\r\nZ: 3\r\ncontent-length: 4\r\n\r\nbody");
    assert_eq!(steps, [Step::Served(200, 4), Step::Release]);
}

#[test]
fn what_an_unsafe_request_has_changed_is_said_before_its_client_hears_of_it() {
    let asked = |method: &str, answer: &str| {
        let mut bench = Bench::new();
        bench.client(format!("{method} /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n.").as_bytes());
        bench.take();
        bench.exchange.server_data(answer.as_bytes());
        let said: Vec<Step> = bench.exchange.steps.iter().cloned().collect();
        (said, bench)
    };
    let begin = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nLocation: /b\r\ncontent-location: /c\r\n";
    for method in ["POST", "PUT", "DELETE", "PATCH", "FROB"] {
        let (said, mut bench) = asked(method, &format!("{begin}Content-Length: 4\r\n\r\nha"));
        assert_eq!(said, [Step::Changed(vec![b"/b".to_vec(), b"/c".to_vec()])], "{method}: before the body has come");
        bench.settle();
        bench.take();
        bench.server(b"lf");
        assert_eq!(bench.take().2, [Step::Served(201, 4), Step::Release], "and once");
    }
    let bare = "Content-Length: 0\r\n\r\n";
    assert_eq!(asked("POST", &format!("HTTP/1.1 303 See Other\r\n{bare}")).0[0], Step::Changed(vec![]));
    for (method, status) in [("GET", 200), ("HEAD", 200), ("OPTIONS", 204), ("TRACE", 200), ("POST", 404), ("PUT", 500)]
    {
        let (said, _) = asked(method, &format!("HTTP/1.1 {status} x\r\n{bare}"));
        assert_eq!(said[0], Step::Served(status, 0), "{method} {status}");
    }
}

#[test]
fn bytes_that_come_one_by_one_mean_the_same() {
    let request = b"POST /up HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nT: 1\r\nHost: y\r\n\r\n";
    let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let mut bench = Bench::new();
    for byte in request {
        bench.client(&[*byte]);
    }
    let (server, _, _) = bench.take();
    assert!(server.ends_with("\r\n\r\n1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\nT: 1\r\n\r\n"), "{server}");
    for byte in answer {
        bench.server(&[*byte]);
    }
    let (_, client, steps) = bench.take();
    assert!(client.ends_with("chunked\r\n\r\n1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n0\r\n\r\n"), "{client}");
    assert_eq!(steps, [Step::Changed(vec![]), Step::Served(200, 5), Step::Release]);
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let cases: [(&str, &str, u16); 22] = [
        ("GET / HTTP/1.1\r\n\r\n", "http_malformed", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", "http_malformed", 400),
        ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", "http_malformed", 400),
        ("GET / HTTP/1.1\r\n Host: x\r\n\r\n", "http_malformed", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", "http_malformed", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n", "http_malformed", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", "http_malformed", 400),
        ("GET / HTTP/1.1\r\nHost: x@y\r\n\r\n", "http_malformed", 400),
        ("GET x HTTP/1.1\r\nHost: x\r\n\r\n", "http_malformed", 400),
        ("GET http://u@y/ HTTP/1.1\r\nHost: x\r\n\r\n", "http_malformed", 400),
        ("GET / HTTP/2.0\r\nHost: x\r\n\r\n", "http_malformed", 400),
        ("CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", "http_connect", 501),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n", "http_malformed", 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4, 4\r\n\r\n", "http_malformed", 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\n", "http_malformed", 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999999999999\r\n\r\n", "http_malformed", 400),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
            "http_length_and_chunked",
            400,
        ),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n", "http_malformed", 501),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "http_malformed", 501),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "http_malformed",
            501,
        ),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "http_chunked_in_1_0", 400),
        ("\x16\x03\x01\x02\0\x01\0", "http_malformed", 400),
    ];
    for (raw, reason, status) in cases {
        let mut bench = Bench::new();
        let (server, client, steps) = bench.client(raw.as_bytes()).take();
        assert_eq!(server, "", "{raw}");
        assert!(client.starts_with(&format!("HTTP/1.1 {status} ")), "{raw}: {client}");
        assert_eq!(steps, [Step::Refused(reason.into(), None), Step::Close], "{raw}");
    }
}

#[test]
fn chunks_that_are_none_end_the_connection() {
    for body in
        ["x\r\n", "1 1\r\n", "-1\r\n", "1\nab\r\n", "1\r\nabc", "1\r\na\n", "0\r\nA B\r\n\r\n", "fffffffffffffffff\r\n"]
    {
        let mut bench = Bench::new();
        bench.client(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        let (_, _, steps) = bench.client(body.as_bytes()).take();
        assert!(steps.contains(&Step::Refused("http_malformed".into(), Some((400, 0)))), "{body:?}: {steps:?}");
    }
}

#[test]
fn answers_that_are_none_are_a_502_and_half_ones_a_reset() {
    let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    for answer in [
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    ] {
        let mut bench = Bench::new();
        let (_, client, steps) = bench.client(request).server(answer.as_bytes()).take();
        assert!(client.starts_with("HTTP/1.1 502 "), "{answer}: {client}");
        assert_eq!(
            steps[1..],
            [Step::Drop, Step::Refused("http_bad_answer".into(), Some((502, 0))), Step::Close],
            "{answer}"
        );
    }
    let mut bench = Bench::new();
    bench.client(request).server(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").take();
    assert_eq!(bench.exchange.server_end(), Some(Failure::Closed));
    assert_eq!(bench.exchange.server_failed(Failure::Closed, true), Verdict::Over);
    bench.settle();
    assert_eq!(bench.take().2, [Step::Refused("http_bad_answer".into(), Some((200, 4))), Step::Reset]);
}

#[test]
fn more_than_was_asked_for_ends_the_server_connection() {
    let mut bench = Bench::new();
    bench.client(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").take();
    let two = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb";
    let (_, client, steps) = bench.server(two).take();
    assert!(client.ends_with("\r\n\r\na"), "{client}");
    assert_eq!(steps, [Step::Served(200, 1), Step::Drop]);
}

#[test]
fn a_kept_connection_that_was_closed_is_tried_again_once_and_a_post_is_not() {
    let get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".as_slice();
    let post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx".as_slice();
    for (request, failure, reused, verdict) in [
        (get, Failure::Closed, true, Verdict::Again),
        (get, Failure::Reset, false, Verdict::Another),
        (get, Failure::Connect, true, Verdict::Another),
        (post, Failure::Connect, false, Verdict::Another),
        (post, Failure::Closed, false, Verdict::Over),
        (get, Failure::Silent, false, Verdict::Over),
    ] {
        let mut bench = Bench::new();
        let sent = bench.client(request).take().0;
        assert_eq!(bench.exchange.server_failed(failure, reused), verdict, "{failure:?}");
        if verdict == Verdict::Another {
            bench.exchange.select("");
        }
        bench.settle();
        assert_eq!(bench.take().0, if verdict == Verdict::Over { String::new() } else { sent });
    }
}

#[test]
fn an_answer_before_the_end_of_a_request_ends_the_client_connection() {
    let mut bench = Bench::new();
    bench.client(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf").take();
    let (_, client, steps) = bench.server(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n").take();
    assert_eq!(client, "HTTP/1.1 413 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    assert_eq!(steps, [Step::Served(413, 0), Step::Drop, Step::Close]);
}

proptest! {
    #[test]
    fn arbitrary_bytes_of_both_sides_do_no_harm(
        pieces in prop::collection::vec((any::<bool>(), prop::collection::vec(prop_oneof![
            Just(b"GET / HTTP/1.1\r\nHost: x\r\n".to_vec()),
            Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
            Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
            Just(b"Content-Length: 3\r\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"3\r\nabc\r\n0\r\n".to_vec()),
            prop::collection::vec(any::<u8>(), 0..20),
        ], 0..6)), 0..12)
    ) {
        let mut bench = Bench::new();
        for (from_client, words) in pieces {
            let data = words.concat();
            if from_client {
                bench.client(&data);
            } else {
                bench.server(&data);
            }
        }
        bench.exchange.client_end();
        bench.settle();
    }

    #[test]
    fn a_request_is_understood_the_same_however_it_is_cut(cuts in prop::collection::vec(0usize..120, 0..6)) {
        let raw = b"PUT /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\nGET /q HTTP/1.1\r\nHost: x\r\n\r\n";
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(raw.len())).collect();
        cuts.extend([0, raw.len()]);
        cuts.sort_unstable();
        let mut bench = Bench::new();
        for pair in cuts.windows(2) {
            bench.client(&raw[pair[0]..pair[1]]);
        }
        bench.server(b"HTTP/1.1 204 No Content\r\n\r\n");
        let (server, _, steps) = bench.take();
        let expected = [Step::Select, Step::Changed(vec![]), Step::Served(204, 0), Step::Release, Step::Select];
        prop_assert_eq!(&steps, &expected);
        prop_assert!(server.contains("GET /q HTTP/1.1\r\n"));
    }
}

#[test]
fn a_request_may_move_when_nothing_else_is_under_way() {
    let head = b"GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    let movable = |data: &[u8]| {
        let mut exchange = Exchange::new(LIMIT, None);
        exchange.client_data(data);
        exchange.movable().map(<[u8]>::to_vec)
    };
    assert_eq!(movable(head), Some(head.to_vec()));
    assert_eq!(movable(&head[..20]), None, "half a request");
    assert_eq!(movable(&[&head[..], b"GET"].concat()), None, "pipelined");
    assert_eq!(movable(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"), None, "with a body");
    assert_eq!(movable(b"GET /a HTTP/1.0\r\nHost: a\r\n\r\n"), None);
    assert_eq!(movable(b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), None);
    let mut exchange = Exchange::new(LIMIT, None);
    exchange.client_data(head);
    exchange.client_end();
    assert_eq!(exchange.movable(), None, "the client has ended");
    let mut bench = Bench::new();
    bench.client(head);
    assert_eq!(bench.exchange.movable(), None, "a server has it");
    bench.server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
    bench.exchange.client_data(head);
    assert_eq!(bench.exchange.movable(), None, "an answer is under way");
    bench.exchange.server_data(b"ok");
    assert_eq!(bench.exchange.movable(), None, "its end has not been sent");
    bench.exchange.outbox.clear();
    assert_eq!(bench.exchange.movable(), Some(&head[..]));
}

#[test]
fn an_answer_of_known_length_is_opaque_behind_its_head_while_nothing_else_is_under_way() {
    let mut bench = Bench::new();
    bench.client(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(bench.exchange.opaque(), None);
    bench.server(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    assert_eq!((bench.exchange.opaque(), bench.exchange.answered()), (Some(7), (200, 3)));
    assert!(!bench.exchange.is_resting());
    bench.server(b"defghij");
    assert_eq!((bench.exchange.opaque(), bench.exchange.is_resting()), (None, true));
    bench.client(b"GET");
    assert!(!bench.exchange.is_resting(), "the next request has begun");
    for (request, answer, more) in [
        // The next request is here, the body ends with the connection, in chunks, and who is to be closed behind it.
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "GET"),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", ""),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ""),
        ("GET / HTTP/1.0\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", ""),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\n", ""),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
            "",
        ),
    ] {
        let mut bench = Bench::new();
        bench.client(request.as_bytes()).server(answer.as_bytes()).client(more.as_bytes());
        assert_eq!(bench.exchange.opaque(), None, "{request}{answer}{more}");
    }
}
