//! Random bytes, and X25519 keys as Python gives them.

use crate::Core;
use braid_core::Command;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use ring::rand::{SecureRandom, SystemRandom};

const COOKIE_SECRET_LIFETIME: u64 = 120 * braid_packet::Time::SECOND;

pub(crate) fn random<const N: usize>() -> PyResult<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| PyOSError::new_err("the system gives no random numbers"))?;
    Ok(bytes)
}

pub(crate) fn key(bytes: &[u8], name: &str) -> PyResult<[u8; 32]> {
    bytes.try_into().map_err(|_| PyValueError::new_err(format!("{name} must be 32 bytes, not {}", bytes.len())))
}

#[pyfunction]
pub(crate) fn public_key<'py>(py: Python<'py>, private_key: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let public = braid_core::handshake::public_key(&key(private_key, "private_key")?)
        .ok_or_else(|| PyValueError::new_err("private_key is no X25519 key"))?;
    Ok(PyBytes::new(py, &public))
}

impl Core {
    pub(crate) fn refresh_cookie_secret(&mut self) -> PyResult<()> {
        let now = braid_io::now();
        if self.cookie_secret_at.is_some_and(|at| now.since(at) < COOKIE_SECRET_LIFETIME) {
            return Ok(());
        }
        if self.threads.is_running() {
            self.cookie_secret_at = Some(now);
            self.command(Command::CookieSecret(random()?))?;
        }
        Ok(())
    }
}
