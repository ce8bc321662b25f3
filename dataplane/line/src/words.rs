//! What a worker and the data threads tell each other, read whole or not at all. Pure.
//!
//! ```text
//! to it    0 refused 1 (0: not; else the reason that was given) | 1 peer 2 | 3 control message
//! from it  0 kind 1 (0) | 1 peer 2 | 3 control message
//!          0 kind 1 (1) | 1 owner 1 (nobody, away, held, here) | 2 client port 2 | 4 VIP port 2 | 6 version 1 (4 or 6)
//!          7 client 4 or 16 | VIP 4 or 16
//!          0 kind 1 (2) | 1 what 1, of what it serves: 0 is not known any more | 1 each: key 8 | answers 1 | each as in
//!          `core/answer.rs` | 2 keys 8 each, not any more
//!          3 reason 1 for which nothing is (0: none) | 4 version 1 (4 or 6), VIP 4 or 16, gateways that may ask 2 each
//!          5 clock 8 (Unix seconds when CLOCK_BOOTTIME is zero, IEEE 754)
//! ```

use braid_core::answer::Answer;
use braid_core::refusing::Reason;
use braid_core::{Ends, Owner, Serving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of a control message.
pub(crate) const MOST_CONTROL: usize = 1100;
const OWNERS: [Option<Owner>; 4] = [None, Some(Owner::Away), Some(Owner::Held), Some(Owner::Here)];

/// What it may say.
#[derive(Debug, PartialEq)]
pub(crate) enum Said {
    Tell(u16, Vec<u8>),
    Own(Ends, Option<Owner>),
    Serve(Serving),
}

/// None for what nobody says.
pub(crate) fn parse(bytes: &[u8]) -> Option<Said> {
    let (&kind, rest) = bytes.split_first()?;
    match kind {
        0 => {
            let (peer, message) = rest.split_first_chunk::<2>()?;
            let fits = !message.is_empty() && message.len() <= MOST_CONTROL;
            fits.then(|| Said::Tell(u16::from_be_bytes(*peer), message.to_vec()))
        }
        1 => {
            let (&[owner, c0, c1, v0, v1, version], hosts) = rest.split_first_chunk::<6>()?;
            let (client, vip) = match version {
                4 => pair(hosts, |host: [u8; 4]| Ipv4Addr::from(host).into())?,
                6 => pair(hosts, |host: [u8; 16]| Ipv6Addr::from(host).into())?,
                _ => return None,
            };
            let port = |high, low| u16::from_be_bytes([high, low]);
            let ends = Ends::new(SocketAddr::new(client, port(c0, c1)), SocketAddr::new(vip, port(v0, v1)));
            Some(Said::Own(ends, *OWNERS.get(usize::from(owner))?))
        }
        2 => serving(rest).map(Said::Serve),
        _ => None,
    }
}

fn serving(bytes: &[u8]) -> Option<Serving> {
    let (&what, rest) = bytes.split_first()?;
    Some(match (what, rest) {
        (0, []) => Serving::Unknown,
        (1, keys) => Serving::Keys(keys_with_answers(keys)?),
        (2, keys) => Serving::NoKeys(all(keys, u64::from_be_bytes)?),
        (3, [0]) => Serving::Nothing(None),
        (3, [reason]) => Serving::Nothing(Some(Reason::from_number(*reason)?)),
        (5, seconds) => {
            let seconds = f64::from_be_bytes(seconds.try_into().ok()?);
            Serving::Clock(Some(seconds).filter(|seconds| seconds.is_finite())?)
        }
        (4, [4, rest @ ..]) => {
            let (host, gateways) = rest.split_first_chunk::<4>()?;
            Serving::Vip(Ipv4Addr::from(*host).into(), all(gateways, u16::from_be_bytes)?)
        }
        (4, [6, rest @ ..]) => {
            let (host, gateways) = rest.split_first_chunk::<16>()?;
            Serving::Vip(IpAddr::from(*host), all(gateways, u16::from_be_bytes)?)
        }
        _ => return None,
    })
}

fn keys_with_answers(mut bytes: &[u8]) -> Option<Vec<(u64, Vec<Answer>)>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (key, rest) = bytes.split_first_chunk::<8>()?;
        let (&count, mut rest) = rest.split_first()?;
        let mut answers = Vec::with_capacity(count.into());
        for _ in 0..count {
            let (answer, behind) = Answer::decode(rest)?;
            answers.push(answer);
            rest = behind;
        }
        found.push((u64::from_be_bytes(*key), answers));
        bytes = rest;
    }
    Some(found)
}

/// Numbers of `N` bytes, and nothing behind them.
fn all<T, const N: usize>(bytes: &[u8], number: fn([u8; N]) -> T) -> Option<Vec<T>> {
    let whole = bytes.len() % N == 0;
    whole.then(|| bytes.chunks(N).filter_map(|each| each.try_into().ok().map(number)).collect())
}

fn pair<const N: usize>(hosts: &[u8], host: impl Fn([u8; N]) -> IpAddr) -> Option<(IpAddr, IpAddr)> {
    let (client, vip) = hosts.split_first_chunk::<N>()?;
    Some((host(*client), host(vip.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_says_is_read_whole_or_not_at_all() {
        let tell = [&[0, 0, 31][..], b"message"].concat();
        assert_eq!(parse(&tell), Some(Said::Tell(31, b"message".to_vec())));
        let ends = Ends::new("10.0.0.1:4000".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        let own = [1, 2, 15, 160, 0, 80, 4, 10, 0, 0, 1, 10, 0, 0, 2];
        assert_eq!(parse(&own), Some(Said::Own(ends, Some(Owner::Held))));
        for length in 0..own.len() {
            assert_eq!(parse(&own[..length]), None, "{length}");
        }
        assert_eq!(parse(&[&own[..], &[0]].concat()), None);
        assert_eq!(parse(&[3, 0, 0]), None);
        assert_eq!(parse(&tell[..3]), None);
        assert_eq!(parse(&[&tell[..], &[0; MOST_CONTROL]].concat()), None);
        let mut stranger = own;
        stranger[1] = 4;
        assert_eq!(parse(&stranger), None);
    }

    #[test]
    fn what_it_serves_is_read_whole_or_not_at_all() {
        let said = |bytes: &[u8]| match parse(&[&[2], bytes].concat()) {
            Some(Said::Serve(serving)) => Some(serving),
            _ => None,
        };
        assert_eq!(said(&[0]), Some(Serving::Unknown));
        let unjudged = [0, 0, 0, 0, 0, 0, 1, 2, 0];
        assert_eq!(said(&[&[1][..], &unjudged].concat()), Some(Serving::Keys(vec![(258, vec![])])));
        let answer = [&[0; 28][..], &[1, 0]].concat();
        let both = [&[1][..], &unjudged, &[0, 0, 0, 0, 0, 0, 0, 3, 2], &answer, &answer].concat();
        let decoded = Answer::decode(&answer).unwrap().0;
        assert_eq!(said(&both), Some(Serving::Keys(vec![(258, vec![]), (3, vec![decoded.clone(), decoded])])));
        assert_eq!(said(&both[..both.len() - 1]), None);
        assert_eq!(said(&[&both[..], &[0]].concat()), None);
        assert_eq!(said(&[&[5][..], &2.5f64.to_be_bytes()].concat()), Some(Serving::Clock(2.5)));
        assert_eq!(said(&[&[5][..], &f64::NAN.to_be_bytes()].concat()), None);
        assert_eq!(said(&[2]), Some(Serving::NoKeys(vec![])));
        assert_eq!(said(&[3, 0]), Some(Serving::Nothing(None)));
        assert_eq!(said(&[3, 7]), Some(Serving::Nothing(Some(Reason::Draining))));
        let vip = "10.0.0.2".parse().unwrap();
        assert_eq!(said(&[4, 4, 10, 0, 0, 2, 0, 31, 1, 0]), Some(Serving::Vip(vip, vec![31, 256])));
        assert_eq!(said(&[4, 4, 10, 0, 0, 2]), Some(Serving::Vip(vip, vec![])));
        let six = [&[4, 6][..], &[0; 15], &[1, 0, 31]].concat();
        assert_eq!(said(&six), Some(Serving::Vip("::1".parse().unwrap(), vec![31])));
        let short = [&[][..], &[0, 0], &[1, 0, 0], &[3], &[3, 2], &[3, 0, 0], &[4, 4, 10, 0, 0], &[4, 5], &[5], &[6]];
        for wrong in short.into_iter().chain([&six[..17], &six[..19]]) {
            assert_eq!(said(wrong), None, "{wrong:?}");
        }
    }
}
