//! Applications whose connections end in the gateway's own TCP stack: their packets pass between overlay and host as they are.

use crate::desired::{PortRange, ProxiedApplication};
use braid_packet::Ip;
use hashbrown::HashMap;
use std::net::IpAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The edge node that has the VIP.
    pub edge: u16,
    pub set: u8,
    application: usize,
}

#[derive(Default)]
pub struct Proxied {
    vips: HashMap<IpAddr, Owner>,
    ports: Vec<Vec<PortRange>>,
}

impl Proxied {
    pub fn new(applications: &[ProxiedApplication]) -> Proxied {
        let mut proxied = Proxied::default();
        for (application, spec) in applications.iter().enumerate() {
            for vip in &spec.vips {
                proxied.vips.insert(vip.address, Owner { edge: vip.edge, set: spec.set, application });
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
        let owner = self.vips.get(&ip.destination)?;
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
        let proxied = Proxied::new(&[ProxiedApplication {
            vips: vec![VipSpec { address: vip, edge: 11 }],
            ports: vec![PortRange(Protocol::Tcp, 80, 80)],
            set: 2,
        }]);
        assert_eq!(proxied.admit(&tcp(80), 11), Some(Ok(())));
        assert_eq!(proxied.admit(&tcp(80), 12), Some(Err("wrong_edge")));
        assert_eq!(proxied.admit(&tcp(22), 11), Some(Err("port_refused")));
        let other = Ip { destination: "10.0.0.8".parse().unwrap(), ..tcp(80) };
        assert_eq!(proxied.admit(&other, 11), None);
        assert_eq!(proxied.owner(&vip).map(|owner| (owner.edge, owner.set)), Some((11, 2)));
        assert_eq!(proxied.owner(&other.destination), None);
    }
}
