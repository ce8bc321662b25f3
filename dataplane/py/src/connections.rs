//! What Python says about connections of proxied applications.

use crate::Core;
use braid_core::{shard_of, Command, Order, Splice};
use braid_packet::TcpRecord;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::net::{IpAddr, SocketAddr};

impl Core {
    pub(crate) fn order(&self, connection: u64, order: Order) -> PyResult<()> {
        self.check_process()?;
        self.threads.command_to(shard_of(connection), Command::Connection(connection, order))
    }

    pub(crate) fn ask_to_hold(&self, py: Python<'_>, connection: u64) -> PyResult<bool> {
        self.check_process()?;
        self.threads.ask_shard(py, shard_of(connection), |held| Command::Connection(connection, Order::Hold(held)))
    }

    pub(crate) fn lease_server(
        &self,
        py: Python<'_>,
        connection: u64,
        host: &str,
        port: u16,
    ) -> PyResult<Option<(String, u16)>> {
        self.check_process()?;
        let host: IpAddr = host.parse().map_err(|_| PyValueError::new_err(format!("{host:?} is no IP address")))?;
        let server = SocketAddr::new(host, port);
        let leased = self.threads.ask_shard(py, shard_of(connection), |leased| {
            Command::Connection(connection, Order::OpenServer(server, leased))
        })?;
        Ok(leased.map(|address| (address.ip().to_string(), address.port())))
    }

    pub(crate) fn order_splice(
        &self,
        connection: u64,
        client: &[u8],
        server: &[u8],
        to_client: &[u8],
        to_server: &[u8],
        until: Option<u64>,
    ) -> PyResult<()> {
        let record = |bytes| TcpRecord::decode(bytes).map_err(PyValueError::new_err);
        let splice = Splice {
            client: record(client)?,
            server: record(server)?,
            to_client: to_client.to_vec(),
            to_server: to_server.to_vec(),
            until: until.map(|bytes| u32::try_from(bytes).unwrap_or(u32::MAX)),
        };
        splice.check().map_err(PyValueError::new_err)?;
        self.order(connection, Order::Splice(Box::new(splice)))
    }
}
