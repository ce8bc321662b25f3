//! What a node's shards are given: sockets and queues of the TUN.

use braid_io::{Socket, SocketOptions, Tun};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use std::net::{IpAddr, SocketAddr};

/// One socket for each address, at the port of this shard.
pub(crate) fn sockets(listen: &[(String, u16)], shard: u16, options: SocketOptions) -> PyResult<Vec<Socket>> {
    let mut sockets = Vec::new();
    for (host, port) in listen {
        let address: IpAddr =
            host.parse().map_err(|_| PyValueError::new_err(format!("listen: {host:?} is no IP address")))?;
        let port = port.checked_add(shard).filter(|_| shard == 0 || *port != 0);
        let port = port.ok_or_else(|| PyValueError::new_err("listen: no port for each shard"))?;
        let address = SocketAddr::new(address, port);
        sockets.push(
            braid_io::bind(address, options)
                .map_err(|error| PyOSError::new_err((error.raw_os_error(), format!("UDP {address}: {error}"))))?,
        );
    }
    Ok(sockets)
}

pub(crate) fn adopt(fd: i32, offload: bool) -> PyResult<Tun> {
    Tun::adopt(fd, offload).map_err(|error| PyOSError::new_err((error.raw_os_error(), format!("TUN: {error}"))))
}
