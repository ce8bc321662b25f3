//! What content proxies store, in Python's words: `dataplane._native.Stored`.

use braid_line::stored::{self, name_of, Fields, Limits, ANY};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

#[pyclass(unsendable)]
pub(crate) struct Stored(pub(crate) stored::Stored);

#[pymethods]
impl Stored {
    #[new]
    #[pyo3(signature = (*, good_for, cold, most_cold))]
    fn new(good_for: f64, cold: f64, most_cold: usize) -> Stored {
        Stored(stored::Stored::new(Limits { good_for, cold, most_cold }))
    }

    fn receive(&mut self, proxy: u16, order: u32, pages: Vec<(u8, Vec<u8>)>, now: f64) {
        for (number, bits) in pages {
            self.0.receive(proxy, order, number, &bits, now);
        }
    }

    fn forget(&mut self, proxy: u16) {
        self.0.forget(proxy);
    }

    fn remember_cold(&mut self, proxy: u16, key: &[u8], now: f64, fields: &[u8]) -> PyResult<()> {
        self.0.remember_cold(proxy, name_of(key), digest(fields)?, now);
        Ok(())
    }

    fn is_cold(&self, proxy: u16, key: &[u8], now: f64) -> bool {
        self.0.is_cold(proxy, &name_of(key), now)
    }

    fn look_up(&self, proxy: u16, key: &[u8], now: f64, fields: &[u8]) -> PyResult<&'static str> {
        Ok(self.0.look_up(proxy, &name_of(key), digest(fields)?, now).word())
    }

    fn mark_outdated(&mut self, proxy: u16, key: &[u8], outdated: bool) {
        self.0.mark_outdated(proxy, name_of(key), outdated);
    }
}

/// None of them: whatever the fields are.
fn digest(fields: &[u8]) -> PyResult<Fields> {
    if fields.is_empty() {
        return Ok(ANY);
    }
    fields.try_into().map_err(|_| PyValueError::new_err("fields are 16 bytes, or none"))
}
