use super::*;
use crate::address::widen;
use crate::Application;

fn rule(targets: Vec<Target>) -> Rule {
    let application = Application { id: 4, targets, ports: vec![(Proto::Tcp, 80, 90)], ..Application::default() };
    let policy = Policy { applications: vec![application], ..Policy::default() };
    Rules::new(policy).applications.remove(0)
}

fn target(last: u8, weight: u16) -> Target {
    Target { address: [10, 93, 0, last].into(), port: None, weight, healthy: true }
}

#[test]
fn ports() {
    let rule = rule(vec![]);
    let allowed: Vec<u16> = (0..=u16::MAX).filter(|&port| rule.allows(TCP, port)).collect();
    assert_eq!(allowed, (80..=90).collect::<Vec<_>>());
    assert!(!rule.allows(UDP, 80) && !rule.allows(ICMPV4, 80) && !rule.allows(47, 80));
}

#[test]
fn only_clients_of_a_lost_target_move() {
    let clients: Vec<Wide> = (0..1000_u32).map(|n| widen(IpAddr::from((0x6440_0000 + n).to_be_bytes()))).collect();
    let all: Vec<Target> = (10..20).map(|last| target(last, 1)).collect();
    let choose = |rule: &Rule| clients.iter().map(|c| rule.target(*c, false).copied().unwrap()).collect::<Vec<_>>();
    let before = choose(&rule(all.clone()));
    let mut sick = all;
    sick[3].healthy = false;
    sick.reverse();
    let after = choose(&rule(sick));
    let moved = before.iter().zip(&after).filter(|(a, b)| a.address != b.address);
    assert!(moved.clone().count() > 50);
    assert!(moved.into_iter().all(|(a, _)| a.address == IpAddr::from([10, 93, 0, 13])));
}

#[test]
fn a_choice_is_for_ever() {
    // Gateways of different versions must agree: these values may never change.
    let rule = rule((10..14).map(|last| target(last, 1)).collect());
    let chosen: Vec<_> = (1..9_u8)
        .map(|n| match rule.target(widen(IpAddr::from([192, 0, 2, n])), false).unwrap().address {
            IpAddr::V4(a) => a.octets()[3],
            IpAddr::V6(_) => 0,
        })
        .collect();
    assert_eq!(chosen, [12, 10, 12, 13, 13, 11, 11, 11]);
}
