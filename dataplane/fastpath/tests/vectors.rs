//! The golden vectors of SYN cookies, `tests/vectors/syn_cookie.txt`. The Python tests check the same file with an
//! implementation of their own.

use crate::world;

use braid_fastpath::cookie::{Carried, Checked, Keys};
use braid_fastpath::{Ends, FastPath, PeriodKey, Stranger};
use braid_packet::{Segment, Tcp, Time};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use world::parse;

const FILE: &str = include_str!("../../../tests/vectors/syn_cookie.txt");

type Case = HashMap<&'static str, &'static str>;

fn cases() -> Vec<Case> {
    let blocks = FILE.split("\n\n").map(|block| {
        let lines = block.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split_once(" = ").unwrap()).collect::<Case>()
    });
    blocks.filter(|case| case.get("case") == Some(&"cookie")).collect()
}

fn number(case: &Case, name: &str) -> u64 {
    u64::from_str_radix(case[name], 16).unwrap()
}

fn address(text: &str) -> IpAddr {
    match text.len() {
        8 => Ipv4Addr::from(u32::from_str_radix(text, 16).unwrap()).into(),
        _ => Ipv6Addr::from(u128::from_str_radix(text, 16).unwrap()).into(),
    }
}

#[test]
fn cookies() {
    let cases = cases();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let ends = Ends {
            client: SocketAddr::new(address(case["client"]), number(&case, "client_port") as u16),
            vip: SocketAddr::new(address(case["vip"]), number(&case, "vip_port") as u16),
        };
        let period = number(&case, "period");
        let key = u128::from_str_radix(case["key"], 16).unwrap().to_be_bytes();
        let keys = [PeriodKey { period, key }];
        let scale = Some(number(&case, "scale") as u8).filter(|&scale| scale != 255);
        let carried = Carried::new(number(&case, "mss") as u16, scale, number(&case, "sack") == 1);
        let sequence = number(&case, "sequence") as u32;
        let (cookie, timestamp) = (number(&case, "cookie") as u32, number(&case, "timestamp") as u32);
        let made = Keys::new(period, &keys);
        assert_eq!(made.make(&ends, sequence, carried), Some((cookie, timestamp)));
        let checked = made.check(&ends, sequence.wrapping_add(1), cookie.wrapping_add(1), 0);
        assert_eq!(checked, Checked::Valid(carried));

        // And on the wire.
        let mut fast = FastPath::new(9040);
        fast.set_keys(period, &keys);
        let mut options = vec![2, 4];
        options.extend_from_slice(&(number(&case, "mss") as u16).to_be_bytes());
        options.extend_from_slice(&[1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 0]);
        options.extend(scale.map(|scale| [1, 3, 3, scale]).into_iter().flatten());
        options.extend_from_slice(if number(&case, "sack") == 1 { &[1, 1, 4, 2] } else { &[] });
        let segment = Segment {
            from: ends.client,
            to: ends.vip,
            sequence,
            acknowledgement: 0,
            flags: Tcp::SYN,
            window: 1000,
            options: &options,
        };
        let mut syn = Vec::new();
        segment.write(&mut syn).unwrap();
        assert_eq!(fast.receive_stranger(&syn, false, 0, Time(0)), Stranger::Reply);
        let (ip, tcp) = parse(fast.answer());
        assert_eq!(tcp.sequence, cookie);
        let options = &fast.answer()[ip.header_len + 20..];
        let at = options.windows(2).position(|pair| pair == [8, 10]).unwrap();
        assert_eq!(options[at + 2..at + 6], timestamp.to_be_bytes());
        assert_eq!(options[at + 6..at + 10], [0, 0, 0, 5]);
    }
}
