//! Heads of HTTP/1.1 messages for Python.

use braid_proxy::RequestHead;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

/// Method, target, authority, fields by lower-case names, and whether the connection is to end behind the answer.
type Head<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyTuple>, bool);

/// None for what is not one request, whole and without a body.
#[pyfunction]
fn read_request<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Option<Head<'py>>> {
    let Ok(Some((head, length))) = RequestHead::decode(data) else { return Ok(None) };
    if length != data.len() || !head.is_bare() {
        return Ok(None);
    }
    let bytes = |part: &[u8]| PyBytes::new(py, part);
    let fields = head.fields().map(|(name, value)| (bytes(&name.to_ascii_lowercase()), bytes(value)));
    let fields = PyTuple::new(py, fields.collect::<Vec<_>>())?;
    Ok(Some((bytes(head.method()), bytes(head.path_and_query()), bytes(head.authority()), fields, head.closes)))
}

pub(crate) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(read_request, module)?)
}
