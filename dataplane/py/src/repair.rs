//! Kernel sockets from records and records from sockets; and connections that go back to the data plane.

use crate::relay::address;
use crate::Core;
use braid_core::{Order, Park, Splice};
use braid_io::repair::{self, FreezeError};
use braid_packet::TcpRecord;
use braid_proxy::{DataPlane, Departure};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::borrow::Cow;
use std::net::SocketAddr;
use std::os::fd::{AsFd, IntoRawFd};

/// With its number: what PyO3 makes of an error by itself has none, and callers tell errors by that.
pub(crate) fn os_error(error: std::io::Error) -> PyErr {
    PyOSError::new_err((error.raw_os_error(), error.to_string()))
}

pub(crate) fn record(bytes: &[u8]) -> PyResult<TcpRecord> {
    TcpRecord::decode(bytes).map_err(PyValueError::new_err)
}

#[pyfunction]
fn repair_bound(host: &str, port: u16, device: &str, mss: u16) -> PyResult<i32> {
    let opened = repair::bound(SocketAddr::new(address(host)?, port), device, mss);
    Ok(opened.map_err(os_error)?.into_raw_fd())
}

#[pyfunction]
#[pyo3(signature = (record, device, later=0))]
fn repair_build(record: &[u8], device: &str, later: u32) -> PyResult<i32> {
    let mut record = self::record(record)?;
    record.timestamp = record.timestamp.map(|clock| clock.wrapping_add(later));
    Ok(repair::build(&record, device).map_err(os_error)?.into_raw_fd())
}

#[pyfunction]
fn repair_start(fd: i32, unsent: &[u8]) -> PyResult<()> {
    braid_io::duplicate(fd).and_then(|opened| repair::start(opened.as_fd(), unsent)).map_err(os_error)
}

#[pyfunction]
fn repair_dissolve(fd: i32) -> PyResult<()> {
    braid_io::duplicate(fd).and_then(|opened| repair::dissolve(opened.as_fd())).map_err(os_error)
}

#[pyfunction]
fn repair_freeze(py: Python<'_>, fd: i32) -> PyResult<Bound<'_, PyBytes>> {
    let opened = braid_io::duplicate(fd).map_err(os_error)?;
    match repair::freeze(opened.as_fd()) {
        Ok(record) => Ok(PyBytes::new(py, &record.encode())),
        Err(FreezeError(why)) => Err(PyValueError::new_err(why)),
    }
}

#[pyfunction]
fn is_own(host: &str) -> PyResult<bool> {
    Ok(braid_io::is_own(address(host)?))
}

/// A `Core`, or what a test has in its place.
pub(crate) struct Plane<'py>(pub(crate) Bound<'py, PyAny>);

impl DataPlane for Plane<'_> {
    type Error = PyErr;

    fn hold(&self, connection: u64) -> PyResult<bool> {
        match self.0.extract::<PyRef<'_, Core>>() {
            Ok(core) => core.ask_to_hold(self.0.py(), connection, false),
            Err(_) => self.0.call_method1("hold", (connection,))?.extract(),
        }
    }

    fn splice(&self, connection: u64, splice: Splice) -> PyResult<Result<(), Cow<'static, str>>> {
        if let Ok(core) = self.0.extract::<PyRef<'_, Core>>() {
            if let Err(why) = splice.check() {
                return Ok(Err(why.into()));
            }
            core.order(self.0.py(), connection, Order::Splice(Box::new(splice)))?;
            return Ok(Ok(()));
        }
        let py = self.0.py();
        let Splice { client, server, to_client, to_server, until } = splice;
        let [client, server, to_client, to_server] =
            [client.encode(), server.encode(), to_client, to_server].map(|bytes| PyBytes::new(py, &bytes));
        match self.0.call_method1("splice", (connection, client, server, to_client, to_server, until)) {
            Ok(_) => Ok(Ok(())),
            Err(error) if error.is_instance_of::<PyValueError>(py) => Ok(Err(error.value(py).to_string().into())),
            Err(error) => Err(error),
        }
    }

    fn hold_alone(&self, connection: u64) -> PyResult<bool> {
        match self.0.extract::<PyRef<'_, Core>>() {
            Ok(core) => core.ask_to_hold(self.0.py(), connection, true),
            Err(_) => self.0.call_method1("hold_alone", (connection,))?.extract(),
        }
    }

    fn park(&self, connection: u64, park: Park) -> PyResult<Result<(), Cow<'static, str>>> {
        if let Ok(core) = self.0.extract::<PyRef<'_, Core>>() {
            if let Err(why) = park.check() {
                return Ok(Err(why.into()));
            }
            core.order(self.0.py(), connection, Order::Park(Box::new(park)))?;
            return Ok(Ok(()));
        }
        let py = self.0.py();
        let [client, to_client] = [park.client.encode(), park.to_client].map(|bytes| PyBytes::new(py, &bytes));
        self.0.call_method1("park", (connection, client, to_client))?;
        Ok(Ok(()))
    }

    fn take(&self, connection: u64) -> PyResult<()> {
        self.0.call_method1("take", (connection,))?;
        Ok(())
    }
}

#[pyfunction]
#[pyo3(signature = (core, connection, client, server, to_client, to_server, until=None))]
fn give_back(
    core: Bound<'_, PyAny>,
    connection: u64,
    client: i32,
    server: i32,
    to_client: &[u8],
    to_server: &[u8],
    until: Option<u64>,
) -> PyResult<Option<Cow<'static, str>>> {
    let (client, server) = (braid_io::duplicate(client)?, braid_io::duplicate(server)?);
    let sockets = (client.as_fd(), server.as_fd());
    braid_proxy::give_back(&Plane(core), connection, sockets, (to_client, to_server), until, false)
}

pub(crate) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(repair_bound, module)?)?;
    module.add_function(wrap_pyfunction!(repair_build, module)?)?;
    module.add_function(wrap_pyfunction!(repair_start, module)?)?;
    module.add_function(wrap_pyfunction!(repair_dissolve, module)?)?;
    module.add_function(wrap_pyfunction!(repair_freeze, module)?)?;
    module.add_function(wrap_pyfunction!(give_back, module)?)?;
    module.add_function(wrap_pyfunction!(is_own, module)?)?;
    Ok(())
}

pub(crate) fn as_words(py: Python<'_>, departure: Option<Departure>) -> PyResult<Option<Py<PyAny>>> {
    Ok(match departure {
        None => None,
        Some(Departure::Went { status, bytes, latency }) => {
            Some(("went", status, bytes, latency).into_pyobject(py)?.into_any().unbind())
        }
        Some(Departure::Stays { reason, read_on }) => {
            Some(("stays", reason, read_on).into_pyobject(py)?.into_any().unbind())
        }
    })
}
