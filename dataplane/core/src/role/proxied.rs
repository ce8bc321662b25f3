//! Applications whose connections end in the gateway's own TCP stack: their packets pass between overlay and host as they are.

use crate::desired::{Accept, PortRange, ProxiedApplication};
use braid_packet::Ip;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The edge node that has the VIP.
    pub edge: u16,
    pub set: u8,
    /// Who accepts its TCP connections.
    pub accept: Accept,
    application: usize,
}

#[derive(Default)]
pub struct Proxied {
    vips: HashMap<IpAddr, Owner>,
    ports: Vec<Vec<PortRange>>,
    /// Applications whose TCP connections the fast path accepts, and whether the control side hears of each at once.
    accepted: BTreeMap<u16, bool>,
    /// Those whose connections may go back to the data plane.
    splices: BTreeSet<u16>,
}

impl Proxied {
    pub fn new(applications: &[ProxiedApplication]) -> Proxied {
        let mut proxied = Proxied::default();
        for (application, spec) in applications.iter().enumerate() {
            for vip in &spec.vips {
                let owner = Owner { edge: vip.edge, set: spec.set, accept: spec.accept, application };
                proxied.vips.insert(vip.address, owner);
            }
            if spec.accept != Accept::Listener {
                proxied.accepted.insert(spec.app, spec.accept == Accept::AtOnce);
            }
            if spec.splices {
                proxied.splices.insert(spec.app);
            }
            proxied.ports.push(spec.ports.clone());
        }
        proxied
    }

    pub fn is_empty(&self) -> bool {
        self.vips.is_empty()
    }

    /// For a packet that came out of the overlay from `peer`: None when the NAT is to have it, else whether it may go on to the
    /// stack.
    pub fn admit(&self, ip: &Ip, peer: u16) -> Option<Result<(), &'static str>> {
        let owner = self.vips.get(&ip.destination).filter(|owner| !(owner.is_accepted(ip)))?;
        Some(if owner.edge != peer {
            Err("wrong_edge")
        } else if self.ports[owner.application].iter().any(|range| range.admits(ip)) {
            Ok(())
        } else {
            Err("port_refused")
        })
    }

    /// Where a packet of the stack goes, by the VIP it comes from.
    pub fn owner(&self, source: &IpAddr) -> Option<Owner> {
        self.vips.get(source).copied()
    }

    /// Whether the fast path accepts connections of any application.
    pub fn accepts(&self) -> bool {
        !self.accepted.is_empty()
    }

    pub fn splices(&self, app: u16) -> bool {
        self.splices.contains(&app)
    }

    /// For an application whose connections the fast path accepts: whether the control side hears of each at once.
    pub fn at_once(&self, app: u16) -> Option<bool> {
        self.accepted.get(&app).copied()
    }
}

impl Owner {
    /// Whether a packet belongs to a connection that the fast path accepts, or has accepted.
    pub fn is_accepted(&self, ip: &Ip) -> bool {
        self.accept != Accept::Listener && ip.protocol == braid_packet::ip::TCP
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::{Protocol, VipSpec};

    fn tcp(port: u16) -> Ip {
        let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 9];
        packet.extend_from_slice(&[0x30, 0x39]);
        packet.extend_from_slice(&port.to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]);
        Ip::parse(&packet).unwrap()
    }

    #[test]
    fn packets_to_the_vip_pass_from_its_edge_and_to_its_ports_alone() {
        let vip: IpAddr = "10.0.0.9".parse().unwrap();
        let spec = ProxiedApplication {
            app: 7,
            vips: vec![VipSpec { address: vip, edge: 11 }],
            ports: vec![PortRange(Protocol::Tcp, 80, 80)],
            set: 2,
            accept: Accept::Listener,
            transparent: Vec::new(),
            cookies_at_edge: false,
            splices: false,
            idle_timeout: None,
        };
        let proxied = Proxied::new(std::slice::from_ref(&spec));
        assert_eq!(proxied.admit(&tcp(80), 11), Some(Ok(())));
        assert_eq!(proxied.admit(&tcp(80), 12), Some(Err("wrong_edge")));
        assert_eq!(proxied.admit(&tcp(22), 11), Some(Err("port_refused")));
        let other = Ip { destination: "10.0.0.8".parse().unwrap(), ..tcp(80) };
        assert_eq!(proxied.admit(&other, 11), None);
        assert_eq!(proxied.owner(&vip).map(|owner| (owner.edge, owner.set)), Some((11, 2)));
        assert_eq!(proxied.owner(&other.destination), None);
        assert!(!proxied.accepts());
        let proxied = Proxied::new(&[ProxiedApplication { accept: Accept::AtOnce, ..spec }]);
        assert_eq!(proxied.admit(&tcp(80), 11), None, "it is the fast path's");
        assert_eq!((proxied.accepts(), proxied.at_once(7), proxied.at_once(8)), (true, Some(true), None));
    }
}
