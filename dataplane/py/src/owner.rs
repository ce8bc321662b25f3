//! Owners of connections (`Core.set_owner`) in Python's words.

use braid_core::{Ends, Owner};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::net::{IpAddr, SocketAddr};

/// None for nobody in particular.
pub(crate) fn owner(word: &str) -> PyResult<Option<Owner>> {
    Ok(Some(match word {
        "" => return Ok(None),
        "held" => Owner::Held,
        "here" => Owner::Here,
        "away" => Owner::Away,
        number => number.parse().map(Owner::Node).map_err(|_| PyValueError::new_err(format!("owner: {word:?}")))?,
    }))
}

pub(crate) fn ends(client: &(String, u16), vip: &(String, u16)) -> PyResult<Ends> {
    Ok(Ends::new(end(client)?, end(vip)?))
}

fn end((host, port): &(String, u16)) -> PyResult<SocketAddr> {
    let host: IpAddr = host.parse().map_err(|_| PyValueError::new_err(format!("{host:?} is no IP address")))?;
    Ok(SocketAddr::new(host, *port))
}
