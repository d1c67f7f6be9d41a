//! `http-client`: requests of a policy's own, to the servers that it was granted. The only capability that waits.

#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use portcullis_http::{RequestHead, is_field_value, is_gateway_owned, is_token, set_request_target};
use portcullis_model::text::cut;
use portcullis_model::{Capability, HttpGrant, HttpUrl, Version};
use portcullis_policy::outbound::{OutboundError, OutboundRequest, OutboundResponse, Outgoing};
use portcullis_policy::recorder::{bytes_from_json, bytes_to_json, is_credential, mark};
use portcullis_policy::{ClientGone, HookKind};
use portcullis_traffic::Permit;
use serde_json::{Value, json};
use wasmtime::Result as WasmResult;
use wasmtime::component::{HasSelf, Linker};

use super::recorded::Answer;
use crate::component::bindings::portcullis::policy::http_client;
use crate::component::bindings::portcullis::policy::http_client::{
    Error, Inbound as TextInbound, InboundBytes as Inbound, Outbound as TextOutbound,
    OutboundBytes as Outbound,
};
use crate::component::bindings::portcullis::policy::types::FieldBytes;
use crate::host::head::{HEAD_BYTES_MAX, as_bytes, as_text};
use crate::instance::stage::Stage;
use crate::instance::state::State;

/// If a policy names no time.
const TIMEOUT: Duration = Duration::from_secs(5);
/// No call takes longer.
const TIMEOUT_MS_MAX: u64 = 30_000;
/// Requests that one call of `send-all` sends.
const REQUESTS_MAX: usize = 32;
/// A policy has at least that long to answer when it has waited as long as it may, unless its `wall` is short.
const MARGIN_MAX: Duration = Duration::from_secs(1);
/// The longest method: the registered ones have up to 17 letters.
const METHOD_BYTES_MAX: usize = 64;

/// The function's name in records, in which the others are as many of them.
const SEND: &str = "http-client.send";

pub(super) fn link(linker: &mut Linker<State>) -> WasmResult<()> {
    http_client::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

/// What a policy asks for, checked against its grants.
fn check(
    request: Outbound,
    grants: &[HttpGrant],
    response_bytes_max: usize,
) -> Result<OutboundRequest, Error> {
    let invalid = |what: String| Error::InvalidRequest(what);
    let Outbound { method, url, headers, body, options } = request;
    let timeout = timeout(&options)?;
    if !is_token(method.as_bytes())
        || method.len() > METHOD_BYTES_MAX
        || matches!(&*method, "CONNECT" | "TRACE")
    {
        return Err(invalid("the method".to_owned()));
    }
    let parsed = HttpUrl::parse(&url).map_err(|error| invalid(format!("the URL: {error}")))?;
    let mut head = RequestHead::default();
    head.method = method;
    head.authority = parsed.authority();
    // The one form that paths have everywhere in the gateway: what is compared with the grant is what is sent.
    let path_and_query = match parsed.path_and_query {
        rest if rest.starts_with('/') => rest.to_owned(),
        rest => format!("/{rest}"),
    };
    let target = set_request_target(&mut head, &path_and_query);
    target.map_err(|error| invalid(format!("the URL: {error}")))?;
    let grant = grants.iter().find(|grant| grant.is_of(&parsed) && grant.has_path(head.path()));
    let Some(grant) = grant.cloned() else {
        return Err(Error::NotAllowed("no grant of the policy covers this URL".to_owned()));
    };
    for (name, value) in headers {
        if is_gateway_owned(name.as_bytes()) {
            return Err(invalid(format!("the field `{name}`, which the gateway writes")));
        }
        if !is_token(name.as_bytes()) || !is_field_value(&value) {
            return Err(invalid(format!("the field `{}`", name.escape_debug())));
        }
        head.fields
            .append(name.as_bytes(), &value)
            .map_err(|error| invalid(format!("the fields: {error}")))?;
    }
    if head.fields.size() + head.target().len() > HEAD_BYTES_MAX {
        return Err(invalid("URL and fields, which are too large".to_owned()));
    }
    Ok(OutboundRequest { grant, head, body: body.into(), timeout, response_bytes_max })
}

/// The options of a request, of which there is one. One that is not known may be what the policy relies on.
fn timeout(options: &[(String, String)]) -> Result<Duration, Error> {
    let invalid = |what: String| Err(Error::InvalidRequest(what));
    let mut timeout = None;
    for (name, value) in options {
        if name != "timeout-ms" {
            return invalid(format!(
                "the option `{}`, which is not known here",
                cut(name, 64).escape_debug()
            ));
        }
        let millis = value.parse().ok().filter(|millis| (1..=TIMEOUT_MS_MAX).contains(millis));
        let Some(millis) = millis else {
            return invalid("the option `timeout-ms`, which is 1 to 30000".to_owned());
        };
        if timeout.replace(Duration::from_millis(millis)).is_some() {
            return invalid("the option `timeout-ms`, which is given twice".to_owned());
        }
    }
    Ok(timeout.unwrap_or(TIMEOUT))
}

fn inbound(response: OutboundResponse) -> Inbound {
    let fields = response.head.fields.iter();
    let headers = fields.map(|(_, name, value)| (name.to_owned(), value.to_vec())).collect();
    Inbound { status: response.head.status, headers, body: response.body.into(), details: Vec::new() }
}

fn error(error: OutboundError) -> Error {
    match error {
        OutboundError::NotAllowed(why) => Error::NotAllowed(why),
        OutboundError::Busy => Error::Busy,
        OutboundError::Timeout => Error::Timeout,
        OutboundError::Connect(why) => Error::Connect(why),
        OutboundError::Protocol(how) => Error::Protocol(how),
        OutboundError::TooLarge => Error::TooLarge,
    }
}

/// What is left of `wall` after `passed`, less what a policy needs to do something about an answer that did not come: a
/// tenth of the whole, a second at most.
fn left_to_wait(wall: Duration, passed: Duration) -> Duration {
    wall.saturating_sub(passed).saturating_sub((wall / 10).min(MARGIN_MAX))
}

impl State {
    /// How long the call at hand may wait: so that it hears in time that there is no answer, rather than to be given up
    /// itself for having waited.
    fn left_to_wait(&self) -> Duration {
        left_to_wait(self.policy.limits.wall, self.budget.begun().elapsed())
    }

    /// Begins a request, if the policy may send it now.
    fn begin_request(&self, request: Outbound) -> Result<Call, Error> {
        if self.stage == Stage::Configure {
            let why = "`configure` must not wait; send requests in `on-tick` or in a hook of an exchange";
            return Err(Error::NotAllowed(why.to_owned()));
        }
        let policy = &self.policy;
        let mut request = check(request, &policy.grants.http, policy.limits.body_bytes)?;
        if !self.has_effects() {
            return Err(Error::NotAllowed("an explanation asks nobody".to_owned()));
        }
        if policy.version == Version::Shadow {
            policy.refused_requests.fetch_add(1, Ordering::Relaxed);
            let why = "a shadow sends no requests: it must have no effect";
            return Err(Error::NotAllowed(why.to_owned()));
        }
        let outbound = policy.outbound.get().ok_or(Error::Busy)?;
        let permit = policy.http_calls.acquire().ok_or(Error::Busy)?;
        request.timeout = request.timeout.min(self.left_to_wait());
        if request.timeout.is_zero() {
            return Err(Error::Timeout);
        }
        Ok(Call::Waits { answer: outbound.send(request), _permit: permit })
    }

    /// Sends requests at once, except those whose answers a record has, and notes them all.
    async fn send_noted(&mut self, requests: Vec<Outbound>) -> Vec<Result<Inbound, Error>> {
        let arguments: Vec<Value> = match self.recorder() {
            Some(_) => requests.iter().map(describe).collect(),
            None => Vec::new(),
        };
        let mut calls = Vec::with_capacity(requests.len());
        let mut from_record = vec![false; arguments.len()];
        for (at, request) in requests.into_iter().enumerate() {
            let arguments = arguments.get(at);
            let recorded = arguments.and_then(|arguments| self.recorder()?.answer(SEND, arguments));
            let recorded = recorded.as_ref().and_then(Answer::from_json);
            calls.push(match recorded {
                Some(answer) => {
                    from_record[at] = true;
                    Call::Done(answer)
                }
                None => self.begin_request(request).unwrap_or_else(|error| Call::Done(Err(error))),
            });
        }
        // `on-completed` comes after the client has its response, so its requests do not end with the client.
        let attended = self.exchange.as_ref().filter(|_| self.stage != Stage::Hook(HookKind::Completed));
        let gone = attended.map(|exchange| exchange.gone.clone());
        let answers = answers(calls, gone).await;
        if let Some(recorder) = self.recorder() {
            for ((arguments, answer), from_record) in arguments.into_iter().zip(&answers).zip(from_record) {
                recorder.note(SEND, arguments, answer.to_json(), from_record);
            }
        }
        answers
    }
}

/// A request, with its permit until the answer is there. Both are dropped with the fiber, and the call is given up.
enum Call {
    Waits { answer: Outgoing, _permit: Permit },
    Done(Result<Inbound, Error>),
}

/// Waits for the answers of calls that have begun, or until the client has gone away.
async fn answers(mut calls: Vec<Call>, gone: Option<ClientGone>) -> Vec<Result<Inbound, Error>> {
    poll_fn(|cx| {
        let mut waits = false;
        for call in &mut calls {
            let Call::Waits { answer, .. } = call else { continue };
            match answer.as_mut().poll(cx) {
                Poll::Ready(answer) => *call = Call::Done(answer.map(inbound).map_err(error)),
                Poll::Pending => waits = true,
            }
        }
        match &gone {
            Some(gone) if waits => gone.poll_notified(cx),
            _ if waits => Poll::Pending,
            _ => Poll::Ready(()),
        }
    })
    .await;
    // The calls that still wait are given up with their futures.
    let answer = |call| match call {
        Call::Done(answer) => answer,
        Call::Waits { .. } => Err(Error::ClientGone),
    };
    calls.into_iter().map(answer).collect()
}

/// The request of a policy that writes its fields as text.
fn outbound(request: TextOutbound) -> Outbound {
    let TextOutbound { method, url, headers, body, options } = request;
    Outbound { method, url, headers: as_bytes(headers), body, options }
}

/// The answer for a policy that reads its fields as text.
fn as_text_inbound(answer: Inbound) -> TextInbound {
    let Inbound { status, headers, body, details } = answer;
    TextInbound { status, headers: as_text(headers), body, details }
}

impl http_client::Host for State {
    async fn send(&mut self, request: TextOutbound) -> WasmResult<Result<TextInbound, Error>> {
        Ok(self.send_bytes(outbound(request)).await?.map(as_text_inbound))
    }

    async fn send_all(&mut self, requests: Vec<TextOutbound>) -> WasmResult<Vec<Result<TextInbound, Error>>> {
        let requests = requests.into_iter().map(outbound).collect();
        let answers = self.send_all_bytes(requests).await?.into_iter();
        Ok(answers.map(|answer| answer.map(as_text_inbound)).collect())
    }

    async fn send_bytes(&mut self, request: Outbound) -> WasmResult<Result<Inbound, Error>> {
        self.require(Capability::HttpClient)?;
        let answer = self.send_noted(vec![request]).await.pop();
        Ok(answer.unwrap_or_else(|| Err(Error::Other("there is no answer".to_owned()))))
    }

    async fn send_all_bytes(&mut self, requests: Vec<Outbound>) -> WasmResult<Vec<Result<Inbound, Error>>> {
        self.require(Capability::HttpClient)?;
        if requests.len() > REQUESTS_MAX {
            let refused = || Err(Error::InvalidRequest("more than 32 requests at once".to_owned()));
            return Ok(requests.iter().map(|_| refused()).collect());
        }
        Ok(self.send_noted(requests).await)
    }
}

fn describe(request: &Outbound) -> Value {
    json!({
        "method": request.method,
        "url": request.url,
        "headers": fields_to_json(&request.headers),
        "body": bytes_to_json(&request.body),
        "options": request.options,
    })
}

/// Credentials leave a mark, in what is asked and in what is answered: what a policy sends to a server may be made of a
/// secret, which only the policy knows.
fn fields_to_json(fields: &[FieldBytes]) -> Value {
    let value = |name: &str, value: &[u8]| match is_credential(name) {
        true => json!(mark(&name.to_ascii_lowercase())),
        false => bytes_to_json(value),
    };
    fields.iter().map(|(name, of)| json!([name, value(name, of)])).collect()
}

fn field_from_json(value: &Value) -> Option<FieldBytes> {
    let [name, value] = value.as_array()?.as_slice() else { return None };
    Some((name.as_str()?.to_owned(), bytes_from_json(value)?))
}

fn detail_from_json(value: &Value) -> Option<(String, String)> {
    let [name, value] = value.as_array()?.as_slice() else { return None };
    Some((name.as_str()?.to_owned(), value.as_str()?.to_owned()))
}

impl Answer for Inbound {
    fn to_json(&self) -> Value {
        json!({
            "status": self.status,
            "headers": fields_to_json(&self.headers),
            "body": bytes_to_json(&self.body),
            "details": self.details,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            status: value["status"].as_u64()?.try_into().ok()?,
            headers: value["headers"].as_array()?.iter().map(field_from_json).collect::<Option<_>>()?,
            body: bytes_from_json(&value["body"])?,
            details: value["details"].as_array()?.iter().map(detail_from_json).collect::<Option<_>>()?,
        })
    }
}

impl Answer for Error {
    fn to_json(&self) -> Value {
        match self {
            Self::InvalidRequest(what) => json!(["invalid-request", what]),
            Self::NotAllowed(why) => json!(["not-allowed", why]),
            Self::Busy => json!(["busy"]),
            Self::Timeout => json!(["timeout"]),
            Self::Connect(why) => json!(["connect", why]),
            Self::Protocol(how) => json!(["protocol", how]),
            Self::TooLarge => json!(["too-large"]),
            Self::ClientGone => json!(["client-gone"]),
            Self::Other(what) => json!(["other", what]),
        }
    }

    fn from_json(value: &Value) -> Option<Self> {
        let text = || Some(value.get(1)?.as_str()?.to_owned());
        Some(match value.get(0)?.as_str()? {
            "invalid-request" => Self::InvalidRequest(text()?),
            "not-allowed" => Self::NotAllowed(text()?),
            "busy" => Self::Busy,
            "timeout" => Self::Timeout,
            "connect" => Self::Connect(text()?),
            "protocol" => Self::Protocol(text()?),
            "too-large" => Self::TooLarge,
            "client-gone" => Self::ClientGone,
            "other" => Self::Other(text()?),
            _ => return None,
        })
    }
}
