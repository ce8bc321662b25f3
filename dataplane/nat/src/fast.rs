//! Flows whose packets the fast path translates. It sees them in the client's addresses; what the NAT sees of them, their TCP
//! state included, are the numbers of the server's side.

use crate::address::{narrow, widen};
use crate::forward::parse;
use crate::key::Key;
use crate::rewrite::{rewrite, Ends};
use crate::side::Side;
use crate::verdict::{Answer, Refusal};
use crate::{Forward, Nat};
use braid_packet::{FlowId, Time};
use std::net::SocketAddr;

impl Nat {
    pub(crate) fn fast(&self, index: u32) -> Option<FlowId> {
        let flow = self.table.get(index).filter(|flow| flow.is_fast())?;
        Some(FlowId { index, serial: flow.serial })
    }

    /// Whether the flow is still in the table.
    pub fn is_live(&self, flow: FlowId) -> bool {
        self.table.get(flow.index).is_some_and(|known| known.serial == flow.serial)
    }

    /// Sets up the flow of a `Stranger` that the fast path admits. `Err` is the verdict on the packet: the client gets a reset.
    pub fn open_fast(&mut self, packet: &[u8], from_edge: u16, now: Time) -> Result<FlowId, Forward> {
        let made = parse(packet).and_then(|ip| {
            let (near_port, far_port) = ip.ports().unwrap_or((0, 0));
            let key =
                Key { near: widen(ip.source), far: widen(ip.destination), near_port, far_port, protocol: ip.protocol };
            self.open(key, &ip, from_edge, true, now)
        });
        let refusal = match made.map(|index| self.fast(index)) {
            Ok(Some(flow)) => return Ok(flow),
            Ok(None) => Refusal::Drop(crate::Reason::NoFlow),
            // The client is connected: only a reset ends that.
            Err(Refusal::Answer(reason, _)) => Refusal::Answer(reason, Answer::Reset),
            Err(refusal) => refusal,
        };
        Err(match self.refuse(packet, refusal, now) {
            None => Forward::Reply,
            Some(reason) => Forward::Drop(reason),
        })
    }

    /// Carries a client's packet, translated by the fast path, on to the server. False if its flow has ended.
    pub fn pass(&mut self, flow: FlowId, packet: &mut [u8], partial: bool, now: Time) -> bool {
        let Ok(ip) = parse(packet) else { return false };
        if !self.is_live(flow) {
            return false;
        }
        self.table.observe(flow.index, packet, &ip, Side::Client, now);
        let Ok((_, back)) = self.known(flow.index, Side::Server) else { return false };
        let ends = Ends {
            source: back.far,
            destination: back.near,
            source_port: back.far_port,
            destination_port: back.near_port,
        };
        rewrite(packet, &ip, partial, &ends, None);
        true
    }

    pub fn end_flow(&mut self, flow: FlowId) {
        if self.is_live(flow) {
            self.end(flow.index);
        }
    }

    /// Client and VIP.
    pub fn client_and_vip(&self, flow: FlowId) -> Option<(SocketAddr, SocketAddr)> {
        let known = self.table.get(flow.index).filter(|known| known.serial == flow.serial)?;
        let key = self.table.key(known, Side::Client)?;
        let client = SocketAddr::new(narrow(key.near), key.near_port);
        Some((client, SocketAddr::new(narrow(key.far), key.far_port)))
    }

    /// The edge of a flow, and how many set of a packet it gets.
    pub fn edge_and_set(&self, flow: FlowId) -> Option<(u16, u8)> {
        let known = self.table.get(flow.index).filter(|known| known.serial == flow.serial)?;
        Some((known.edge, known.set))
    }
}
