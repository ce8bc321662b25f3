//! Heads of HTTP/1.1 messages for Python, and what of a stored answer may serve which request.

use braid_core::answer::{self, Answer, Use};
use braid_proxy::RequestHead;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

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

/// Header fields as Python has them.
struct Pairs<'py>(Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)>);

impl<'py> Pairs<'py> {
    fn of(fields: &Bound<'py, PyTuple>) -> PyResult<Pairs<'py>> {
        fields.iter().map(|each| each.extract()).collect::<PyResult<_>>().map(Pairs)
    }

    fn get(&self) -> Vec<(&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
    }
}

#[pyfunction]
fn selecting<'py>(py: Python<'py>, fields: &Bound<'py, PyTuple>, name: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    Ok(PyBytes::new(py, &answer::selecting(&Pairs::of(fields)?.get(), name)))
}

/// 0: fresh, 1: stale, 2: validate.
#[pyfunction]
fn judge_answer(fields: &Bound<'_, PyTuple>, encoded: &[u8], now: f64) -> PyResult<u8> {
    let Some((answer, [])) = Answer::decode(encoded) else { return Err(PyValueError::new_err("no answer")) };
    Ok(match answer.judge(&Pairs::of(fields)?.get(), now) {
        Use::Fresh => 0,
        Use::Stale => 1,
        Use::Validate => 2,
    })
}

pub(crate) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(selecting, module)?)?;
    module.add_function(wrap_pyfunction!(judge_answer, module)?)?;
    module.add_function(wrap_pyfunction!(read_request, module)?)
}

/// ISO 8859-1, in which each byte is a character.
pub(crate) fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

/// Lower-case names; several of one name joined by a comma and a space.
pub(crate) fn headers<'py>(py: Python<'py>, head: &RequestHead) -> PyResult<Bound<'py, PyDict>> {
    let found = PyDict::new(py);
    for (name, value) in head.fields() {
        let (name, value) = (text(name).to_ascii_lowercase(), text(value));
        match found.get_item(&name)? {
            Some(before) => found.set_item(name, format!("{}, {value}", before.extract::<String>()?))?,
            None => found.set_item(name, value)?,
        }
    }
    Ok(found)
}
