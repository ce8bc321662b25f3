use super::*;

fn datagram(id: u32) -> Datagram {
    Datagram { source: IpAddr::from([10, 0, 0, 1]), destination: IpAddr::from([10, 0, 0, 2]), id, protocol: 17 }
}

const KNOWN: u32 = 7;

#[test]
fn known_datagrams_are_bounded_and_the_oldest_goes_first() {
    let mut fragments = Fragments::new(1);
    let count = MOST_KNOWN as u32;
    for id in 0..count + 10 {
        fragments.learn(datagram(id), KNOWN, Time(u64::from(id)));
    }
    let now = Time(u64::from(count) + 10);
    let found = (0..count + 10).filter(|&id| fragments.find(&datagram(id), now).is_some());
    assert_eq!(found.collect::<Vec<_>>(), (10..count + 10).collect::<Vec<_>>());
}

#[test]
fn a_datagram_seen_again_lives_anew() {
    let mut fragments = Fragments::new(1);
    fragments.learn(datagram(1), KNOWN, Time(0));
    fragments.learn(datagram(1), KNOWN, Time(LIFETIME - 1));
    fragments.expire(Time(LIFETIME), 10);
    assert_eq!(fragments.find(&datagram(1), Time(LIFETIME)), Some(KNOWN));
    fragments.expire(Time(2 * LIFETIME), 10);
    assert_eq!(fragments.find(&datagram(1), Time(2 * LIFETIME)), None);
    assert_eq!(fragments.next_timeout(), None);
    assert!(fragments.known.is_empty());
}
