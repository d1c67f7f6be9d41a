//! Fields that no request has by the time a route or a policy looks at it: a condition on one never holds.

/// Why no request has the field `name` (lower case) and what to do; `None` if one may have it. `trusted` says whether
/// there are trusted proxies.
pub(crate) fn unseen(name: &str, trusted: bool) -> Option<(&'static str, String)> {
    if name.contains('_') {
        let help = format!("write `{}`, and have clients send it so", name.replace('_', "-"));
        return Some((
            "fields with `_` in their name are dropped, because servers take them for those with `-`",
            help,
        ));
    }
    let hop = "it is for one connection only, so it is removed before";
    match name {
        "upgrade" | "connection" => {
            let help = "for WebSockets write a condition on `sec-websocket-version` or `sec-websocket-key`";
            Some((hop, help.to_owned()))
        }
        "keep-alive"
        | "proxy-connection"
        | "proxy-authenticate"
        | "proxy-authorization"
        | "transfer-encoding"
        | "http2-settings" => Some((hop, "remove it".to_owned())),
        "content-length" => Some((
            "the gateway writes it anew, so it is removed before",
            "remove it; `limits.body` of a route bounds bodies".to_owned(),
        )),
        "expect" => Some(("the gateway answers it itself", "remove it".to_owned())),
        "host" => {
            Some(("the host is not a field here", "write host = \"...\" in `match` of the route".to_owned()))
        }
        _ if !trusted && is_of_proxies(name) => Some((
            "it is dropped, because there are no trusted proxies",
            "name the proxies that may send it in server.trusted-proxies".to_owned(),
        )),
        _ => None,
    }
}

/// Whether the field says who a client is or what it asked for, so that it counts from a trusted proxy only. Those
/// that the gateway writes itself are always there.
fn is_of_proxies(name: &str) -> bool {
    const WRITTEN: [&str; 3] = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
    (name.starts_with("x-forwarded") && !WRITTEN.contains(&name))
        || matches!(
            name,
            "cf-connecting-ip"
                | "client-ip"
                | "fastly-client-ip"
                | "front-end-https"
                | "true-client-ip"
                | "x-client-ip"
                | "x-cluster-client-ip"
                | "x-original-forwarded-for"
                | "x-original-host"
                | "x-original-url"
                | "x-rewrite-url"
                | "x-url-scheme"
        )
}

/// Whether the gateway drops the field `name` (lower case) of every request; for the test that the gateway agrees.
#[must_use]
pub fn is_unseen_field(name: &str, trusted_proxies: bool) -> bool {
    unseen(name, trusted_proxies).is_some()
}
