//! Offloads of one shard: what was wanted, what the start-up probe said, what is in use now.

use serde::Serialize;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};

/// What is known of an offload from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Switched off by the operator, and not tried.
    Off,
    /// Tried, and it did what it should.
    Works,
    /// Could not be tried, for this errno: used until the kernel refuses it.
    Untried(i32),
    /// The kernel refused it with this errno.
    Refused(i32),
}

impl Probe {
    pub fn usable(self) -> bool {
        matches!(self, Probe::Works | Probe::Untried(_))
    }

    pub(crate) fn of(result: io::Result<()>) -> Probe {
        match result {
            Ok(()) => Probe::Works,
            Err(error) => Probe::Refused(error.raw_os_error().unwrap_or(libc::EIO)),
        }
    }

    /// Of two that must both work.
    pub(crate) fn and(self, other: Probe) -> Probe {
        let rank = |probe: Probe| match probe {
            Probe::Works => 0,
            Probe::Untried(_) => 1,
            Probe::Off => 2,
            Probe::Refused(_) => 3,
        };
        if rank(self) >= rank(other) {
            self
        } else {
            other
        }
    }

    fn word(self) -> &'static str {
        match self {
            Probe::Off => "off",
            Probe::Works => "works",
            Probe::Untried(_) => "untried",
            Probe::Refused(_) => "refused",
        }
    }
}

/// As shown: an offload that this shard could use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OffloadState {
    pub name: &'static str,
    pub wanted: bool,
    /// "off", "works", "untried" or "refused", at the start.
    pub probe: &'static str,
    pub in_use: bool,
    /// Why it is not in use, or could not be tried; 0 for no reason.
    pub errno: i32,
}

/// A destination whose path refused UDP_SEGMENT lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    pub address: IpAddr,
    pub errno: i32,
}

/// One offload; written by the owner of the shard at the start and by its thread later, read by anybody.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// Unset: this shard has nothing that the offload is for.
    probe: OnceLock<Probe>,
    /// The errno that the kernel gave at run time, or 0.
    refused: AtomicI32,
}

impl Standing {
    pub(crate) fn begin(&self, probe: Probe) {
        let _ = self.probe.set(probe);
    }

    pub(crate) fn in_use(&self) -> bool {
        self.probe.get().is_some_and(|probe| probe.usable()) && self.refused.load(Relaxed) == 0
    }

    /// Ends the use of it. Whether it was in use.
    pub(crate) fn fall_back(&self, errno: i32) -> bool {
        let was = self.in_use();
        self.refused.store(errno, Relaxed);
        was
    }

    fn state(&self, name: &'static str) -> Option<OffloadState> {
        let probe = *self.probe.get()?;
        let errno = match (self.refused.load(Relaxed), probe) {
            (0, Probe::Untried(errno) | Probe::Refused(errno)) => errno,
            (errno, _) => errno,
        };
        Some(OffloadState { name, wanted: probe != Probe::Off, probe: probe.word(), in_use: self.in_use(), errno })
    }
}

#[derive(Debug, Default)]
pub(crate) struct Offloads {
    pub(crate) udp_gso: Standing,
    pub(crate) udp_gro: Standing,
    /// Super-packets read from the TUN.
    pub(crate) tun_tso: Standing,
    pub(crate) tun_uso: Standing,
    /// Super-packets written to it.
    pub(crate) tun_tcp_writes: Standing,
    pub(crate) tun_udp_writes: Standing,
    refusals: Mutex<Vec<Refusal>>,
}

impl Offloads {
    pub(crate) fn states(&self) -> Vec<OffloadState> {
        let all = [
            self.udp_gso.state("udp_gso"),
            self.udp_gro.state("udp_gro"),
            self.tun_tso.state("tun_tso"),
            self.tun_uso.state("tun_uso"),
            self.tun_tcp_writes.state("tun_tcp_writes"),
            self.tun_udp_writes.state("tun_udp_writes"),
        ];
        all.into_iter().flatten().collect()
    }

    pub(crate) fn refusals(&self) -> Vec<Refusal> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces what is said of destinations. Takes a lock: for the rare moments when that changes.
    pub(crate) fn publish(&self, address: IpAddr, errno: Option<i32>) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.retain(|refusal| refusal.address != address);
        refusals.extend(errno.map(|errno| Refusal { address, errno }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offload_is_in_use_until_it_is_refused() {
        for (probe, usable) in
            [(Probe::Off, false), (Probe::Works, true), (Probe::Untried(1), true), (Probe::Refused(22), false)]
        {
            let standing = Standing::default();
            assert!(!standing.in_use(), "before it began");
            assert_eq!(standing.state("x"), None);
            standing.begin(probe);
            assert_eq!(standing.in_use(), usable, "{probe:?}");
            assert_eq!(standing.fall_back(5), usable);
            assert!(!standing.in_use());
            assert_eq!(standing.state("x").map(|state| (state.in_use, state.errno)), Some((false, 5)));
        }
    }

    #[test]
    fn of_two_probes_the_worse_one_counts() {
        assert_eq!(Probe::Works.and(Probe::Untried(1)), Probe::Untried(1));
        assert_eq!(Probe::Refused(22).and(Probe::Untried(1)), Probe::Refused(22));
        assert_eq!(Probe::Works.and(Probe::Works), Probe::Works);
    }

    #[test]
    fn a_destination_is_listed_once_until_it_is_taken_back() {
        let offloads = Offloads::default();
        let address = IpAddr::from([192, 0, 2, 1]);
        offloads.publish(address, Some(libc::EIO));
        offloads.publish(address, Some(libc::EINVAL));
        assert_eq!(offloads.refusals(), [Refusal { address, errno: libc::EINVAL }]);
        offloads.publish(address, None);
        assert_eq!(offloads.refusals(), []);
    }
}
