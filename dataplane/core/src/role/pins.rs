//! Which gateway a client keeps, agreed between the shards of an edge.
//!
//! The only thing that shards share. A shard asks when it meets a client that it has no usable pin for, not per packet.

use braid_packet::Time;
use hashbrown::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Client and VIP.
pub type Client = (IpAddr, IpAddr);

/// A gateway, and when the pin was last used.
pub type Pin = (u16, Time);

/// One table for all shards. While a client is in it and its gateway is usable, every shard sends it there.
#[derive(Debug, Default)]
pub struct SharedPins(Mutex<HashMap<Client, Pin>>);

impl SharedPins {
    fn lock(&self) -> MutexGuard<'_, HashMap<Client, Pin>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The gateway that another shard has chosen if it `serves`, else `first`, for all shards from now on. A client that
    /// finds `most` others in the table gets `first`, and no promise.
    #[inline(never)]
    pub fn agree(&self, client: Client, first: u16, now: Time, most: usize, serves: impl Fn(u16) -> bool) -> u16 {
        let mut pins = self.lock();
        if let Some((gateway, used)) = pins.get_mut(&client) {
            if !serves(*gateway) {
                *gateway = first;
            }
            *used = now;
            return *gateway;
        }
        if pins.len() < most {
            pins.insert(client, (first, now));
        }
        first
    }

    /// The gateway that a shard has chosen.
    pub fn get(&self, client: &Client) -> Option<u16> {
        self.lock().get(client).map(|&(gateway, _)| gateway)
    }

    /// Takes over when one shard last used its pins, and drops those that no shard has used for `lifetime`.
    pub fn refresh<'a>(&self, used: impl Iterator<Item = (&'a Client, &'a Pin)>, now: Time, lifetime: u64) {
        let mut pins = self.lock();
        for (client, (_, at)) in used {
            if let Some((_, last)) = pins.get_mut(client) {
                *last = (*last).max(*at);
            }
        }
        pins.retain(|_, (_, last)| now.since(*last) < lifetime);
    }
}
