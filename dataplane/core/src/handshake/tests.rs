use super::*;
use proptest::prelude::*;

fn counter(mut value: u64) -> Box<dyn FnMut() -> u64 + Send> {
    Box::new(move || {
        value = value.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        value >> 16
    })
}

fn pair() -> (Handshaker, Handshaker) {
    (Handshaker::new([3; 32], 1, counter(1)).unwrap(), Handshaker::new([5; 32], 2, counter(2)).unwrap())
}

fn agree(a: &NewSession, b: &NewSession) -> bool {
    a.tx.aead == b.rx.aead
        && a.rx.aead == b.tx.aead
        && a.tx.hop == b.rx.hop
        && a.tx.salt == b.rx.salt
        && a.tx.aead != a.rx.aead
        && a.remote_index == b.local_index
        && b.remote_index == a.local_index
        && a.remote_epoch == b.local_epoch
}

#[test]
fn two_nodes_agree_and_copies_are_no_ops() {
    let (mut a, mut b) = pair();
    let public = *b.public();
    let first = a.initiate(2, false, &public, b"cert", Time(0)).unwrap();
    assert!(mac1_is_good(first.kind, first.receiver, &first.body, &public));
    let initiation = b.receive_initiation(&first.body, Time(0)).unwrap();
    assert_eq!((initiation.peer, &initiation.certificate[..], &initiation.static_key), (1, &b"cert"[..], a.public()));
    assert_eq!(b.receive_initiation(&first.body, Time(0)), Err(HandshakeError::Stale));
    let (of_b, answer) = b.accept(initiation.id, Time(0)).unwrap();
    assert_eq!(b.receive_initiation(&first.body, Time(0)), Err(HandshakeError::Stale));
    assert!(matches!(b.accept(initiation.id, Time(0)), Err(HandshakeError::Unexpected)));
    let of_a = a.receive_response(answer.receiver, &answer.body, Time(0)).unwrap();
    assert!(agree(&of_a, &of_b));
    assert!(a.receive_response(answer.receiver, &answer.body, Time(0)).is_err());
}

proptest! {
    #[test]
    fn junk_between_the_messages_changes_nothing(junk in proptest::collection::vec(any::<u8>(), 0..300), bit in any::<prop::sample::Index>()) {
        let (mut a, mut b) = pair();
        let public = *b.public();
        let first = a.initiate(2, true, &public, b"", Time(0)).unwrap();
        let mut bent = first.body.clone();
        let bit_in = |bytes: &[u8]| bit.index((bytes.len() - MACS) * 8);
        let at = bit_in(&bent);
        bent[at / 8] ^= 1 << (at % 8);
        prop_assert!(!mac1_is_good(first.kind, first.receiver, &bent, &public));
        prop_assert!(b.receive_initiation(&junk, Time(0)).is_err());
        prop_assert!(b.receive_initiation(&bent, Time(0)).is_err());
        let initiation = b.receive_initiation(&first.body, Time(0)).unwrap();
        let (of_b, answer) = b.accept(initiation.id, Time(0)).unwrap();
        let mut bent = answer.body.clone();
        let at = bit_in(&bent);
        bent[at / 8] ^= 1 << (at % 8);
        prop_assert!(a.receive_response(answer.receiver, &junk, Time(0)).is_err());
        prop_assert!(a.receive_response(answer.receiver, &bent, Time(0)).is_err());
        let of_a = a.receive_response(answer.receiver, &answer.body, Time(0)).unwrap();
        prop_assert!(agree(&of_a, &of_b));
    }
}

#[test]
fn an_older_initiation_of_the_same_boot_is_stale_and_a_new_boot_is_welcome() {
    let (mut a, mut b) = pair();
    let public = *b.public();
    let old = a.initiate(2, false, &public, b"", Time(0)).unwrap();
    let new = a.initiate(2, false, &public, b"", Time(0)).unwrap();
    let id = b.receive_initiation(&new.body, Time(0)).unwrap().id;
    b.accept(id, Time(0)).unwrap();
    assert_eq!(b.receive_initiation(&old.body, Time(0)), Err(HandshakeError::Stale));
    let mut restarted = Handshaker::new([3; 32], 1, counter(99)).unwrap();
    let again = restarted.initiate(2, false, &public, b"", Time(0)).unwrap();
    assert!(b.receive_initiation(&again.body, Time(0)).is_ok());
}

#[test]
fn pending_state_is_bounded_and_ends() {
    let (mut a, mut b) = pair();
    let public = *b.public();
    for _ in 0..100 {
        a.initiate(2, false, &public, b"", Time(0)).unwrap();
    }
    assert_eq!(a.sent.len(), PENDING_PER_PEER);
    let last = a.initiate(2, false, &public, b"", Time(0)).unwrap();
    let id = b.receive_initiation(&last.body, Time(0)).unwrap().id;
    assert!(matches!(b.accept(id, Time(PENDING_LIFETIME)), Err(HandshakeError::Unexpected)));
}

#[test]
fn a_cookie_makes_the_next_initiation_pass_the_second_check() {
    let (mut a, b) = pair();
    let public = *b.public();
    let first = a.initiate(2, true, &public, b"", Time(0)).unwrap();
    let (_, mac1, _) = macs(&first.body).unwrap();
    let secret = crate::cookie::Secret::new([9; 32]);
    let cookie = secret.cookie(&"10.0.0.1:7400".parse().unwrap());
    assert!(!mac2_is_good(&first.body, &cookie));
    let reply = crate::cookie::seal(&cookie, &public, &mac1, [1; 12]).unwrap();
    a.receive_cookie(first.receiver, &reply, &public, Time(0)).unwrap();
    let second = a.initiate(2, true, &public, b"", Time(0)).unwrap();
    assert!(mac2_is_good(&second.body, &cookie));
    assert!(!mac2_is_good(&second.body, &secret.cookie(&"10.0.0.1:7401".parse().unwrap())));
}
