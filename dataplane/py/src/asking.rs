//! A request that waits in the relay is offered, or known not to be, before Python hears of it: its client waits. What plans
//! (`braid_line::plan`) do not decide Python does.

use crate::offering::{ask, Asked, Offered, Question};
use crate::stored::Stored;
use crate::Core;
use braid_core::Command;
use braid_io::repair::FreezeError;
use braid_io::Commander;
use braid_line::plan::{is_for_origin, Plan, Policy, Proxy, Row, Verdict};
use braid_line::stored::{fields_of, name_of, Fields, Is};
use braid_line::under_way::UnderWay;
use braid_line::Id;
use braid_proxy::{Event, Relay};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Name, number, and hosts whose connections it may have.
type ProxyInWords = (String, u16, Vec<String>);
/// Path, methods, hosts, until when, whether it has conditions that plans do not look at, whether it serves everything, policy,
/// proxies.
type RowInWords = (String, Vec<String>, Vec<String>, Option<f64>, bool, bool, String, Vec<ProxyInWords>);

/// `dataplane._native.Plan`.
#[pyclass(frozen, name = "Plan")]
pub(crate) struct PlanInWords(Arc<Plan>);

#[pymethods]
impl PlanInWords {
    #[new]
    fn new(port: u16, fetchers: Vec<String>, rows: Vec<RowInWords>) -> PyResult<PlanInWords> {
        let rows = rows.into_iter().map(row).collect::<PyResult<_>>()?;
        Ok(PlanInWords(Arc::new(Plan { rows, port, fetchers })))
    }

    /// By a request's head: None, it is not decided; the proxy's name, or an empty one; the key; whether only the origin can
    /// answer it.
    fn choose<'py>(
        &self,
        py: Python<'py>,
        head: &[u8],
        wall: f64,
    ) -> PyResult<Option<(String, Bound<'py, PyBytes>, bool)>> {
        let decoded = braid_proxy::RequestHead::decode(head).ok().flatten();
        let (head, _) = decoded.ok_or_else(|| PyValueError::new_err("no request's head"))?;
        let name = match self.0.choose(&head, wall) {
            Verdict::Undecided => return Ok(None),
            Verdict::Origin => String::new(),
            Verdict::Offer(_, proxy) => proxy.name.clone(),
        };
        Ok(Some((name, PyBytes::new(py, &self.0.key_of(&head)), is_for_origin(&head))))
    }
}

fn row((path, methods, hosts, until, conditional, serves, policy, proxies): RowInWords) -> PyResult<Row> {
    let policy = match &policy[..] {
        "first" => Policy::First,
        "by_path" => Policy::ByPath,
        "" => Policy::Other,
        other => return Err(PyValueError::new_err(format!("policy: {other:?}"))),
    };
    let proxies = proxies.into_iter().map(|(name, number, hosts)| Proxy { name, number, hosts }).collect();
    Ok(Row { path, methods, hosts, until, conditional, serves, policy, proxies })
}

/// What a request asks for, of whom.
pub(crate) struct Wanted {
    proxy: String,
    peer: u16,
    key: Vec<u8>,
    fields: Fields,
    head: Vec<u8>,
}

pub(crate) enum Decided {
    /// Python decides.
    Not,
    /// It is not to be offered to anybody.
    Origin,
    /// It would be offered, but for a reason.
    Kept(Cow<'static, str>, Option<Wanted>),
    /// The proxy is asked, at that time (Unix seconds). It most likely has it: `likely`.
    Asked { wanted: Wanted, id: Id, likely: bool, wall: f64, asked: Asked },
}

/// Why not, in a word; then proxy, its number, key, fields and head.
type WantedInWords<'py> = (String, u16, Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyBytes>);
type AskedInWords<'py> = (Bound<'py, PyBytes>, bool, f64, Offered<'py>);
pub(crate) type InWords<'py> = (Cow<'static, str>, Option<WantedInWords<'py>>, Option<AskedInWords<'py>>);

impl Wanted {
    fn in_words(self, py: Python<'_>) -> WantedInWords<'_> {
        let bytes = |bytes: &[u8]| PyBytes::new(py, bytes);
        (self.proxy, self.peer, bytes(&self.key), bytes(&self.fields), bytes(&self.head))
    }
}

impl Decided {
    pub(crate) fn in_words(self, py: Python<'_>) -> Option<InWords<'_>> {
        Some(match self {
            Decided::Not => return None,
            Decided::Origin => ("".into(), None, None),
            Decided::Kept(why, wanted) => (why, wanted.map(|wanted| wanted.in_words(py)), None),
            Decided::Asked { wanted, id, likely, wall, asked } => (
                "asked".into(),
                Some(wanted.in_words(py)),
                Some((PyBytes::new(py, &id), likely, wall, asked.in_words(py))),
            ),
        })
    }
}

/// By what it is known, and how it is asked.
struct Means {
    events: Arc<crate::events::Events>,
    shards: Vec<Commander<Command>>,
    stored: Py<Stored>,
    /// Milliseconds.
    deadline: u16,
}

#[derive(Default)]
pub(crate) struct Asking {
    means: Option<Means>,
    /// By client.
    plans: HashMap<u64, Arc<Plan>>,
    pub(crate) under_way: UnderWay,
}

impl Asking {
    pub(crate) fn begin(&mut self, core: &Core, stored: Py<Stored>, deadline: u16) -> PyResult<()> {
        let (events, shards) = (Arc::clone(&core.events), core.threads.commanders()?);
        self.means = Some(Means { events, shards, stored, deadline });
        Ok(())
    }

    pub(crate) fn plan(&mut self, client: u64, plan: &PlanInWords) {
        self.plans.insert(client, Arc::clone(&plan.0));
    }

    pub(crate) fn forget(&mut self, client: u64) {
        self.plans.remove(&client);
    }

    pub(crate) fn forget_all(&mut self) {
        self.plans.clear();
    }

    /// Of the requests among these events, in their order. What was stored of something that has changed is not known to Python
    /// yet, so what comes after that is Python's.
    pub(crate) fn decide_all(
        &mut self,
        py: Python<'_>,
        relay: &Relay,
        events: &[Event],
        now: f64,
    ) -> PyResult<VecDeque<Decided>> {
        let (mut changed, mut asked, mut found) = (false, false, VecDeque::new());
        for event in events {
            match event {
                Event::Changed { .. } => changed = true,
                Event::Request { .. } if changed => found.push_back(Decided::Not),
                Event::Request { client } => found.push_back(self.decide(py, relay, *client, now)?),
                _ => {}
            }
            asked |= matches!(found.back(), Some(Decided::Asked { .. }));
        }
        if asked {
            // What was asked is for a data thread to send. It has woken this one, most likely on its own processor.
            py.detach(std::thread::yield_now);
        }
        Ok(found)
    }

    fn decide(&mut self, py: Python<'_>, relay: &Relay, client: u64, now: f64) -> PyResult<Decided> {
        let (Some(means), Some(plan)) = (&self.means, self.plans.get(&client)) else { return Ok(Decided::Not) };
        let Some(head) = relay.request(client) else { return Ok(Decided::Not) };
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let (row, proxy) = match plan.choose(head, wall) {
            Verdict::Undecided => return Ok(Decided::Not),
            Verdict::Origin => return Ok(Decided::Origin),
            Verdict::Offer(row, proxy) => (row, proxy),
        };
        let Some((fd, bytes)) = relay.movable(client) else { return Ok(Decided::Kept("not_quiescent".into(), None)) };
        let wanted = Wanted {
            proxy: proxy.name.clone(),
            peer: proxy.number,
            key: plan.key_of(head),
            fields: fields_of(bytes),
            head: bytes.to_vec(),
        };
        let name = name_of(&wanted.key);
        let known = {
            let stored = &means.stored.borrow(py).0;
            match row.serves {
                _ if stored.is_outdated(wanted.peer, &name) => Some(Is::Outdated),
                true if stored.is_cold(wanted.peer, &name, now) => Some(Is::Cold),
                true => Some(Is::Stored),
                false if is_for_origin(head) => None,
                false => Some(stored.look_up(wanted.peer, &name, wanted.fields, now)),
            }
        };
        match known {
            Some(Is::Stored | Is::Unknown) => {}
            kept => return Ok(Decided::Kept(kept.map_or("unfit", Is::word).into(), Some(wanted))),
        }
        if !self.under_way.asked(wanted.peer) {
            return Ok(Decided::Kept("busy".into(), None));
        }
        let (id, likely) = (crate::keys::random()?, known == Some(Is::Stored));
        let question = Question { id, deadline: means.deadline, content: &wanted.key, proxy: wanted.peer };
        Ok(match ask(py, (&means.shards, &means.events.refusals), fd, Some(bytes), &question)? {
            Ok(asked) => Decided::Asked { wanted, id, likely, wall, asked },
            Err(FreezeError(why)) => {
                self.under_way.answered(wanted.peer);
                Decided::Kept(why, None)
            }
        })
    }
}

pub(crate) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Stored>()?;
    module.add_class::<PlanInWords>()
}
