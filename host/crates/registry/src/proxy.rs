//! The proxy for a registry: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, read as Go programs read them, because those
//! pull images on the same machine (`golang.org/x/net/http/httpproxy`).

use std::ffi::OsString;
use std::net::IpAddr;

use ipnet::IpNet;
use portcullis_model::Secret;

use crate::auth;
use crate::error::Error;
use crate::url::Url;

/// A proxy, and the credentials for it.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    /// The variable that names it.
    pub(crate) variable: &'static str,
    /// `host:port`.
    pub(crate) address: String,
    /// User and password.
    pub(crate) credentials: Option<(String, Secret)>,
}

/// A variable that is set: a proxy, or what is wrong with it.
type Setting = Option<Result<Proxy, (&'static str, String)>>;

/// The proxies of the environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxies {
    https: Setting,
    http: Setting,
    direct: Vec<Exemption>,
}

/// Servers that are requested without a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Exemption {
    Everybody,
    Network(IpNet),
    Host { host: Host, port: Option<u16> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    /// The end of a name, beginning with a dot; and whether the name without the dot matches too.
    Domain {
        suffix: String,
        itself: bool,
    },
}

impl Proxies {
    pub(crate) fn read(set: &impl Fn(&str) -> Option<OsString>) -> Self {
        // Upper case first, as in Go. curl reads lower case first; an operator who sets both gives both the same value.
        let setting = |upper: &'static str, lower: &'static str| {
            let (variable, value) =
                set(upper).map(|value| (upper, value)).or_else(|| set(lower).map(|value| (lower, value)))?;
            let value = value.into_string().map_err(|_| "it is no text".to_owned());
            let proxy = value.and_then(|value| parse(variable, &value));
            Some(proxy.map_err(|reason| (variable, reason)))
        };
        let direct = set("NO_PROXY").or_else(|| set("no_proxy")).unwrap_or_default();
        Self {
            https: setting("HTTPS_PROXY", "https_proxy"),
            http: setting("HTTP_PROXY", "http_proxy"),
            direct: direct.to_string_lossy().split(',').filter_map(exemption).collect(),
        }
    }

    /// Returns the proxy for `url`.
    pub(crate) fn of(&self, url: &Url) -> Result<Option<&Proxy>, Error> {
        let setting = if url.https { &self.https } else { &self.http };
        match setting {
            None => Ok(None),
            Some(_) if self.is_direct(&url.host, url.port) => Ok(None),
            Some(Ok(proxy)) => Ok(Some(proxy)),
            Some(Err((variable, reason))) => {
                Err(Error::ProxySetting { variable, host: url.host_field(), reason: reason.clone() })
            }
        }
    }

    fn is_direct(&self, host: &str, port: u16) -> bool {
        // A proxy has another loopback address, so this machine cannot be reached through it.
        is_this_machine(host) || self.direct.iter().any(|exemption| exemption.covers(host, port))
    }
}

impl Exemption {
    fn covers(&self, host: &str, port: u16) -> bool {
        match self {
            Self::Everybody => true,
            Self::Network(network) => host.parse().is_ok_and(|address: IpAddr| network.contains(&address)),
            Self::Host { port: Some(only), .. } if *only != port => false,
            Self::Host { host: Host::Address(address), .. } => host.parse() == Ok(*address),
            Self::Host { host: Host::Domain { suffix, itself }, .. } => {
                host.ends_with(suffix.as_str()) || (*itself && suffix.strip_prefix('.') == Some(host))
            }
        }
    }
}

/// Returns whether the host is this machine, without relying on a name server.
pub(crate) fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
}

fn exemption(text: &str) -> Option<Exemption> {
    let text = text.trim().to_ascii_lowercase();
    match text.as_str() {
        "" => return None,
        "*" => return Some(Exemption::Everybody),
        _ => {}
    }
    if let Ok(network) = text.parse() {
        return Some(Exemption::Network(network));
    }
    let unbracketed = |host: &str| host.trim_start_matches('[').trim_end_matches(']').to_owned();
    // Several colons without brackets are an IPv6 address without a port.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if host.ends_with(']') || !host.contains(':') => (host, Some(port.parse().ok()?)),
        _ => (text.as_str(), None),
    };
    let host = unbracketed(host);
    let host = match (host.parse(), host.strip_prefix("*.").or_else(|| host.strip_prefix('.'))) {
        (Ok(address), _) => Host::Address(address),
        (Err(_), Some(domain)) => Host::Domain { suffix: format!(".{domain}"), itself: false },
        (Err(_), None) => Host::Domain { suffix: format!(".{host}"), itself: true },
    };
    Some(Exemption::Host { host, port })
}

/// Reads `http://USER:PASSWORD@HOST:PORT`. The error never repeats the text, which may contain a password.
fn parse(variable: &'static str, text: &str) -> Result<Proxy, String> {
    let text = text.trim();
    let rest = match text.split_once("://") {
        None => text,
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
            return Err(
                "the connection to a proxy itself has no TLS here, so that it begins with http://".to_owned()
            );
        }
        Some(_) => {
            return Err("only a proxy that speaks HTTP can be used, and begins with http://".to_owned());
        }
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (user, host) = match rest.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, rest),
    };
    let form = || "it has not the form http://HOST:PORT".to_owned();
    if host.contains(['/', '?', '#']) {
        return Err(form());
    }
    let url = Url::of_host(host, false, "/".to_owned()).ok_or_else(form)?;
    let credentials = user.map(credentials).transpose()?;
    Ok(Proxy { variable, address: url.address(), credentials })
}

fn credentials(user: &str) -> Result<(String, Secret), String> {
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let wrong = || {
        "its user or password is not written as in an address (RFC 3986): % and two digits for what has a meaning there".to_owned()
    };
    let user = decoded(user).and_then(|user| String::from_utf8(user).ok()).ok_or_else(wrong)?;
    // RFC 7617: the text after the first colon would be the password.
    if user.contains(':') {
        return Err(wrong());
    }
    Ok((user, Secret::new(decoded(password).ok_or_else(wrong)?)))
}

/// Decodes `%` and two digits (RFC 3986, 2.1).
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high << 4 | low).ok()?);
    }
    Some(bytes)
}

/// The value of `Proxy-Authorization`.
impl Proxy {
    pub(crate) fn authorization(&self) -> Option<String> {
        self.credentials.as_ref().map(auth::basic)
    }
}

#[cfg(test)]
mod tests;
