//! Fields with which a client could pretend to be another one, or have its request taken for another one: the one list
//! of names that other products read for the client's address, its certificate, or the scheme, host, path and method
//! that a request is meant for.
//!
//! The gateway writes what it knows of the client into `X-Forwarded-For` and similar fields. A client could send the
//! fields that the gateway does not write, and an upstream might believe them. And a request that was matched by its
//! path and method must not make the upstream act on others. So these fields are dropped from a client's head, unless
//! the peer is a trusted proxy, and from a client's trailers in any case.

#[cfg(test)]
mod tests;

/// Names with these prefixes are on the list.
const PREFIXES: [&[u8]; 6] = [
    b"ssl-client-",
    b"x-amzn-mtls-",
    b"x-client-cert",
    b"x-forwarded",
    b"x-original-forwarded",
    b"x-ssl-client-",
];

/// The other names, sorted.
const NAMES: [&[u8]; 63] = [
    b"cf-connecting-ip",
    b"cf-connecting-ipv6",
    b"cf-pseudo-ipv4",
    b"client-cert",
    b"client-cert-chain",
    b"client-ip",
    b"cluster-client-ip",
    b"fastly-client-ip",
    b"fly-client-ip",
    b"forward-for",
    b"forwarded-for",
    b"forwarded-for-ip",
    b"front-end-https",
    b"http-client-ip",
    b"real-ip",
    b"remote-addr",
    b"true-client-ip",
    b"x-appengine-remote-addr",
    b"x-appengine-user-ip",
    b"x-arr-clientcert",
    b"x-arr-ssl",
    b"x-azure-clientip",
    b"x-azure-socketip",
    b"x-client-ip",
    b"x-client-verify",
    b"x-cluster-client-ip",
    b"x-custom-ip-authorization",
    b"x-envoy-downstream-service-cluster",
    b"x-envoy-external-address",
    b"x-envoy-internal",
    b"x-envoy-original-host",
    b"x-envoy-original-method",
    b"x-envoy-original-path",
    b"x-envoy-peer-metadata",
    b"x-envoy-peer-metadata-id",
    b"x-forward-for",
    b"x-host",
    b"x-http-destinationurl",
    b"x-http-host-override",
    b"x-http-method",
    b"x-http-method-override",
    b"x-method-override",
    b"x-nf-client-connection-ip",
    b"x-original-for",
    b"x-original-host",
    b"x-original-method",
    b"x-original-proto",
    b"x-original-remote-addr",
    b"x-original-uri",
    b"x-original-url",
    b"x-originating-ip",
    b"x-override-url",
    b"x-proxyuser-ip",
    b"x-real-port",
    b"x-remote-addr",
    b"x-remote-ip",
    b"x-rewrite-uri",
    b"x-rewrite-url",
    b"x-scheme",
    b"x-true-client-ip",
    b"x-url-scheme",
    b"x-vercel-forwarded-for",
    b"x-vercel-proxied-for",
];

/// Returns whether a client must not send a field of that name (in lower case): see the module.
#[must_use]
pub fn is_identity(name: &[u8]) -> bool {
    // All names on the list begin with one of these letters, and most names of clients do not.
    matches!(name.first(), Some(b'c' | b'f' | b'h' | b'r' | b's' | b't' | b'x'))
        && (NAMES.binary_search(&name).is_ok() || PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

/// Returns whether a field of that name (in lower case) usually carries credentials or an identity, so that a policy
/// reads or writes it in the head.
pub(crate) fn is_credential(name: &[u8]) -> bool {
    const PREFIXES: [&[u8]; 17] = [
        b"api-key",
        b"apikey",
        b"cf-",
        b"proxy-",
        b"sec-",
        b"x-access-",
        b"x-amzn-oidc-",
        b"x-api-key",
        b"x-auth",
        b"x-client-",
        b"x-csrf",
        b"x-envoy-",
        b"x-original-",
        b"x-real-",
        b"x-remote-",
        b"x-ssl-",
        b"x-user",
    ];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || matches!(
            name,
            b"baggage"
                | b"origin"
                | b"referer"
                | b"remote-user"
                | b"traceparent"
                | b"tracestate"
                | b"user-agent"
                | b"x-request-id"
                | b"x-token"
                | b"x-xsrf-token"
        )
}
