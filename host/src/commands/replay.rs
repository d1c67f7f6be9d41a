//! `portcullis replay`: runs the hooks of a record again, with host calls answered from it, and says what is other.
//!
//! Each hook is given what it was given then: the exchange as the record has it at that point, whatever the hooks
//! before it have now done. So a hook that differs is reported once, and later hooks are still judged by themselves.

mod compare;
mod policies;
mod text;

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;

use anyhow::{Context, bail};
use portcullis_model::Name;
use portcullis_policy::recorder::{Effects, HookRecord, Recorder, mark};
use portcullis_policy::{Attributes, Exchange, Hook, HookKind, Policy, call_recorded};
use serde_json::{Value, json};

use self::compare::{Verdict, compare};
use self::policies::Policies;
use crate::cli::{REFUSED, ReplayArguments};
use crate::output::{Usage, print};
use crate::run::runtime::block_on;
use portcullis_inspect::trace::{Scrubber, hook_to_json, read};
use portcullis_inspect::{VERSION, VERSION_MEMBER};
use portcullis_model::text::escape as shown;

/// The exit code for what cannot be replayed at all, as that of `diff`.
pub(crate) const TROUBLE: u8 = 2;
/// A larger file is no record: the bound on what is recorded, written as JSON in the widest way.
const FILE_BYTES_MAX: u64 = 128 << 20;

/// Replays, prints, and says by the exit code whether a hook did something else.
///
/// # Errors
/// If the record cannot be replayed.
pub(crate) fn run(arguments: &ReplayArguments) -> anyhow::Result<ExitCode> {
    let mut record = open(&arguments.record)?;
    let mut scrubber = Scrubber::default();
    give_back(&mut record, &arguments.headers, &mut scrubber).map_err(|error| error.context(Usage))?;
    let policies = Policies::ready(&record, arguments, &mut scrubber)?;
    let judged = block_on(replay(&record, &policies, &scrubber))??;
    let json = summary(&record, &policies, &judged);
    print(&if arguments.json { format!("{json:#}\n") } else { text::replay(&json) })?;
    let different = judged.iter().any(|hook| matches!(hook.verdict, Verdict::Different(_)));
    Ok(if different { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS })
}

/// A hook that ran again.
struct Judged {
    verdict: Verdict,
    /// What it did now.
    replayed: Value,
}

/// Reads a record.
///
/// # Errors
/// If the file is none.
pub(crate) fn open(path: &Path) -> anyhow::Result<Value> {
    let unreadable = || format!("the record {} cannot be read", path.display());
    let mut text = String::new();
    let file = std::fs::File::open(path).with_context(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).with_context(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        bail!("{} is larger than {FILE_BYTES_MAX} bytes, and so no record", path.display());
    }
    let record: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is no record", path.display()))?;
    match record.get(VERSION_MEMBER).and_then(Value::as_u64) {
        Some(VERSION) => Ok(record),
        Some(other) => {
            bail!("{} is a record of version {other}; this gateway reads version {VERSION}", path.display())
        }
        None => bail!("{} is no record: it has no `{VERSION_MEMBER}`", path.display()),
    }
}

/// Puts values that the operator still has into their places. What is noted then has the mark again, as the record
/// does.
fn give_back(record: &mut Value, headers: &[String], scrubber: &mut Scrubber) -> anyhow::Result<()> {
    for typed in headers {
        let Some((name, value)) = typed.split_once(':') else {
            bail!("-H `{}` is no field: write it as \"name: value\"", shown(typed));
        };
        let (name, value) = (name.to_ascii_lowercase(), value.trim());
        let mark = mark(&name);
        let fields = record["request"]["fields"].as_array_mut().into_iter().flatten();
        let mut given = false;
        for field in fields.filter(|field| field["name"] == *name && field["value"] == *mark) {
            field["value"] = value.into();
            given = true;
        }
        if !given {
            bail!("-H gives `{}`, which was not removed from the record", shown(&name));
        }
        scrubber.add_field(value.as_bytes(), &mark);
        let what = format!("request.header {name}");
        if let Some(removed) = record["removed"].as_array_mut() {
            removed.retain(|removed| *removed != *what);
        }
    }
    Ok(())
}

/// Runs the hooks of the record in their order.
async fn replay(record: &Value, policies: &Policies, scrubber: &Scrubber) -> anyhow::Result<Vec<Judged>> {
    let mut exchange = Box::new(exchange(record)?);
    let response = record.get("response").and_then(read::response_from_json);
    let whole = record["notes-left-out"] == 0;
    let mut judged = Vec::new();
    for (at, recorded) in list(&record["hooks"]).iter().enumerate() {
        let broken = || format!("hook {} of the record is not as it was written", at + 1);
        let hook = hook(recorded).with_context(broken)?;
        let (policy, position) = policies.of(recorded).with_context(broken)?;
        exchange.phase = hook.kind();
        if exchange.phase >= HookKind::ResponseHead
            && exchange.response.status == 0
            && let Some(response) = &response
        {
            exchange.response.clone_from(response);
        }
        exchange.policy_at = position;
        exchange.body_begun = recorded["input"]["begun"] == true;
        exchange.trailers = match recorded.get("trailers") {
            Some(trailers) => Some(Box::new(read::fields_from_json(trailers).with_context(broken)?)),
            None => None,
        };
        let calls = list(&recorded["calls"]).iter().map(read::call_from_json).collect::<Option<Vec<_>>>();
        let edits = list(&recorded["edits"]).iter().map(read::edit_from_json).collect::<Option<Vec<_>>>();
        let (calls, edits) = (calls.with_context(broken)?, edits.with_context(broken)?);

        let before = Before::of(&exchange);
        let noted =
            run_hook(&policy, hook, &mut exchange, calls, policies.removed()).await.with_context(broken)?;
        let mut replayed = hook_to_json(&noted);
        scrubber.scrub(&mut replayed);
        let verdict = compare(recorded, &replayed, policies.doubts(recorded, &noted), whole);
        judged.push(Judged { verdict, replayed });

        before.restore(&mut exchange);
        for edit in &edits {
            if !edit.apply(&mut exchange) {
                bail!("an edit of hook {} does not fit the exchange of the record", at + 1);
            }
        }
        // A reply in `on-response-head` takes the place of the response, for the policies before it.
        if recorded["hook"] == "on-response-head"
            && let Some(reply) = read::response_from_json(&recorded["decision"])
        {
            exchange.response = reply;
        }
    }
    Ok(judged)
}

async fn run_hook(
    policy: &Rc<dyn Policy>,
    hook: Hook,
    exchange: &mut Box<Exchange>,
    calls: Vec<portcullis_policy::recorder::HostCall>,
    removed: &[String],
) -> anyhow::Result<HookRecord> {
    let recorder = Recorder::new(Effects::None);
    let mut recorder = recorder.with_removed(removed.to_vec()).with_bytes_max(FILE_BYTES_MAX as usize);
    recorder.answer_by(calls);
    exchange.recorder = Some(Box::new(recorder));
    // A fault is noted, and judged like any other decision.
    let (back, _noted) = call_recorded(&**policy, hook, std::mem::take(exchange)).await;
    *exchange = back;
    let recorder = exchange.recorder.take().context("the notes are gone")?;
    recorder.into_hooks().pop().context("it was too large to be noted")
}

/// The exchange as its first policy met it.
///
/// # Errors
/// If the record is not as it was written.
pub(crate) fn exchange(record: &Value) -> anyhow::Result<Exchange> {
    let broken = |what: &str| format!("the `{what}` of the record is not as it was written");
    let text = |name: &str| record[name].as_str().with_context(|| broken(name));
    let upstreams: Vec<Name> =
        list(&record["upstreams"]).iter().filter_map(Value::as_str).map(Name::from).collect();
    Ok(Exchange {
        request: read::request_from_json(&record["request"]).with_context(|| broken("request"))?,
        client: read::client_from_json(&record["client"]).with_context(|| broken("client"))?,
        route: Name::from(text("route")?),
        upstreams: upstreams.into(),
        trace_id: text("trace-id")?.to_owned(),
        ..Exchange::default()
    })
}

fn hook(recorded: &Value) -> Option<Hook> {
    let piece = || read::piece_from_json(recorded.get("input")?);
    Some(match recorded["hook"].as_str()? {
        "on-request-head" => Hook::RequestHead,
        "on-response-head" => Hook::ResponseHead,
        "on-request-body" => {
            let (chunk, last) = piece()?;
            Hook::RequestBody { chunk, last }
        }
        "on-response-body" => {
            let (chunk, last) = piece()?;
            Hook::ResponseBody { chunk, last }
        }
        "on-completed" => Hook::Completed(read::outcome_from_json(recorded.get("input")?)?),
        _ => return None,
    })
}

/// What a hook can change, as it was.
struct Before {
    request: portcullis_http::RequestHead,
    response: portcullis_http::ResponseHead,
    upstream: usize,
    endpoint_key: Option<Box<[u8]>>,
    attributes: Attributes,
}

impl Before {
    fn of(exchange: &Exchange) -> Self {
        Self {
            request: exchange.request.clone(),
            response: exchange.response.clone(),
            upstream: exchange.upstream,
            endpoint_key: exchange.endpoint_key.clone(),
            attributes: exchange.attributes.clone(),
        }
    }

    fn restore(self, exchange: &mut Exchange) {
        exchange.request = self.request;
        exchange.response = self.response;
        exchange.upstream = self.upstream;
        exchange.endpoint_key = self.endpoint_key;
        exchange.attributes = self.attributes;
    }
}

fn summary(record: &Value, policies: &Policies, judged: &[Judged]) -> Value {
    let count = |name: &str| judged.iter().filter(|hook| hook.verdict.name() == name).count();
    let hooks = list(&record["hooks"]).iter().zip(judged).map(|(recorded, judged)| {
        json!({
            "policy": recorded["policy"],
            "at": recorded["at"],
            "hook": recorded["hook"],
            "verdict": judged.verdict.name(),
            "differences": judged.verdict.differences(),
            "doubts": judged.verdict.doubts(),
            "replayed": judged.replayed,
        })
    });
    json!({
        "route": record["route"],
        "generation": record["generation"],
        "request": {
            "method": record["request"]["method"], "authority": record["request"]["authority"],
            "target": record["request"]["target"],
        },
        "policies": policies.to_json(),
        "hooks": hooks.collect::<Vec<_>>(),
        "same": count("same"),
        "different": count("different"),
        "unknown": count("unknown"),
        "notes-left-out": record["notes-left-out"],
    })
}

/// The elements of a list; none if it is something else.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
