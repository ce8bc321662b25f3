//! A content proxy's data thread refuses what it is known not to serve.

use braid_core::refusing::{key_of, Reason};
use braid_core::{Command, Event, Serving};
use braid_packet::{TcpRecord, Time};
use braid_testbed::*;
use std::sync::mpsc::channel;

/// As `braid/transfer.py` has its picture; the key of what is asked for is one byte.
fn request(id: u8, key: u8) -> Vec<u8> {
    let record = TcpRecord {
        local: format!("{VIP}:80").parse().unwrap(),
        remote: "10.91.1.10:4000".parse().unwrap(),
        send_next: 0,
        receive_next: 0,
        mss: 1360,
        scales: None,
        sack: false,
        timestamp: None,
        window: Default::default(),
        unread: Vec::new(),
        unacknowledged: Vec::new(),
        unsent: Vec::new(),
    };
    let mut message = vec![1, 16, 0, 0];
    message.extend([id; 16]);
    message.extend([0; 18]);
    message.extend([0, 1, key]);
    message.extend(record.encode());
    message[3] = message.len() as u8;
    message
}

/// A neighbour asks: what it hears.
fn answers(braid: &mut Braid, message: Vec<u8>) -> Vec<Vec<u8>> {
    let sent = answer(channel().0);
    braid.command(EDGE, Command::Control { peer: PROXY, adjacent: true, message, sent });
    braid.settle();
    let controls = braid.heard(EDGE).into_iter().filter_map(|event| match event {
        Event::Control { message, .. } => Some(message),
        _ => None,
    });
    controls.collect()
}

/// What the proxy's control side has to judge, and what it is told was refused.
fn told(braid: &mut Braid) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (mut asked, mut refused) = (Vec::new(), Vec::new());
    for event in braid.heard(PROXY) {
        match event {
            Event::Control { peer: EDGE, adjacent: true, message } => asked.push(message),
            Event::Refused { peer: EDGE, reason: Reason::Content, message } => refused.push(message),
            _ => {}
        }
    }
    (asked, refused)
}

#[test]
fn what_is_not_served_is_refused_at_once_and_told_when_the_client_has_its_answer() {
    let mut braid = Braid::up_with_proxy();
    told(&mut braid);
    let (lacked, served) = (request(1, b'a'), request(2, b'b'));
    assert!(answers(&mut braid, lacked.clone()).is_empty());
    assert_eq!(told(&mut braid), (vec![lacked], vec![]), "nothing is known, so it is asked");
    braid.command(PROXY, Command::Serve(Serving::Keys(vec![(key_of(b"b"), Vec::new())])));
    braid.command(PROXY, Command::Serve(Serving::Vip(VIP.parse().unwrap(), vec![EDGE])));
    let lacked = request(3, b'a');
    let refusal = [&[1, 18, 0, 21][..], &[3; 16], &[1]].concat();
    assert_eq!(answers(&mut braid, lacked.clone()), std::slice::from_ref(&refusal));
    assert_eq!(answers(&mut braid, lacked.clone()), [refusal], "and again");
    assert_eq!(told(&mut braid), (vec![], vec![]));
    assert!(answers(&mut braid, served.clone()).is_empty());
    assert_eq!(told(&mut braid), (vec![served], vec![]));
    braid.advance(30 * Time::MILLISECOND);
    assert_eq!(told(&mut braid), (vec![], vec![lacked]));
}
