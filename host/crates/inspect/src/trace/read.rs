//! Reads the JSON that [`trace`](super) writes. A record is a file, and a file may have been edited: a value that is
//! not in that form is `None`.

use bytes::Bytes;
use portcullis_http::{Fields, RequestHead, ResponseHead, Scheme, Version};
use portcullis_model::{Name, PathRules, TlsVersion};
use portcullis_policy::recorder::{Edit, HostCall, Message, bytes_from_json};
use portcullis_policy::{ClientInfo, ClientTls, Outcome};
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
        "trailer" => field(Message::Trailers),
        "endpoint-key" => Some(Edit::EndpointKey(bytes_from_json(value.get("value")?)?)),
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

/// Fields, as `fields_to_json` writes them.
pub fn fields_from_json(value: &Value) -> Option<Fields> {
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
    request.version = match text("version") {
        Some("HTTP/1.0") => Version::Http10,
        Some("HTTP/2.0") => Version::Http2,
        // Older records have none.
        Some("HTTP/1.1") | None => Version::Http11,
        Some(_) => return None,
    };
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
    let tls = |tls: &Value| {
        let text = |name: &str| tls.get(name).and_then(Value::as_str);
        Some(ClientTls {
            version: TlsVersion::from_name(text("version")?)?,
            cipher: text("cipher")?.to_owned().into(),
            alpn: text("alpn").map(|alpn| alpn.to_owned().into()),
        })
    };
    Some(ClientInfo {
        address: address("address")?,
        peer: address("peer")?,
        tls_server_name: value.get("tls-server-name").and_then(Value::as_str).map(Into::into),
        certificate: value.get("certificate").and_then(bytes_from_json).map(Into::into),
        tls: value.get("tls").and_then(tls),
        listener: value.get("listener").and_then(Value::as_str).unwrap_or_default().into(),
    })
}

#[cfg(test)]
mod tests;
