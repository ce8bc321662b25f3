//! What Python says about connections of proxied applications.

use crate::relay::address;
use crate::Core;
use braid_core::{shard_of, Command, Ends, Order, Splice};
use braid_packet::{TcpRecord, Time};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};

/// A connection that is to get a server: host and port of that, and whether nobody wants to see what it sends first.
pub(crate) type Wanted = (u64, String, u16, bool);
/// From where that server is talked to, if the data plane can have the connection.
pub(crate) type Source = Option<(String, u16)>;

/// Which addresses of servers are the host's own: asked of the kernel, and believed for a while.
#[derive(Default)]
pub(crate) struct OwnAddresses(RefCell<HashMap<IpAddr, (bool, Time)>>);

impl OwnAddresses {
    const BELIEVED: u64 = Time::SECOND;
    const MOST: usize = 4096;

    fn holds(&self, host: IpAddr, now: Time) -> bool {
        let mut known = self.0.borrow_mut();
        if known.len() >= Self::MOST {
            known.clear();
        }
        let found = known.entry(host).or_insert_with(|| (braid_io::is_own(host), now));
        if now.since(found.1) > Self::BELIEVED {
            *found = (braid_io::is_own(host), now);
        }
        found.0
    }
}

impl Core {
    pub(crate) fn order(&self, py: Python<'_>, connection: u64, order: Order) -> PyResult<()> {
        self.check_process()?;
        self.threads.commands_to(py, shard_of(connection), vec![Command::Connection(connection, order)])
    }

    /// `alone`: it has no server.
    pub(crate) fn ask_to_hold(&self, py: Python<'_>, connection: u64, alone: bool) -> PyResult<bool> {
        self.check_process()?;
        self.threads.ask_shard(py, shard_of(connection), |held| {
            let order = if alone { Order::HoldAlone(held) } else { Order::Hold(held) };
            Command::Connection(connection, order)
        })
    }

    /// By the shard that the connection's packets meet.
    pub(crate) fn ask_to_adopt(&self, py: Python<'_>, record: &[u8], guest: bool) -> PyResult<Option<u64>> {
        self.check_process()?;
        let record = Box::new(crate::repair::record(record)?);
        let shard = Ends::new(record.remote, record.local).flow() as usize % self.threads.count().max(1);
        self.threads.ask_shard(py, shard, |adopted| Command::Adopt { record, guest, adopted })
    }

    /// Each shard is woken once.
    pub(crate) fn take_and_lease(&self, py: Python<'_>, taken: Vec<u64>, wanted: Vec<Wanted>) -> PyResult<Vec<Source>> {
        self.check_process()?;
        let now = braid_io::now();
        let mut commands: BTreeMap<usize, Vec<Command>> = BTreeMap::new();
        for connection in taken {
            commands.entry(shard_of(connection)).or_default().push(Command::Connection(connection, Order::Take));
        }
        let mut answers = Vec::new();
        for (connection, host, port, hold) in wanted {
            let server = SocketAddr::new(address(&host)?, port);
            answers.push(if self.own.holds(server.ip(), now) {
                None
            } else {
                let (leased, answer) = crate::threads::question();
                let order = Order::OpenServer { server, hold, leased };
                commands.entry(shard_of(connection)).or_default().push(Command::Connection(connection, order));
                Some(answer)
            });
        }
        for (shard, given) in commands {
            self.threads.commands_to(py, shard, given)?;
        }
        let leased = crate::threads::answers(py, answers)?;
        Ok(leased.into_iter().map(|found| found.flatten().map(|at| (at.ip().to_string(), at.port()))).collect())
    }

    #[allow(clippy::too_many_arguments)]
    pub(crate) fn order_splice(
        &self,
        py: Python<'_>,
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
        self.order(py, connection, Order::Splice(Box::new(splice)))
    }
}
