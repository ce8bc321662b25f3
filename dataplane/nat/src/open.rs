use crate::address::{narrow, widen, Wide};
use crate::flow::{Opening, Service};
use crate::key::{mix, Key};
use crate::verdict::{Answer, Refusal};
use crate::{Nat, Reason};
use braid_packet::ip::{ICMPV4, ICMPV6, TCP, UDP};
use braid_packet::{Ip, Tcp, Time, Transport, Unreachable};

/// Source ports tried at random, then one after the other: enough to find one of few, few enough to bound the work.
const RANDOM_TRIES: u32 = 16;
const LINEAR_TRIES: u32 = 128;
/// Addresses of the pool tried. The first is the client's own; the others keep one client from starving many.
const ADDRESS_TRIES: u128 = 4;
/// Protocols without ports hold a whole address for each target.
const PORTLESS_ADDRESS_TRIES: u128 = 64;
/// Places looked at for idle flows before a full table refuses.
const SWEEP: usize = 64;

impl Nat {
    /// What every packet from a client must pass, with or without a flow: source, VIP, edge.
    pub(crate) fn check_client(&self, ip: &Ip, from_edge: u16) -> Result<(), Refusal> {
        if !self.rules.may_be_client(ip.source) {
            return Err(Refusal::Drop(Reason::BadSource));
        }
        match self.rules.vip(widen(ip.destination)) {
            None => Err(unreachable(Reason::UnknownVip, Unreachable::Host)),
            Some((vip, _)) if vip.edge != from_edge => Err(Refusal::Drop(Reason::WrongEdge)),
            Some((_, rule)) if rule.has_target(ip.source) => Err(Refusal::Drop(Reason::BadSource)),
            Some(_) => Ok(()),
        }
    }

    /// Sets up the flow of a client's first packet, or says why not. `admitted`: by the fast path, which has seen its SYN.
    pub(crate) fn open(
        &mut self,
        key: Key,
        ip: &Ip,
        from_edge: u16,
        admitted: bool,
        now: Time,
    ) -> Result<u32, Refusal> {
        self.check_client(ip, from_edge)?;
        let Some((_, rule)) = self.rules.vip(key.far) else {
            return Err(Refusal::Drop(Reason::UnknownVip));
        };
        if !rule.allows(key.protocol, key.far_port) {
            let why = match key.protocol {
                TCP | UDP => Unreachable::Port,
                _ => Unreachable::Prohibited,
            };
            return Err(unreachable(Reason::PortRefused, why));
        }
        if let Transport::Tcp(tcp) = ip.transport {
            if rule.fast && !admitted {
                return Err(Refusal::Stranger(rule.id));
            }
            let opens = tcp.has(Tcp::SYN) && !tcp.has(Tcp::ACK | Tcp::RST | Tcp::FIN);
            if !opens && !admitted {
                return Err(Refusal::Answer(Reason::NoFlow, Answer::Reset));
            }
        }
        let (app, set) = (rule.id, rule.set);
        let way = match (rule.fast && admitted, rule.proxied) {
            (true, true) => Service::Normal,
            (true, false) => Service::Fast,
            (false, _) => Service::Nat,
        };
        let target = match way {
            Service::Normal => None,
            _ => Some(*rule.target(key.near, ip.v6).ok_or(unreachable(Reason::NoTarget, Unreachable::Host))?),
        };
        self.make_room(key.near, now)?;
        let reverse = match target {
            None => Key::NOTHING,
            Some(target) => {
                let near_port = match key.protocol {
                    TCP | UDP => target.port.unwrap_or(key.far_port),
                    _ => 0,
                };
                let wanted = Key { near: widen(target.address), near_port, far_port: key.near_port, ..key };
                let source = self.choose_source(wanted, key.near, now);
                source.ok_or(unreachable(Reason::PortsExhausted, Unreachable::Host))?
            }
        };
        Ok(self.insert(key, reverse, (app, from_edge, set), way, now))
    }

    /// `whose`: application, edge, and set of paths.
    pub(crate) fn insert(
        &mut self,
        forward: Key,
        reverse: Key,
        (app, edge, set): (u16, u16, u8),
        way: Service,
        now: Time,
    ) -> u32 {
        if self.table.is_empty() {
            self.next_scan = now.after(Time::SECOND / 2);
        }
        self.serial = self.serial.wrapping_add(1);
        self.counters.created += 1;
        let (generation, serial) = (self.generation, self.serial);
        self.table.insert(&Opening { forward, reverse, now, generation, serial, app, edge, set, way })
    }

    pub(crate) fn make_room(&mut self, client: Wide, now: Time) -> Result<(), Refusal> {
        if self.table.is_full() {
            self.sweep(now, SWEEP);
        }
        if self.table.is_full() {
            return Err(unreachable(Reason::TableFull, Unreachable::Host));
        }
        if self.table.has_its_share(client) {
            return Err(unreachable(Reason::ClientShare, Unreachable::Prohibited));
        }
        Ok(())
    }

    /// Completes a reverse key by a free SNAT address and port (RFC 4787 REQ-1, REQ-2, REQ-3; RFC 6056).
    pub(crate) fn choose_source(&mut self, wanted: Key, client: Wide, now: Time) -> Option<Key> {
        let v6 = narrow(client).is_ipv6();
        let size: u128 = self.rules.snat(v6).iter().map(|prefix| prefix.size()).sum();
        let start = u128::from(mix(&[self.seed, self.table.keyed().hash_address(client)]));
        let ported = matches!(wanted.protocol, TCP | UDP | ICMPV4 | ICMPV6);
        let tries = if ported { ADDRESS_TRIES } else { PORTLESS_ADDRESS_TRIES };
        let mut tried = 0;
        for n in 0..size {
            let address = self.snat_address(v6, (start + n) % size)?;
            if !self.rules.may_be_snat(address) {
                continue;
            }
            let key = Key { far: address, ..wanted };
            let found = if ported {
                self.choose_port(key, now)
            } else {
                Some(Key { far_port: 0, ..key }).filter(|key| self.is_free(key, now))
            };
            if found.is_some() {
                return found;
            }
            tried += 1;
            if tried >= tries {
                break;
            }
        }
        None
    }

    fn snat_address(&self, v6: bool, mut n: u128) -> Option<Wide> {
        for prefix in self.rules.snat(v6) {
            if n < prefix.size() {
                return Some(prefix.nth(n));
            }
            n -= prefix.size();
        }
        None
    }

    /// Completes a key by a port, the client's own if possible.
    pub(crate) fn choose_port(&mut self, key: Key, now: Time) -> Option<Key> {
        let ((first, last), (rest, of)) = (self.rules.ports, self.rules.share);
        if (first..=last).contains(&key.far_port) && key.far_port % of == rest && self.is_free(&key, now) {
            return Some(key);
        }
        let (last, of) = (u32::from(last), u32::from(of));
        let start = u32::from(first) + (u32::from(rest) + of - u32::from(first) % of) % of;
        let range = (last + of).checked_sub(start)? / of;
        let mut at = self.random.below(range);
        let random = if range > LINEAR_TRIES { RANDOM_TRIES } else { 0 };
        for n in 0..random + LINEAR_TRIES.min(range) {
            at = if n < random { self.random.below(range) } else { (at + 1) % range };
            let key = Key { far_port: (start + at * of) as u16, ..key };
            if self.is_free(&key, now) {
                return Some(key);
            }
        }
        None
    }

    /// Ends the flow that holds the key if it is idle for too long.
    fn is_free(&mut self, key: &Key, now: Time) -> bool {
        let holder = self.table.find_reverse(key);
        self.live(holder, now).is_none()
    }
}

fn unreachable(reason: Reason, why: Unreachable) -> Refusal {
    Refusal::Answer(reason, Answer::Unreachable(why))
}
