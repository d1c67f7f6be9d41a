//! How two versions of a policy differ, and what is kept of that.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::SystemTime;

use bytes::Bytes;
use portcullis_http::Fields;
use portcullis_model::Name;
use portcullis_model::text::one_line;
use portcullis_policy::cache::CacheWishes;
use portcullis_policy::recorder::is_credential;
use portcullis_policy::{Attributes, Decision, Exchange, Fault, FaultKind, HookKind, Reply};

/// Differences of one hook that are kept; if a policy changes everything, more of them say nothing new.
const FOUND_MAX: usize = 16;
/// Bytes of a name or value that are kept.
const BYTES_MAX: usize = 120;
/// What stands in place of a value that is not kept.
const NOT_KEPT: &str = "(not kept)";
/// One thing that two versions did differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What sort of thing: `decision`, `request-field` and so on.
    pub kind: &'static str,
    /// Its name, if there are several of the sort: a field or an attribute.
    pub name: Option<String>,
    /// What the active version made of it.
    pub active: String,
    /// What the candidate did.
    pub candidate: String,
}

/// A hook whose outcome differed. The path and the query are not in here, for they may hold anything; the access log
/// has them, under the trace id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// When it was seen.
    pub at: SystemTime,
    /// The exchange.
    pub trace_id: String,
    /// Its route.
    pub route: Name,
    /// The hook.
    pub hook: &'static str,
    /// The request's method.
    pub method: String,
    /// The differences; at least one.
    pub differences: Vec<Difference>,
}

/// The differences of all exchanges.
#[derive(Debug)]
pub(crate) struct Differences {
    compared: u64,
    differing: u64,
    counts: BTreeMap<&'static str, u64>,
    samples: VecDeque<Sample>,
    samples_max: usize,
}

impl Differences {
    pub(crate) fn new(samples_max: usize) -> Self {
        Self { compared: 0, differing: 0, counts: BTreeMap::new(), samples: VecDeque::new(), samples_max }
    }

    pub(crate) fn add(&mut self, found: Vec<Difference>, sample: impl FnOnce(Vec<Difference>) -> Sample) {
        self.compared += 1;
        if found.is_empty() {
            return;
        }
        self.differing += 1;
        let kinds: BTreeSet<&'static str> = found.iter().map(|difference| difference.kind).collect();
        for kind in kinds {
            *self.counts.entry(kind).or_default() += 1;
        }
        if self.samples_max == 0 {
            return;
        }
        if self.samples.len() >= self.samples_max {
            self.samples.pop_front();
        }
        self.samples.push_back(sample(found));
    }

    pub(crate) fn compared(&self) -> u64 {
        self.compared
    }

    pub(crate) fn differing(&self) -> u64 {
        self.differing
    }

    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        self.counts.iter().map(|(kind, count)| (*kind, *count)).collect()
    }

    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.samples.iter().cloned().collect()
    }
}

/// How a hook ended.
#[derive(Debug)]
pub(crate) enum Decided {
    Next,
    Reply { status: u16, fields: Fields, body: Bytes },
    Fault(FaultKind),
}

impl Decided {
    pub(crate) fn of(result: &Result<Decision, Fault>) -> Self {
        match result {
            Ok(Decision::Next | Decision::Body(_)) => Self::Next,
            Ok(Decision::Reply(Reply { status, fields, body })) => {
                Self::Reply { status: *status, fields: fields.clone(), body: body.clone() }
            }
            Err(fault) => Self::Fault(fault.kind),
        }
    }

    /// Returns whether an exchange goes the same way after both.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        matches!(
            (self, other),
            (Self::Next, Self::Next)
                | (Self::Reply { .. }, Self::Reply { .. })
                | (Self::Fault(_), Self::Fault(_))
        )
    }

    fn words(&self) -> String {
        match self {
            Self::Next => "next".to_owned(),
            Self::Reply { status, .. } => format!("reply {status}"),
            Self::Fault(kind) => format!("fault: {kind}"),
        }
    }
}

/// Returns how the two differ after a hook of `phase`: at most [`FOUND_MAX`] differences.
pub(crate) fn differences(
    phase: HookKind,
    (active, active_exchange): (&Decided, &Exchange),
    (candidate, candidate_exchange): (&Decided, &Exchange),
    keeps_values: bool,
) -> Vec<Difference> {
    let mut found = Finder { found: Vec::new(), keeps_values };
    match (active, candidate) {
        (
            Decided::Reply { status, fields, body },
            Decided::Reply { status: other_status, fields: other_fields, body: other_body },
        ) => {
            found.value("reply-status", None, &status.to_string(), &other_status.to_string());
            found.fields("reply-field", fields, other_fields);
            if body != other_body {
                let bytes = |body: &Bytes| format!("{} bytes", body.len());
                found.push("reply-body", None, bytes(body), bytes(other_body));
            }
        }
        (Decided::Next, Decided::Next) => found.edits(phase, active_exchange, candidate_exchange),
        (active, candidate) => found.value("decision", None, &active.words(), &candidate.words()),
    }
    if active.is_like(candidate) {
        found.attributes(&active_exchange.attributes, &candidate_exchange.attributes);
    }
    found.found.truncate(FOUND_MAX);
    found.found
}

struct Finder {
    found: Vec<Difference>,
    keeps_values: bool,
}

impl Finder {
    fn edits(&mut self, phase: HookKind, active: &Exchange, candidate: &Exchange) {
        match phase {
            HookKind::RequestHead => {
                let (a, b) = (&active.request, &candidate.request);
                self.value("method", None, &a.method, &b.method);
                self.value("authority", None, &a.authority, &b.authority);
                self.value("path", None, a.path(), b.path());
                if a.query() != b.query() {
                    // Queries hold tokens, under names of all sorts.
                    self.push("query", None, NOT_KEPT.to_owned(), NOT_KEPT.to_owned());
                }
                self.fields("request-field", &a.fields, &b.fields);
                let upstream = |exchange: &Exchange| {
                    exchange.upstreams.get(exchange.upstream).map_or("", |name| name).to_owned()
                };
                self.value("upstream", None, &upstream(active), &upstream(candidate));
                if active.endpoint_key != candidate.endpoint_key {
                    // It may be a session or a user.
                    self.push("endpoint-key", None, NOT_KEPT.to_owned(), NOT_KEPT.to_owned());
                }
                self.cache(&active.cache, &candidate.cache);
            }
            HookKind::ResponseHead => {
                let (a, b) = (&active.response, &candidate.response);
                self.value("response-status", None, &a.status.to_string(), &b.status.to_string());
                self.fields("response-field", &a.fields, &b.fields);
            }
            HookKind::RequestBody | HookKind::ResponseBody | HookKind::Completed | HookKind::Tick => {}
        }
    }

    fn fields(&mut self, kind: &'static str, active: &Fields, candidate: &Fields) {
        let names: BTreeSet<&str> = active.iter().chain(candidate.iter()).map(|(_, name, _)| name).collect();
        for name in names {
            let (a, b) = (active.get_all(name.as_bytes()), candidate.get_all(name.as_bytes()));
            if !a.eq(b) {
                let joined = |fields: &Fields| match fields.get_joined(name.as_bytes()) {
                    Some(value) => self.shown(name, &String::from_utf8_lossy(&value)),
                    None => "absent".to_owned(),
                };
                let (a, b) = (joined(active), joined(candidate));
                self.push(kind, Some(name), a, b);
            }
        }
    }

    fn attributes(&mut self, active: &Attributes, candidate: &Attributes) {
        let names: BTreeSet<&str> = active.iter().chain(candidate.iter()).map(|(name, _)| name).collect();
        for name in names {
            let (a, b) = (active.get(name), candidate.get(name));
            if a != b {
                let shown =
                    |value: Option<&str>| value.map_or("absent".to_owned(), |value| self.shown(name, value));
                let (a, b) = (shown(a), shown(b));
                self.push("attribute", Some(name), a, b);
            }
        }
    }

    /// What the two say to the cache: whether the request passes by it, what is added to the key, and the tags.
    fn cache(&mut self, active: &CacheWishes, candidate: &CacheWishes) {
        let passes = |wishes: &CacheWishes| if wishes.is_bypassed() { "bypass" } else { "no bypass" };
        self.value("cache-bypass", None, passes(active), passes(candidate));
        if !active.parts().eq(candidate.parts()) {
            let shown = |wishes: &CacheWishes| {
                let parts: Vec<String> = wishes
                    .parts()
                    .map(|(name, value)| format!("{}={}", shortened(name), self.shown(name, value)))
                    .collect();
                shortened(&parts.join(" "))
            };
            let (a, b) = (shown(active), shown(candidate));
            self.push("cache-key", None, a, b);
        }
        if !active.tags().eq(candidate.tags()) {
            let shown = |wishes: &CacheWishes| shortened(&wishes.tags().collect::<Vec<_>>().join(" "));
            self.push("cache-tags", None, shown(active), shown(candidate));
        }
    }

    fn value(&mut self, kind: &'static str, name: Option<&str>, active: &str, candidate: &str) {
        if active != candidate {
            self.push(kind, name, shortened(active), shortened(candidate));
        }
    }

    fn push(&mut self, kind: &'static str, name: Option<&str>, active: String, candidate: String) {
        if self.found.len() < FOUND_MAX {
            self.found.push(Difference { kind, name: name.map(shortened), active, candidate });
        }
    }

    /// Returns the value of something that a policy named, as it is kept.
    fn shown(&self, name: &str, value: &str) -> String {
        if !self.keeps_values || is_credential(name) {
            return NOT_KEPT.to_owned();
        }
        format!("\"{}\"", shortened(value))
    }
}

/// Returns the beginning of a text for one line, with dots if that is not all of it.
fn shortened(text: &str) -> String {
    let dots = if text.len() > BYTES_MAX { "..." } else { "" };
    format!("{}{dots}", one_line(text, BYTES_MAX))
}
