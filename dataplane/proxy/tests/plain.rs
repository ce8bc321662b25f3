//! Bytes that pass as they are, through `Exchange`: which server may still change, when nobody needs to see more.

use braid_proxy::{Exchange, Failure, Step, Verdict};

const LIMIT: usize = 1000;

fn steps(exchange: &mut Exchange) -> Vec<Step> {
    exchange.steps.drain(..).collect()
}

/// A connection whose server is there.
fn opened() -> Exchange {
    let mut exchange = Exchange::plain(LIMIT, false);
    exchange.select("");
    exchange
}

fn send(exchange: &mut Exchange, data: &[u8]) {
    exchange.client_data(data);
    let waiting = exchange.transmit.waiting().len();
    exchange.transmit.advance(waiting);
}

#[test]
fn a_server_may_speak_first_and_is_free_from_its_first_byte_on() {
    let mut exchange = opened();
    assert!(exchange.is_present() && !exchange.is_free());
    exchange.server_data(b"220");
    assert_eq!(exchange.outbox, b"220");
    assert!(exchange.is_free());
    exchange.client_data(b"EHLO");
    assert_eq!(exchange.transmit.waiting(), b"EHLO");
    assert!(exchange.is_free(), "what waits goes along");
}

#[test]
fn the_first_bytes_are_shown_until_they_are_enough() {
    let mut exchange = Exchange::plain(LIMIT, true);
    assert!(exchange.is_pending() && !exchange.is_present());
    exchange.client_data(b"he");
    exchange.client_data(b"llo");
    assert_eq!(exchange.first_bytes(), Some(&b"hello"[..]));
    assert_eq!(steps(&mut exchange), [Step::Select, Step::Select]);
    exchange.select("");
    assert_eq!(exchange.first_bytes(), None);
    assert!(exchange.is_present() && !exchange.is_pending());
    assert_eq!(exchange.transmit.waiting(), b"hello");
    exchange.client_data(b"more");
    assert_eq!(steps(&mut exchange), []);
}

#[test]
fn another_server_gets_all_of_it_until_one_has_answered_or_too_much_was_sent() {
    let mut exchange = opened();
    send(&mut exchange, b"hello");
    assert_eq!(exchange.server_failed(Failure::Reset, false), Verdict::Another);
    exchange.select("");
    assert_eq!(exchange.transmit.waiting(), b"hello");
    send(&mut exchange, b"");
    exchange.server_data(b"hi");
    assert_eq!(exchange.server_failed(Failure::Reset, false), Verdict::Over);
    assert_eq!(steps(&mut exchange), [Step::Refused("server_reset".into(), None), Step::Reset]);

    let mut exchange = opened();
    send(&mut exchange, &[0; LIMIT + 1]);
    assert!(exchange.is_free(), "no other server could have all of it");
    assert_eq!(exchange.server_failed(Failure::Reset, false), Verdict::Over);
}

#[test]
fn each_side_may_end_before_the_other_and_is_not_free_any_more() {
    let mut exchange = opened();
    exchange.server_data(b"hi");
    exchange.client_end();
    assert_eq!(steps(&mut exchange), [Step::EndServer]);
    assert!(!exchange.is_free());
    exchange.server_data(b"rest");
    assert_eq!(exchange.outbox, b"hirest");
    assert_eq!(exchange.server_end(), None);
    assert_eq!(steps(&mut exchange), [Step::EndClient]);

    let mut exchange = opened();
    exchange.server_data(b"hi");
    assert_eq!(exchange.server_end(), None);
    assert!(!exchange.is_free());
    exchange.client_data(b"thank");
    assert_eq!(exchange.transmit.waiting(), b"thank");
}

#[test]
fn a_refusal_is_an_answer_or_a_reset_and_a_stop_keeps_it_where_it_is() {
    let mut exchange = Exchange::plain(LIMIT, true);
    exchange.refuse_with("tls_record", b"alert");
    assert_eq!(exchange.outbox, b"alert");
    assert_eq!(steps(&mut exchange), [Step::Refused("tls_record".into(), None), Step::Close]);

    let mut exchange = Exchange::plain(LIMIT, true);
    exchange.refuse("select_timeout", 408);
    assert_eq!(steps(&mut exchange), [Step::Refused("select_timeout".into(), None), Step::Reset]);
    assert_eq!(exchange.outbox, b"");

    let mut exchange = Exchange::plain(LIMIT, true);
    exchange.client_data(b"he");
    steps(&mut exchange);
    exchange.client_end();
    assert_eq!(steps(&mut exchange), [Step::Refused("tls_truncated".into(), None), Step::Reset]);

    let mut exchange = opened();
    exchange.server_data(b"hi");
    exchange.drain();
    assert_eq!(steps(&mut exchange), []);
    assert!(!exchange.is_free());
}
