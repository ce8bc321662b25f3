//! The relay of proxied connections, which Python's thread drives: `dataplane._native.Relay`.

use crate::asking::{Asking, PlanInWords};
use crate::events::Events;
use crate::http::{headers, text};
use crate::repair::{as_words, os_error, record, Plane};
use crate::stored::Stored;
use crate::turned_down::{tell, TurnedDown};
use crate::Core;
use braid_core::{Command, Ends};
use braid_io::{repair, Commander};
use braid_line::{Id, Unheard};
use braid_proxy::{Departure, Event, Forwarded, Newcomer, Settings, Speech};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::sync::Arc;

/// Application, speech, preface; where servers are told who a client is, its address, and whether it spoke TLS.
type Told<'a> = (u32, &'a str, &'a [u8], Option<(&'a str, bool)>);
/// Where a connection to a server is to come from, and the size of its segments.
type Source<'a> = (&'a str, u16, u16);

/// State, seconds idle, bytes in and out, our address towards the server.
type Shown = (&'static str, f64, u64, u64, Option<(String, u16)>);

#[pyclass(unsendable)]
pub(crate) struct Relay {
    device: String,
    relay: braid_proxy::Relay,
    settings: HashMap<u32, Rc<Settings>>,
    /// Of the core whose offers are turned down here.
    events: Option<Arc<Events>>,
    /// Of the same core.
    shards: Vec<Commander<Command>>,
    /// Clients that are offered, and how they are served if they are turned down: server and cookie.
    expected: HashMap<Id, (u64, u32, String)>,
    /// Python has yet to hear of them.
    turned_down: Vec<TurnedDown>,
    asking: Asking,
}

pub(crate) fn address(text: &str) -> PyResult<IpAddr> {
    text.parse().map_err(|_| PyValueError::new_err(format!("{text:?} is no IP address")))
}

#[pymethods]
impl Relay {
    #[new]
    fn new(device: String) -> PyResult<Relay> {
        Ok(Relay {
            device,
            relay: braid_proxy::Relay::new()?,
            settings: HashMap::new(),
            events: None,
            shards: Vec::new(),
            expected: HashMap::new(),
            turned_down: Vec::new(),
            asking: Asking::default(),
        })
    }

    fn fd(&self) -> i32 {
        self.relay.fd()
    }

    fn next_timeout(&self) -> f64 {
        self.turned_down.iter().fold(self.relay.next_timeout(), |earliest, each| earliest.min(each.due))
    }

    #[pyo3(signature = (application, *, select_timeout, connect_timeout, answer_timeout, idle_timeout, buffer, pool, pool_timeout, splice_above=None))]
    #[allow(clippy::too_many_arguments)]
    fn configure(
        &mut self,
        application: u32,
        select_timeout: f64,
        connect_timeout: f64,
        answer_timeout: f64,
        idle_timeout: f64,
        buffer: usize,
        pool: usize,
        pool_timeout: f64,
        splice_above: Option<u64>,
    ) {
        let settings = Settings {
            select_timeout,
            connect_timeout,
            answer_timeout,
            idle_timeout,
            buffer,
            pool,
            pool_timeout,
            splice_above,
        };
        self.settings.insert(application, Rc::new(settings));
    }

    fn server(&mut self, host: &str, port: u16) -> PyResult<u32> {
        Ok(self.relay.server(SocketAddr::new(address(host)?, port)))
    }

    fn adopt(&mut self, fd: i32, now: f64, newcomer: Told<'_>, promoted: bool) -> PyResult<u64> {
        let (newcomer, settings) = self.newcomer(newcomer, promoted)?;
        Ok(self.relay.adopt(braid_io::adopt_stream(fd)?, newcomer, settings, now)?)
    }

    #[pyo3(signature = (client, now, newcomer, server=None))]
    fn promote(&mut self, client: &[u8], now: f64, newcomer: Told<'_>, server: Option<(&[u8], u32)>) -> PyResult<u64> {
        let (newcomer, settings) = self.newcomer(newcomer, true)?;
        let build = |encoded: &[u8]| {
            Ok::<_, PyErr>(TcpStream::from(repair::build(&record(encoded)?, &self.device).map_err(os_error)?))
        };
        let near = build(client)?;
        let far = server.map(|(encoded, number)| Ok::<_, PyErr>((build(encoded)?, number))).transpose()?;
        // Until both have started, and are the relay's, closing one of them is to say nothing.
        let opened = [Some(&near), far.as_ref().map(|(far, _)| far)].map(|each| each.map(AsFd::as_fd));
        let started = opened.iter().flatten().try_for_each(|each| repair::start(*each, &[]));
        if let Err(error) = started {
            for each in opened.iter().flatten() {
                repair::dissolve(*each)?;
            }
            return Err(error.into());
        }
        let client = self.relay.adopt(near, newcomer, settings, now)?;
        if let Some((far, number)) = far {
            self.relay.adopt_server(client, far, number, now)?;
        }
        Ok(client)
    }

    #[pyo3(signature = (client, server, cookie, now, source=None))]
    fn serve(&mut self, client: u64, server: u32, cookie: &str, now: f64, source: Option<Source<'_>>) -> PyResult<()> {
        let own = self.bound(source)?;
        self.relay.serve(client, server, cookie, own, now);
        Ok(())
    }

    #[pyo3(signature = (client, now, source=None))]
    fn reconnect(&mut self, client: u64, now: f64, source: Option<Source<'_>>) -> PyResult<()> {
        let own = self.bound(source)?;
        self.relay.reconnect(client, own, now);
        Ok(())
    }

    fn own_server(&self, client: u64) -> Option<(u32, i32)> {
        self.relay.own_server(client)
    }

    fn drop_server(&mut self, client: u64) {
        self.relay.drop_server(client);
    }

    fn adopt_server(&mut self, client: u64, fd: i32, server: u32, now: f64) -> PyResult<()> {
        Ok(self.relay.adopt_server(client, braid_io::adopt_stream(fd)?, server, now)?)
    }

    #[pyo3(signature = (client, held=false))]
    fn departing(&self, client: u64, held: bool) -> Option<(i32, i32)> {
        self.relay.departing(client, held).map(|(client, server, _)| (client.as_raw_fd(), server.as_raw_fd()))
    }

    #[pyo3(signature = (core, client, connection, held=None))]
    fn depart(
        &mut self,
        core: Bound<'_, PyAny>,
        client: u64,
        connection: u64,
        held: Option<f64>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let departure = self.relay.depart(client, &Plane(core.clone()), connection, held)?;
        self.note_departure(client, departure.as_ref());
        as_words(core.py(), departure)
    }

    fn park(&mut self, core: Bound<'_, PyAny>, client: u64, connection: u64) -> PyResult<Option<Py<PyAny>>> {
        let departure = self.relay.park(client, &Plane(core.clone()), connection)?;
        self.note_departure(client, departure.as_ref());
        as_words(core.py(), departure)
    }

    fn rest(&mut self, client: u64, resting: bool) {
        self.relay.rest(client, resting);
    }

    fn go_on(&mut self, client: u64) {
        self.relay.go_on(client);
    }

    fn stay(&mut self, client: u64) {
        self.relay.stay(client);
    }

    fn refuse(&mut self, client: u64, reason: String, status: u16, now: f64) {
        self.relay.refuse(client, reason, status, now);
    }

    fn refuse_with(&mut self, client: u64, reason: String, answer: &[u8], now: f64) {
        self.relay.refuse_with(client, reason, answer, now);
    }

    fn movable<'py>(&self, py: Python<'py>, client: u64) -> Option<(i32, Bound<'py, PyBytes>)> {
        self.relay.movable(client).map(|(fd, head)| (fd, PyBytes::new(py, head)))
    }

    fn give_up(&mut self, client: u64, now: f64) {
        self.relay.give_up(client, now);
    }

    fn finish(&mut self, client: u64, now: f64) {
        self.relay.finish(client, now);
    }

    fn reset(&mut self, client: u64) {
        self.relay.reset(client);
    }

    fn expect(&mut self, client: u64, transfer: Id, server: u32, cookie: String, now: f64) {
        self.expected.insert(transfer, (client, server, cookie));
        // The proxy may have been quicker.
        self.take_up(now);
    }

    fn unexpect(&mut self, transfer: Id) {
        self.expected.remove(&transfer);
        if let Some(events) = &self.events {
            events.refusals.forget(&transfer);
        }
    }

    fn is_turned_down(&self, transfer: Id) -> bool {
        let waits = self.events.as_ref().is_some_and(|events| events.refusals.has(&transfer));
        waits || self.turned_down.iter().any(|each| each.transfer == transfer)
    }

    fn all_turned_down<'py>(&mut self, py: Python<'py>) -> Vec<(Bound<'py, PyBytes>, u8, bool)> {
        self.turned_down.drain(..).map(|each| each.in_words(py)).collect()
    }

    fn plan(&mut self, client: u64, plan: PyRef<'_, PlanInWords>) {
        self.asking.plan(client, &plan);
    }

    fn forget_plans(&mut self) {
        self.asking.forget_all();
    }

    fn asked(&mut self, proxy: u16) -> bool {
        self.asking.under_way.asked(proxy)
    }

    fn answered(&mut self, proxy: u16) {
        self.asking.under_way.answered(proxy);
    }

    fn turn<'py>(&mut self, py: Python<'py>, now: f64) -> PyResult<(Bound<'py, PyList>, bool)> {
        self.take_up(now);
        let (events, more) = self.relay.turn(now)?;
        Ok((self.in_words(py, events, now)?, more))
    }

    fn said<'py>(&mut self, py: Python<'py>, now: f64) -> PyResult<Bound<'py, PyList>> {
        self.take_up(now);
        let events = self.relay.said();
        self.in_words(py, events, now)
    }

    fn flow(&self, client: u64, now: f64) -> Option<Shown> {
        let flow = self.relay.flow(client, now)?;
        let local = flow.local.map(|address| (address.ip().to_string(), address.port()));
        Some((flow.state, flow.idle, flow.bytes_in, flow.bytes_out, local))
    }
}

impl Relay {
    /// Offers by what is stored, and hears refusals.
    pub(crate) fn offer_by(&mut self, core: &Core, stored: Py<Stored>, deadline: u16) -> PyResult<()> {
        core.events.refusals.listen(self.relay.waker()?);
        self.events = Some(Arc::clone(&core.events));
        self.shards = core.threads.commanders()?;
        self.asking.begin(core, stored, deadline)
    }

    /// Serves those that were turned down, first of all: their clients have waited. What was held of them may come then.
    fn take_up(&mut self, now: f64) {
        while let Some((transfer, reason)) = self.events.as_ref().and_then(|events| events.refusals.take()) {
            let expected = self.expected.remove(&transfer);
            let ends = expected.and_then(|(client, server, cookie)| self.relay.take_up(client, server, &cookie, now));
            if let Some((client, vip)) = ends {
                let ends = Ends::new(client, vip);
                for shard in &self.shards {
                    // One that takes nothing has ended, and with it what it held.
                    let _ = shard.command(Command::Own { ends, owner: None, by: None, done: Box::new(Unheard) });
                }
            }
            let served = ends.is_some();
            self.turned_down.push(TurnedDown::new(transfer, reason, served, now));
        }
    }

    fn note_departure(&mut self, client: u64, departure: Option<&Departure>) {
        if let Some(Departure::Went { .. }) = departure {
            self.asking.forget(client);
        }
    }

    fn newcomer(&self, told: Told<'_>, promoted: bool) -> PyResult<(Newcomer, Rc<Settings>)> {
        let (application, speech, preface, forwarded) = told;
        let settings = self.settings.get(&application).ok_or_else(|| PyKeyError::new_err("unknown application"))?;
        let speech = match speech {
            "http" => Speech::Http,
            "tcp" => Speech::Plain,
            "tls-sni" => Speech::PlainByBytes,
            other => return Err(PyValueError::new_err(format!("speech: {other:?}"))),
        };
        let forwarded = match forwarded {
            Some((client, tls)) => Some(Forwarded::new(address(client)?, tls)),
            None => None,
        };
        let newcomer = Newcomer { application, speech, promoted, preface: preface.to_vec(), forwarded };
        Ok((newcomer, settings.clone()))
    }

    fn bound(&self, source: Option<Source<'_>>) -> PyResult<Option<TcpStream>> {
        let Some((host, port, mss)) = source else { return Ok(None) };
        let opened = repair::bound(SocketAddr::new(address(host)?, port), &self.device, mss).map_err(os_error)?;
        Ok(Some(TcpStream::from(opened)))
    }

    fn in_words<'py>(&mut self, py: Python<'py>, events: Vec<Event>, now: f64) -> PyResult<Bound<'py, PyList>> {
        // What was refused is not known to Python yet, and is not to be asked for again.
        let mut decided = match self.turned_down.is_empty() {
            true => self.asking.decide_all(py, &self.relay, &events, now)?,
            false => VecDeque::new(),
        };
        let out = PyList::empty(py);
        for event in events {
            if !matches!(event, Event::Connected { .. } | Event::Answered { .. }) {
                tell(&mut self.turned_down, &out, now, true)?;
            }
            match event {
                Event::Request { client } => {
                    let decided = decided.pop_front().and_then(|decided| decided.in_words(py));
                    if let Some(bytes) = self.relay.first_bytes(client) {
                        out.append(("first_bytes", client, PyBytes::new(py, bytes)))?;
                    } else if let Some(head) = self.relay.request(client) {
                        let (method, target, authority) = (head.method(), head.target(), head.authority());
                        let path = text(head.path_and_query());
                        let words = (text(method), text(target), text(authority), path, headers(py, head)?);
                        out.append(("request", client, words.0, words.1, words.2, words.3, words.4, decided))?;
                    }
                }
                Event::Changed { client, elsewhere } => {
                    let elsewhere: Vec<_> = elsewhere.iter().map(|each| PyBytes::new(py, each)).collect();
                    out.append(("changed", client, elsewhere))?;
                }
                Event::Answered { client, latency } => out.append(("answered", client, latency))?,
                Event::Failed { client, reason, another } => out.append(("failed", client, reason, another))?,
                Event::Served { client, status, bytes, latency } => {
                    out.append(("served", client, status, bytes, latency))?;
                }
                Event::Again { client } => out.append(("again", client))?,
                Event::Opaque { client } => out.append(("opaque", client))?,
                Event::Connected { client, seconds } => out.append(("connected", client, seconds))?,
                Event::Refused { client, reason, answered } => {
                    out.append(("refused", client, reason.into_owned(), answered))?;
                }
                Event::Ended { client, whole } => {
                    self.asking.forget(client);
                    out.append(("ended", client, whole))?;
                }
            }
        }
        tell(&mut self.turned_down, &out, now, false)?;
        Ok(out)
    }
}
