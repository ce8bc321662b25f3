//! Python's view of `braid_io::Exchange`.

use crate::repair::os_error;
use braid_io::Exchange;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use std::net::{IpAddr, SocketAddr};

#[pyclass(unsendable)]
pub(crate) struct Datagrams {
    exchange: Option<Exchange>,
}

type Received<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>, u16);

#[pymethods]
impl Datagrams {
    #[new]
    fn new(fd: i32, count: usize, size: usize) -> PyResult<Datagrams> {
        Ok(Datagrams { exchange: Some(Exchange::adopt(fd, count, size).map_err(os_error)?) })
    }

    fn receive<'py>(&mut self, py: Python<'py>) -> PyResult<Vec<Received<'py>>> {
        let exchange = self.open()?;
        let count = exchange.receive().map_err(os_error)?;
        let datagram = |i| {
            let (from, data): (SocketAddr, &[u8]) = exchange.datagram(i)?;
            let host = match from.ip() {
                IpAddr::V4(host) => PyBytes::new(py, &host.octets()),
                IpAddr::V6(host) => PyBytes::new(py, &host.octets()),
            };
            Some((PyBytes::new(py, data), host, from.port()))
        };
        Ok((0..count).filter_map(datagram).collect())
    }

    fn send(&mut self, answers: &Bound<'_, PyList>) -> PyResult<usize> {
        let exchange = self.open()?;
        for (i, answer) in answers.iter().enumerate() {
            if !answer.is_none() {
                exchange.answer(i, answer.cast::<PyBytes>()?.as_bytes());
            }
        }
        Ok(exchange.send())
    }

    fn close(&mut self) {
        self.exchange = None;
    }
}

impl Datagrams {
    fn open(&mut self) -> PyResult<&mut Exchange> {
        self.exchange.as_mut().ok_or_else(|| PyValueError::new_err("closed"))
    }
}
