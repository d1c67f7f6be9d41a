//! URLs of registries, and those to which registries refer.

use std::fmt;

use http::Uri;

/// The longest URL to which a registry refers, in characters: those of storage services contain long signatures.
const LENGTH_MAX: usize = 16 << 10;

/// An `http` or `https` URL without a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) https: bool,
    /// Without the brackets of an IPv6 address, in lower case.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and query, beginning with `/`.
    pub(crate) target: String,
}

impl Url {
    /// Returns the URL of `target` on `host`, which may have a port.
    pub(crate) fn of_host(host: &str, https: bool, target: String) -> Option<Self> {
        let authority: http::uri::Authority = host.parse().ok()?;
        Self::from_parts(https, &authority, target)
    }

    /// Reads the text of a registry: a URL, or a path on the same host.
    pub(crate) fn parse(text: &str, base: Option<&Self>) -> Option<Self> {
        if text.len() > LENGTH_MAX {
            return None;
        }
        // The part after # is not sent (RFC 9110, 4.2.5).
        let text = text.split('#').next().unwrap_or(text);
        let uri: Uri = text.parse().ok()?;
        let target = uri.path_and_query().map_or("/", |path| path.as_str());
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        match (uri.scheme_str(), uri.authority(), base) {
            (Some("https"), Some(authority), _) => Self::from_parts(true, authority, target),
            (Some("http"), Some(authority), _) => Self::from_parts(false, authority, target),
            (None, None, Some(base)) if text.starts_with('/') && !text.starts_with("//") => {
                Some(Self { target, ..base.clone() })
            }
            _ => None,
        }
    }

    fn from_parts(https: bool, authority: &http::uri::Authority, target: String) -> Option<Self> {
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || authority.as_str().contains('@') {
            return None;
        }
        // An invalid port is not replaced by the default one.
        let port = match authority.as_str().rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => port.parse().ok()?,
            _ if https => 443,
            _ => 80,
        };
        Some(Self { https, host: host.to_ascii_lowercase(), port, target })
    }

    /// Returns `host:port` to connect to.
    pub(crate) fn address(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// Returns the value of `Host`.
    pub(crate) fn host_field(&self) -> String {
        let usual = if self.https { 443 } else { 80 };
        let address = self.address();
        if self.port == usual {
            address.strip_suffix(&format!(":{usual}")).unwrap_or(&address).to_owned()
        } else {
            address
        }
    }

    /// Adds `NAME=VALUE` to the query.
    pub(crate) fn add_query(&mut self, pair: &str) {
        self.target.push(if self.target.contains('?') { '&' } else { '?' });
        self.target.push_str(pair);
    }

    /// Returns whether it is the same server, which may get the same credentials.
    pub(crate) fn same_server(&self, other: &Self) -> bool {
        (self.https, &self.host, self.port) == (other.https, &other.host, other.port)
    }
}

/// Omits the query, which may contain credentials.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.target.split('?').next().unwrap_or("/");
        write!(f, "{}://{}{path}", if self.https { "https" } else { "http" }, self.host_field())
    }
}

/// Returns `text` as a value in a query (RFC 3986, 2.3).
pub(crate) fn query_value(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Url, query_value};

    fn parsed(text: &str) -> Option<String> {
        let base = Url::of_host("registry.test:5000", true, "/v2/a".to_owned());
        Url::parse(text, base.as_ref()).map(|url| format!("{} {} {}", url.https, url.address(), url.target))
    }

    #[test]
    fn reads_addresses_and_paths() {
        assert_eq!(parsed("https://a.test/x?y=z#f").unwrap(), "true a.test:443 /x?y=z");
        assert_eq!(parsed("http://A.test:8080").unwrap(), "false a.test:8080 /");
        assert_eq!(parsed("https://[::1]:5/x").unwrap(), "true [::1]:5 /x");
        assert_eq!(parsed("https://[::1]/x").unwrap(), "true [::1]:443 /x");
        assert_eq!(parsed("/v2/b?c").unwrap(), "true registry.test:5000 /v2/b?c");
        for text in [
            "//b.test/x",
            "ftp://a.test/",
            "https://u:p@a.test/",
            "https:///x",
            "x/y",
            "",
            "https://a.test:99999/",
            "https://a.test:/",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn shows_no_query() {
        let url = Url::parse("https://store.test/blob?signature=abc", None).unwrap();
        assert_eq!(url.to_string(), "https://store.test/blob");
        assert_eq!(query_value("repository:a/b:pull x"), "repository%3Aa%2Fb%3Apull%20x");
    }

    proptest! {
        #[test]
        fn takes_any_text(text in "\\PC{0,60}") {
            if let Some(url) = Url::parse(&text, None) {
                prop_assert!(url.target.starts_with('/'));
                let _shown = url.to_string();
            }
        }
    }
}
