//! Reads the JSON that [`trace`](super) writes. A record is a file, and a file may have been edited: a value that is
//! not in that form is `None`.

use bytes::Bytes;
use portcullis_http::{Fields, RequestHead, ResponseHead, Scheme};
use portcullis_model::{Name, PathRules};
use portcullis_policy::recorder::{Edit, HostCall, Message, bytes_from_json};
use portcullis_policy::{ClientInfo, Outcome};
use serde_json::Value;

/// How an exchange ended, as `hook_to_json` writes it into the input of `on-completed`.
pub fn outcome_from_json(value: &Value) -> Option<Outcome> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(Outcome {
        status: value.get("status")?.as_u64()?.try_into().ok()?,
        request_bytes: value.get("request-bytes")?.as_u64()?,
        response_bytes: value.get("response-bytes")?.as_u64()?,
        duration_us: value.get("duration-us")?.as_u64()?,
        upstream: text("upstream"),
        error: text("error"),
    })
}

/// A piece of a body, as `hook_to_json` writes it into the input of a body hook.
pub fn piece_from_json(value: &Value) -> Option<(Bytes, bool)> {
    Some((bytes_from_json(value.get("chunk")?)?.into(), value.get("last")?.as_bool()?))
}

/// An edit that `hook_to_json` has written.
pub fn edit_from_json(value: &Value) -> Option<Edit> {
    let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
    let field = |message| {
        let lines =
            |name: &str| value.get(name)?.as_array()?.iter().map(bytes_from_json).collect::<Option<_>>();
        Some(Edit::Field { message, name: text("name")?, before: lines("before")?, after: lines("after")? })
    };
    match value.get("edit")?.as_str()? {
        "method" => text("value").map(Edit::Method),
        "authority" => text("value").map(Edit::Authority),
        "target" => text("value").map(Edit::Target),
        "upstream" => text("value").map(|name| Edit::Upstream(Name::from(name))),
        "status" => Some(Edit::Status(value.get("value")?.as_u64()?.try_into().ok()?)),
        "attribute" => Some(Edit::Attribute { name: text("name")?, value: text("value")? }),
        "request-header" => field(Message::Request),
        "response-header" => field(Message::Response),
        _ => None,
    }
}

/// A call that `hook_to_json` has written.
pub fn call_from_json(value: &Value) -> Option<HostCall> {
    Some(HostCall {
        function: value.get("function")?.as_str()?.to_owned(),
        arguments: value.get("arguments")?.clone(),
        result: value.get("result")?.clone(),
        from_record: false,
    })
}

fn fields_from_json(value: &Value) -> Option<Fields> {
    let mut fields = Fields::new();
    for field in value.as_array()? {
        let value = bytes_from_json(field.get("value")?)?;
        fields.append(field.get("name")?.as_str()?.as_bytes(), &value).ok()?;
    }
    Some(fields)
}

/// Returns a head that `request_to_json` has written, or `None` if the gateway would not have forwarded such a head.
pub fn request_from_json(value: &Value) -> Option<RequestHead> {
    let text = |name: &str| value.get(name)?.as_str();
    let mut request = RequestHead::default();
    request.method.push_str(text("method").filter(|method| portcullis_http::is_token(method.as_bytes()))?);
    request.scheme = match text("scheme")? {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return None,
    };
    request.authority.push_str(text("authority")?);
    request.upgrade = text("upgrade").map(str::to_owned);
    request.fields = fields_from_json(value.get("fields")?)?;
    match text("target")? {
        target @ ("" | "*") => request.set_target(target, None),
        target => {
            // In the form that its route takes, whichever that was.
            request.path_rules = PathRules::LENIENT;
            portcullis_http::set_request_target(&mut request, target).ok()?;
        }
    }
    Some(request)
}

/// A head that `response_to_json` has written.
pub fn response_from_json(value: &Value) -> Option<ResponseHead> {
    Some(ResponseHead {
        status: value.get("status")?.as_u64()?.try_into().ok()?,
        fields: fields_from_json(value.get("fields")?)?,
        ..ResponseHead::default()
    })
}

/// Reads the client that `client_to_json` has written.
pub fn client_from_json(value: &Value) -> Option<ClientInfo> {
    let address = |name: &str| value.get(name)?.as_str()?.parse().ok();
    Some(ClientInfo {
        address: address("address")?,
        peer: address("peer")?,
        tls_server_name: value.get("tls-server-name").and_then(Value::as_str).map(Into::into),
        certificate: value.get("certificate").and_then(bytes_from_json).map(Into::into),
    })
}

#[cfg(test)]
mod tests;
