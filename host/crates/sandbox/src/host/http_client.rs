//! `http-client`: requests of a policy's own, to the servers that it was granted. The only capability that waits.

#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use portcullis_http::{RequestHead, is_field_value, is_gateway_owned, is_token, set_request_target};
use portcullis_model::{Capability, HttpGrant, HttpUrl, Version};
use portcullis_policy::HookKind;
use portcullis_policy::outbound::{OutboundError, OutboundRequest, OutboundResponse};
use portcullis_policy::recorder::{bytes_from_json, bytes_to_json, is_credential, mark};
use serde_json::{Value, json};
use wasmtime::Result as WasmResult;
use wasmtime::component::{HasSelf, Linker};

use super::recorded::Answer;
use crate::component::bindings::portcullis::policy::http_client;
use crate::component::bindings::portcullis::policy::http_client::{Error, Inbound, Outbound};
use crate::component::bindings::portcullis::policy::types::Field;
use crate::host::head::HEAD_BYTES_MAX;
use crate::instance::stage::Stage;
use crate::instance::state::State;

/// If a policy names no time.
const TIMEOUT: Duration = Duration::from_secs(5);
/// No call takes longer.
const TIMEOUT_MAX: Duration = Duration::from_secs(30);
/// A policy has at least that long to answer when it has waited as long as it may, unless its `wall` is short.
const MARGIN_MAX: Duration = Duration::from_secs(1);
/// The longest method: the registered ones have up to 17 letters.
const METHOD_BYTES_MAX: usize = 64;

/// The function's name in records.
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
    let Outbound { method, url, headers, body, timeout_ms } = request;
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
    for Field { name, value } in headers {
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
    let timeout = match timeout_ms {
        0 => TIMEOUT,
        millis => Duration::from_millis(millis.into()).min(TIMEOUT_MAX),
    };
    Ok(OutboundRequest { grant, head, body: body.into(), timeout, response_bytes_max })
}

fn inbound(response: OutboundResponse) -> Inbound {
    let fields = response.head.fields.iter();
    let headers =
        fields.map(|(_, name, value)| Field { name: name.to_owned(), value: value.to_vec() }).collect();
    Inbound { status: response.head.status, headers, body: response.body.into() }
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

    async fn send_outbound(&mut self, request: Outbound) -> Result<Inbound, Error> {
        if self.stage == Stage::Configure {
            let why = "`configure` must not wait; send requests in `on-tick` or in a hook of an exchange";
            return Err(Error::NotAllowed(why.to_owned()));
        }
        let policy = self.policy.clone();
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
        // Both are dropped with the fiber, and the call is given up with it.
        let _place = policy.http_calls.acquire().ok_or(Error::Busy)?;
        request.timeout = request.timeout.min(self.left_to_wait());
        if request.timeout.is_zero() {
            return Err(Error::Timeout);
        }
        let mut answer = outbound.send(request);
        // `on-completed` comes after the client has its response, so its requests do not end with the client.
        let attended = self.exchange.as_ref().filter(|_| self.stage != Stage::Hook(HookKind::Completed));
        let gone = attended.map(|exchange| exchange.gone.clone());
        poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer.map(inbound).map_err(error));
            }
            match &gone {
                Some(gone) => gone.poll_notified(cx).map(|()| Err(Error::ClientGone)),
                None => Poll::Pending,
            }
        })
        .await
    }
}

impl http_client::Host for State {
    async fn send(&mut self, request: Outbound) -> WasmResult<Result<Inbound, Error>> {
        self.require(Capability::HttpClient)?;
        if self.recorder().is_none() {
            return Ok(self.send_outbound(request).await);
        }
        let arguments = describe(&request);
        let recorded = self.recorder().and_then(|recorder| recorder.answer(SEND, &arguments));
        let recorded = recorded.as_ref().and_then(Answer::from_json);
        let from_record = recorded.is_some();
        let answer = match recorded {
            Some(answer) => answer,
            None => self.send_outbound(request).await,
        };
        if let Some(recorder) = self.recorder() {
            recorder.note(SEND, arguments, answer.to_json(), from_record);
        }
        Ok(answer)
    }
}

fn describe(request: &Outbound) -> Value {
    json!({
        "method": request.method,
        "url": request.url,
        "headers": fields_to_json(&request.headers),
        "body": bytes_to_json(&request.body),
        "timeout-ms": request.timeout_ms,
    })
}

/// Credentials leave a mark, in what is asked and in what is answered: what a policy sends to a server may be made of a
/// secret, which only the policy knows.
fn fields_to_json(fields: &[Field]) -> Value {
    let value = |field: &Field| match is_credential(&field.name) {
        true => json!(mark(&field.name.to_ascii_lowercase())),
        false => bytes_to_json(&field.value),
    };
    fields.iter().map(|field| json!([field.name, value(field)])).collect()
}

fn field_from_json(value: &Value) -> Option<Field> {
    let [name, value] = value.as_array()?.as_slice() else { return None };
    Some(Field { name: name.as_str()?.to_owned(), value: bytes_from_json(value)? })
}

impl Answer for Inbound {
    fn to_json(&self) -> Value {
        json!({
            "status": self.status,
            "headers": fields_to_json(&self.headers),
            "body": bytes_to_json(&self.body),
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            status: value["status"].as_u64()?.try_into().ok()?,
            headers: value["headers"].as_array()?.iter().map(field_from_json).collect::<Option<_>>()?,
            body: bytes_from_json(&value["body"])?,
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
            _ => return None,
        })
    }
}
