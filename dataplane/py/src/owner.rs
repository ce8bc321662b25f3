//! Owners of connections (`Core.set_owner`, `Core.offer`) in Python's words.

use crate::threads::{answers, give_all, question};
use crate::Core;
use braid_core::{Command, Ends, Owner};
use braid_io::Commander;
use braid_line::Unheard;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::Receiver;

/// What the data threads will have said.
#[pyclass(unsendable)]
pub(crate) struct Hold(Vec<Option<Receiver<bool>>>);

#[pymethods]
impl Hold {
    /// Whether all hold it; once.
    fn wait(&mut self, py: Python<'_>) -> PyResult<bool> {
        let said = answers(py, std::mem::take(&mut self.0))?;
        Ok(!said.is_empty() && said.into_iter().all(|done| done == Some(true)))
    }
}

/// None for nobody in particular.
pub(crate) fn owner(word: &str) -> PyResult<Option<Owner>> {
    Ok(Some(match word {
        "" => return Ok(None),
        "held" => Owner::Held,
        "here" => Owner::Here,
        "away" => Owner::Away,
        _ => return Err(PyValueError::new_err(format!("owner: {word:?}"))),
    }))
}

pub(crate) fn ends(client: &(String, u16), vip: &(String, u16)) -> PyResult<Ends> {
    Ok(Ends::new(end(client)?, end(vip)?))
}

fn end((host, port): &(String, u16)) -> PyResult<SocketAddr> {
    let host: IpAddr = host.parse().map_err(|_| PyValueError::new_err(format!("{host:?} is no IP address")))?;
    Ok(SocketAddr::new(host, *port))
}

impl Core {
    /// To all shards. Whether all could do so.
    pub(crate) fn say_owner(&self, py: Python<'_>, ends: Ends, owner: Option<Owner>, wait: bool) -> PyResult<bool> {
        self.check_process()?;
        if !wait {
            self.to_all(|| Command::Own { ends, owner, by: None, done: Box::new(Unheard) })?;
            return Ok(true);
        }
        let answers = self.threads.ask_all(py, |done| Command::Own { ends, owner, by: None, done })?;
        Ok(answers.into_iter().all(|done| done))
    }
}

/// By all shards; what the first one says then, and is said afterwards, comes after that.
pub(crate) fn hold_and_say(
    py: Python<'_>,
    shards: &[Commander<Command>],
    ends: Ends,
    mut messages: Vec<Command>,
) -> PyResult<Hold> {
    let mut asked = Vec::new();
    for shard in shards {
        let (done, answer) = question();
        let mut commands = vec![Command::Own { ends, owner: Some(Owner::Held), by: None, done }];
        commands.append(&mut messages);
        give_all(py, shard, commands)?;
        asked.push(Some(answer));
    }
    Ok(Hold(asked))
}
