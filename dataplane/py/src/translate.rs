//! The core's events as Python's tuples; handshake messages end here or become an `initiation`.

use crate::Core;
use braid_core::handshake::HandshakeError;
use braid_core::wire::Kind;
use braid_core::{Command, Event, Losses, ServiceRequest, Stream};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

impl Core {
    /// None for events that end here.
    pub(crate) fn translate(&mut self, py: Python<'_>, event: Event) -> PyResult<Option<Py<PyAny>>> {
        let object = match event {
            Event::Handshake { kind, adjacent, receiver, body, neighbour } => {
                return self.handshake(py, kind, adjacent, neighbour, receiver, &body);
            }
            Event::Established { peer, adjacent, epoch, initiator, boot } => {
                ("established", peer, adjacent, epoch, initiator, boot).into_pyobject(py)?.into_any()
            }
            Event::Refused { .. } => return Ok(None),
            Event::Up { peer, adjacent } => {
                self.to_all(|| Command::Admit { peer, adjacent, usable: true })?;
                ("up", peer, adjacent).into_pyobject(py)?.into_any()
            }
            Event::Down { peer, adjacent } => {
                self.to_all(|| Command::Admit { peer, adjacent, usable: false })?;
                ("down", peer, adjacent).into_pyobject(py)?.into_any()
            }
            Event::Rekey { peer, adjacent } => ("rekey", peer, adjacent).into_pyobject(py)?.into_any(),
            Event::Control { peer, adjacent, message } => {
                ("control", peer, adjacent, PyBytes::new(py, &message)).into_pyobject(py)?.into_any()
            }
            Event::ServiceRequest(request) => {
                let ServiceRequest { connection, app, edge, client, server, held, held_at, shared } = *request;
                let held_at = held_at.map_or(0, |at| at.0);
                let client = PyBytes::new(py, &client);
                let server = server.map(|server| PyBytes::new(py, &server));
                ("service_request", connection, app, edge, client, server, held, held_at, shared)
                    .into_pyobject(py)?
                    .into_any()
            }
            Event::Held { connection, at } => ("held", connection, at.0).into_pyobject(py)?.into_any(),
            Event::Ended { connection, why, bytes_in, bytes_out } => {
                ("ended", connection, why, bytes_in, bytes_out).into_pyobject(py)?.into_any()
            }
            Event::Losses(losses) => {
                let Losses { peer, nanoseconds, streams, lost, both, sent, delays } = *losses;
                let of = |s: &Stream| (s.set, s.on, s.packets, s.repaired, s.all_lost);
                let streams: Vec<_> = streams.iter().map(of).collect();
                let sent: Vec<_> = sent.iter().map(|s| (s.set, s.packets, s.copies, s.copied_bytes)).collect();
                let seconds = nanoseconds as f64 / 1e9;
                ("losses", peer, seconds, streams, lost, both, sent, delays).into_pyobject(py)?.into_any()
            }
        };
        Ok(Some(object.unbind()))
    }

    fn handshake(
        &mut self,
        py: Python<'_>,
        kind: Kind,
        adjacent: bool,
        neighbour: u16,
        receiver: u32,
        body: &[u8],
    ) -> PyResult<Option<Py<PyAny>>> {
        let now = braid_io::now();
        let outcome = match kind {
            Kind::Initiation => match self.handshaker.receive_initiation(body, now) {
                // Between neighbours the claimed number must be that of the address it came from.
                Ok(i) if i.adjacent != adjacent || (adjacent && i.peer != neighbour) => {
                    self.handshaker.refuse(i.id);
                    Err("handshake_wrong_neighbour")
                }
                Ok(i) => {
                    let (key, certificate) = (PyBytes::new(py, &i.static_key), PyBytes::new(py, &i.certificate));
                    let event = ("initiation", i.id, i.peer, adjacent, key, certificate).into_pyobject(py)?;
                    return Ok(Some(event.into_any().unbind()));
                }
                Err(error) => Err(error.as_str()),
            },
            Kind::Response => match self.handshaker.receive_response(receiver, body, now) {
                Ok(session) => {
                    self.install(py, session, None)?;
                    Ok(())
                }
                Err(error) => Err(error.as_str()),
            },
            Kind::Cookie => {
                let peer = self.handshaker.pending_peer(receiver).and_then(|peer| self.statics.get(&peer).copied());
                match peer.map(|key| self.handshaker.receive_cookie(receiver, body, &key, now)) {
                    Some(Ok(())) => Ok(()),
                    Some(Err(error)) => Err(error.as_str()),
                    None => Err(HandshakeError::Unexpected.as_str()),
                }
            }
            Kind::Data | Kind::DataPartial | Kind::Control | Kind::Keepalive | Kind::Size => Err("kind"),
        };
        if let Err(reason) = outcome {
            self.command(Command::Count(reason))?;
        }
        Ok(None)
    }
}

/// The counters' names are fixed: what Python may refuse for.
pub(crate) fn refusal(reason: &str) -> &'static str {
    match reason {
        "malformed" => "refused_malformed",
        "other_ca" => "refused_other_ca",
        "expired" => "refused_expired",
        "not_yet_valid" => "refused_not_yet_valid",
        "revoked" => "refused_revoked",
        "key_mismatch" => "refused_key_mismatch",
        "unknown_node" => "refused_unknown_node",
        "wrong_role" => "refused_wrong_role",
        "wrong_region" => "refused_wrong_region",
        "wrong_braid" => "refused_wrong_braid",
        "wrong_number" => "refused_wrong_number",
        "not_a_peer" => "refused_not_a_peer",
        _ => "refused_other",
    }
}
