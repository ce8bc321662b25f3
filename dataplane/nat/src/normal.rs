//! Flows whose connections a TCP stack has, or is to get: their packets pass as they are, on either side, each in numbers of
//! its own. So their ends are told, not seen; and a server is leased, since none is known when such a flow begins.

use crate::address::{narrow, widen};
use crate::flow::Service;
use crate::key::Key;
use crate::side::Side;
use crate::Nat;
use braid_packet::ip::TCP;
use braid_packet::{FlowId, Ip, Time, Transport};
use std::net::SocketAddr;

impl Nat {
    pub(crate) fn normal(&self, index: u32) -> Option<FlowId> {
        let flow = self.table.get(index).filter(|flow| flow.is_normal())?;
        Some(FlowId { index, serial: flow.serial })
    }

    /// The flow of a packet that the stack sends to a client, or to a server; whoever of the two it is for.
    pub fn find_from_stack(&mut self, ip: &Ip, to_client: bool, now: Time) -> Option<FlowId> {
        let Transport::Tcp(tcp) = ip.transport else { return None };
        let key = Key {
            near: widen(ip.destination),
            far: widen(ip.source),
            near_port: tcp.destination,
            far_port: tcp.source,
            protocol: TCP,
        };
        let found = if to_client { self.table.find_forward(&key) } else { self.table.find_reverse(&key) };
        let index = self.live(found, now)?;
        self.fast(index)
    }

    /// Whether the address is one that servers see.
    pub fn is_snat(&self, address: std::net::IpAddr) -> bool {
        self.rules.is_snat(widen(address))
    }

    /// Whether the address is that of a server that sees clients' own.
    pub fn is_transparent(&self, address: std::net::IpAddr) -> bool {
        self.rules.is_transparent(widen(address))
    }

    /// Whether a packet between two addresses is one of a server, for whoever it talks to.
    pub fn is_answer(&self, from: std::net::IpAddr, to: std::net::IpAddr) -> bool {
        self.rules.is_answer(widen(from), widen(to))
    }

    /// Whether packets pass as they are, or not.
    pub fn is_normal(&self, flow: FlowId) -> bool {
        self.table.get(flow.index).is_some_and(|known| known.serial == flow.serial && known.is_normal())
    }

    /// Whether packets are to pass as they are.
    pub fn set_normal(&mut self, flow: FlowId, normal: bool) {
        if let Some(known) =
            self.table.get_mut(flow.index).filter(|known| known.serial == flow.serial && known.is_fast())
        {
            known.set_normal(normal);
        }
    }

    /// Gives a flow a server, and returns the address and port that it is talked to from: another one than before, of the
    /// pool, or of the client where the application is transparent. None if there is no such flow, or no port left, or the
    /// server cannot be one.
    pub fn lease(&mut self, flow: FlowId, server: SocketAddr, now: Time) -> Option<SocketAddr> {
        let index = self.live(Some(flow.index).filter(|_| self.is_live(flow)), now)?;
        let known = self.table.get(index)?;
        let front = self.table.key(known, Side::Client)?;
        let same_family = narrow(front.near).is_ipv4() == server.is_ipv4();
        if !known.is_fast() || !same_family || !self.rules.may_be_target(server.ip()) {
            return None;
        }
        let (near, near_port) = (widen(server.ip()), server.port());
        let wanted = Key { near, far: 0, near_port, far_port: front.near_port, protocol: TCP };
        let reverse = match self.rules.application(known.app).is_some_and(|rule| rule.transparent) {
            true if !self.rules.is_transparent(near) => return None,
            true => self.choose_port(Key { far: front.near, ..wanted }, now)?,
            false => self.choose_source(wanted, front.near, now)?,
        };
        self.table.set_reverse(index, &reverse);
        Some(SocketAddr::new(narrow(reverse.far), reverse.far_port))
    }

    /// Takes a flow's server from it.
    pub fn release(&mut self, flow: FlowId) {
        if self.is_live(flow) {
            self.table.set_reverse(flow.index, &Key::NOTHING);
        }
    }

    /// The flow of a client's connection, by client and VIP; an open one of the stack's.
    pub fn find_normal(&mut self, client: SocketAddr, vip: SocketAddr, now: Time) -> Option<FlowId> {
        let index = self.live(self.table.find_forward(&front(client, vip)), now)?;
        self.normal(index).filter(|_| !self.is_over_at(index))
    }

    /// A flow, without a server, for a connection that the stack has from another node: a new one, or the one that it had here
    /// and that is over. None if there is another connection of these ends, no room, or no such VIP.
    pub fn adopt(&mut self, client: SocketAddr, vip: SocketAddr, now: Time) -> Option<FlowId> {
        let key = front(client, vip);
        let (vip, rule) = self.rules.vip(key.far).filter(|(_, rule)| rule.fast && rule.proxied)?;
        let whose = (rule.id, vip.edge, rule.set);
        let index = match self.live(self.table.find_forward(&key), now) {
            Some(index) if !self.is_over_at(index) => return None,
            Some(index) => {
                self.table.set_reverse(index, &Key::NOTHING);
                index
            }
            None => {
                self.make_room(key.near, now).ok()?;
                self.insert(key, Key::NOTHING, whose, Service::Normal, now)
            }
        };
        let flow = self.table.get_mut(index)?;
        flow.last = now;
        flow.set_normal(true);
        flow.set_open(true, false);
        self.fast(index)
    }

    /// Server and the address that it sees; None before a lease.
    pub fn server_and_snat(&self, flow: FlowId) -> Option<(SocketAddr, SocketAddr)> {
        let known = self.table.get(flow.index).filter(|known| known.serial == flow.serial)?;
        let key = self.table.key(known, Side::Server).filter(|key| !key.is_nothing())?;
        Some((SocketAddr::new(narrow(key.near), key.near_port), SocketAddr::new(narrow(key.far), key.far_port)))
    }

    /// Counts a packet that passes as it is.
    pub fn count_normal(&mut self, flow: FlowId, from_client: bool, bytes: usize, now: Time) {
        if self.is_live(flow) {
            let side = if from_client { Side::Client } else { Side::Server };
            self.table.count(flow.index, side, bytes, now);
        }
    }

    /// What the fast path, or the stack, says of a connection. An open one may be idle for as long as others that are established;
    /// one that is over is found by late packets for a while, and a SYN may begin another one.
    pub fn set_open(&mut self, flow: FlowId, open: bool, reset: bool) {
        if let Some(known) =
            self.table.get_mut(flow.index).filter(|known| known.serial == flow.serial && known.is_fast())
        {
            known.set_open(open, reset);
        }
    }

    pub(crate) fn is_over_at(&self, index: u32) -> bool {
        let tracked = || self.table.details(index).is_some_and(|details| details.track.is_over());
        self.table.get(index).is_some_and(|flow| if flow.is_fast() { flow.is_over() } else { tracked() })
    }

    /// The application that a flow is of.
    pub fn app(&self, flow: FlowId) -> Option<u16> {
        self.table.get(flow.index).filter(|known| known.serial == flow.serial).map(|known| known.app)
    }

    /// The same, and when its last packet came.
    pub fn app_and_last(&self, flow: FlowId) -> Option<(u16, Time)> {
        self.table.get(flow.index).filter(|known| known.serial == flow.serial).map(|known| (known.app, known.last))
    }

    /// Bytes of IP packets from and to the client.
    pub fn bytes(&self, flow: FlowId) -> (u64, u64) {
        let known = self.table.get(flow.index).filter(|known| known.serial == flow.serial);
        let details = self.table.details(flow.index);
        let bytes = |side| known.map_or(0, |known| known.traffic(details, side).bytes);
        (bytes(Side::Client), bytes(Side::Server))
    }
}

fn front(client: SocketAddr, vip: SocketAddr) -> Key {
    let (near, far) = (widen(client.ip()), widen(vip.ip()));
    Key { near, far, near_port: client.port(), far_port: vip.port(), protocol: TCP }
}
